"""A dataset that another machine writes, and one that is made from it here."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from readings import Reading

from atdata_core import Dataset
from atdata_dagster import build_dataset_checks, build_definitions, dataset_asset

SCRIPT = Path(__file__).with_name("measure.py")


@dg.asset(key=["team", "readings"], io_manager_key="team", kinds={"redis", "s3"})
def readings(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """What three stations measured, written where they are."""
    python = os.environ.get("MEASURE_PYTHON", sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        run = pipes.run(context=context, command=[python, str(SCRIPT)], cwd=folder)
    return run.get_materialize_result()


@dataset_asset(Reading, first="team", promote=("atmosphere",), license="CC0-1.0")
def loud_readings(readings: Dataset[Reading]) -> Iterator[Reading]:
    """Those that went beyond 100."""
    yield from (reading for reading in readings if reading.signal.max() > 100)


defs = build_definitions(
    loud_readings,
    assets=[readings],
    asset_checks=build_dataset_checks(
        readings.key, sample_type=Reading, include=("schema", "rows", "same_content", "shards")
    ),
    resources={"pipes": dg.PipesSubprocessClient()},
)
