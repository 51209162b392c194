"""``make bench``: a large dataset through all three layers; its speed, and the memory it takes.

``make bench QUICK=1`` takes 0.2 GB in place of 2 GB. Figures are saved to ``benchmarks/results``.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from atdata_core import packable
from atdata_dagster import build_definitions, dataset_asset
from atdata_dagster.devnet import Devnet

_SAMPLE_BYTES = 224 * 224 * 3 * 4
_LIMIT_MB = 400


@packable
class Image:
    pixels: NDArray[np.float32]
    label: int


def main() -> int:
    quick = bool(os.environ.get("QUICK"))
    total = int((0.2 if quick else 2.0) * 1e9)
    with (
        tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=Path.cwd()) as folder,
        Devnet(Path(folder)).running() as net,
        tempfile.TemporaryDirectory() as home,
        dg.DagsterInstance.local_temp(home, {"telemetry": {"enabled": False}}) as instance,
    ):
        os.environ.update(net.env)
        _materialize(instance, "warm_up", 2)
        resting = _memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        seconds = _materialize(instance, "large", total // _SAMPLE_BYTES)
        peak = _memory_mb("VmHWM")
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "dataset_bytes": total,
        "resting_mb": round(resting),
        "peak_above_resting_mb": round(peak - resting),
        "seconds": {layer: round(value, 1) for layer, value in seconds.items()},
        "mb_per_second": {layer: round(total / 1e6 / value) for layer, value in seconds.items()},
    }
    print(json.dumps(result, indent=1))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / f"journey{'-quick' if quick else ''}.json").write_text(json.dumps(result, indent=1))
    return int(peak - resting > _LIMIT_MB)


def _materialize(instance: dg.DagsterInstance, name: str, count: int) -> dict[str, float]:
    @dataset_asset(Image, name=name, promote=("team", "atmosphere"))
    def chain() -> Iterator[Image]:
        rng = np.random.default_rng(0)
        for number in range(count):
            yield Image(pixels=rng.random((224, 224, 3), np.float32), label=number)

    defs = build_definitions(chain)
    started = time.monotonic()
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    print(f"{name}: {count} samples in {time.monotonic() - started:.1f} s", file=sys.stderr)
    stats = {s.step_key: s for s in instance.get_run_step_stats(result.run_id)}
    return {
        layer: (step.end_time or 0) - (step.start_time or 0)
        for layer in ("local", "team", "atmosphere")
        if (step := stats.get(f"{layer}__{name}"))
    }


def _memory_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    sys.exit(main())
