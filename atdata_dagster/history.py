"""What Dagster remembers of an asset: its latest materialization, its partitions."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

_PARTITION_TAG = "dagster/partition"


def latest_materialization(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None
) -> dg.AssetMaterialization | None:
    """The latest materialization of an asset, or of one partition of it.

    Args:
        instance: Dagster's memory.
        key: The asset.
        partition: The partition.
    """
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=key, asset_partitions=None if partition is None else [partition]
        ),
        limit=1,
    ).records
    return records[0].asset_materialization if records else None


def plain_metadata(materialization: dg.AssetMaterialization | None) -> Mapping[str, Any]:
    """The metadata of a materialization as plain values; nothing if there is none."""
    if materialization is None:
        return {}
    return {key: value.value for key, value in materialization.metadata.items()}


def partitions_of_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, key: dg.AssetKey
) -> Sequence[str | None]:
    """The partitions of an asset that a run concerns: its own, else all that there are.

    Args:
        instance: Dagster's memory.
        run: The run.
        key: The asset.

    Returns:
        Partition keys; ``[None]`` for an asset without partitions.
    """
    there = instance.get_materialized_partitions(key)
    own = run.tags.get(_PARTITION_TAG)
    if own in there:
        return [own]
    return sorted(there) or [None]
