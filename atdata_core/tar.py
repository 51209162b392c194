"""The tar format: one header, read or written. `members` puts them together.

What is written is plain POSIX ustar, every field fixed but name and size. What is read is ustar,
GNU and pax (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html), regular members
only: links, devices and sparse files have no place in a shard.
"""

from typing import Any, NamedTuple

import numpy as np

from atdata_core.errors import ShardError

BLOCK = 512
"""Bytes a block: a header is one, and a member's body is padded to a multiple of it."""

ZERO = bytes(BLOCK)
END = bytes(2 * BLOCK)
"""What ends an archive."""

MAX_MEMBER_BYTES = 1 << 30
MAX_META_BYTES = 1 << 16

REGULAR, DIRECTORY, META = "regular", "directory", "meta"

_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK", "zip"))
_KINDS = {b"0": REGULAR, b"\0": REGULAR, b"5": DIRECTORY}
_KINDS |= {b"x": META, b"g": META, b"L": META, b"K": META}


class Header(NamedTuple):
    """What a header says.

    Args:
        kind: `REGULAR`, `DIRECTORY`, or `META`: its body tells of the member after it.
        flag: The type flag itself.
        name: The member's name.
        size: Its body's length in bytes.
    """

    kind: str
    flag: bytes
    name: str
    size: int


class Extended(NamedTuple):
    """What meta members say of the one after them; None where they don't."""

    name: str | None = None
    size: int | None = None


def padded(size: int) -> int:
    """`size` rounded up to whole blocks."""
    return size + -size % BLOCK


def member_bytes(size: int) -> int:
    """What a member of `size` bytes takes in an archive, header and padding included."""
    return BLOCK + padded(size)


def shard_bytes(sizes: "list[int]") -> int:
    """The size of an archive whose members have these sizes, in bytes."""
    return sum(map(member_bytes, sizes)) + len(END)


def fill_in(piece: memoryview, places: Any, first: int, sizes: Any, extension: str) -> None:
    """Fills in the headers of members with numbers of nine digits for names.

    Args:
        piece: Part of an archive. Where a header shall be, `blank` lies.
        places: Where the headers are, int64.
        first: The number of the first member; each one's is the next.
        sizes: The lengths of their bodies in bytes, int64.
        extension: How the names end.

    Raises:
        ShardError: A size has no place in a header.
    """
    count = len(sizes)
    if first + count > 10**_NUMBER_DIGITS:
        for number, place, size in zip(range(first, first + count), places, sizes, strict=True):
            piece[place : place + BLOCK] = make_header(
                f"{number:0{_NUMBER_DIGITS}d}{extension}", int(size)
            )
        return
    largest = int(sizes.max(initial=0))
    if largest >= 8**11:
        raise _too_large(largest)
    heads = np.empty((count, _HEAD), np.uint8)
    heads[:] = np.frombuffer(blank(extension), np.uint8, _HEAD)
    sums = np.full(count, _FIXED_SUM + sum(extension.encode()) + 20 * ord("0"))

    def put(place: int, groups: Any) -> None:
        heads[:, place : place + 3] = _TEXTS[groups][:, None].view(np.uint8)

    numbers = np.arange(first, first + count)
    for place, unit in ((0, 10**6), (3, 1000), (6, 1)):
        if first + count > unit:  # else zeros are there
            groups = numbers // unit % 1000
            put(place, groups)
            sums += _SUMS[groups]
    for place, shift in ((123, 27), (126, 18), (129, 9), (132, 0)):
        if largest >> shift:
            groups = (sizes >> shift & 0o777) + _OCTAL
            put(place, groups)
            sums += _SUMS[groups]
    heads[:, 123] = 0  # of the twelve digits, eleven count
    put(148, (sums >> 9) + _OCTAL)
    put(151, (sums & 0o777) + _OCTAL)
    # Every place where a header could be, one byte apart: it makes this one copy a header.
    every: Any = np.ndarray((len(piece) - _HEAD + 1,), f"V{_HEAD}", piece, strides=(1,))
    every[places] = heads.view(every.dtype)[:, 0]


def blank(extension: str) -> bytes:
    """The header of a regular member without a number, size and checksum; for `fill_in`."""
    name = (b"0" * _NUMBER_DIGITS + extension.encode()).ljust(100, b"\0")
    return name + _OWNER + b"0" * 11 + b"\0" + _TIME + b"000000\0 " + _REST


_HEAD = 154
"""So far go the bytes of a header that aren't the same for all."""
_OCTAL = 1000
_GROUPS = [f"{number:03d}" for number in range(1000)] + [f"{number:03o}" for number in range(512)]
_TEXTS: Any = np.array([group.encode() for group in _GROUPS]).view("V3")
"""Three digits as text: decimal ones, and octal ones from `_OCTAL` on."""
_SUMS = np.array([sum(group.encode()) - 3 * ord("0") for group in _GROUPS])
"""By how much their sums are more than those of zeros."""
_NUMBER_DIGITS = 9


