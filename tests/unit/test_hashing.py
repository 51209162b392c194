"""SHA-256 beside other work is SHA-256, with a thread or without."""

import hashlib
import threading

import pytest

from atdata_core.hashing import BackgroundHash

MIB = 1 << 20


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "atdata-hash"]


@pytest.mark.parametrize(
    ("sizes", "with_a_thread"),
    [
        ([], False),
        ([0], False),
        ([5, 0, 7], False),
        ([MIB - 1], False),
        ([MIB - 2, 1], False),
        ([MIB - 1, 1, 3], True),
        ([MIB], True),
        ([700_000, 700_000, 512], True),
        ([3 * MIB, 1, 2 * MIB], True),
    ],
)
def test_all_bytes_count_in_their_order_and_few_need_no_thread(rng, sizes, with_a_thread):
    found, expected = BackgroundHash(), hashlib.sha256()
    for size in sizes:
        data = rng.bytes(size)
        found.update(data)
        expected.update(data)
    assert bool(threads()) is with_a_thread
    assert found.digest() == expected.digest()
    found.close()
    assert not threads()
