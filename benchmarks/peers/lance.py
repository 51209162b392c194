"""Lance."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from benchmarks.workloads import BATCH, Workload

_KINDS = {str: pa.string(), int: pa.int64(), float: pa.float64()}


def _type(kind: Any) -> Any:
    if isinstance(kind, tuple):
        dtype, shape = kind
        return pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), math.prod(shape))
    return _KINDS[kind]


def write(workload: Workload, samples: Iterator[dict[str, Any]], folder: Path) -> None:
    schema = pa.schema([(name, _type(kind)) for name, kind in workload.fields.items()])
    size = 1024 if workload.name in ("S", "E") else BATCH

    def parts() -> Iterator[Any]:
        while rows := list(islice(samples, size)):
            yield pa.record_batch(
                [_column(kind, [row[n] for row in rows]) for n, kind in workload.fields.items()],
                schema=schema,
            )

    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, parts()), str(folder / "data"))


def _column(kind: Any, values: list[Any]) -> Any:
    if isinstance(kind, tuple):
        flat = np.stack(values).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), math.prod(kind[1]))
    return pa.array(values, _KINDS[kind])


def batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    for batch in lance.dataset(str(folder / "data")).to_batches(batch_size=BATCH):
        columns = {}
        for name, kind in workload.fields.items():
            column = batch.column(name)
            if isinstance(kind, tuple):
                columns[name] = column.flatten().to_numpy().reshape(-1, *kind[1])
            else:
                columns[name] = column.to_pylist()
        yield columns
