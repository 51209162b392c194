"""Fields as columns of Apache Arrow, and columns as fields.

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
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata_core.arrays import npy_bytes
from atdata_core.conversions.needs import needed
from atdata_core.errors import SampleError, SchemaError
from atdata_core.fieldjson import build_type, check_name
from atdata_core.fields import Field
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
    TupleType,
)
from atdata_core.primitives import Primitive

pa = needed("pyarrow", "arrow")

_TENSORS = frozenset("iuf")


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


def column_of(field: Field, first: Sequence[Any], ragged: bool) -> Column:
    """A field as a column.

    Args:
        field: The field.
        first: Values of it, which decide what its arrays are where its annotation doesn't.
        ragged: Whether its arrays differ in shape.
    """
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


def field_of(column: Any, where: str, full: Collection[str] = ()) -> Field:
    """The field that a column of a table can be.

    Args:
        column: The column's `pyarrow.Field`.
        where: What errors call it.
        full: The columns that hold no nulls, although Arrow would allow them.

    Raises:
        SchemaError: No field can be like it, or its name isn't an identifier.
    """
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
        fields = [field_of(column, f"column {name!r}") for column in arrow_type]
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
