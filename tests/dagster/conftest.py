"""Dagster instances for tests, and chains of assets on the session's services."""

import uuid

import dagster as dg
import pytest


@pytest.fixture
def instance():
    """A Dagster instance of its own, in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="session")
def postgres():
    """A Postgres of the session's own."""
    from tests.support.postgres import Postgres

    with Postgres() as server:
        yield server


@pytest.fixture
def kept_instance(request, tmp_path):
    """A Dagster instance on SQLite or Postgres, as the test says by
    ``@pytest.mark.parametrize("kept_instance", ["sqlite", "postgres"], indirect=True)``.
    """
    if request.param == "sqlite":
        yield request.getfixturevalue("instance")
        return
    home = tmp_path / "home"
    home.mkdir()
    url = request.getfixturevalue("postgres").create(f"d{uuid.uuid4().hex}")
    said = f"telemetry: {{enabled: false}}\nstorage: {{postgres: {{postgres_url: '{url}'}}}}\n"
    (home / "dagster.yaml").write_text(said)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def fresh():
    """A word that no other test uses, for the names of datasets."""
    return f"t{uuid.uuid4().hex[:10]}"
