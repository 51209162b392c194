"""What is done to samples applies in its order, however they are read."""

import itertools
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.errors import (
    ConfigurationError,
    LensError,
    NotFoundError,
    SampleError,
    SchemaError,
)
from atdata_core.lens import Lens
from atdata_core.shard import write_shards
from atdata_core.shares import Share


@atdata.packable
class Point:
    number: int
    data: NDArray[np.float32]


@atdata.packable
class Number:
    number: int


@atdata.packable
class Word:
    text: str


def points(count):
    return [Point(i, np.full(2, i, np.float32)) for i in range(count)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """23 points in 5 shards."""
    folder = tmp_path_factory.mktemp("points")
    paths = [shard.url for shard in write_shards(points(23), folder, max_samples=5)]
    return atdata.Dataset[Point](paths)


def double(point: Point) -> Point:
    return Point(point.number * 2, point.data)


def small(point):
    return point.number < 20


def flat(iteration):
    """The samples of single ones or of batches."""
    for item in iteration:
        yield from item.samples if isinstance(item, atdata.SampleBatch) else [item]


READINGS = {
    "one by one": lambda d: d.ordered(),
    "in batches": lambda d: d.ordered(batch_size=4),
    "shuffled": lambda d: d.shuffled(seed=3),
    "shuffled in batches": lambda d: d.shuffled(2, 6, 4, seed=3),
}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_map_and_filter_apply_in_the_order_written(dataset, reading):
    after = sorted(p.number for p in flat(reading(dataset.map(double).filter(small))))
    before = sorted(p.number for p in flat(reading(dataset.filter(small).map(double))))
    assert after == [2 * n for n in range(10)]
    assert before == [2 * n for n in range(20)]


def test_the_dataset_itself_stays_as_it_was(dataset):
    dataset.map(double).filter(small)
    assert [p.number for p in dataset] == list(range(23))


def test_batches_of_a_mapped_type_are_of_that_type(dataset):
    def to_word(point: Point) -> Word:
        return Word(str(point.number))

    mapped = dataset.map(to_word)
    assert mapped.sample_type is Word
    batch = next(iter(mapped.ordered(batch_size=3)))
    assert isinstance(batch, atdata.SampleBatch)
    assert batch.text == ["0", "1", "2"]


def test_a_map_to_anything_else_gives_lists(dataset):
    mapped = dataset.map(lambda p: p.number)
    assert next(iter(mapped.ordered(batch_size=3))) == [0, 1, 2]
    with pytest.raises(SchemaError, match="to=Type"):
        mapped.sample_type  # noqa: B018


def test_a_map_that_gives_something_else_than_it_says_is_an_error(dataset):
    with pytest.raises(SampleError, match="Word"):
        list(dataset.map(lambda p: p, to=Word))


def test_views_go_through_lenses_one_after_the_other(dataset):
    to_word = Lens(lambda n: Word(str(n.number)), source_type=Number, view_type=Word)
    words = dataset.as_type(Number).map(lambda n: Number(n.number + 1), to=Number)
    assert [w.text for w in words.as_type(Word, to_word).head(3)] == ["1", "2", "3"]
    with pytest.raises(LensError):
        dataset.as_type(Word)
    with pytest.raises(SchemaError):
        dataset.as_type(Word, to_word)


def test_an_error_in_a_map_names_the_sample(dataset):
    def fail(point):
        return 1 // (point.number - 7)

    with pytest.raises(ZeroDivisionError) as caught:
        list(dataset.map(fail))
    assert "sample 000000007" in caught.value.__notes__[0]


def test_a_transformed_dataset_has_no_shards_of_its_own(dataset):
    for other in (dataset.map(double), dataset.filter(small), dataset.shard_for(0, 2)):
        assert other.is_transformed
        with pytest.raises(ConfigurationError, match="not those of its shards"):
            other.shards  # noqa: B018


def test_inserting_a_transformed_dataset_writes_what_it_hands_out(dataset, tmp_path):
    index = atdata.FileIndex(tmp_path)
    index.insert_dataset(dataset, name="all")
    index.insert_dataset(dataset.filter(small).as_type(Number), name="few")
    assert list(index.open_dataset("few", Number)) == [Number(i) for i in range(20)]
    assert index.open_dataset("all").count() == 23


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("order", ["ordered", "shuffled"])
@pytest.mark.parametrize("stop", [0, 1, 3, 5, 6])
def test_a_pass_goes_on_at_the_very_next_sample(dataset, order, batch_size, stop):
    def start():
        if order == "ordered":
            return dataset.filter(lambda p: p.number % 3).ordered(batch_size)
        return dataset.map(double).shuffled(2, 6, batch_size, seed=11).repeat(2)

    whole = [p.number for p in flat(start())]
    iteration = start()
    going = iter(iteration)
    taken = [p.number for p in flat(itertools.islice(going, stop))]
    state = json.loads(json.dumps(iteration.state_dict()))
    again = start()
    again.load_state_dict(state)
    assert taken + [p.number for p in flat(again)] == whole
    assert [p.number for p in flat(again)] == whole  # the pass after that begins anew


@settings(max_examples=50)
@given(st.integers(0, 45), st.integers(0, 30), st.integers(1, 6), st.none() | st.integers(1, 9))
def test_a_shuffled_pass_can_stop_anywhere(dataset, stop, buffer_samples, buffer_shards, size):
    def start():
        return dataset.shuffled(buffer_shards, buffer_samples, size, seed=5).repeat(2)

    whole = [p.number for p in flat(start())]
    going = iter(start())
    taken = [p.number for p in flat(itertools.islice(going, stop))]
    again = start()
    again.load_state_dict(going.state_dict())
    assert taken + [p.number for p in flat(again)] == whole


def test_a_state_of_another_dataset_or_order_is_refused(dataset, tmp_path):
    other = [shard.url for shard in write_shards(points(3), tmp_path)]
    state = dataset.shuffled(seed=1).state_dict()
    for iteration in (
        atdata.Dataset[Point](other).shuffled(seed=1),
        dataset.shuffled(seed=2),
        dataset.ordered(),
        dataset.shuffled(50, seed=1),
    ):
        with pytest.raises(ConfigurationError, match="state"):
            iteration.load_state_dict(state)
    with pytest.raises(ConfigurationError, match="damaged"):
        dataset.shuffled(seed=1).load_state_dict({**state, "rows": [-1]})


def test_every_epoch_has_an_order_of_its_own_and_all_samples(dataset):
    numbers = [p.number for p in dataset.shuffled(seed=1).repeat(3)]
    epochs = [numbers[i : i + 23] for i in range(0, 69, 23)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert [p.number for p in dataset.shuffled(seed=1, epoch=1)] == epochs[1]


def test_two_passes_at_once_do_not_disturb_each_other(dataset):
    iteration = dataset.ordered()
    pairs = list(zip(iteration, iteration, strict=True))
    assert all(left == right for left, right in pairs)
    assert len(pairs) == 23


@pytest.mark.parametrize("shards", [1, 2, 5, 9])
@pytest.mark.parametrize("readers", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("order", ["ordered", "shuffled"])
def test_readers_divide_a_dataset_without_overlap(tmp_path, shards, readers, order, batch_size):
    paths = [s.url for s in write_shards(points(18), tmp_path, max_samples=-(-18 // shards))]
    whole = atdata.Dataset[Point](paths)
    seen = Counter()
    for rank in range(readers):
        part = whole.shard_for(rank, readers)
        if order == "ordered":
            reading = part.ordered(batch_size)
        else:
            reading = part.shuffled(buffer_samples=4, batch_size=batch_size, seed=1)
        seen.update(p.number for p in flat(reading))
    assert seen == Counter(range(18))


def test_shares_of_shares_are_shares():
    parts = {Share(i, 2).divided(Share(j, 3)) for i in range(2) for j in range(3)}
    assert parts == {Share(k, 6) for k in range(6)}
    with pytest.raises(ConfigurationError):
        Share(2, 2)


def test_ranks_are_taken_from_the_environment(dataset, monkeypatch):
    seen = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        seen += [p.number for p in dataset.split_by_worker()]
    assert sorted(seen) == list(range(23))
    monkeypatch.setenv("RANK", "x")
    with pytest.raises(ConfigurationError, match="RANK"):
        list(dataset.split_by_worker())


def test_single_samples_are_found_by_number_and_key(dataset):
    assert dataset[0].number == 0
    assert dataset[-1].number == 22
    assert dataset[11] == points(23)[11]
    assert [p.number for p in dataset[20:]] == [20, 21, 22]
    assert [p.number for p in dataset[::10]] == [0, 10, 20]
    assert [p.number for p in dataset.select([7, 3, 7, -1])] == [7, 3, 7, 22]
    assert dataset.get("000000013").number == 13
    assert dataset.map(double)[4].number == 8
    for wrong in (23, -24):
        with pytest.raises(IndexError, match="23 samples"):
            dataset[wrong]
    with pytest.raises(NotFoundError, match="nine"):
        dataset.get("nine")
    with pytest.raises(ConfigurationError, match="filter"):
        dataset.filter(small)[0]


class Counting(atdata.FileSource):
    def __init__(self, paths):
        super().__init__(paths)
        self.opened = Counter()

    def open_shard(self, shard_id):
        self.opened[shard_id] += 1
        return super().open_shard(shard_id)


def test_a_sample_opens_only_the_shards_up_to_its_own_and_those_once(dataset):
    source = Counting(dataset.list_shards())
    counted = atdata.Dataset[Point](source)
    assert counted[7].number == 7
    first, second, *_ = dataset.list_shards()
    assert set(source.opened) == {first, second}
    source.opened.clear()
    assert counted[8].number == 8
    assert not source.opened


def test_making_a_list_reads_everything_once(dataset):
    source = Counting(dataset.list_shards())
    assert len(list(atdata.Dataset[Point](source))) == 23
    assert set(source.opened.values()) == {1}


def test_head_reads_no_more_than_it_needs(dataset):
    source = Counting(dataset.list_shards())
    assert [p.number for p in atdata.Dataset[Point](source).head(3)] == [0, 1, 2]
    assert len(source.opened) == 1
    assert dataset.head(0) == []


def test_a_dataset_describes_itself(dataset):
    assert dataset.column_names == ["number", "data"]
    assert dataset.as_type(Number).column_names == ["number"]
    described = dataset.describe()
    assert described["sample_type"] == "Point"
    assert described["shards"] == 5
    assert dataset.count() == 23
    assert dataset.filter(small).count() == 20


def test_reading_in_the_background_of_pytorch_needs_no_pytorch(dataset):
    code = (
        "import sys, atdata_core as a; d = a.Dataset[object]([]); "
        "print('torch' in sys.modules, list(d.split_by_worker().shuffled(seed=1)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "[]"]
