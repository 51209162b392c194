"""Splits: the parts of one dataset, for training, validation and testing."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Generic, TypeVar

from atdata_core.dataset import Dataset
from atdata_core.errors import NotFoundError
from atdata_core.lens import Lens

T = TypeVar("T")
V = TypeVar("V")

_NAMES = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
_NAMES |= {"validation": "validation", "dev": "validation", "test": "test", "testing": "test"}
_WORD = re.compile(r"[A-Za-z]+")


class DatasetDict(Mapping[str, Dataset[T]], Generic[T]):
    """Datasets by the name of their split: ``splits["train"]``.

    What is done to it is done to each split.

    Args:
        splits: The datasets, by name.
    """

    def __init__(self, splits: Mapping[str, Dataset[T]]) -> None:
        self._splits = dict(splits)

    @classmethod
    def from_huggingface(cls, splits: Mapping[str, Any], sample_type: type[T] | None = None) -> Any:
        """The splits of a Hugging Face ``datasets.DatasetDict``.

        Raises:
            ConfigurationError: One is no such dataset, or ``datasets`` is not installed.
            SchemaError: No type can be made from the features.
        """
        made: dict[str, Dataset[T]] = {
            name: Dataset.from_huggingface(rows, sample_type) for name, rows in splits.items()
        }
        return cls(made)

    def __getitem__(self, name: str) -> Dataset[T]:
        """The dataset of a split; raises `NotFoundError`, a `LookupError`, if there is none."""
        if name not in self._splits:
            raise NotFoundError(
                "dataset has no such split", expected=", ".join(self._splits), got=repr(name)
            )
        return self._splits[name]

    def __contains__(self, name: object) -> bool:
        return name in self._splits

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)

    def __repr__(self) -> str:
        return f"DatasetDict({self._splits!r})"

    def map(self, function: Callable[[T], V], to: type[V] | None = None) -> "DatasetDict[V]":
        """Each split after `Dataset.map`."""
        return DatasetDict({name: ds.map(function, to) for name, ds in self.items()})

    def filter(self, predicate: Callable[[T], bool]) -> "DatasetDict[T]":
        """Each split after `Dataset.filter`."""
        return DatasetDict({name: ds.filter(predicate) for name, ds in self.items()})

    def as_type(self, view_type: type[V], lens: Lens[Any, V] | None = None) -> "DatasetDict[V]":
        """Each split after `Dataset.as_type`."""
        return DatasetDict({name: ds.as_type(view_type, lens) for name, ds in self.items()})

    def shards(self) -> dict[str, list[str]]:
        """The addresses of each split's shards."""
        return {name: ds.list_shards() for name, ds in self.items()}


def split_of(address: str) -> str | None:
    """The split that a name or a path tells, or None: the last word in it that names one.

    ``digits-train-000.tar``, ``data/train/000.tar`` and ``digits_training.tar`` are of ``train``;
    ``val``, ``valid``, ``dev`` and ``validation`` all mean ``validation``.
    """
    for part in reversed(PurePosixPath(address).parts):
        found = [_NAMES[w.lower()] for w in _WORD.findall(part) if w.lower() in _NAMES]
        if found:
            return found[-1]
    return None


def by_split(addresses: Sequence[str], where: str) -> dict[str, list[str]]:
    """Addresses by the split that they tell, those that tell none under ``train``.

    Only what comes after the folder that holds them all is looked at: where a user keeps his data
    says nothing of them.

    Raises:
        NotFoundError: Some tell a split, and others none.
    """
    found: dict[str, list[str]] = {}
    silent: list[str] = []
    folders = [PurePosixPath(address).parts[:-1] for address in addresses]
    levels = zip(*folders, strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda level: len(set(level)) == 1, levels))
    for address in addresses:
        split = split_of("/".join(PurePosixPath(address).parts[common:]))
        (silent if split is None else found.setdefault(split, [])).append(address)
    if silent and found:
        raise NotFoundError(
            "some shards tell their split by their name, and some don't",
            where=where,
            got=silent[0],
            remedy="Name the files of each split: DatasetDict({'train': Dataset(…), …})",
        )
    return found or {"train": silent}
