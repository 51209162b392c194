"""One sample decoded where it lies, its arrays as views."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from atdata_core.columns import takes_positions
from atdata_core.errors import SampleError
from atdata_core.fields import Field, fields_of
from atdata_core.fieldtypes import (
    NDArrayType,
)
from atdata_core.forms import Form, forms_of
from atdata_core.packing import map_heads
from atdata_core.primitives import Primitive
from atdata_core.sample import unpack

Reader = Callable[[memoryview, int], tuple[Any, int]]
"""Reads the value that begins at a place; it, and where it ends. Anything unusual is an error."""

_NIL, _FLOAT64 = 0xC0, 0xCB
_BOOLS = {0xC2: False, 0xC3: True}
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_DOUBLE = struct.Struct(">d")
_INTS = {
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}


class _Unusual(Exception):  # noqa: N818 - no error: the sample is decoded in another way
    """The sample isn't one whose values can be looked at where they lie."""


class Viewer:
    """Decodes samples of one type.

    Fields in their order, arrays, numbers, text and bytes are looked at where they lie; a sample
    with anything else in it is decoded by `unpack`, which also says what is wrong with one.

    Args:
        sample_type: A packable type.
    """

    def __init__(self, sample_type: type) -> None:
        self._type = sample_type
        fields = fields_of(sample_type)
        heads = map_heads(tuple(field.name for field in fields))
        self.fields = fields
        """Of the type."""
        self._simple = all(isinstance(f.type, (NDArrayType, Primitive)) for f in fields)
        self._steps = [
            (head, len(head), _reader(field))
            for head, field in zip(heads, fields if self._simple else (), strict=False)
        ]
        self._by_position = takes_positions(sample_type)

    def view(self, body: memoryview, where: Callable[[], str]) -> Any:
        """A sample, its arrays views of `body`: to be written to if that is.

        Args:
            body: Its bytes.
            where: Tells what errors call it.

        Raises:
            SampleError: The bytes are no sample of this type.
        """
        if self._simple:
            try:
                values = self._values(body)
            except (_Unusual, SampleError, ValueError, LookupError, struct.error):
                pass
            else:
                if self._by_position:
                    return self._type(*values)
                names = (field.name for field in self.fields)
                return self._type(**dict(zip(names, values, strict=True)))
        sample: Any = unpack(self._type, bytes(body), where())
        for field in self.fields:
            value = getattr(sample, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = not body.readonly
        return sample

    def _values(self, body: memoryview) -> list[Any]:
        at = 0
        values = []
        for head, length, read in self._steps:
            start = at + length
            if bytes(body[at:start]) != head:  # memory compares slower than bytes
                raise _Unusual
            value, at = read(body, start)
            values.append(value)
        if at != len(body):
            raise _Unusual
        return values


def _reader(field: Field) -> Reader:
    """What reads the values of a field."""
    read = (
        _array_reader(field.type) if isinstance(field.type, NDArrayType) else _READERS[_name(field)]
    )
    if not field.optional:
        return read

    def read_optional(body: memoryview, at: int) -> tuple[Any, int]:
        return (None, at + 1) if body[at] == _NIL else read(body, at)

    return read_optional


def _name(field: Field) -> str:
    return field.type.name if isinstance(field.type, Primitive) else ""


def _span(body: memoryview, at: int, size: int) -> tuple[memoryview, int]:
    """The bytes of a value whose length stands in `size` bytes after its first, and its end."""
    start = at + 1 + size
    end = start + int.from_bytes(body[at + 1 : start], "big")
    data = body[start:end]
    if len(data) != end - start:
        raise _Unusual
    return data, end


def _array_reader(kind: NDArrayType) -> Reader:
    form_of = forms_of(kind)
    # What stood before the data of the array read last, its length, that of the whole value, and
    # the form that follows from it. (Looked up by `form_of` each time, a sample takes 7 to 16 %
    # longer.)
    known: tuple[bytes, int, int, Form] = (b"none yet", 1, 0, (0, None, (), "C"))

    def read(body: memoryview, at: int) -> tuple[Any, int]:
        nonlocal known
        head, length, whole, (_, dtype, shape, order) = known
        if bytes(body[at : at + length]) == head:
            end = at + whole
            if end > len(body):
                raise _Unusual
            return np.ndarray(shape, dtype, body, at + length, None, order), end
        data, end = _span(body, at, _BINARY[body[at]])
        start, dtype, shape, order = form = form_of(data)
        length = end - at - len(data) + start
        known = (bytes(body[at : at + length]), length, end - at, form)
        return np.ndarray(shape, dtype, data, start, None, order), end

    return read


def _read_bytes(body: memoryview, at: int) -> tuple[Any, int]:
    data, end = _span(body, at, _BINARY[body[at]])
    return bytes(data), end


def _read_text(body: memoryview, at: int) -> tuple[Any, int]:
    kind = body[at]
    if 0xA0 <= kind < 0xC0:
        end = at + 1 + kind - 0xA0
        data = body[at + 1 : end]
        if len(data) != kind - 0xA0:
            raise _Unusual
    else:
        data, end = _span(body, at, _STRINGS[kind])
    return str(data, "utf-8"), end


def _read_bool(body: memoryview, at: int) -> tuple[Any, int]:
    return _BOOLS[body[at]], at + 1


def _read_float(body: memoryview, at: int) -> tuple[Any, int]:
    if body[at] != _FLOAT64:
        raise _Unusual
    return _DOUBLE.unpack_from(body, at + 1)[0], at + 9


def _read_int(body: memoryview, at: int) -> tuple[Any, int]:
    kind = body[at]
    if kind < 0x80:
        return kind, at + 1
    if kind >= 0xE0:
        return kind - 256, at + 1
    number = _INTS[kind]
    return number.unpack_from(body, at + 1)[0], at + 1 + number.size


_READERS: dict[str, Reader] = {
    "str": _read_text,
    "bytes": _read_bytes,
    "bool": _read_bool,
    "float": _read_float,
    "int": _read_int,
}
