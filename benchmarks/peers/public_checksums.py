"""The public package ``atdata``, with the checksum of each file that it wrote.

``write_samples`` computes none; its stores do, with this function, after each shard that they write
(``atdata.stores.LocalDiskStore.write_shards``, which reads the samples from a dataset first).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atdata._helpers import sha256_file

from benchmarks.peers import public_atdata
from benchmarks.workloads import Workload

prepare = public_atdata.prepare


def write(workload: Workload, samples: Iterator[Any], folder: Path) -> None:
    public_atdata.write(workload, samples, folder)
    assert all(len(sha256_file(path)) == 64 for path in folder.glob("*.tar"))
