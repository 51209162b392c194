"""A small version of the endurance run: nothing lost, nothing left over, nothing made twice."""

import os
import sys

import pytest

from benchmarks.follow_endurance import endure

LOCATION = "benchmarks.endurance_location"


@pytest.fixture
def environment():
    """The run tells its code location by the environment; it is put back afterwards."""
    kept = dict(os.environ)
    sys.modules.pop(LOCATION, None)
    yield
    sys.modules.pop(LOCATION, None)
    os.environ.clear()
    os.environ.update(kept)


@pytest.mark.filterwarnings("ignore:Parameter `include_sources`")
@pytest.mark.parametrize("source", ["poll", "firehose"])
def test_followers_that_are_killed_lose_nothing(services, tmp_path, environment, source):
    outcome = endure(
        services, tmp_path, source=source, publishers=2, seconds=8.0, pause_s=0.8, patience_s=100.0
    )
    assert str(outcome) == "0 lost, 0 ghosts, 0 materialized twice", outcome
    assert outcome.lost == outcome.ghosts == outcome.twice == []
    assert outcome.kills >= 2
    assert outcome.made >= outcome.records > 0
    assert set(outcome.writes) == {"create", "change", "delete"}
