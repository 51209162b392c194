"""WebDataset, in a layout of its own: one member a field."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import webdataset as wds

from benchmarks.peers.stacking import stacked
from benchmarks.workloads import BATCH, Workload

_EXTENSIONS = {str: "txt", int: "cls", float: "json"}


def _member(workload: Workload, name: str) -> str:
    kind = workload.fields[name]
    return f"{name}.{'npy' if isinstance(kind, tuple) else _EXTENSIONS[kind]}"


def write(workload: Workload, samples: Iterator[dict[str, Any]], folder: Path) -> None:
    members = [(name, _member(workload, name)) for name in workload.fields]
    maxcount = -(-workload.count // workload.shards)
    with wds.ShardWriter(f"{folder}/%06d.tar", maxcount=maxcount, maxsize=1e12, verbose=0) as sink:
        for number, row in enumerate(samples):
            sink.write(
                {"__key__": f"{number:09d}", **{member: row[name] for name, member in members}}
            )


def singles(workload: Workload, folder: Path) -> Iterator[Any]:
    files = [str(path) for path in sorted(folder.glob("*.tar"))]
    members = [_member(workload, name) for name in workload.fields]
    pipeline = wds.WebDataset(files, shardshuffle=False).decode()
    for sample in pipeline:
        yield {name: sample[member] for name, member in zip(workload.fields, members, strict=True)}


def batches(workload: Workload, folder: Path) -> Iterator[dict[str, Any]]:
    return stacked(workload, singles(workload, folder), BATCH)


def value(sample: Any, name: str) -> Any:
    return sample[name]
