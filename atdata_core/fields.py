"""The fields of a sample type: from its annotations to what each may hold."""

import dataclasses
import enum
import functools
import types
import typing
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Union

import numpy as np

from atdata_core.arrays import check_dtype
from atdata_core.errors import SchemaError
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
    Shape,
    TupleType,
)
from atdata_core.primitives import PRIMITIVES, Primitive

_PRIMITIVE_NAMES: dict[Any, str] = {python: name for name, python in PRIMITIVES.items()}
_MANY_DTYPES = {
    *(np.generic, np.number, np.integer, np.signedinteger, np.unsignedinteger),
    *(np.inexact, np.floating, np.complexfloating, np.flexible, np.character),
    *(np.str_, np.bytes_, np.void, np.datetime64, np.timedelta64),
}
"""Scalar types that stand for several dtypes, by precision, length, or unit: for none of them."""


class _NoDefault:
    """Stands where a field has no default; its own type, since None can be a default."""

    def __repr__(self) -> str:
        return "NO_DEFAULT"

    def __reduce__(self) -> str:
        return "NO_DEFAULT"


NO_DEFAULT: Any = _NoDefault()


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a sample type.

    Args:
        name: The field's name, a Python identifier.
        type: What its values are.
        optional: Whether it may be None.
        default: Its default value, or `NO_DEFAULT`.
    """

    name: str
    type: FieldType
    optional: bool = False
    default: Any = NO_DEFAULT

    @property
    def has_default(self) -> bool:
        """Whether a sample may leave the field out."""
        return self.default is not NO_DEFAULT

    def encode(self, value: Any, where: str) -> Any:
        """`value` in the form that msgpack carries; `where` names the sample for errors."""
        if value is None and self.optional:
            return None
        return self.type.encode(value, f"{where}, field {self.name!r}")

    def decode(self, data: Any, where: str) -> Any:
        """The value again; `where` names the sample for errors."""
        if data is None and self.optional:
            return None
        return self.type.decode(data, f"{where}, field {self.name!r}")


def fields_of(cls: type) -> tuple[Field, ...]:
    """The fields of a dataclass, in order; looked up once a class.

    Raises:
        SchemaError: `cls` is no dataclass, has no fields, contains itself, or one of its fields
            has an annotation that has no place in a sample.
    """
    lookup: Any = _fields_of
    found: tuple[Field, ...] = lookup(cls)
    return found


@functools.lru_cache(maxsize=1024)
def _fields_of(cls: type) -> tuple[Field, ...]:
    if not dataclasses.is_dataclass(cls):
        raise SchemaError(
            "type is not a sample type", where=cls.__qualname__, remedy="Decorate it with @packable"
        )
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise SchemaError(
            f"annotations can't be resolved: {error}",
            where=cls.__qualname__,
            remedy="Define the type at module level, with names that are imported there",
        ) from error
    try:
        found = tuple(
            _field(f, hints[f.name], f"{cls.__qualname__}.{f.name}")
            for f in dataclasses.fields(cls)
        )
    except RecursionError as error:
        raise SchemaError("sample type contains itself", where=cls.__qualname__) from error
    if not found:
        raise SchemaError("sample type has no fields", where=cls.__qualname__)
    return found


def _field(field: "dataclasses.Field[Any]", annotation: Any, where: str) -> Field:
    if not field.init:
        raise SchemaError(
            "field can't be given to the constructor, so it can't be read back", where=where
        )
    kind, optional = type_of(annotation, where), False
    if isinstance(kind, NullableType):
        kind, optional = kind.item, True
    default = NO_DEFAULT
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    found = Field(field.name, kind, optional, default)
    if found.has_default:
        found.encode(default, f"{where}, default")
    return found


def type_of(annotation: Any, where: str) -> FieldType:
    """The field type that an annotation stands for.

    Raises:
        SchemaError: None does; `where` names the field in the message.
    """
    annotation = _unaliased(annotation)
    if isinstance(annotation, type) and annotation in _PRIMITIVE_NAMES:
        return Primitive(_PRIMITIVE_NAMES[annotation])
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return _union(args, annotation, where)
    if origin is Annotated:
        return _annotated(type_of(args[0], where), args[1:])
    if annotation is np.ndarray:
        return NDArrayType()
    if origin is np.ndarray:
        return NDArrayType(_dtype_name(args[1], where) if len(args) > 1 else None)
    if origin is list and args:
        return ListType(type_of(args[0], where))
    if origin is tuple and args:
        return _tuple(args, where)
    if origin is dict and args[0] is str:
        return DictType(type_of(args[1], where))
    if origin is Literal:
        return _literal(args, where)
    if annotation is datetime:
        return DatetimeType()
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return enum_type(annotation, where)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return NestedType(annotation.__name__, fields_of(annotation), annotation)
    raise SchemaError(
        "annotation has no place in a sample",
        where=where,
        expected="str, int, float, bool, bytes, NDArray, datetime, an Enum, a Literal, a packable "
        "type, or a list, tuple or dict[str, …] of one of them",
        got=str(annotation),
    )


def _unaliased(annotation: Any) -> Any:
    """What a ``type X = …`` stands for, as `NDArray` is one since NumPy 2.5 on Python 3.12."""
    # By name: typing has one of its own since Python 3.12, typing_extensions another.
    while type(origin := typing.get_origin(annotation) or annotation).__name__ == "TypeAliasType":
        value: Any = origin.__value__
        annotation = value[typing.get_args(annotation)] if origin is not annotation else value
    return annotation


def enum_type(cls: type[enum.Enum], where: str) -> EnumType:
    """The field type of an Enum; raises `SchemaError` if its values can't be written down."""
    members = tuple((name, member.value) for name, member in cls.__members__.items())
    for name, value in members:
        if type(value) not in (str, int, bool) or not name.isidentifier():
            raise SchemaError(
                "Enum's values can't be written in a schema",
                where=where,
                expected="str, int or bool",
                got=f"{cls.__name__}.{name} = {value!r}",
            )
    return EnumType(cls.__name__, members, cls)


