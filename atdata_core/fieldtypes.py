"""What a field's values can be, and how they are written.

Each type encodes a value to what msgpack carries, decodes it again, and checks both ways:

====================  ============================================================================
annotation            in msgpack
====================  ============================================================================
str, int, float,      msgpack's own types; integers of 64 bits
bool, bytes
NDArray               the bytes of a ``.npy`` file
list[X]               an array
tuple[X, Y]           an array of this length
tuple[X, ...]         an array
dict[str, X]          a map
a packable type       a map of its fields
datetime              text in ISO 8601, with the offset if the time has one
an Enum               the member's name
Literal["a", 1]       the value
X | None              nil, or X
====================  ============================================================================
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as member
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from atdata_core.arrays import array_from_bytes, npy_bytes, shape_text
from atdata_core.errors import SampleError
from atdata_core.primitives import Primitive, encode_text, mismatch

if TYPE_CHECKING:
    from atdata_core.fields import Field


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of an array field: ``Annotated[NDArray[np.uint8], Shape(8, 8)]``; None is free.

    Args:
        dims: The length of each axis, or None where it may be anything.
    """

    dims: tuple[int | None, ...]

    def __init__(self, *dims: int | None) -> None:
        object.__setattr__(self, "dims", dims)


@dataclass(frozen=True, slots=True)
class NDArrayType:
    """A NumPy array; `dtype` (NumPy's name) and `shape` are checked where they are given."""

    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None

    def encode(self, value: Any, where: str) -> bytes:
        """`value` as ``.npy`` bytes; raises `SampleError` if dtype or shape differ."""
        if not isinstance(value, np.ndarray):
            raise mismatch(self, value, where, remedy="Wrap it: np.asarray(value, dtype=…)")
        self.check(value.dtype, value.shape, where)
        return npy_bytes(value, where)

    def decode(self, data: Any, where: str) -> np.ndarray[Any, Any]:
        """The array, writable; raises `SampleError` if the bytes hold another, or none."""
        if type(data) is not bytes:
            raise mismatch(self, data, where)
        array = array_from_bytes(data, where)
        self.check(array.dtype, array.shape, where)
        return array

    def check(self, dtype: "np.dtype[Any]", shape: tuple[int, ...], where: str) -> None:
        """Raises `SampleError` if an array's dtype or shape are other ones than these."""
        if self.dtype is not None and dtype != np.dtype(self.dtype):
            raise SampleError(
                "array has another dtype",
                where=where,
                expected=self.dtype,
                got=str(dtype),
                remedy=f"Convert it with .astype({self.dtype!r}), or declare the dtype it has",
            )
        if self.shape is not None and not (
            len(shape) == len(self.shape)
            and all(want in (None, have) for want, have in zip(self.shape, shape, strict=True))
        ):
            raise SampleError(
                "array has another shape",
                where=where,
                expected=shape_text(self.shape),
                got=shape_text(shape),
                remedy="Give an array of that shape, or declare another one; "
                "None in Shape(…) leaves a side open",
            )

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        scalar: Any = Any if self.dtype is None else np.dtype(self.dtype).type
        array = np.ndarray[tuple[Any, ...], np.dtype[scalar]]
        return array if self.shape is None else Annotated[array, Shape(*self.shape)]

    def __str__(self) -> str:
        shape = "" if self.shape is None else f", {shape_text(self.shape)}"
        return f"ndarray[{self.dtype or 'any dtype'}{shape}]"


@dataclass(frozen=True, slots=True)
class ListType:
    """A list, or a tuple of any length, whose items are all of one type."""

    items: "FieldType"
    python: Literal["list", "tuple"] = "list"

    def encode(self, value: Any, where: str) -> list[Any]:
        """Each item encoded; raises `SampleError` naming the item that doesn't fit."""
        if not isinstance(value, list if self.python == "list" else tuple):
            raise mismatch(self, value, where)
        return [self.items.encode(item, f"{where}[{i}]") for i, item in enumerate(value)]

    def decode(self, data: Any, where: str) -> Any:
        """Each item decoded; raises `SampleError` naming the item that doesn't fit."""
        if type(data) is not list:
            raise mismatch(self, data, where)
        found = [self.items.decode(item, f"{where}[{i}]") for i, item in enumerate(data)]
        return found if self.python == "list" else tuple(found)

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        items: Any = self.items.python_type()
        return list[items] if self.python == "list" else tuple[items, ...]

    def __str__(self) -> str:
        return f"list[{self.items}]" if self.python == "list" else f"tuple[{self.items}, ...]"


