"""Samples as Apache Arrow, and so as Parquet; and tables of others as samples.

====================  ============================================================================
field                 column
====================  ============================================================================
str, int, float,      string, int64, double, bool, binary
bool, bytes
NDArray               ``arrow.fixed_shape_tensor``, if dtype and shape are the same for all;
                      ``struct<shape, data>`` for ragged ones;
                      the bytes of a ``.npy`` file where Arrow has no such dtype
list, tuple[X, ...]   list
tuple[X, Y]           struct of ``0``, ``1``, …
dict[str, X]          map
a packable type       struct
datetime              string in ISO 8601: a column of times would lose their offsets
an Enum               string, the member's name
====================  ============================================================================

The schema travels in the table's metadata, so what is written here is read back as it was. Of a
table that somebody else wrote, the sample type is made from its columns, or told.
"""

import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atdata_core.arrays import npy_bytes
from atdata_core.conversions.foreign import samples_of
from atdata_core.conversions.made import MadeSource, Part
from atdata_core.conversions.needs import needed
from atdata_core.errors import NotFoundError, SampleError, SchemaError
from atdata_core.fieldjson import build_type, check_name
from atdata_core.fields import Field, fields_of
from atdata_core.fieldtypes import (
    DatetimeType,
    DictType,
    EnumType,
    FieldType,
    ListType,
    LiteralType,
    NDArrayType,
    NestedType,
    NullableType,
    Primitive,
    TupleType,
)
from atdata_core.schema import Schema

pa = needed("pyarrow", "arrow")
pq = needed("pyarrow.parquet", "arrow")

SCHEMA_KEY = b"atdata.schema"
"""Under which the table's metadata hold the schema, as JSON."""

_TENSORS = frozenset("iuf")
_ROWS = 1000


@dataclass(frozen=True)
class Column:
    """A field as a column.

    Args:
        field: The field.
        type: The column's type in Arrow.
        convert: From the field's values to what `pyarrow.array` takes, or to an array.
    """

    field: Field
    type: Any
    convert: Callable[[Sequence[Any]], Any]

    def array(self, values: Sequence[Any]) -> Any:
        """Values as an Arrow array; raises `SampleError` if they don't fit the column."""
        try:
            made = self.convert(values)
            return made if isinstance(made, pa.Array) else pa.array(made, self.type)
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
            raise SampleError(
                f"values don't fit the column: {error}",
                where=f"column {self.field.name!r}",
                expected=str(self.type),
                remedy=_remedy(self.field),
            ) from error


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
        _column(field, first[field.name] if first else (), field.name in ragged)
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
    fields = [_field(column, "column", full) for column in arrow_schema]
    return build_type("Row", fields)


# --- from fields to columns


def _column(field: Field, first: Sequence[Any], ragged: bool) -> Column:
    if not isinstance(field.type, NDArrayType):
        kind = _whole(field)
        return Column(field, _arrow_type(kind), lambda values: [_plain(kind, v) for v in values])
    seen = [value for value in first if value is not None]
    dtype = np.dtype(field.type.dtype) if field.type.dtype else (seen[0].dtype if seen else None)
    if dtype is None or dtype.kind not in _TENSORS or not dtype.isnative or dtype.itemsize > 8:
        return Column(field, pa.binary(), lambda values: [_npy(value) for value in values])
    shape = field.type.shape
    if shape is None or None in shape:
        shape = seen[0].shape if seen else None
    if ragged or not shape or 0 in shape:
        pairs = pa.struct({"shape": pa.list_(pa.int64()), "data": pa.list_(_numpy_type(dtype))})
        return Column(field, pairs, lambda values: [_pair(value, dtype) for value in values])
    tensor = pa.fixed_shape_tensor(_numpy_type(dtype), shape)
    return Column(field, tensor, lambda values: _tensors(values, tensor, dtype))


def _tensors(values: Any, tensor: Any, dtype: "np.dtype[Any]") -> Any:
    missing = None
    if not isinstance(values, np.ndarray):
        # A batch that isn't stacked lacks arrays, or has some that differ.
        missing = np.array([value is None for value in values], bool)
        blank = np.zeros(tensor.shape, dtype)
        values = np.stack([blank if value is None else _same(value, dtype) for value in values])
    if values.shape[1:] != tuple(tensor.shape) or values.dtype != dtype:
        raise ValueError(f"arrays of {values.dtype} {values.shape[1:]} among others")
    flat, size = pa.array(values.reshape(-1)), int(np.prod(tensor.shape))
    mask = None if missing is None else pa.array(missing)
    storage = pa.FixedSizeListArray.from_arrays(flat, size, mask=mask)
    return pa.ExtensionArray.from_storage(tensor, storage)


def _same(value: Any, dtype: "np.dtype[Any]") -> Any:
    if value.dtype != dtype:
        raise ValueError(f"array of {value.dtype} among arrays of {dtype}")
    return value


