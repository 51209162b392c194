"""MosaicML Streaming, in one process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory

from benchmarks.peers.stacking import stacked
from benchmarks.workloads import BATCH, Workload

_KINDS = {str: "str", int: "int", float: "float64"}


def _column(kind: Any) -> str:
    if isinstance(kind, tuple):
        dtype, shape = kind
        return f"ndarray:{dtype}:{','.join(map(str, shape))}"
    return _KINDS[kind]


def write(workload: Workload, samples: Iterator[dict[str, Any]], folder: Path) -> None:
    columns = {name: _column(kind) for name, kind in workload.fields.items()}
    with MDSWriter(out=str(folder), columns=columns, size_limit="64mb", exist_ok=True) as writer:
        for row in samples:
            writer.write(row)


def singles(workload: Workload, folder: Path) -> Iterator[Any]:
    clean_stale_shared_memory()
    return iter(StreamingDataset(local=str(folder), batch_size=BATCH, shuffle=False))


def batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    return stacked(workload, singles(workload, folder), BATCH)


def value(sample: Any, name: str) -> Any:
    return sample[name]