@dataclass(frozen=True, slots=True)
class TupleType:
    """A tuple of fixed length, each item of a type of its own."""

    items: "tuple[FieldType, ...]"

    def encode(self, value: Any, where: str) -> list[Any]:
        """Each item encoded; raises `SampleError` naming the item that doesn't fit."""
        if not isinstance(value, tuple) or len(value) != len(self.items):
            raise mismatch(self, value, where)
        pairs = zip(self.items, value, strict=True)
        return [kind.encode(item, f"{where}[{i}]") for i, (kind, item) in enumerate(pairs)]

    def decode(self, data: Any, where: str) -> tuple[Any, ...]:
        """Each item decoded; raises `SampleError` naming the item that doesn't fit."""
        if type(data) is not list or len(data) != len(self.items):
            raise mismatch(self, data, where)
        pairs = zip(self.items, data, strict=True)
        return tuple(kind.decode(item, f"{where}[{i}]") for i, (kind, item) in enumerate(pairs))

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return tuple[tuple(item.python_type() for item in self.items)]  # type: ignore[misc]

    def __str__(self) -> str:
        return f"tuple[{', '.join(map(str, self.items))}]"


@dataclass(frozen=True, slots=True)
class DictType:
    """A map from text to values of one type, in the order in which it was filled."""

    values: "FieldType"

    def encode(self, value: Any, where: str) -> dict[str, Any]:
        """Each value encoded; raises `SampleError` naming the key that doesn't fit."""
        if not isinstance(value, Mapping):
            raise mismatch(self, value, where)
        return {
            encode_text(key, f"{where}, key {key!r}"): self.values.encode(item, f"{where}[{key!r}]")
            for key, item in value.items()
        }

    def decode(self, data: Any, where: str) -> dict[str, Any]:
        """Each value decoded; raises `SampleError` naming the key that doesn't fit."""
        if type(data) is not dict:
            raise mismatch(self, data, where)
        if not all(type(key) is str for key in data):
            raise SampleError("a key of the map is not text", where=where, expected=str(self))
        return {key: self.values.decode(item, f"{where}[{key!r}]") for key, item in data.items()}

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return dict[str, self.values.python_type()]  # type: ignore[misc]

    def __str__(self) -> str:
        return f"dict[str, {self.values}]"


@dataclass(frozen=True, slots=True)
class NullableType:
    """None, or a value of another type, inside a list, tuple or map."""

    item: "FieldType"

    def encode(self, value: Any, where: str) -> Any:
        """None as it is, anything else as the other type."""
        return None if value is None else self.item.encode(value, where)

    def decode(self, data: Any, where: str) -> Any:
        """None as it is, anything else as the other type."""
        return None if data is None else self.item.decode(data, where)

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return self.item.python_type() | None

    def __str__(self) -> str:
        return f"{self.item} | None"


@dataclass(frozen=True, slots=True)
class NestedType:
    """A packable type within another; compared by its name and fields, not by its class."""

    name: str
    fields: "tuple[Field, ...]"
    cls: type = member(compare=False)

    def encode(self, value: Any, where: str) -> dict[str, Any]:
        """A map of the fields; raises `SampleError` naming the one that doesn't fit."""
        if type(value) is not self.cls:
            raise mismatch(self, value, where)
        return encode_fields(self.fields, value, where)

    def decode(self, data: Any, where: str) -> Any:
        """An instance of `cls`; raises `SampleError` naming the field that doesn't fit."""
        if type(data) is not dict:
            raise mismatch(self, data, where)
        return self.cls(**decode_fields(self.fields, data, where))

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return self.cls

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class DatetimeType:
    """A `datetime`, to the microsecond, naive or with an offset."""

    def encode(self, value: Any, where: str) -> str:
        """Text in ISO 8601; raises `SampleError` for anything but a `datetime`."""
        if not isinstance(value, datetime):
            raise mismatch(self, value, where)
        return value.isoformat()

    def decode(self, data: Any, where: str) -> datetime:
        """The time; raises `SampleError` if the text is none."""
        if type(data) is not str:
            raise mismatch(self, data, where)
        try:
            return datetime.fromisoformat(data)
        except ValueError as error:
            raise SampleError("text is not a time", where=where, got=repr(data[:60])) from error

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return datetime

    def __str__(self) -> str:
        return "datetime"


