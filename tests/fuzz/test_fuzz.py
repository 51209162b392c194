"""A short run of every fuzzing target; `make fuzz` makes long ones, guided by coverage."""

import io
import random
import time
import tracemalloc

import pytest

from atdata_core.errors import AtdataError
from atdata_core.shard import verified
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, car, mst, tar
from tests.support.samples import cid_of

NAMES = {target.__name__: target for target in TARGETS}


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_taken(name):
    for seed in TARGETS[NAMES[name]]:
        try:
            NAMES[name](seed)
        except AtdataError:
            assert NAMES[name] is mst  # a node without the ones below it
    assert TARGETS[NAMES[name]]


@pytest.mark.parametrize("name", NAMES)
def test_damaged_bytes_are_taken_or_refused_soon_and_in_little_memory(name):
    rng = random.Random(name)
    seeds = TARGETS[NAMES[name]]
    refused = longest = 0
    tracemalloc.start()
    start = time.monotonic()
    for number in range(2000):
        data = mutated(seeds[number % len(seeds)], rng)
        try:
            NAMES[name](data)
        except AtdataError as error:
            refused += 1
            longest = max(longest, len(str(error)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused > 500
    assert longest < 2000
    assert peak < 64_000_000
    assert time.monotonic() - start < 120


@pytest.mark.parametrize("target", [car, tar], ids=["proof", "shard"])
def test_no_flipped_bit_is_accepted(target):
    """2,000 of a proof, and 2,000 of a shard that is held to its CID."""
    rng = random.Random(5)
    [seed, *_] = TARGETS[target]
    for _ in range(2000):
        body = bytearray(seed)
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        with pytest.raises(AtdataError):
            if target is tar:
                verified(io.BytesIO(body), cid_of(seed), "shard", len(seed))
            else:
                car(bytes(body))
