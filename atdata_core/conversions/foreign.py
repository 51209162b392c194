"""Values as other libraries hold them, turned into those of a field."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

import numpy as np

from atdata_core.arrays import array_from_bytes
from atdata_core.errors import SampleError
from atdata_core.fields import fields_of
from atdata_core.fieldtypes import (
    DatetimeType,
    DictType,
    EnumType,
    FieldType,
    ListType,
    NDArrayType,
    NestedType,
    NullableType,
    TupleType,
)
from atdata_core.primitives import Primitive
from atdata_core.sample import pack

T = TypeVar("T")


def samples_of(
    sample_type: type[T], rows: Iterable[Mapping[str, Any]], where: str, start: int = 0
) -> Iterator[T]:
    """Rows as samples, each checked against the type.

    Args:
        sample_type: A packable type. Columns that it has no field for are left out; a field that
            has a default may have no column.
        rows: Maps from column to value: numbers, text, lists, arrays, images of Pillow.
        where: What the rows are called in errors.
        start: The number of the first row, for errors.

    Raises:
        SampleError: A column is missing, or a value doesn't fit its field.
    """
    fields = fields_of(sample_type)
    for number, row in enumerate(rows, start):
        place = f"{where}, row {number}"
        values = {}
        for field in fields:
            if field.name not in row:
                if field.has_default:
                    continue
                raise SampleError(
                    f"there is no column {field.name!r}",
                    where=place,
                    expected=", ".join(f.name for f in fields),
                    got=", ".join(map(str, row)),
                )
            value = row[field.name]
            if value is not None or not field.optional:
                value = value_of(field.type, value, f"{place}, column {field.name!r}")
            values[field.name] = value
        sample = sample_type(**values)
        pack(sample, place)
        yield sample


def value_of(kind: FieldType, data: Any, where: str) -> Any:
    """One value as its field holds it; what it can't be turned into is left for `pack` to refuse.

    Raises:
        SampleError: The data look like what is wanted, and are damaged.
    """
    match kind:
        case NDArrayType():
            return _array(kind, data, where)
        case ListType() if isinstance(data, (list, tuple, np.ndarray)):
            items = [value_of(kind.items, item, where) for item in data]
            return items if kind.python == "list" else tuple(items)
        case TupleType() if isinstance(data, Mapping):
            items = list(data.values())
            return tuple(value_of(k, v, where) for k, v in zip(kind.items, items, strict=False))
        case TupleType() if isinstance(data, (list, tuple)):
            return tuple(value_of(k, v, where) for k, v in zip(kind.items, data, strict=False))
        case DictType() if isinstance(data, (list, Mapping)):
            return {key: value_of(kind.values, item, where) for key, item in dict(data).items()}
        case NullableType():
            return None if data is None else value_of(kind.item, data, where)
        case NestedType() if isinstance(data, Mapping):
            return next(samples_of(kind.cls, [data], where))
        case DatetimeType() if isinstance(data, (str, datetime)):
            return kind.decode(data, where) if isinstance(data, str) else _plain_time(data)
        case EnumType() if isinstance(data, str):
            return kind.decode(data, where)
        case Primitive("float") if isinstance(data, int) and not isinstance(data, bool):
            return float(data)
    return data


def _plain_time(value: datetime) -> datetime:
    # pandas' own class is a datetime as well, with nanoseconds that would be lost silently.
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def _array(kind: NDArrayType, data: Any, where: str) -> Any:
    dtype = None if kind.dtype is None else np.dtype(kind.dtype)
    if isinstance(data, bytes) and data.startswith(b"\x93NUMPY"):
        return array_from_bytes(data, where)
    if isinstance(data, Mapping) and set(data) == {"shape", "data"}:
        return np.asarray(data["data"], dtype).reshape(data["shape"])
    if isinstance(data, np.ndarray) and data.dtype != object:
        return data
    if isinstance(data, (list, tuple, np.ndarray)) or hasattr(data, "__array__"):
        try:
            # Numbers out of a list have no width of their own; an image or a tensor has.
            listed = isinstance(data, (list, tuple, np.ndarray))
            found = np.array(data.tolist() if isinstance(data, np.ndarray) else data)
            return _fitted(found, dtype) if listed and dtype is not None else found
        except (ValueError, TypeError, OverflowError) as error:
            raise SampleError(
                f"value is no array: {error}", where=where, expected=str(kind)
            ) from error
    return data


def _fitted(found: np.ndarray[Any, Any], dtype: "np.dtype[Any]") -> np.ndarray[Any, Any]:
    if found.dtype.kind not in "biuf":
        return found
    fitted = found.astype(dtype)
    # A whole number that doesn't fit would become another one; as it is, it is refused by name.
    exact = dtype.kind not in "biu" or bool(np.all(fitted == found))
    return fitted if exact else found
