"""Splits of a dataset."""

import pytest

import atdata_core as atdata
from atdata_core import Dataset, DatasetDict, errors
from atdata_core.splits import split_of
from tests.support.samples import Item, Other, items, shard_file


@pytest.mark.parametrize(
    ("address", "split"),
    [
        ("digits-train-000.tar", "train"),
        ("data/train/000.tar", "train"),
        ("digits_training.tar", "train"),
        ("s3://bucket/val/0.tar", "validation"),
        ("dev.tar", "validation"),
        ("a/test/train-0.tar", "train"),
        ("latest.tar", None),
        ("trainer/contest.tar", None),
    ],
)
def test_a_name_tells_its_split(address, split):
    assert split_of(address) == split


@pytest.fixture
def folder(tmp_path):
    for name, start in (("train-0", 0), ("train-1", 10), ("val-0", 20), ("test-0", 30)):
        shard_file(tmp_path / f"{name}.tar", items(10, start))
    return tmp_path


def test_a_folder_of_splits(folder):
    splits = atdata.load_splits(folder, Item)
    assert {name: ds.count() for name, ds in splits.items()} == {
        "test": 10,
        "train": 20,
        "validation": 10,
    }
    assert [s.id for s in atdata.load_dataset(folder, Item, split="validation")] == [*range(20, 30)]
    assert atdata.load_dataset(folder, Item).count() == 40


def test_a_split_that_is_not_there(folder):
    with pytest.raises(errors.NotFoundError, match="test, train, validation") as caught:
        atdata.load_dataset(folder, Item, split="extra")
    assert isinstance(caught.value, LookupError)


def test_some_names_that_tell_nothing(folder):
    shard_file(folder / "more.tar", items(1))
    with pytest.raises(errors.NotFoundError, match=r"more\.tar"):
        atdata.load_splits(folder, Item)


def test_names_that_tell_no_split_are_for_training(tmp_path):
    shard_file(tmp_path / "0.tar", items(3))
    assert list(atdata.load_splits(tmp_path, Item)) == ["train"]


def test_splits_by_hand(folder):
    told = {"a": str(folder / "train-*.tar"), "b": str(folder / "test-0.tar")}
    splits = atdata.load_splits(told, Item)
    assert {name: ds.count() for name, ds in splits.items()} == {"a": 20, "b": 10}


def test_splits_in_an_index(folder, tmp_path):
    index = atdata.FileIndex(tmp_path / "index")
    for name in ("train", "test"):
        index.insert_dataset(Dataset(str(folder / f"{name}-*.tar"), Item), name=f"items-{name}")
    splits = atdata.load_splits("items-{train,test}", index=index)
    assert {name: len(ds) for name, ds in splits.items()} == {"train": 20, "test": 10}
    with pytest.raises(errors.ConfigurationError, match="one split"):
        atdata.load_splits("items-{train,train}", index=index)


def test_what_is_done_is_done_to_each(folder):
    splits = atdata.load_splits(folder, Item)
    assert isinstance(splits, DatasetDict)
    even = splits.filter(lambda item: item.id % 2 == 0)
    assert even["train"].count() == 10
    assert [s.id for s in splits.as_type(Other)["test"]] == [*range(30, 40)]
    assert splits.map(lambda item: item.id)["test"].head(2) == [30, 31]
    assert len(splits.shards()["train"]) == 2
    assert "train" in splits
