"""What Dagster shows of a dataset or schema: its standard keys, and ours under ``atdata/``."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np

from atdata_core import AbstractIndex, DatasetEntry, Schema
from atdata_core.errors import AtdataError
from atdata_core.evolution import changes
from atdata_core.fields import Field
from atdata_core.fieldtypes import NDArrayType
from atdata_core.indexes import Insertion
from atdata_dagster.resources import LayerResource
from atdata_dagster.text import markdown, plain


def dataset_metadata(insertion: Insertion, schema: Schema, layer: LayerResource) -> dict[str, Any]:
    """The metadata of a materialized dataset.

    Args:
        insertion: What the IO manager did.
        schema: What the samples are.
        layer: Where the dataset is.
    """
    entry = insertion.entry
    found: dict[str, Any] = {
        "dagster/column_schema": column_schema(schema),
        "dagster/uri": layer.uri_of(entry),
        "dagster/storage_kind": layer.storage_kind,
        "atdata/cid": entry.cid,
        "atdata/schema_cid": entry.schema_cid,
        "atdata/schema_ref": entry.schema_ref,
        "atdata/shards": len(entry.shards),
        "atdata/changed": insertion.created,
        "atdata/bytes_moved": insertion.moved,
        "atdata/license": plain(entry.license, 200) if entry.license else "unknown",
        "atdata/previous": entry.previous,
        "atdata/record_cid": entry.record_cid,
        "dagster/row_count": entry.rows,
        "atdata/bytes": entry.size,
        **layer.facts(),
    }
    if entry.uri is not None:
        found["atdata/record"] = dg.MetadataValue.url(entry.uri)
    if len(entry.shards) <= _MAX_SHARD_ROWS:
        found["atdata/shard_table"] = _shard_table(entry)
    return {key: value for key, value in found.items() if value is not None}


_COUNTED = {"rows": "dagster/row_count", "bytes": "atdata/bytes", "shards": "atdata/shards"}


def change_metadata(
    before: Mapping[str, Any], insertion: Insertion, schema: Schema, index: AbstractIndex
) -> dict[str, Any]:
    """What is other than it was when the dataset was last materialized; nothing the first time.

    Args:
        before: The plain metadata of that materialization.
        insertion: What the IO manager did now.
        schema: What the samples are now.
        index: The layer's index, which knows the former schema.
    """
    entry = insertion.entry
    now = {"rows": entry.rows, "bytes": entry.size, "shards": len(entry.shards)}
    found: dict[str, Any] = {}
    lines = []
    for what, key in _COUNTED.items():
        old, new = before.get(key), now[what]
        if not isinstance(old, int) or new is None:
            continue
        found[f"atdata/{what}_delta"] = new - old
        if new != old:
            lines.append(f"- {what}: {old:,} → {new:,} ({new - old:+,})")
    lines += _schema_changes(before, schema, index)
    if before and not lines:
        same = before.get("atdata/cid") == entry.cid
        lines = ["Nothing." if same else "- other samples, as many as before"]
    return {**found, "atdata/changes": dg.MetadataValue.md("\n".join(lines))} if lines else found


def _schema_changes(before: Mapping[str, Any], schema: Schema, index: AbstractIndex) -> list[str]:
    ref = before.get("atdata/schema_ref")
    if not ref or before.get("atdata/schema_cid") == schema.cid:
        return []
    try:
        old = index.load_schema(str(ref))
    except AtdataError:  # what was said once need not be there for ever
        return [f"- another schema than {markdown(ref, 200)}"]
    return [f"- {markdown(change, 200)}" for change in changes(old, schema)[:_MAX_CHANGES]]


def schema_metadata(schema: Schema, ref: str, layer: LayerResource) -> dict[str, Any]:
    """The metadata of a registered schema.

    Args:
        schema: The schema.
        ref: Its reference in the layer's index.
        layer: Where it is registered.
    """
    return {
        "dagster/column_schema": column_schema(schema),
        "dagster/uri": ref,
        "dagster/storage_kind": layer.storage_kind,
        "atdata/schema_cid": schema.cid,
        "atdata/schema_version": schema.version,
        **layer.facts(),
    }


def column_schema(schema: Schema) -> dg.TableSchema:
    """A sample type as Dagster's columns: a field each, with dtype and shape."""
    return dg.TableSchema(columns=[_column(field) for field in schema.fields])


def _column(field: Field) -> dg.TableColumn:
    tags = {}
    if isinstance(field.type, NDArrayType) and field.type.dtype is not None:
        tags = {"dtype": np.dtype(field.type.dtype).name}
    return dg.TableColumn(
        name=field.name,
        type=str(field.type),
        constraints=dg.TableColumnConstraints(nullable=field.optional),
        tags=tags,
    )


_MAX_SHARD_ROWS = 50
_MAX_CHANGES = 50


def _shard_table(entry: DatasetEntry) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "rows": shard.rows or 0,
                    "bytes": shard.size or 0,
                    "cid": shard.cid or "",
                    "url": shard.url,
                }
            )
            for shard in entry.shards
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("rows", "int"),
                dg.TableColumn("bytes", "int"),
                dg.TableColumn("cid", "string"),
                dg.TableColumn("url", "string"),
            ]
        ),
    )
