"""Rounds of measurements, each in a fresh process."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.environments import ROOT
from benchmarks.goals import OPERATIONS
from benchmarks.measure import Job
from benchmarks.workloads import WORKLOADS

Rates = dict[tuple[str, str, str], list[float]]
"""By peer, operation and workload: samples a second in each round."""

_PARTS = {
    "ours": tuple(OPERATIONS),
    "public_atdata": ("batches", "singles", "shuffled", "shuffled_batches", "write"),
    "public_checksums": ("write",),
    "limit": ("batches", "write"),
    "anew": ("batches", "singles", "shuffled"),
}
"""What is measured of whom; of others, batches."""
_OF_OTHERS = ("limit", "anew", "public_checksums")
"""They read what we wrote, or read nothing."""

_TIMEOUT = 300


class Runner:
    """Measures peers.

    Args:
        pythons: The interpreter of each peer, by its name; among them those of this package.
        folder: Where data go.
        quick: Whether with fewer samples, in less time.
    """

    def __init__(self, pythons: Mapping[str, str], folder: Path, *, quick: bool) -> None:
        self._pythons = dict(pythons)
        self._folder = folder
        self._quick = quick
        self.problems: dict[str, str] = {}
        """What didn't work, by peer, operation and workload."""

    def prepare(self) -> None:
        """Has each peer write its data, once."""
        for peer in self._pythons:
            for workload in WORKLOADS if peer not in _OF_OTHERS else ():
                folder = self._folder / peer / workload
                part = folder.with_name(f"{workload}-part")
                if not folder.exists():
                    print(f"{peer} writes {workload} …", file=sys.stderr, flush=True)
                    if self._run(self._job(peer, "write", workload, part, 1000.0)) is not None:
                        part.rename(folder)

    def rounds(self, count: int) -> Rates:
        """Goes through everything several times."""
        rates: Rates = defaultdict(list)
        for number in range(count):
            print(f"round {number + 1} of {count} …", file=sys.stderr, flush=True)
            for peer, operation, workload in self._cells():
                fresh = operation == "write"
                folder = self._folder / peer / (f"{workload}-written" if fresh else workload)
                seconds = 0.4 if self._quick else 1.5
                if fresh:
                    os.sync()  # or the kernel slows this one down for what others wrote
                rate = self._run(self._job(peer, operation, workload, folder, seconds))
                if fresh:
                    shutil.rmtree(folder, ignore_errors=True)
                if rate is not None:
                    rates[peer, operation, workload].append(rate)
        return rates

    def _cells(self) -> Iterator[tuple[str, str, str]]:
        for workload in WORKLOADS:
            for operation in OPERATIONS:
                for peer in self._pythons:
                    known = f"{peer} {operation} {workload}" in self.problems
                    if operation in _PARTS.get(peer, ("batches",)) and not known:
                        yield peer, operation, workload

    def _job(self, peer: str, operation: str, workload: str, folder: Path, seconds: float) -> Job:
        kind = WORKLOADS[workload]
        count = kind.quick if self._quick else kind.count
        return Job(peer, operation, workload, count, str(folder), seconds)

    def _run(self, job: Job) -> float | None:
        command = [self._pythons[job.peer], "-W", "ignore", "-m", "benchmarks.measure"]
        try:
            done = subprocess.run(
                [*command, json.dumps(dataclasses.asdict(job))],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
            lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            problem = done.stderr.strip()[-1500:]
        except subprocess.TimeoutExpired:
            lines, problem = [], f"not done within {_TIMEOUT} s"
        if not lines:
            if job.peer == "ours":
                raise RuntimeError(problem)
            print(f"{job.peer} {job.operation} {job.workload}: {problem}", file=sys.stderr)
            self.problems[f"{job.peer} {job.operation} {job.workload}"] = problem[-200:]
            return None
        rate: float = json.loads(lines[-1].removeprefix("RESULT "))
        return rate
