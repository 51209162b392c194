"""The public package ``atdata``."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import atdata
from numpy.typing import NDArray

from benchmarks.workloads import BATCH, Workload


@atdata.packable
class Small:
    x: NDArray
    label: int


@atdata.packable
class Image:
    image: NDArray
    name: str
    score: float


@atdata.packable
class Embedding:
    text: str
    vector: NDArray
    source: str


TYPES: dict[str, type] = {"S": Small, "I8": Image, "I32": Image, "E": Embedding}


def prepare(workload: Workload, rows: list[dict[str, Any]]) -> list[Any]:
    return [TYPES[workload.name](**row) for row in rows]


def write(workload: Workload, samples: Iterator[Any], folder: Path) -> None:
    maxcount = -(-workload.count // workload.shards)
    atdata.write_samples(samples, folder / "data.tar", maxcount=maxcount)


def dataset(workload: Workload, folder: Path) -> Any:
    files = sorted(folder.glob("*.tar"))
    url = f"{folder}/data-{{000000..{len(files) - 1:06d}}}.tar" if len(files) > 1 else str(files[0])
    return atdata.Dataset[TYPES[workload.name]](url)


def batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    return _fields(workload, dataset(workload, folder).ordered(batch_size=BATCH))


def shuffled_batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    return _fields(workload, dataset(workload, folder).shuffled(batch_size=BATCH))


def _fields(workload: Workload, batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield {name: getattr(batch, name) for name in workload.fields}


def singles(workload: Workload, folder: Path) -> Iterator[Any]:
    return iter(dataset(workload, folder).ordered())


def shuffled(workload: Workload, folder: Path) -> Iterator[Any]:
    return iter(dataset(workload, folder).shuffled())


def value(sample: Any, name: str) -> Any:
    return getattr(sample, name)
