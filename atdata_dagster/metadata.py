"""What Dagster shows of a dataset or schema: its standard keys, and ours under ``atdata/``."""

from typing import Any

import dagster as dg
import numpy as np

from atdata_core import DatasetEntry, Schema
from atdata_core.fields import Field
from atdata_core.fieldtypes import NDArrayType
from atdata_core.indexes import Insertion
from atdata_dagster.resources import LayerResource


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
        "atdata/license": entry.license,
        "atdata/previous": entry.previous,
        "atdata/record_cid": entry.record_cid,
        "dagster/row_count": entry.rows,
        "atdata/bytes": entry.size,
    }
    if len(entry.shards) <= _MAX_SHARD_ROWS:
        found["atdata/shard_table"] = _shard_table(entry)
    return {key: value for key, value in found.items() if value is not None}


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


def _shard_table(entry: DatasetEntry) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "url": shard.url,
                    "cid": shard.cid or "",
                    "bytes": shard.size or 0,
                    "rows": shard.rows or 0,
                }
            )
            for shard in entry.shards
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("url", "string"),
                dg.TableColumn("cid", "string"),
                dg.TableColumn("bytes", "int"),
                dg.TableColumn("rows", "int"),
            ]
        ),
    )
