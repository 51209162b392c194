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
from atdata_core.verification import VerificationLevel
from atdata_dagster.resources import LayerResource
from atdata_dagster.text import markdown, plain, size_text


def dataset_metadata(
    insertion: Insertion,
    schema: Schema,
    layer: LayerResource,
    seen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The metadata of a materialized dataset.

    Args:
        insertion: What the IO manager did.
        schema: What the samples are.
        layer: Where the dataset is.
        seen: What a `Preview` saw of its samples.
    """
    entry = insertion.entry
    found: dict[str, Any] = {
        "atdata/summary": _summary(entry),
        "dagster/column_schema": column_schema(schema, (seen or {}).get("atdata/fields")),
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
    if entry.derived_from:
        found["atdata/derived_from"] = "\n".join(link.uri for link in entry.derived_from)
    if entry.uri is not None:
        found["atdata/record"] = dg.MetadataValue.url(entry.uri)
    link = layer.link_to(entry)
    if link is not None:
        found["atdata/record_link"] = dg.MetadataValue.url(link)
    if len(entry.shards) <= _MAX_SHARD_ROWS:
        found["atdata/shard_table"] = _shard_table(entry)
    return {key: value for key, value in found.items() if value is not None}


def _summary(entry: DatasetEntry) -> str:
    """What everybody wants to know first, in one line."""
    rows = "unknown rows" if entry.rows is None else f"{entry.rows:,} rows"
    shards = f"{len(entry.shards):,} shard{'' if len(entry.shards) == 1 else 's'}"
    size = "" if entry.size is None else f", {size_text(entry.size)}"
    return f"{rows} in {shards}{size}; {plain(entry.license or 'no licence', 200)}"


_FIRST = (
    *("atdata/thumbnails", "atdata/summary", "atdata/changes", "atdata/fields"),
    *("atdata/license", "atdata/verification", "atdata/record", "atdata/record_link"),
    *("atdata/derived_from", "dagster/uri", "atdata/cid", "atdata/labels"),
)


def in_reading_order(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The same metadata, what people look for before what programs do: Dagster keeps the order."""
    first = {key: metadata[key] for key in _FIRST if key in metadata}
    return {**first, **metadata}


_PROVEN = {
    VerificationLevel.TRANSPORT: "nothing is proven; the account's server said so",
    VerificationLevel.SIGNED: "the account signed the record",
    VerificationLevel.PINNED: "the account signed the record, and it is the one that was meant",
    VerificationLevel.BYTES: "the account signed the record, and every shard is held to its CID",
    VerificationLevel.ATTESTED: "somebody trusted signed that they checked this record",
}


def proven_text(level: object) -> str:
    """How far a dataset is proven, with what that means."""
    means = _PROVEN.get(level) if isinstance(level, VerificationLevel) else None
    return f"{level}: {means}" if means else str(level)


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


def column_schema(schema: Schema, seen: dg.TableMetadataValue | None = None) -> dg.TableSchema:
    """A sample type as Dagster's columns: a field each, with dtype and shape.

    Args:
        schema: The type.
        seen: The table of fields of a `Preview`: columns are described by the values in them.
    """
    values = {} if seen is None else {str(row.data["field"]): row.data for row in seen.records}
    return dg.TableSchema(
        columns=[_column(field, values.get(field.name)) for field in schema.fields]
    )


def _column(field: Field, values: Mapping[str, Any] | None) -> dg.TableColumn:
    tags = {}
    if isinstance(field.type, NDArrayType):
        if field.type.dtype is not None:
            tags["dtype"] = np.dtype(field.type.dtype).name
        if field.type.shape is not None:
            sides = ("any" if side is None else str(side) for side in field.type.shape)
            tags["shape"] = " x ".join(sides)
    return dg.TableColumn(
        name=field.name,
        type=str(field.type),
        description=None if values is None else _described(values),
        constraints=dg.TableColumnConstraints(nullable=field.optional),
        tags=tags,
    )


def _described(values: Mapping[str, Any]) -> str | None:
    """A field's values in a few words, as Markdown."""
    if values.get("max"):
        told = f"{values['min']} to {values['max']}, mean {values['mean']}"
        return f"{told} {values.get('histogram', '')}".strip()
    return f"e.g. {markdown(values['example'], 40)}" if values.get("example") else None


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
