import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata_core as atdata
from atdata_core import Dataset, DatasetEntry, FileSource, Schema, Shard
from atdata_core.cid import raw_cid
from atdata_core.dataset import listed_dataset
from atdata_core.errors import IntegrityError, NotFoundError, SchemaError, ShardError
from atdata_core.shard import write_shards
from tests.support.samples import Item, Other, items, shard_file


@pytest.fixture
def paths(tmp_path):
    """Three shards of four samples each."""
    return [str(shard_file(tmp_path / f"d-{i}.tar", items(4, 4 * i))) for i in range(3)]


def test_samples_come_in_the_order_in_which_they_were_written(paths):
    dataset = Dataset[Item](paths)
    assert list(dataset.ordered()) == items(12)
    assert list(dataset) == items(12)
    assert list(Dataset[Item](paths[::-1]).ordered()) == items(4, 8) + items(4, 4) + items(4)


def test_a_pass_can_be_made_again_from_its_beginning(paths):
    ordered = Dataset[Item](paths).ordered()
    first = iter(ordered)
    next(first)
    assert list(ordered) == items(12)
    assert len([*first]) == 11


def test_batches_hold_as_many_as_asked_and_the_last_one_the_rest(paths):
    batches = list(Dataset[Item](paths).ordered(batch_size=5))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert [i for batch in batches for i in batch.id] == list(range(12))
    assert batches[0].data.shape == (5, 4)
    assert batches[0].samples == items(5)
    assert [len(b) for b in Dataset[Item](paths).ordered(batch_size=100)] == [12]
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="batch_size"):
            Dataset[Item](paths).ordered(batch_size=wrong)


@given(
    st.integers(0, 5), st.integers(0, 20), st.none() | st.integers(0, 9), st.sampled_from([None, 5])
)
def test_shuffling_gives_each_sample_once(tmp_path_factory, shards, samples, seed, batch):
    folder = tmp_path_factory.mktemp("s")
    paths = [str(shard_file(folder / f"{i}.tar", items(4, 4 * i))) for i in range(3)]
    shuffled = Dataset[Item](paths).shuffled(shards, samples, batch_size=batch, seed=seed)
    found = [i for b in shuffled for i in b.id] if batch else [s.id for s in shuffled]
    assert sorted(found) == list(range(12))


def test_a_seed_gives_the_same_order_again_and_none_gives_others(paths):
    def order(**options):
        return [sample.id for sample in Dataset[Item](paths).shuffled(**options)]

    assert order(seed=1) == order(seed=1)
    assert order(seed=1) != order(seed=2)
    assert order(seed=1) != list(range(12))
    shuffled = Dataset[Item](paths).shuffled()
    assert len({tuple(s.id for s in shuffled) for _ in range(5)}) > 1
    again = Dataset[Item](paths).shuffled(seed=3)
    assert [s.id for s in again] == [s.id for s in again]
    assert order(buffer_shards=0, buffer_samples=0) == list(range(12))


def test_nothing_is_read_before_it_is_asked_for(paths):
    opened = []

    class Watched(FileSource):
        def open_shard(self, shard_id):
            opened.append(shard_id)
            return super().open_shard(shard_id)

    dataset = Dataset(Watched(paths), Item)
    passing = iter(dataset.ordered())
    assert opened == []
    next(passing)
    assert opened == paths[:1]
    assert len([*passing]) == 11
    assert opened == paths


def test_paths_can_be_braces_wildcards_folders_and_pathlike(tmp_path, paths):
    for source in (
        str(tmp_path / "d-{0..2}.tar"),
        str(tmp_path / "d-*.tar"),
        str(tmp_path),
        tmp_path,
        paths,
        tuple(paths),
        FileSource(paths),
    ):
        dataset = Dataset[Item](source)
        assert dataset.list_shards() == paths
        assert len(list(dataset)) == 12


