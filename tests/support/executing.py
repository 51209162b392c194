"""One code location, and the same job under each executor, for `tests/dagster/test_executors.py`.

What steps have in common is in the environment: Redis, S3, PDS, and Dagster's own memory.
"""

from collections.abc import Iterator

import dagster as dg
import numpy as np
from dagster_celery import celery_executor
from numpy.typing import NDArray

from atdata_core import Dataset, packable
from atdata_dagster import build_definitions, dataset_asset

EXECUTORS = {
    "in_process": dg.in_process_executor,
    # Forked from a process that has imported all; with new ones, which are the default, the README
    # and the tutorial are followed.
    "multiprocess": dg.multiprocess_executor.configured(
        {
            "max_concurrent": 2,
            "start_method": {"forkserver": {"preload_modules": ["atdata_dagster"]}},
        }
    ),
    "celery": celery_executor.configured(
        {"broker": {"env": "BROKER_URL"}, "backend": {"env": "BROKER_URL"}}
    ),
}


@packable
class Point:
    """A point in the plane."""

    xy: NDArray[np.float32]
    name: str


def sample_points() -> Iterator[Point]:
    """Ten of them."""
    for number in range(10):
        yield Point(xy=np.array([number, -number], np.float32), name=f"p{number}")


@dataset_asset(Point, first="team", promote=("atmosphere",), max_samples=4)
def points() -> Iterator[Point]:
    """Ten points."""
    yield from sample_points()


@dataset_asset(Point, first="team")
def evens(points: Dataset[Point]) -> Iterator[Point]:
    """Every other one."""
    yield from (point for number, point in enumerate(points) if number % 2 == 0)


@dataset_asset(Point, promote=("team",))
def kept() -> Iterator[Point]:
    """One point, in a folder of one machine at first."""
    yield Point(xy=np.zeros(2, np.float32), name="origin")


TRAVELLING = [*points, *evens]
defs = build_definitions(
    points,
    evens,
    kept,
    jobs=[
        job
        for name, executor in EXECUTORS.items()
        for job in (
            dg.define_asset_job(
                f"travel_{name}",
                selection=dg.AssetSelection.assets(*TRAVELLING),
                executor_def=executor,
            ),
            dg.define_asset_job(
                f"keep_{name}",
                selection=["schema/Point", "local/kept"],
                executor_def=executor,
            ),
            dg.define_asset_job(
                f"pass_on_{name}",
                selection=["team/schema/Point", "team/kept"],
                executor_def=executor,
            ),
        )
    ],
)