def _union(args: tuple[Any, ...], annotation: Any, where: str) -> FieldType:
    rest = [arg for arg in args if arg is not type(None)]
    if len(rest) != 1 or len(args) != 2:
        raise SchemaError(
            "a field can't be of several types",
            where=where,
            expected="one type, or one type | None",
            got=str(annotation),
        )
    return NullableType(type_of(rest[0], where))


def _annotated(inner: FieldType, extras: tuple[Any, ...]) -> FieldType:
    if isinstance(inner, NullableType):
        return NullableType(_annotated(inner.item, extras))
    shapes = [extra for extra in extras if isinstance(extra, Shape)]
    if shapes and isinstance(inner, NDArrayType):
        return NDArrayType(inner.dtype, shapes[0].dims)
    return inner


def _tuple(args: tuple[Any, ...], where: str) -> FieldType:
    if len(args) == 2 and args[1] is Ellipsis:
        return ListType(type_of(args[0], where), "tuple")
    return TupleType(tuple(type_of(arg, where) for arg in args))


def _literal(values: tuple[Any, ...], where: str) -> LiteralType:
    for value in values:
        if type(value) not in (str, int, bool):
            raise SchemaError(
                "Literal's values can't be written in a schema",
                where=where,
                expected="str, int or bool",
                got=repr(value),
            )
    return LiteralType(values)


def _dtype_name(annotation: Any, where: str) -> str | None:
    args = typing.get_args(annotation)
    scalar = args[0] if args else Any
    if scalar is Any or isinstance(scalar, typing.TypeVar):
        return None
    if scalar in _MANY_DTYPES:
        return None
    try:
        dtype = np.dtype(scalar)
        if isinstance(scalar, type) and not issubclass(scalar, np.generic):
            raise TypeError
    except TypeError as error:
        raise SchemaError(
            "array annotation names no NumPy scalar type", where=where, got=str(scalar)
        ) from error
    check_dtype(dtype, where, SchemaError)
    return dtype.name