def test_the_type_stands_in_brackets_or_as_an_argument(paths):
    assert Dataset[Item](paths).sample_type is Item
    assert Dataset(paths, Item).sample_type is Item
    assert Dataset[Item](paths).schema == Schema.of(Item)
    with pytest.raises(SchemaError, match=r"Dataset\[MySample\]"):
        _ = Dataset(paths).sample_type
    with pytest.raises(SchemaError, match=r"Dataset\[MySample\]"):
        list(Dataset(paths))


def test_another_type_than_the_samples_is_an_error(paths):
    with pytest.raises(ValueError, match=r"d-0\.tar, sample 000000.*unknown fields"):
        list(Dataset[Other](paths))


def test_facts_of_shards_are_read_through_once(paths):
    dataset = Dataset[Item](paths)
    data = Path(paths[0]).read_bytes()
    assert dataset.shards[0] == Shard(paths[0], raw_cid(data), len(data), 4)
    assert dataset.shards is dataset.shards


def test_the_length_is_known_once_the_shards_were_counted(paths):
    dataset = Dataset[Item](paths)
    with pytest.raises(TypeError, match=r"dataset\.count"):
        len(dataset)
    assert sum(shard.rows for shard in dataset.shards) == 12
    assert len(dataset) == 12


def test_a_dataset_of_an_index_is_counted_without_reading_and_verified_on_reading(paths, tmp_path):
    known = Dataset[Item](paths).shards
    entry = DatasetEntry("digits", "ref", known, description="Some digits")
    schema = Schema.of(Item, version="3.0.0")
    dataset = listed_dataset(entry, schema, FileSource(paths), Item)
    assert (dataset.entry, dataset.schema) == (entry, schema)
    assert len(dataset) == 12
    assert dataset.shards == known
    assert list(dataset) == items(12)
    shard_file(tmp_path / "d-1.tar", items(4, 99))
    found = []
    with pytest.raises(IntegrityError, match=r"d-1\.tar"):
        found.extend(dataset.ordered())
    assert found == items(4)


def test_a_damaged_shard_is_never_a_shorter_dataset(paths, tmp_path):
    data = (tmp_path / "d-2.tar").read_bytes()
    (tmp_path / "d-2.tar").write_bytes(data[:2048])
    with pytest.raises(ShardError, match=r"d-2\.tar.*cut short"):
        list(Dataset[Item](paths))
    with pytest.raises(ShardError):
        _ = Dataset[Item](paths).shards


def test_a_missing_shard_is_told_by_its_path(paths):
    with pytest.raises(NotFoundError, match=r"gone\.tar"):
        list(Dataset[Item]([*paths, "gone.tar"]))


def test_the_representation_tells_type_and_source(paths):
    dataset = Dataset[Item](paths)
    assert repr(dataset) == "Dataset[…](FileSource(3 shards))"
    assert repr(Dataset(paths, Item)) == "Dataset[Item](FileSource(3 shards))"


def test_a_dataset_can_be_moved_between_processes(paths):
    dataset = pickle.loads(pickle.dumps(Dataset(paths, Item)))
    assert list(dataset) == items(12)


def test_load_dataset_takes_paths_with_a_type(paths, tmp_path):
    assert list(atdata.load_dataset(tmp_path, Item)) == items(12)
    assert list(atdata.load_dataset(str(tmp_path / "d-{0..1}.tar"), Item)) == items(8)
    with pytest.raises(SchemaError, match="load_dataset"):
        atdata.load_dataset(tmp_path)


def test_samples_of_many_shards_keep_their_own_memory(tmp_path):
    shards = list(write_shards(items(4), tmp_path, max_samples=2))
    one, two, *_ = Dataset([s.url for s in shards], Item)
    one.data[:] = 9
    np.testing.assert_array_equal(two.data, items(2)[1].data)


def test_a_folder_of_unevenly_named_shards_is_read_whole(tmp_path):
    for number, name in enumerate(("data.tar", "data-1.tar", "with a space.tar")):
        shard_file(tmp_path / name, items(2, 2 * number))
    dataset = atdata.load_dataset(tmp_path, Item)
    assert len(dataset.list_shards()) == 3
    assert sorted(sample.id for sample in dataset) == list(range(6))
