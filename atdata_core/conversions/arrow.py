"""Samples as Apache Arrow, and so as Parquet; and tables of others as samples.

What a field is as a column says `arrow_columns`. The schema travels in the table's metadata, so
what is written here is read back as it was. Of a table that somebody else wrote, the sample type is
made from its columns, or told.
"""

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from atdata_core.conversions.arrow_columns import column_of, field_of
from atdata_core.conversions.foreign import samples_of
from atdata_core.conversions.made import MadeSource, Part
from atdata_core.conversions.needs import needed
from atdata_core.errors import NotFoundError, SchemaError
from atdata_core.fieldjson import build_type
from atdata_core.fields import fields_of
from atdata_core.fieldtypes import NDArrayType
from atdata_core.schema import Schema

pa = needed("pyarrow", "arrow")
pq = needed("pyarrow.parquet", "arrow")

SCHEMA_KEY = b"atdata.schema"
"""Under which the table's metadata hold the schema, as JSON."""

_ROWS = 1000


def record_batches(
    schema: Schema, batches: Iterable[Mapping[str, Any]], ragged: Collection[str] = ()
) -> tuple[Any, Iterator[Any]]:
    """Samples as an Arrow schema and record batches of it, one for each batch.

    Args:
        schema: What the samples are.
        batches: The samples, each batch as its columns: stacked arrays, or lists of values. The
            first batch decides what the arrays of a field are that isn't annotated with dtype and
            shape.
        ragged: The fields whose arrays differ in shape.

    Raises:
        SampleError: Arrays of a field differ, and it isn't named in `ragged`.
        SchemaError: `ragged` names a field that isn't one of arrays.
    """
    iterator = iter(batches)
    first = next(iterator, None)
    arrays = {field.name for field in schema.fields if isinstance(field.type, NDArrayType)}
    for name in ragged:
        if name not in arrays:
            raise SchemaError(
                "there is no such field of arrays", got=repr(name), expected=", ".join(arrays)
            )
    columns = [
        column_of(field, first[field.name] if first else (), field.name in ragged)
        for field in schema.fields
    ]
    metadata = {SCHEMA_KEY: json.dumps(schema.to_json()).encode()}
    arrow_schema = pa.schema(
        [pa.field(c.field.name, c.type, nullable=c.field.optional) for c in columns], metadata
    )

    def made() -> Iterator[Any]:
        for batch in itertools.chain([first] if first else [], iterator):
            data = [column.array(batch[column.field.name]) for column in columns]
            yield pa.record_batch(data, schema=arrow_schema)

    return arrow_schema, made()


def table(
    schema: Schema, batches: Iterable[Mapping[str, Any]], ragged: Collection[str] = ()
) -> Any:
    """Samples as a `pyarrow.Table`; see `record_batches`."""
    arrow_schema, made = record_batches(schema, batches, ragged)
    return pa.Table.from_batches(list(made), arrow_schema)


def write_parquet(
    path: Path,
    schema: Schema,
    batches: Iterable[Mapping[str, Any]],
    ragged: Collection[str] = (),
    compression: str = "zstd",
) -> int:
    """Writes samples to a Parquet file, a row group for each batch; returns how many.

    The file appears when it is whole.
    """
    arrow_schema, made = record_batches(schema, batches, ragged)
    part = path.with_name(f".{path.name}.part")
    rows = 0
    try:
        with pq.ParquetWriter(part, arrow_schema, compression=compression) as writer:
            for batch in made:
                writer.write_batch(batch)
                rows += batch.num_rows
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return rows


def table_source(rows: Any, sample_type: type | None) -> tuple[MadeSource, type]:
    """A `pyarrow.Table` as shards-to-be and their sample type.

    Args:
        rows: The table.
        sample_type: The type; by default that of which the table was written, or one made from
            its columns.

    Raises:
        SchemaError: No type can be made from the columns.
    """
    full = {name for name in rows.schema.names if not rows.column(name).null_count}
    kind = sample_type or type_of_table(rows.schema, full)
    size = max(1, int(_ROWS if not rows.num_rows else rows.num_rows * 16e6 // (rows.nbytes + 1)))

    def part(start: int) -> Part:
        count = min(size, rows.num_rows - start)

        def read() -> Iterator[Any]:
            slices = rows.slice(start, count).to_batches(max_chunksize=_ROWS)
            return samples_of(kind, _rows(slices), "table", start)

        return Part(f"rows {start}-{start + count}", start, count, read)

    parts = [part(start) for start in range(0, rows.num_rows, size)]
    return MadeSource(parts, f"table of {rows.num_rows:,} rows"), kind


def parquet_source(paths: Sequence[str], sample_type: type | None) -> tuple[MadeSource, type]:
    """Parquet files as shards-to-be, one a row group, and their sample type.

    Raises:
        NotFoundError: A file can't be read, or isn't Parquet.
        SchemaError: No type can be made from the columns.
    """
    parts: list[Part] = []
    kind = sample_type
    start = 0
    for path in paths:
        with _parquet(path) as file:
            kind = kind or type_of_table(file.schema_arrow)
            for group in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                parts.append(_group(path, group, start, count, kind))
                start += count
    if kind is None:
        raise NotFoundError("there are no Parquet files", where=", ".join(paths) or "no paths")
    return MadeSource(parts, f"{len(paths)} Parquet files"), kind


def type_of_table(arrow_schema: Any, full: Collection[str] = ()) -> type:
    """The sample type of a table: as its metadata say, else made from its columns.

    Args:
        arrow_schema: The table's schema.
        full: The columns that hold no nulls, although Arrow would allow them.

    Raises:
        SchemaError: A column has a type that no field has, or a name that isn't an identifier.
    """
    told = (arrow_schema.metadata or {}).get(SCHEMA_KEY)
    if told is not None:
        try:
            body = json.loads(told)
        except ValueError as error:
            raise SchemaError("table's schema is no JSON", where="table's metadata") from error
        return Schema.from_json(body, "table's metadata").to_type()
    fields = [field_of(column, "column", full) for column in arrow_schema]
    return build_type("Row", fields)


def _group(path: str, group: int, start: int, count: int, kind: type) -> Part:
    def read() -> Iterator[Any]:
        with _parquet(path) as file:
            there = file.schema_arrow.names
            wanted = [field.name for field in fields_of(kind) if field.name in there]
            batches = file.iter_batches(_ROWS, row_groups=[group], columns=wanted)
            yield from samples_of(kind, _rows(batches), f"{path}, row group {group}", start)

    return Part(f"{path}#{group}", start, count, read)


def _parquet(path: str) -> Any:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise NotFoundError(f"Parquet file can't be read: {error}", where=path) from error


def _rows(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        columns = {name: _values(batch.column(name)) for name in batch.schema.names}
        for row in range(batch.num_rows):
            yield {name: values[row] for name, values in columns.items()}


def _values(column: Any) -> Sequence[Any]:
    if isinstance(column.type, pa.FixedShapeTensorType) and not column.null_count:
        stacked: Sequence[Any] = column.to_numpy_ndarray()
        return stacked
    if isinstance(column.type, pa.FixedShapeTensorType):
        shape, flat = tuple(column.type.shape), column.storage
        return [None if v is None else v.values.to_numpy().reshape(shape) for v in _each(flat)]
    listed: Sequence[Any] = column.to_pylist(maps_as_pydicts="strict")
    return listed


def _each(column: Any) -> Iterator[Any]:
    for value in column:
        yield value if value.is_valid else None
