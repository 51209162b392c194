"""Changes to bytes such as damage and ill will make, the same for the same seed."""

_TELLING = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x00" * 8, b"../", b"'")


def mutated(data, rng):
    """One to eight changes: a bit, a byte, a piece that is doubled, goes, or comes."""
    body = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(body) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(body):
            body[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(body):
            body[at] = rng.randrange(256)
        elif kind == 2:
            del body[at : at + rng.randint(1, 64)]
        elif kind == 3:
            body[at:at] = rng.choice(_TELLING)
        elif kind == 4:
            start = rng.randrange(len(body) + 1)
            body[at:at] = body[start : start + rng.randint(1, 600)]
        else:
            telling = rng.choice(_TELLING)
            body[at : at + len(telling)] = telling
    return bytes(body)