@dataclass(frozen=True, slots=True)
class EnumType:
    """A member of an `Enum`, by its name; compared by names and values, not by its class."""

    name: str
    members: tuple[tuple[str, Any], ...]
    cls: type[enum.Enum] = member(compare=False)

    def encode(self, value: Any, where: str) -> str:
        """The member's name; raises `SampleError` for anything but a member."""
        if not isinstance(value, self.cls):
            raise mismatch(self, value, where)
        return value.name

    def decode(self, data: Any, where: str) -> enum.Enum:
        """The member; raises `SampleError` if there is none of this name."""
        if type(data) is not str or data not in self.cls.__members__:
            raise SampleError(
                f"value is no member of {self.name}",
                where=where,
                expected=", ".join(name for name, _ in self.members),
                got=repr(data)[:60],
            )
        return self.cls[data]

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return self.cls

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class LiteralType:
    """One of some values: text, whole numbers, truth values."""

    values: tuple[str | int | bool, ...]
    kinds: tuple[str, ...] = member(init=False)

    def __post_init__(self) -> None:
        # So that Literal[1] and Literal[True] are two types, although 1 equals True.
        object.__setattr__(self, "kinds", tuple(type(value).__name__ for value in self.values))

    def encode(self, value: Any, where: str) -> Any:
        """The value; raises `SampleError` if it is none of them."""
        for allowed in self.values:
            # 1 equals True, but they are two values.
            if type(value) is type(allowed) and value == allowed:
                return value
        raise SampleError(
            "value is none of those allowed",
            where=where,
            expected=", ".join(map(repr, self.values)),
            got=repr(value)[:60],
        )

    def decode(self, data: Any, where: str) -> Any:
        """The value; raises `SampleError` if it is none of them."""
        return self.encode(data, where)

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return Literal[self.values]

    def __str__(self) -> str:
        return f"Literal[{', '.join(map(repr, self.values))}]"


FieldType = (
    Primitive
    | NDArrayType
    | ListType
    | TupleType
    | DictType
    | NullableType
    | NestedType
    | DatetimeType
    | EnumType
    | LiteralType
)


def encode_fields(fields: "Sequence[Field]", sample: object, where: str) -> dict[str, Any]:
    """The fields of a sample by name, each in the form that msgpack carries, in their order.

    Raises:
        SampleError: A value doesn't fit its field.
    """
    try:
        return {field.name: field.encode(getattr(sample, field.name), where) for field in fields}
    except AttributeError as error:
        raise SampleError(
            f"field {error.name!r} is missing",
            where=where,
            expected=", ".join(f.name for f in fields),
        ) from error


def decode_fields(
    fields: "Sequence[Field]", found: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The values of a sample's fields by name; those with a default may be missing.

    Raises:
        SampleError: A field is missing or unknown, or a value doesn't fit its field.
    """
    values: dict[str, Any] = {}
    for field in fields:
        if field.name in found:
            values[field.name] = field.decode(found[field.name], where)
        elif not field.has_default:
            raise SampleError(
                f"field {field.name!r} is missing",
                where=where,
                expected=", ".join(f.name for f in fields),
            )
    unknown = found.keys() - {field.name for field in fields}
    if unknown:
        raise SampleError(
            "sample has unknown fields",
            where=where,
            expected=", ".join(f.name for f in fields),
            got=", ".join(sorted(map(repr, unknown))),
        )
    return values
