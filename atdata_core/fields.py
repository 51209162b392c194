"""What a field of a sample can be, and how its values are written.

Each field type encodes a value to what msgpack can carry, decodes it again, and checks both ways.
Arrays are written as the bytes of a ``.npy`` file (format 1.0, C order), as the published schemas
say; reading also takes the compact form that public ``atdata`` writes since 0.3
(``u8 len(dtype) · dtype · u8 ndim · ndim x int64 · data``).
"""

import dataclasses
import functools
import io
import itertools
import math
import tokenize
import types
import typing
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, cast

import numpy as np
from numpy.lib import format as npy

from atdata_core.errors import SampleError, SchemaError

_NPY_MAGIC = b"\x93NUMPY"
_MAX_NPY_HEADER = 10_000  # what NumPy reads without being told to trust the file
_HEADER_ERRORS = (
    *(ValueError, TypeError, IndexError, OverflowError, SyntaxError),
    *(tokenize.TokenError, RecursionError, MemoryError),
)
"""What NumPy raises for a header that isn't one: it reads them as Python."""
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


NO_DEFAULT: Any = _NoDefault()


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
class Primitive:
    """``str``, ``int``, ``float``, ``bool`` or ``bytes``, as msgpack's own types."""

    name: str

    def encode(self, value: Any, where: str) -> Any:
        """`value` in the form that msgpack carries; raises `SampleError` if it is another type."""
        return _ENCODERS[self.name](value, where)

    def decode(self, data: Any, where: str) -> Any:
        """The value again; raises `SampleError` if the data holds another type."""
        expected = _PRIMITIVES[self.name]
        if type(data) is expected:
            return data
        if expected is float and type(data) is int:
            return float(data)
        raise _mismatch(self, data, where)

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return _PRIMITIVES[self.name]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class NDArrayType:
    """A NumPy array; `dtype` (NumPy's name) and `shape` are checked where they are given."""

    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None

    def encode(self, value: Any, where: str) -> bytes:
        """`value` as ``.npy`` bytes; raises `SampleError` if dtype or shape differ."""
        if not isinstance(value, np.ndarray):
            raise _mismatch(self, value, where, remedy="Wrap it: np.asarray(value, dtype=…)")
        self._check(value, where)
        return npy_bytes(value, where)

    def decode(self, data: Any, where: str) -> np.ndarray[Any, Any]:
        """The array, writable; raises `SampleError` if the bytes hold another, or none."""
        if type(data) is not bytes:
            raise _mismatch(self, data, where)
        array = array_from_bytes(data, where)
        self._check(array, where)
        return array

    def _check(self, array: np.ndarray[Any, Any], where: str) -> None:
        if self.dtype is not None and array.dtype != np.dtype(self.dtype):
            raise SampleError(
                "array has another dtype", where=where, expected=self.dtype, got=str(array.dtype)
            )
        if self.shape is not None and not (
            array.ndim == len(self.shape)
            and all(
                want in (None, have) for want, have in zip(self.shape, array.shape, strict=True)
            )
        ):
            raise SampleError(
                "array has another shape",
                where=where,
                expected=_shape_text(self.shape),
                got=_shape_text(array.shape),
            )

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        scalar: Any = Any if self.dtype is None else np.dtype(self.dtype).type
        array = np.ndarray[tuple[Any, ...], np.dtype[scalar]]
        return array if self.shape is None else Annotated[array, Shape(*self.shape)]

    def __str__(self) -> str:
        return f"ndarray[{self.dtype or 'any dtype'}{_shape_suffix(self.shape)}]"


@dataclass(frozen=True, slots=True)
class ListType:
    """A list whose items are all of one type."""

    items: "FieldType"

    def encode(self, value: Any, where: str) -> list[Any]:
        """Each item encoded; raises `SampleError` naming the item that doesn't fit."""
        if not isinstance(value, list):
            raise _mismatch(self, value, where)
        return [self.items.encode(item, f"{where}[{i}]") for i, item in enumerate(value)]

    def decode(self, data: Any, where: str) -> list[Any]:
        """Each item decoded; raises `SampleError` naming the item that doesn't fit."""
        if type(data) is not list:
            raise _mismatch(self, data, where)
        return [self.items.decode(item, f"{where}[{i}]") for i, item in enumerate(data)]

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return list[self.items.python_type()]  # type: ignore[misc]

    def __str__(self) -> str:
        return f"list[{self.items}]"


