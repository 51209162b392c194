"""Memory doesn't grow with the size of a shard, on the way up and on the way back.

What a blob waits in while it is verified isn't Python's memory, and isn't counted here: its bound
is held to in `tests/unit/test_spool.py`, and measured in `tests/unit/test_readahead.py`.
"""

import secrets
import tracemalloc

import pytest

import atdata_core as atdata
from atdata_core import AtmosphereIndex, FileIndex, LocalIndex, PDSBlobStore, S3DataStore
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.promotion import promote
from tests.support.samples import Item, items

SIZE = 24_000_000
"""Bytes of the shard: fewer than S3 takes in one piece, and a PDS as one blob."""


@pytest.fixture
def peak():
    """Calls a function; the most bytes that it held at once, above what was there before."""

    def measured(function):
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function()
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    yield measured
    tracemalloc.stop()


@pytest.fixture
def local(tmp_path):
    """A dataset of one shard, of many samples."""
    index = FileIndex(tmp_path / "local")
    samples = (items(1, number, width=25_000)[0] for number in range(SIZE // 101_000))
    entry = index.write_samples(samples, name="big", sample_type=Item).entry
    assert len(entry.shards) == 1
    assert entry.size > 0.9 * SIZE
    return index, entry


def test_no_shard_lies_in_memory_on_its_way(services, redis_url, bucket, local, peak):
    index, entry = local
    account = services.create_account(f"t{secrets.token_hex(5)}")
    with AtmosphereClient() as client, LocalIndex(redis_url, S3DataStore(bucket=bucket)) as team:
        client.login(account.handle, account.app_password)
        public = AtmosphereIndex(client, data_store=PDSBlobStore(client))
        for target, small in ((team, items(1)), (public, items(1))):  # libraries are loaded
            target.write_samples(small, name="small", sample_type=Item)
        assert peak(lambda: promote(entry, index, team)) < SIZE / 3
        entry = team.get_dataset("big")
        assert peak(lambda: promote(entry, team, public)) < SIZE / 3
        uri = public.get_dataset("big").uri

    def read():
        for sample in atdata.load_dataset(uri, Item):
            assert sample.data.size == 25_000

    atdata.load_dataset(uri, Item).head(1)
    assert peak(read) < SIZE / 2  # blocks of 4 MB, not the blob


def test_a_table_is_written_in_the_memory_of_a_row_group(tmp_path, peak):
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = FileIndex(tmp_path / "local")

    def write(name, count):
        samples = (items(1, number, width=25_000)[0] for number in range(count))
        index.write_samples(samples, name=name, sample_type=Item, max_bytes=8_000_000)
        target = tmp_path / f"{name}.parquet"
        dataset = index.open_dataset(name, Item)
        held = peak(lambda: dataset.to_parquet(target, row_group=20))
        assert pq.ParquetFile(target).metadata.num_row_groups == count // 20
        # Arrow's own memory isn't traced by Python.
        return held, pa.default_memory_pool().max_memory()

    write("first", 20)  # libraries are loaded
    small, large = write("small", 700), write("large", 1800)
    for few, many in zip(small, large, strict=True):
        assert many < 1.3 * few
