"""Batches for peers that hand out maps one by one."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.workloads import Workload


def stacked(
    workload: Workload, samples: Iterator[dict[str, Any]], size: int
) -> Iterator[dict[str, Any]]:
    """Samples put together: arrays stacked, the rest as lists."""
    while batch := list(islice(samples, size)):
        yield {
            name: np.stack([sample[name] for sample in batch])
            if isinstance(kind, tuple)
            else [sample[name] for sample in batch]
            for name, kind in workload.fields.items()
        }