def _pair(value: Any, dtype: "np.dtype[Any]") -> Any:
    if value is None:
        return None
    return {"shape": value.shape, "data": _same(value, dtype).reshape(-1)}


def _npy(value: Any) -> bytes | None:
    return None if value is None else npy_bytes(value, "value")


def _plain(kind: FieldType, value: Any) -> Any:
    """A value in the form that `pyarrow.array` takes for `_arrow_type(kind)`."""
    match kind:
        case NullableType():
            return None if value is None else _plain(kind.item, value)
        case NDArrayType():
            return npy_bytes(value, "value")
        case ListType():
            return [_plain(kind.items, item) for item in value]
        case TupleType():
            pairs = enumerate(zip(kind.items, value, strict=True))
            return {str(i): _plain(item, part) for i, (item, part) in pairs}
        case DictType():
            return [(key, _plain(kind.values, item)) for key, item in value.items()]
        case NestedType():
            return {f.name: _plain(_whole(f), getattr(value, f.name)) for f in kind.fields}
        case DatetimeType():
            return value.isoformat()
        case EnumType():
            return value.name
        case Primitive("float"):
            return float(value)
    return value


def _whole(field: Field) -> FieldType:
    return NullableType(field.type) if field.optional else field.type


def _arrow_type(kind: FieldType) -> Any:
    match kind:
        case Primitive():
            return _PRIMITIVES[kind.name]
        case NDArrayType():
            return pa.binary()
        case ListType():
            return pa.list_(_arrow_type(kind.items))
        case TupleType():
            return pa.struct([(str(i), _arrow_type(item)) for i, item in enumerate(kind.items)])
        case DictType():
            return pa.map_(pa.string(), _arrow_type(kind.values))
        case NullableType():
            return _arrow_type(kind.item)
        case NestedType():
            return pa.struct([(f.name, _arrow_type(f.type)) for f in kind.fields])
        case DatetimeType() | EnumType():
            return pa.string()
        case LiteralType():
            kinds = set(kind.kinds)
            if len(kinds) != 1:
                raise SchemaError("a column can't hold values of several types", got=str(kind))
            return _PRIMITIVES[kinds.pop()]


def _numpy_type(dtype: "np.dtype[Any]") -> Any:
    return pa.from_numpy_dtype(dtype)


_PRIMITIVES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "bytes": pa.binary(),
}


def _remedy(field: Field) -> str | None:
    if isinstance(field.type, NDArrayType):
        return f"Say that its arrays differ: ragged=[{field.name!r}]"
    return None


# --- from columns to fields


def _field(column: Any, where: str, full: Collection[str] = ()) -> Field:
    optional = column.nullable and column.name not in full
    return Field(check_name(column.name, where), _kind(column.type, column.name), optional)


def _kind(arrow_type: Any, name: str) -> FieldType:
    types = pa.types
    if isinstance(arrow_type, pa.FixedShapeTensorType):
        dtype = np.dtype(arrow_type.value_type.to_pandas_dtype())
        return NDArrayType(dtype.name, tuple(arrow_type.shape))
    if isinstance(arrow_type, pa.BaseExtensionType):
        return _kind(arrow_type.storage_type, name)
    if types.is_dictionary(arrow_type):
        return _kind(arrow_type.value_type, name)
    for test, primitive in (
        (types.is_boolean, "bool"),
        (types.is_integer, "int"),
        (types.is_floating, "float"),
        (types.is_string, "str"),
        (types.is_large_string, "str"),
        (types.is_binary, "bytes"),
        (types.is_large_binary, "bytes"),
        (types.is_fixed_size_binary, "bytes"),
    ):
        if test(arrow_type):
            return Primitive(primitive)
    if types.is_timestamp(arrow_type):
        return DatetimeType()
    if types.is_fixed_size_list(arrow_type) and _numeric(arrow_type.value_type):
        dtype = np.dtype(arrow_type.value_type.to_pandas_dtype())
        return NDArrayType(dtype.name, (arrow_type.list_size,))
    if any(t(arrow_type) for t in (types.is_list, types.is_large_list, types.is_fixed_size_list)):
        return _listed(arrow_type.value_type, name)
    if types.is_map(arrow_type) and types.is_string(arrow_type.key_type):
        return DictType(_kind(arrow_type.item_type, name))
    if types.is_struct(arrow_type) and arrow_type.num_fields:
        fields = [_field(column, f"column {name!r}") for column in arrow_type]
        return NestedType(name.title(), tuple(fields), build_type(name.title(), fields))
    raise SchemaError(
        "column has a type that no field has",
        where=f"column {name!r}",
        got=str(arrow_type),
        remedy="Name the sample type: only the columns that it has fields for are read",
    )


def _listed(items: Any, name: str) -> FieldType:
    if _numeric(items):  # an array of any length
        return NDArrayType(np.dtype(items.to_pandas_dtype()).name, (None,))
    return ListType(NullableType(_kind(items, name)))


def _numeric(arrow_type: Any) -> bool:
    return bool(pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type))


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
