"""One measurement in a process of its own: ``python -m benchmarks.measure '{…}'``.

It runs in the peer's environment, so it imports nothing but NumPy and the peer's module. What is
read lies in the page cache, and the first sample or batch, which is held to what was written, is
not part of the time.
"""

import contextlib
import dataclasses
import importlib
import itertools
import json
import mmap
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import BATCH, WORKLOADS, Workload

_TOGETHER = 64
"""The clock is looked at after so many."""
_WARM = 512 << 20
"""Bytes of memory that are touched before the clock starts: more than an operation needs."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What to measure.

    Args:
        peer: A module of `benchmarks.peers`.
        operation: A name of `benchmarks.goals.OPERATIONS`.
        workload: A name of `WORKLOADS`.
        count: The number of samples of the workload.
        folder: Where the peer's data of it are.
        seconds: After so long it is enough, even if there is more.
    """

    peer: str
    operation: str
    workload: str
    count: int
    folder: str
    seconds: float


def measure(job: Job) -> float:
    """Samples a second."""
    peer = importlib.import_module(f"benchmarks.peers.{job.peer}")
    workload = dataclasses.replace(WORKLOADS[job.workload], count=job.count)
    folder = Path(job.folder)
    if job.operation == "write":
        return _written(peer, workload, folder, job.seconds)
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()
    if job.operation == "random":
        return _at_random(peer, workload, folder, job.seconds)
    read = getattr(peer, job.operation)
    batched = job.operation.endswith("batches")
    step = 1 if batched else _TOGETHER
    if job.peer != "limit":
        _check(peer, workload, next(read(workload, folder)), job.operation)
    _warm_memory()
    done, started, spent = 0, time.perf_counter(), 0.0
    while spent < job.seconds / 4:
        items = iter(read(workload, folder))
        count = -1
        while count and spent < job.seconds:
            count = 0
            for count, item in enumerate(itertools.islice(items, step), 1):  # noqa: B007
                pass
            if count:
                done += len(next(iter(item.values()))) if batched else count
            spent = time.perf_counter() - started
        if done < 1:
            raise RuntimeError(f"{job.peer} read nothing")
    with contextlib.suppress(AttributeError):
        items.close()
    return done / spent


def _warm_memory() -> None:
    """Has the machine own the memory that is about to be used.

    A virtual one may give back to its host what has been free for seconds, by the huge page (free
    page reporting, docs.kernel.org/mm/free_page_reporting.html), and gets it again when it is
    touched: files were written at 0.4 GB/s so, and at 3.3 after this.
    """
    with mmap.mmap(-1, _WARM, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1


def _written(peer: Any, workload: Workload, folder: Path, seconds: float) -> float:
    rows = workload.rows()
    pool = getattr(peer, "prepare", lambda _, rows: rows)(workload, rows)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _warm_memory()
    done = 0
    started = time.perf_counter()

    def some() -> Iterator[list[Any]]:
        nonlocal done
        endless = itertools.cycle(pool)
        while done < workload.count and time.perf_counter() - started < seconds:
            part = list(itertools.islice(endless, min(_TOGETHER, workload.count - done)))
            done += len(part)
            yield part

    peer.write(workload, itertools.chain.from_iterable(some()), folder)
    return done / (time.perf_counter() - started)


def _at_random(peer: Any, workload: Workload, folder: Path, seconds: float) -> float:
    dataset = peer.by_number(workload, folder)
    for number in range(0, workload.count, max(1, workload.count // workload.shards // 2)):
        _check_sample(peer, workload, dataset[number], number)
    numbers = itertools.cycle([random.randrange(workload.count) for _ in range(100_000)])
    done = 0
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds / 2:
        for number in itertools.islice(numbers, _TOGETHER):
            dataset[number]
        done += _TOGETHER
    return done / spent


def _check(peer: Any, workload: Workload, first: Any, operation: str) -> None:
    if operation == "singles":
        _check_sample(peer, workload, first, 0)
    elif operation == "batches":
        for number, row in enumerate(workload.rows()[:BATCH]):
            for name, wanted in row.items():
                _equal(first[name][number], wanted, name)
    else:
        several = (BATCH,) if operation == "shuffled_batches" else ()
        for name, (_, shape) in workload.arrays.items():
            found = first[name] if several else peer.value(first, name)
            assert found.shape == several + shape


def _check_sample(peer: Any, workload: Workload, sample: Any, number: int) -> None:
    for name, wanted in workload.rows()[number % workload.variety].items():
        _equal(peer.value(sample, name), wanted, name)


def _equal(found: Any, wanted: Any, name: str) -> None:
    if isinstance(wanted, np.ndarray):
        found = np.asarray(found)
        assert found.dtype == wanted.dtype, f"{name}: {found.dtype}"
        assert np.array_equal(found, wanted), f"{name} is not what was written"
    else:
        assert found == wanted, f"{name}: {found!r}, not {wanted!r}"


if __name__ == "__main__":
    job = Job(**json.loads(sys.argv[1]))
    print("RESULT " + json.dumps(measure(job)), flush=True)
