"""Dagster instances for tests, and chains of assets on the session's services."""

import uuid

import dagster as dg
import pytest


@pytest.fixture
def instance():
    """A Dagster instance of its own, in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def fresh():
    """A word that no other test uses, for the names of datasets."""
    return f"t{uuid.uuid4().hex[:10]}"
