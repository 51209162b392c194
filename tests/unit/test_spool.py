"""Bytes that wait: in memory or in a file, they are the same, at any place."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_core.files import InMemory
from atdata_core.shard import read_samples, verified, write_shards
from atdata_core.spool import Spool
from tests.support.samples import Item, items

PLACES = st.tuples(st.integers(0, 40), st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]))


@given(st.lists(st.binary(max_size=20), max_size=5), st.lists(PLACES, max_size=5))
@pytest.mark.parametrize("limit", [1, 16, 1 << 20])
def test_what_was_written_is_read_at_any_place(limit, pieces, places):
    filled = Spool(limit)
    for piece in pieces:
        filled.write(piece)
    whole = io.BytesIO(b"".join(pieces))
    with filled.whole() as stream:
        assert isinstance(stream, InMemory) == (len(whole.getvalue()) <= limit)
        assert stream.read(7) == whole.read(7)
        for place, whence in places:
            assert stream.seek(place, whence) == whole.seek(place, whence)
            assert stream.read(9) == whole.read(9)
    with pytest.raises(ValueError):
        stream.read(1)


@pytest.mark.parametrize(("width", "in_memory"), [(100_000, True), (1_000_000, False)])
def test_a_verified_shard_waits_in_memory_up_to_28_mib(tmp_path, width, in_memory):
    samples = items(9, width=width)
    [shard] = write_shards(samples, tmp_path, max_bytes=1 << 30)
    assert (shard.size <= 28 << 20) == in_memory
    body = Path(shard.url).read_bytes()
    with verified(io.BytesIO(body), shard.cid, "here") as stream:
        assert isinstance(stream, InMemory) == in_memory
        assert list(read_samples(stream, Item, "here")) == samples
