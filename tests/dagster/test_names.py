"""Asset keys and names of datasets stand for each other."""

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_dagster.names import (
    LAYERS,
    AssetName,
    dataset_key,
    escape_partition,
    parse_key,
    schema_key,
)


@pytest.mark.parametrize("layer", LAYERS)
def test_keys_are_read_back(layer):
    assert parse_key(dataset_key("a/b", layer)) == AssetName("dataset", "a/b")
    assert parse_key(schema_key("Digit", layer)) == AssetName("schema", "Digit")


def test_a_foreign_key_is_a_dataset_called_by_its_path():
    assert parse_key(dg.AssetKey(["raw", "images"])) == AssetName("dataset", "raw/images")


def test_a_partition_is_the_last_part_of_the_name():
    key = dataset_key("digits")
    assert parse_key(key, "2026-11-23") == AssetName("dataset", "digits/2026-11-23")


@given(st.text(min_size=1))
def test_no_partition_key_can_leave_its_dataset(key):
    escaped = escape_partition(key)
    assert "/" not in escaped
    assert "\\" not in escaped
    assert "\0" not in escaped
    assert escaped not in (".", "..")


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_partition_keys_never_become_one(one, other):
    assert (escape_partition(one) == escape_partition(other)) == (one == other)
