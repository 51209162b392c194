"""A large dataset through all three layers: its speed, and the memory it takes."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from atdata_core import packable
from atdata_dagster import build_definitions, dataset_asset
from atdata_dagster.devnet import Devnet
from benchmarks.figures import memory_mb

_SAMPLE_BYTES = 224 * 224 * 3 * 4


@packable
class Image:
    pixels: NDArray[np.float32]
    label: int


def measure(*, quick: bool) -> dict[str, Any]:
    """Seconds and MB/s of each layer, and the memory that it took above resting."""
    total = int((0.2 if quick else 2.0) * 1e9)
    with (
        tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=Path.cwd()) as folder,
        Devnet(Path(folder)).running() as net,
        tempfile.TemporaryDirectory() as home,
        dg.DagsterInstance.local_temp(home, {"telemetry": {"enabled": False}}) as instance,
    ):
        os.environ.update(net.env)
        _materialize(instance, "warm_up", 2)
        resting = memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        seconds = _materialize(instance, "large", total // _SAMPLE_BYTES)
        peak = memory_mb("VmHWM")
    return {
        "dataset_bytes": total,
        "resting_mb": round(resting),
        "peak_above_resting_mb": round(peak - resting),
        "seconds": {layer: round(value, 1) for layer, value in seconds.items()},
        "mb_per_second": {layer: round(total / 1e6 / value) for layer, value in seconds.items()},
    }


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