FieldType = Primitive | NDArrayType | ListType


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
        SchemaError: `cls` is no dataclass, has no fields, or one has an annotation that has no
            place in a sample.
    """
    return _fields_of(cast("Hashable", cls))


@functools.lru_cache(maxsize=1024)
def _fields_of(cls: type) -> tuple[Field, ...]:
    if not dataclasses.is_dataclass(cls):
        raise SchemaError(
            "type is not a sample type", where=cls.__qualname__, remedy="Decorate it with @packable"
        )
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise SchemaError(
            f"annotations can't be resolved: {error}",
            where=cls.__qualname__,
            remedy="Define the type at module level, with names that are imported there",
        ) from error
    found = tuple(
        _field(f, hints[f.name], f"{cls.__qualname__}.{f.name}") for f in dataclasses.fields(cls)
    )
    if not found:
        raise SchemaError("sample type has no fields", where=cls.__qualname__)
    return found


def _field(field: "dataclasses.Field[Any]", annotation: Any, where: str) -> Field:
    annotation, optional = _strip_optional(annotation)
    default = NO_DEFAULT
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return Field(field.name, type_of(annotation, where), optional, default)


def type_of(annotation: Any, where: str) -> FieldType:
    """The field type that an annotation stands for.

    Raises:
        SchemaError: None does; `where` names the field in the message.
    """
    if annotation in _PRIMITIVE_NAMES:
        return Primitive(_PRIMITIVE_NAMES[annotation])
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner = type_of(args[0], where)
        shapes = [extra for extra in args[1:] if isinstance(extra, Shape)]
        if shapes and isinstance(inner, NDArrayType):
            return NDArrayType(inner.dtype, shapes[0].dims)
        return inner
    if annotation is np.ndarray:
        return NDArrayType()
    if origin is np.ndarray:
        return NDArrayType(_dtype_name(args[1], where) if len(args) > 1 else None)
    if origin is list and args:
        return ListType(type_of(args[0], where))
    raise SchemaError(
        "annotation has no place in a sample",
        where=where,
        expected="str, int, float, bool, bytes, NDArray, or a list of one of them",
        got=str(annotation),
    )


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


def _strip_optional(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        args = typing.get_args(annotation)
        rest = [arg for arg in args if arg is not type(None)]
        if len(rest) == 1 and len(args) == 2:
            return rest[0], True
    return annotation, False


def check_dtype(
    dtype: "np.dtype[Any]", where: str, error: type[SampleError] | type[SchemaError] = SampleError
) -> None:
    """Refuses dtypes whose values don't survive as ``.npy`` bytes.

    Raises:
        SampleError: For object dtypes (they would need pickle), for variable-width strings, for
            values without width, and for extension dtypes such as bfloat16, which ``.npy``
            degrades to raw bytes.
    """
    if dtype.hasobject:
        raise error(
            "array of Python objects can't be stored",
            where=where,
            got=str(dtype),
            remedy="Give it a fixed dtype: np.asarray(value, dtype=…)",
        )
    for part in _parts(dtype):
        foreign = part.kind == "T" or (part.kind == "V" and part.type is not np.void)
        if not foreign and dtype.itemsize:
            continue
        raise error(
            "dtype has no form in the .npy format",
            where=where,
            got=str(part),
            remedy="Convert it, e.g. array.astype(np.float32), or array.view(np.uint16)",
        )


def _parts(dtype: "np.dtype[Any]") -> "list[np.dtype[Any]]":
    # What a structured dtype is made of, at every level.
    if dtype.subdtype is not None:
        return _parts(dtype.subdtype[0])
    inner = [_parts(dtype[name]) for name in dtype.names or ()]
    return [dtype, *itertools.chain.from_iterable(inner)]


def npy_bytes(array: np.ndarray[Any, Any], where: str) -> bytes:
    """`array` as the bytes of a ``.npy`` file, in C order, whatever its layout in memory.

    Raises:
        SampleError: The dtype can't be stored; see `check_dtype`.
    """
    check_dtype(array.dtype, where)
    try:
        header = _npy_header(array.dtype, array.shape)
    except ValueError as error:
        raise SampleError(
            f"dtype has no form in the .npy format: {error}",
            where=where,
            got=str(array.dtype)[:200],
            remedy="Give its fields fewer and shorter names, in Latin letters",
        ) from error
    return header + array.tobytes(order="C")


@functools.lru_cache(maxsize=4096)
def _npy_header(dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    descr = npy.dtype_to_descr(dtype)
    npy.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    if buffer.tell() > _MAX_NPY_HEADER:
        raise ValueError("header is too long")
    return buffer.getvalue()


def array_from_bytes(data: bytes, where: str) -> np.ndarray[Any, Any]:
    """The array that ``.npy`` or compact bytes hold; writable, its memory its own.

    Raises:
        SampleError: The bytes are neither, name an object dtype, or are more or fewer than the
            header says. Nothing is allocated before that is checked.
    """
    start, dtype, shape, fortran = _array_header(data, where)
    check_dtype(dtype, where)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - start != expected:
        raise SampleError(
            "array data don't match their header",
            where=where,
            expected=f"{expected} bytes for {dtype} {_shape_text(shape)}",
            got=f"{len(data) - start}",
        )
    order: Literal["F", "C"] = "F" if fortran else "C"
    try:
        if not expected:
            return np.empty(shape, dtype, order)
        return np.frombuffer(bytearray(data[start:]), dtype=dtype).reshape(shape, order=order)
    except (ValueError, MemoryError) as error:
        raise SampleError(
            f"bytes don't hold an array: {error}", where=where, got=_shape_text(shape)
        ) from error


def _array_header(data: bytes, where: str) -> tuple[int, "np.dtype[Any]", tuple[int, ...], bool]:
    try:
        if data.startswith(_NPY_MAGIC):
            size = 10 + int.from_bytes(data[8:10], "little")
            if data[6:8] != b"\x01\x00":
                size = 12 + int.from_bytes(data[8:12], "little")
            return _parse_npy_header(data[:size])
        return _parse_compact_header(data)
    except _HEADER_ERRORS as error:
        raise SampleError(
            f"bytes don't hold an array: {error}",
            where=where,
            expected=".npy data",
            got=f"{len(data)} bytes, {data[:8]!r}…",
        ) from error


@functools.lru_cache(maxsize=4096)
def _parse_npy_header(header: bytes) -> tuple[int, "np.dtype[Any]", tuple[int, ...], bool]:
    stream = io.BytesIO(header)
    version = npy.read_magic(stream)
    read: Callable[..., Any] = (
        npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    )
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f".npy version {version} is not supported")
    shape, fortran, dtype = read(stream)
    _check_dims(shape)
    return stream.tell(), dtype, shape, fortran


def _parse_compact_header(data: bytes) -> tuple[int, "np.dtype[Any]", tuple[int, ...], bool]:
    end = 1 + data[0]
    dtype = np.dtype(data[1:end].decode("ascii"))
    start = end + 1 + 8 * data[end]
    if start > len(data):
        raise ValueError("header is cut short")
    shape = tuple(np.frombuffer(data[end + 1 : start], "<i8").tolist())
    _check_dims(shape)
    return start, dtype, shape, False


def _check_dims(shape: Sequence[int]) -> None:
    if any(dim < 0 for dim in shape):
        raise ValueError(f"shape {tuple(shape)} has a negative length")


def _mismatch(
    expected: FieldType, value: Any, where: str, remedy: str | None = None
) -> SampleError:
    got = f"ndarray[{value.dtype}]" if isinstance(value, np.ndarray) else type(value).__name__
    return SampleError(
        "value has another type", where=where, expected=str(expected), got=got, remedy=remedy
    )


def _shape_text(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if dim is None else str(dim) for dim in shape) + ")"


def _shape_suffix(shape: Sequence[int | None] | None) -> str:
    return "" if shape is None else ", " + _shape_text(shape)


def _encode_int(value: Any, where: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise _mismatch(Primitive("int"), value, where)
    if not -(2**63) <= int(value) < 2**64:
        raise SampleError("integer doesn't fit in 64 bits", where=where, got=str(value))
    return int(value)


def _encode_float(value: Any, where: str) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (float, int, np.floating, np.integer)
    ):
        raise _mismatch(Primitive("float"), value, where)
    try:
        return float(value)
    except OverflowError as error:
        raise SampleError("number doesn't fit a float", where=where, got=str(value)[:40]) from error


def _encode_bool(value: Any, where: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _mismatch(Primitive("bool"), value, where)
    return bool(value)


def _encode_str(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _mismatch(Primitive("str"), value, where)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SampleError(
            "text can't be encoded as UTF-8", where=where, got=ascii(value)
        ) from error
    return str(value)


def _encode_bytes(value: Any, where: str) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise _mismatch(Primitive("bytes"), value, where)
    return bytes(value)


_PRIMITIVES: dict[str, type] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "bytes": bytes,
}
_PRIMITIVE_NAMES: dict[Any, str] = {python: name for name, python in _PRIMITIVES.items()}
_ENCODERS: dict[str, Callable[[Any, str], Any]] = {
    "str": _encode_str,
    "int": _encode_int,
    "float": _encode_float,
    "bool": _encode_bool,
    "bytes": _encode_bytes,
}
