"""What a step hands to an IO manager, and the Dagster types of datasets."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from atdata_core import Dataset, DatasetEntry, Schema, StrongRef
from atdata_core.shard import DEFAULT_MAX_SAMPLES
from atdata_core.sources import expand


@dataclass(frozen=True)
class SampleStream:
    """Samples to be written as a dataset, one by one, and what is to be said of them.

    An asset that yields a `SampleStream` in a ``dg.Output`` holds no more than one shard at a
    time, however large the dataset is::

        return dg.Output(SampleStream(Digit, read_digits()))

    Args:
        sample_type: The packable type of the samples.
        samples: The samples; a generator will do.
        description: For people.
        tags: Words to find the dataset by.
        license: An SPDX identifier.
        metadata: Whatever else belongs to it.
        max_samples: The most samples in a shard.
        max_bytes: The most bytes in a shard; by default 25 MB, or what the layer takes.
        preview: Whether a few samples are looked at on their way, for Dagster's page.
        derived_from: The records that the samples were made from.
    """

    sample_type: type
    samples: Iterable[Any]
    description: str | None = None
    tags: tuple[str, ...] = ()
    license: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    max_samples: int = DEFAULT_MAX_SAMPLES
    max_bytes: int | None = None
    preview: bool = True
    derived_from: tuple[StrongRef, ...] = ()


MAX_SOURCES = 100
"""The most records that a record can say it was derived from."""


def sources_of(values: Iterable[object]) -> tuple[StrongRef, ...]:
    """The records that stand behind datasets: their own, else those that they were derived from.

    Args:
        values: What a step is given: datasets, entries, dicts of them; all else says nothing.

    Returns:
        Links without repetition, the first `MAX_SOURCES` of them.
    """
    found: dict[StrongRef, None] = {}
    for value in values:
        parts = value.values() if isinstance(value, Mapping) else [value]
        for part in parts:
            entry = part.entry if isinstance(part, Dataset) else part
            if isinstance(entry, DatasetEntry):
                own = entry.strong_ref
                found.update(dict.fromkeys(entry.derived_from if own is None else (own,)))
    return tuple(found)[:MAX_SOURCES]


def is_dataset(value: object) -> bool:
    """Whether a value is a dataset, or several of them by partition key."""
    if isinstance(value, Mapping):
        return all(isinstance(part, Dataset) for part in value.values())
    return isinstance(value, Dataset)


class DatasetType(dg.DagsterType):
    """The Dagster type of ``Dataset[sample_type]``, which tells an IO manager what to read into.

    Args:
        sample_type: A packable type.
    """

    def __init__(self, sample_type: type) -> None:
        self.sample_type = sample_type
        super().__init__(
            type_check_fn=lambda _, value: is_dataset(value),
            name=f"Dataset_{sample_type.__name__}",
            description=f"A dataset of {Schema.of(sample_type)}",
            typing_type=Dataset,
        )


@functools.lru_cache(maxsize=1024)
def dataset_type(sample_type: type) -> DatasetType:
    """The one Dagster type of ``Dataset[sample_type]``: Dagster allows no second of its name."""
    return DatasetType(sample_type)


EntryType = dg.DagsterType(
    type_check_fn=lambda _, value: isinstance(value, DatasetEntry),
    name="DatasetEntry",
    description="What an index says of a dataset; none of its data",
    typing_type=DatasetEntry,
)


def files_entry(name: str, files: Sequence[str], sample_type: type) -> DatasetEntry:
    """What an index would say of tar files, which are read through for it.

    Args:
        name: What the dataset is called.
        files: Paths, with braces or wildcards if you like.
        sample_type: What the samples are.

    Raises:
        NotFoundError: One of them isn't there.
        ShardError: One of them is not a whole, legal shard.
    """
    return DatasetEntry(
        name, "", Dataset(expand_all(files), sample_type).shards, Schema.of(sample_type).cid
    )


def expand_all(files: Sequence[str]) -> list[str]:
    """The paths that texts with braces or wildcards stand for, in order."""
    return [path for text in files for path in expand(text)]