def make_header(name: str, size: int) -> bytes:
    """A regular member's header; raises `ShardError` if name or size have no place in it."""
    encoded = name.encode("utf-8")
    if len(encoded) > 100:
        raise ShardError("key is too long for a tar header", where=name, expected="≤ 100 bytes")
    if size >= 8**11:
        raise _too_large(size)
    digits = b"%011o" % size
    total = _FIXED_SUM + sum(encoded) + sum(digits)
    return b"%b%b\0%b%06o\0 %b" % (
        encoded.ljust(100, b"\0") + _OWNER,
        digits,
        _TIME,
        total,
        _REST,
    )


def _too_large(size: int) -> ShardError:
    return ShardError("sample is too large for a tar header", got=f"{size:,} bytes")


_OWNER = b"0000644\0" + b"0000000\0" * 2  # mode, owner, group
_TIME = b"00000000000\0"  # modified at: never, so that equal samples are equal files
_REST = (b"0" + bytes(100) + b"ustar\0" + b"00").ljust(BLOCK - 156, b"\0")
_FIXED_SUM = sum(_OWNER) + sum(_TIME) + 8 * 32 + sum(_REST)  # the checksum counts as blanks


def parse_header(block: bytes, where: str, *, first: bool = False) -> Header:
    """What a block says as a header.

    Args:
        block: 512 bytes, not all of them zero.
        where: The shard's name, for errors.
        first: Whether it is the archive's first, so that another kind of file is called by name.

    Raises:
        ShardError: It is no header, or one of a member that a shard can't have.
    """
    if first:
        _check_is_tar(block, where)
    _check_sum(block, where)
    flag = block[156:157]
    name = _name(block, where)
    kind = _KINDS.get(flag)
    if kind is None:
        raise ShardError(
            "member is not a regular file", where=where, got=f"{name!r}, type {flag!r}"
        )
    return Header(kind, flag, name, _size(block, where))


def parse_meta(header: Header, body: bytes, known: Extended, where: str) -> Extended:
    """What is known of the next member after a meta member.

    Raises:
        ShardError: Its body is malformed, or says that the next member is sparse.
    """
    if header.flag == b"L":
        return known._replace(name=_text(body.rstrip(b"\0"), where))
    if header.flag == b"x":
        return _pax(body, where, known)
    if header.flag == b"g":
        _pax(body, where, Extended())
    return known


def check_name(name: str, where: str) -> str:
    """`name` itself, if it stays in its folder; raises `ShardError` otherwise."""
    if not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise ShardError("member has an unsafe name", where=where, got=repr(name))
    return name


def _check_is_tar(block: bytes, where: str) -> None:
    for magic, kind in _COMPRESSED:
        if block.startswith(magic):
            raise ShardError(
                "shard is compressed", where=where, expected="a plain tar file", got=kind
            )


def _check_sum(block: bytes, where: str) -> None:
    stated = block[148:156].strip(b" \0")
    actual = sum(block[:148]) + 8 * 32 + sum(block[156:])
    try:
        ok = int(stated, 8) == actual
    except ValueError:
        ok = False
    if not ok:
        raise ShardError("bytes are not a tar header", where=where, got=f"{block[:16]!r}…")


def _size(block: bytes, where: str) -> int:
    field = block[124:136]
    if field[0] & 0x80:  # GNU's base-256 form, for 8 GiB and more
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not set(digits) <= set(b"01234567"):  # int() would take a sign and underscores
        raise ShardError("member's size is not a number", where=where, got=repr(field))
    return int(digits or b"0", 8)


def _name(block: bytes, where: str) -> str:
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name, where)


def _text(name: bytes, where: str) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ShardError("member's name is not UTF-8", where=where, got=repr(name)) from error


def _pax(meta: bytes, where: str, known: Extended) -> Extended:
    try:
        while meta:
            length, _, _ = meta.partition(b" ")
            record = meta[len(length) + 1 : int(length)]
            if not len(length) < int(length) <= len(meta) or record[-1:] != b"\n":
                raise ValueError
            key, _, value = record[:-1].partition(b"=")
            if key.startswith(b"GNU.sparse"):
                raise ShardError("member is sparse", where=where)
            if key == b"path":
                known = known._replace(name=value.decode("utf-8"))
            elif key == b"size":
                known = known._replace(size=int(value))
                if int(value) < 0:
                    raise ValueError
            meta = meta[int(length) :]
    except ValueError as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError("extended header is malformed", where=where) from error
    return known
