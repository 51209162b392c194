"""What the Dagster plugin costs beyond Dagster and the core.

A step is timed as Dagster times it, over an instance in SQLite files as `dagster dev` has one, so
the events that Dagster writes of it are in it.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np

from atdata_core.indexes.files import FileIndex
from atdata_dagster import LocalIOManager, LocalResource, build_definitions, dataset_asset
from benchmarks.peers.ours import Bytes

_STEPS = 7
_SAMPLES = 200
_IMPORT = """
import dagster, numpy, time
started = time.process_time()
import atdata_dagster
for name in atdata_dagster.__all__:
    getattr(atdata_dagster, name)
print(1000 * (time.process_time() - started))
"""


def import_ms() -> float:
    """The processor's time to import all names of `atdata_dagster` where Dagster and NumPy are.

    All modules are compiled before, as pip does when it installs them.
    """
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-c", _IMPORT]
        for _ in range(2):
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    return float(done.stdout)


def step_ms(folder: Path) -> float:
    """A step that writes a small dataset, less the time of the core call that it makes."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        home, plain, root = (Path(temporary) / name for name in ("home", "plain", "root"))
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            found = [
                _step_ms(instance, root, number) - _core_ms(plain, number)
                for number in range(_STEPS)
            ]
    return statistics.median(found[1:])  # what the first one loads is loaded


def _samples(number: int) -> Iterator[Bytes]:
    for place in range(_SAMPLES):
        image = np.full((8, 8, 3), (place + number) % 256, np.uint8)
        yield Bytes(image=image, name=str(place), score=float(place))


def _core_ms(root: Path, number: int) -> float:
    started = time.perf_counter()
    FileIndex(root).write_samples(_samples(number), name="small", sample_type=Bytes)
    return 1000 * (time.perf_counter() - started)


def _step_ms(instance: dg.DagsterInstance, root: Path, number: int) -> float:
    @dataset_asset(Bytes, name="small", checks=False, preview=False)
    def small() -> Iterator[Bytes]:
        yield from _samples(number)

    layer = LocalIOManager(layer=LocalResource(root=str(root)))
    job = build_definitions(
        small, resources={"local": layer}
    ).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, asset_selection=[small.key()])
    [step] = [event for event in result.all_events if event.is_step_success]
    [made] = result.get_asset_materialization_events()
    assert made.step_materialization_data.materialization.metadata["atdata/changed"].value
    return float(step.step_success_data.duration_ms)
