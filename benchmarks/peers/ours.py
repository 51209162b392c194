"""atdata_core."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata_core import Dataset, packable
from atdata_core.shard import write_shards
from benchmarks.workloads import BATCH, Workload


@packable
class Small:
    x: NDArray[np.float32]
    label: int


@packable
class Bytes:
    image: NDArray[np.uint8]
    name: str
    score: float


@packable
class Floats:
    image: NDArray[np.float32]
    name: str
    score: float


@packable
class Embedding:
    text: str
    vector: NDArray[np.float32]
    source: str


TYPES: dict[str, type] = {"S": Small, "I8": Bytes, "I32": Floats, "E": Embedding}


def prepare(workload: Workload, rows: list[dict[str, Any]]) -> list[Any]:
    return [TYPES[workload.name](**row) for row in rows]


def write(workload: Workload, samples: Iterator[Any], folder: Path) -> None:
    shards = write_shards(
        samples, folder, max_samples=-(-workload.count // workload.shards), max_bytes=1 << 30
    )
    assert all(shard.cid for shard in shards)


def dataset(workload: Workload, folder: Path) -> Dataset[Any]:
    return Dataset(str(folder / "*.tar"), TYPES[workload.name])


def batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    return _fields(workload, dataset(workload, folder).ordered(BATCH))


def shuffled_batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    return _fields(workload, dataset(workload, folder).shuffled(batch_size=BATCH))


def _fields(workload: Workload, batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield {name: getattr(batch, name) for name in workload.fields}


def singles(workload: Workload, folder: Path) -> Iterator[Any]:
    return iter(dataset(workload, folder).ordered())


def shuffled(workload: Workload, folder: Path) -> Iterator[Any]:
    return iter(dataset(workload, folder).shuffled())


def by_number(workload: Workload, folder: Path) -> Dataset[Any]:
    return dataset(workload, folder)


def value(sample: Any, name: str) -> Any:
    return getattr(sample, name)
