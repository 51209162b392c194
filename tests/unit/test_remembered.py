"""Where a file's samples lie is remembered from one pass to the next, while nobody touches it."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core import Dataset, known, members, scatter
from atdata_core.errors import ShardError
from atdata_core.files import SameFile
from atdata_core.known import KnownFiles
from atdata_core.remembered import remembered
from atdata_core.sample import pack
from atdata_core.shard import write_shards
from tests.support.samples import tar_of


@atdata.packable
class Row:
    x: NDArray[np.float32]
    label: int


@atdata.packable
class Picture:
    image: NDArray[np.uint8]
    box: NDArray[np.int32]
    name: str


COUNT = 5003
"""Samples of 1 KB or more: several windows, with few samples in the last one."""


@pytest.fixture(autouse=True)
def long_there(monkeypatch):
    """Files count as not touched for long, however new they are."""
    monkeypatch.setattr(known, "_RECENT_S", 0)


def another(shard, samples):
    """The bytes of another shard."""
    (shard.parent / "other").mkdir()
    [other] = write_shards(samples, shard.parent / "other")
    return Path(other.url).read_bytes()


def rows(count=COUNT, first=0):
    return [Row(x=np.full(64 + n % 3, n, np.float32), label=n) for n in range(first, first + count)]


@pytest.fixture
def shard(tmp_path):
    [shard] = write_shards(rows(), tmp_path)
    time.sleep(0.02)
    return Path(shard.url)


def is_remembered(path):
    with path.open("rb") as stream:
        return remembered(SameFile.of(stream)) is not None


def labels(dataset, skip=0):
    return [sample.label for sample in dataset][skip:]


def test_the_second_pass_looks_at_no_header(shard, monkeypatch):
    looked = []
    find = members.plain_run
    monkeypatch.setattr(members, "plain_run", lambda *a: looked.append(a[1]) or find(*a))
    dataset = Dataset(str(shard), Row)
    assert labels(dataset) == list(range(COUNT))
    assert len(looked) > 2
    looked.clear()
    for sample, number in zip(dataset, range(COUNT), strict=True):
        assert sample.label == number
        assert (sample.x == number).all()
        assert len(sample.x) == 64 + number % 3
    batches = list(Dataset(str(shard), Row).ordered(32, ragged="list"))
    assert [n for batch in batches for n in batch.label] == list(range(COUNT))
    assert sorted(labels(dataset.shuffled(seed=1))) == list(range(COUNT))
    assert dataset[COUNT - 1].label == COUNT - 1
    assert dataset.get("000002500").label == 2500
    assert dataset.count() == COUNT
    assert not looked


def test_a_file_of_some_age_is_remembered(shard, monkeypatch):
    """Without any change to what counts as recent."""
    monkeypatch.undo()
    labels(Dataset(str(shard), Row))
    assert not is_remembered(shard)
    time.sleep(known._RECENT_S + 0.2)
    labels(Dataset(str(shard), Row))
    assert is_remembered(shard)


def test_single_samples_and_passes_learn_from_each_other(shard, monkeypatch):
    assert Dataset(str(shard), Row)[7].label == 7
    monkeypatch.setattr(members, "plain_run", None)
    assert labels(Dataset(str(shard), Row)) == list(range(COUNT))


@pytest.mark.parametrize("skip", [1, 31, 2047, 4999, COUNT - 1, COUNT])
def test_a_pass_is_taken_up_where_it_was_left(shard, skip):
    dataset = Dataset(str(shard), Row)
    assert labels(dataset) == list(range(COUNT))
    assert is_remembered(shard)
    going = iter(dataset.ordered())
    for _ in range(skip):
        next(going)
    again = dataset.ordered()
    again.load_state_dict(going.state_dict())
    assert labels(again) == list(range(skip, COUNT))


def test_state_of_more_samples_than_there_are_is_an_error(shard):
    dataset = Dataset(str(shard), Row)
    labels(dataset)
    going = iter(dataset.ordered())
    next(going)
    state = going.state_dict()
    again = dataset.ordered()
    again.load_state_dict({**state, "row": COUNT + 1})
    with pytest.raises(ShardError, match="fewer samples"):
        list(again)


def test_a_file_that_was_touched_is_read_anew(shard):
    """Other samples, as many bytes, with the time of change that the file had."""
    dataset = Dataset(str(shard), Row)
    labels(dataset)
    before = shard.stat()
    body = another(shard, rows(first=1000))
    assert len(body) == before.st_size
    with shard.open("r+b") as file:
        file.write(body)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not is_remembered(shard)
    assert labels(dataset) == list(range(1000, 1000 + COUNT))


def test_a_file_that_was_just_written_is_not_remembered(shard, monkeypatch):
    monkeypatch.setattr(known, "_RECENT_S", 60)
    labels(Dataset(str(shard), Row))
    monkeypatch.setattr(known, "_RECENT_S", 0)
    assert not is_remembered(shard)


def test_what_was_touched_while_it_was_read_is_not_remembered(shard):
    going = iter(Dataset(str(shard), Row))
    next(going)
    os.utime(shard)
    assert sum(1 for _ in going) == COUNT - 1
    assert not is_remembered(shard)


@pytest.mark.parametrize("batch_size", [None, 16])
def test_a_file_that_is_cut_short_in_the_second_pass_is_an_error(shard, batch_size):
    dataset = Dataset(str(shard), Row)
    labels(dataset)
    going = iter(dataset.ordered(batch_size, ragged="list") if batch_size else dataset)
    next(going)
    os.truncate(shard, 3 << 20)
    with pytest.raises(ShardError, match="cut short"):
        list(going)


def test_a_file_that_is_written_over_in_the_second_pass_gives_what_it_holds(shard):
    """Its samples lie at other places now."""
    dataset = Dataset(str(shard), Row)
    labels(dataset)
    going = iter(dataset)
    found = [next(going).label]
    longer = [Row(x=np.zeros(400, np.float32), label=n) for n in range(COUNT)]
    with shard.open("r+b") as file:
        file.write(another(shard, longer))
    found += [sample.label for sample in going]
    assert found == list(range(COUNT))


def test_only_plain_shards_of_numbered_small_samples_are_remembered(tmp_path):
    bodies = [pack(sample) for sample in rows(9)]
    named = [(f"{n:03d}", body) for n, body in enumerate(bodies)]
    shards = {
        "numbered": [(f"{key}.msgpack", body) for key, body in named],
        "with-a-gap": [(f"{key}.msgpack", body) for key, body in named if key != "004"],
        "wider-later": [(f"{key + '0' * (key > '004')}.msgpack", body) for key, body in named],
        "named": [(f"x{key}.msgpack", body) for key, body in named],
        "another-member": [*((f"{key}.msgpack", body) for key, body in named), ("a.txt", b"a")],
    }
    large = Row(x=np.zeros(9000, np.float32), label=0)
    shards["large"] = [(f"{key}.msgpack", pack(large)) for key, _ in named]
    for name, entries in shards.items():
        path = tmp_path / f"{name}.tar"
        path.write_bytes(tar_of(entries))
    time.sleep(0.02)
    for name in shards:
        for _ in range(2):
            assert sum(1 for _ in Dataset(str(tmp_path / f"{name}.tar"), Row)) in (8, 9)
        assert is_remembered(tmp_path / f"{name}.tar") == (name == "numbered"), name


def test_a_pass_that_was_not_ended_leaves_nothing(shard):
    going = iter(Dataset(str(shard), Row))
    for _ in range(3000):
        next(going)
    going.close()
    assert not is_remembered(shard)


def test_what_lies_between_large_arrays_is_read_once_and_never_handed_out(tmp_path, monkeypatch):
    made = [
        Picture(
            image=np.full((99, 999), n, np.uint8), box=np.arange(n, n + 4, dtype="i4"), name="n"
        )
        for n in range(70)
    ]
    [shard] = write_shards(made, tmp_path)
    time.sleep(0.02)
    read = []
    find = scatter._Rest.read
    monkeypatch.setattr(scatter._Rest, "read", lambda *a: read.append(find(*a)) or read[-1])
    dataset = Dataset(shard.url, Picture)
    for reads in (True, False, False):
        for number, sample in enumerate(dataset):
            assert sample == made[number]
            sample.box[:] = sample.image[:] = 0
        assert any(read) == reads
        read.clear()
        for batch in dataset.ordered(8):
            assert (batch.box[:, 0] == batch.image[:, 0, 0]).all()
            batch.box[:] = batch.image[:] = 0
    os.utime(shard.url)
    assert list(dataset) == made
    assert any(read)


@atdata.packable
class Photo:
    image: NDArray[np.uint8]
    name: str
    score: float | None


@atdata.packable
class Framed:
    photo: Photo
    name: str


@pytest.mark.parametrize("kind", [Photo, Framed])
def test_what_is_decoded_between_large_arrays_is_nobodys_to_change(tmp_path, monkeypatch, kind):
    decoded = []
    find = scatter._Rest.decoded
    monkeypatch.setattr(
        scatter._Rest, "decoded", lambda *a: decoded.append(find(*a)) or decoded[-1]
    )
    made = [Photo(image=np.full((99, 999), n, "u1"), name=f"{n}", score=n) for n in range(70)]
    if kind is Framed:
        made = [Framed(photo=photo, name=photo.name) for photo in made]
    [shard] = write_shards(made, tmp_path)
    time.sleep(0.02)
    dataset = Dataset(shard.url, kind)
    for number in range(3):
        assert list(dataset) == made
        assert any(decoded) == (number == 0 or kind is Framed)
        for batch in dataset.ordered(8):
            for name, values in vars(batch).items():
                if isinstance(values, list) and not name.startswith("_"):
                    if name == "photo":
                        for photo in values:
                            photo.name = "changed"
                            photo.image[:] = 0
                    values[:] = ["changed"] * len(values)
        decoded.clear()


def test_when_there_is_no_room_all_else_is_forgotten():
    files: KnownFiles[str] = KnownFiles(10)
    for number, (name, size) in enumerate([("a", 4), ("b", 6), ("c", 5), ("d", 11)]):
        files.note((number,), name, size)
        if name == "b":
            assert [files.of((number,)) for number in range(4)] == ["a", "b", None, None]
    assert [files.of((number,)) for number in range(4)] == [None, None, "c", None]
    files.note(None, "e")
    assert files.of(None) is None
