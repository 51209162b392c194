"""The example on Pipes: a process without Dagster writes what Dagster knows by its CID."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from atdata_core import LocalIndex, S3DataStore
from atdata_dagster import build_definitions, dataset_asset

# Dagster's own client calls both (1.13.27).
pytestmark = pytest.mark.filterwarnings(
    "ignore:AssetExecutionContext.run_id is deprecated",
    "ignore:.*expected_writer_count",
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "pipes"


@pytest.fixture
def other_machine(services, redis_url, bucket, tmp_path, monkeypatch):
    """An interpreter that has no Dagster, and a team's layer with nothing in it."""
    hidden = tmp_path / "hidden"
    for name in ("dagster", "atdata_dagster"):
        (hidden / name).mkdir(parents=True)
        (hidden / name / "__init__.py").write_text('raise ImportError("not on this machine")')
    # `-S`-like isolation would lose the packages of the tests; these two hide what is behind them.
    python = tmp_path / "python"
    path = os.pathsep.join(filter(None, [str(hidden), os.environ.get("PYTHONPATH")]))
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("MEASURE_PYTHON", str(python))
    monkeypatch.setenv("ATDATA_REDIS_URL", redis_url)
    monkeypatch.setenv("ATDATA_S3_BUCKET", bucket)
    return python


@pytest.fixture
def example(monkeypatch):
    """The example's definitions, in this process."""
    monkeypatch.syspath_prepend(EXAMPLE)
    for name in ("location", "readings"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import location
    import readings

    yield location, readings
    for name in ("location", "readings"):
        sys.modules.pop(name, None)


def execute(defs, instance, selection=None):
    job = dg.define_asset_job("all_of_it", selection=selection or "*")
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    result = merged.resolve_job_def("all_of_it").execute_in_process(instance=instance)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    return {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    }


def test_dagster_is_not_there(other_machine):
    done = subprocess.run([other_machine, "-c", "import dagster"], capture_output=True, text=True)
    assert "not on this machine" in done.stderr


def test_a_process_without_dagster_writes_what_a_chain_would(other_machine, example, instance):
    location, readings = example

    @dataset_asset(readings.Reading, first="team", license="CC0-1.0")
    def by_a_chain():
        yield from readings.measure()

    found = execute(location.defs, instance)
    chain = execute(build_definitions(by_a_chain), instance)["team/by_a_chain"]
    piped = found["team/readings"]
    assert piped.tags["dagster/data_version"] == chain.tags["dagster/data_version"]
    for key in ("dagster/row_count", "atdata/cid", "atdata/bytes", "atdata/shards"):
        assert piped.metadata[key] == chain.metadata[key]
    assert piped.metadata["dagster/uri"].value == chain.metadata["dagster/uri"].value.replace(
        "by_a_chain", "readings"
    )
    with LocalIndex(data_store=S3DataStore()) as team:
        assert team.get_dataset("readings").cid == piped.tags["dagster/data_version"]
        stations = [each.station for each in team.open_dataset("loud_readings").ordered()]
    assert stations == ["south", "west"]
    assert "atmosphere/loud_readings" in found


def test_measuring_the_same_again_is_no_news(other_machine, example, instance):
    location, _ = example
    first, second = (execute(location.defs, instance, ["team/readings"]) for _ in range(2))
    versions = {each["team/readings"].tags["dagster/data_version"] for each in (first, second)}
    assert len(versions) == 1
