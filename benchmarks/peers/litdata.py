"""LitData, in one process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from litdata import StreamingDataset
from litdata.streaming.writer import BinaryWriter

from benchmarks.peers.stacking import stacked
from benchmarks.workloads import BATCH, Workload


def write(workload: Workload, samples: Iterator[dict[str, Any]], folder: Path) -> None:
    writer = BinaryWriter(str(folder), chunk_bytes="64MB")
    for number, row in enumerate(samples):
        writer[number] = row
    writer.done()
    writer.merge()


def singles(workload: Workload, folder: Path) -> Iterator[Any]:
    return iter(StreamingDataset(str(folder), shuffle=False))


def batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    return stacked(workload, singles(workload, folder), BATCH)


def value(sample: Any, name: str) -> Any:
    return sample[name]
