"""Hugging Face's ``datasets``, in its numpy format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
from datasets.arrow_writer import ArrowWriter

from benchmarks.workloads import BATCH, Workload

_KINDS = {str: "string", int: "int64", float: "float64"}


def _feature(kind: Any) -> Any:
    if not isinstance(kind, tuple):
        return datasets.Value(_KINDS[kind])
    dtype, shape = kind
    if len(shape) == 1:
        return datasets.List(datasets.Value(dtype), length=shape[0])
    return datasets.Array3D(shape, dtype)


def write(workload: Workload, samples: Iterator[dict[str, Any]], folder: Path) -> None:
    features = datasets.Features({n: _feature(kind) for n, kind in workload.fields.items()})
    with ArrowWriter(features=features, path=str(folder / "data.arrow")) as writer:
        for row in samples:
            writer.write(row)
        writer.finalize()


def _dataset(workload: Workload, folder: Path) -> Any:
    # Without a dtype, all whole numbers become int64.
    [(name, (dtype, _))] = workload.arrays.items()
    return datasets.Dataset.from_file(str(folder / "data.arrow")).with_format(
        "numpy", columns=[name], output_all_columns=True, dtype=dtype
    )


def singles(workload: Workload, folder: Path) -> Iterator[Any]:
    return iter(_dataset(workload, folder))


def batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    return iter(_dataset(workload, folder).iter(batch_size=BATCH))


def value(sample: Any, name: str) -> Any:
    return sample[name]
