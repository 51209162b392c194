"""One sample decoded where it lies, its arrays as views."""

import functools
import struct
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np

from atdata_core.arrays import MAX_HEAD, array_header
from atdata_core.columns import takes_positions
from atdata_core.errors import SampleError
from atdata_core.fields import Field, fields_of
from atdata_core.fieldtypes import NDArrayType, Primitive
from atdata_core.sample import unpack

_HEADS = {
    **{kind: (size, "bytes") for kind, size in ((0xC4, 1), (0xC5, 2), (0xC6, 4))},
    **{kind: (size, "str") for kind, size in ((0xD9, 1), (0xDA, 2), (0xDB, 4))},
}
_NUMBERS = {
    0xCB: struct.Struct(">d"),
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
        heads = [msgpack.packb(field.name) for field in fields]
        heads[0] = msgpack.Packer().pack_map_header(len(fields)) + heads[0]
        self._fields = [(head, len(head), field) for head, field in zip(heads, fields, strict=True)]
        self._simple = all(isinstance(f.type, (NDArrayType, Primitive)) for f in fields)
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
            except (_Unusual, SampleError, ValueError, IndexError, struct.error):
                pass
            else:
                if self._by_position:
                    return self._type(*values)
                names = (field.name for _, _, field in self._fields)
                return self._type(**dict(zip(names, values, strict=True)))
        sample: Any = unpack(self._type, bytes(body), where())
        for _, _, field in self._fields:
            value = getattr(sample, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = not body.readonly
        return sample

    def _values(self, body: memoryview) -> list[Any]:
        at = 0
        values = []
        for head, length, field in self._fields:
            if body[at : at + length] != head:
                raise _Unusual
            at += length
            value, at = _value(field, body, at)
            values.append(value)
        if at != len(body):
            raise _Unusual
        return values


def _value(field: Field, body: memoryview, at: int) -> tuple[Any, int]:
    kind = body[at]
    if kind in _HEADS:
        size, what = _HEADS[kind]
        start = at + 1 + size
        end = start + int.from_bytes(body[at + 1 : start], "big")
    elif 0xA0 <= kind < 0xC0:
        what, start = "str", at + 1
        end = start + kind - 0xA0
    else:
        return _scalar(field, kind, body, at)
    data = body[start:end]
    if len(data) != end - start:
        raise _Unusual
    if isinstance(field.type, NDArrayType) and what == "bytes":
        return _array(field.type, data), end
    if not isinstance(field.type, Primitive) or field.type.name != what:
        raise _Unusual
    return (str(data, "utf-8") if what == "str" else bytes(data)), end


def _scalar(field: Field, kind: int, body: memoryview, at: int) -> tuple[Any, int]:
    if kind == 0xC0 and field.optional:
        return None, at + 1
    name = field.type.name if isinstance(field.type, Primitive) else ""
    if name == "bool" and kind in (0xC2, 0xC3):
        return kind == 0xC3, at + 1
    if name == "int" and kind < 0x80:
        return kind, at + 1
    if name == "int" and kind >= 0xE0:
        return kind - 256, at + 1
    if kind not in _NUMBERS or name != ("float" if kind == 0xCB else "int"):
        raise _Unusual
    number = _NUMBERS[kind]
    return number.unpack_from(body, at + 1)[0], at + 1 + number.size


def _array(kind: NDArrayType, data: memoryview) -> Any:
    start, dtype, shape, order = _form(kind, bytes(data[:_LIKELY]), len(data))
    if start < 0:
        start, dtype, shape, order = _form(kind, bytes(data[:MAX_HEAD]), len(data))
    return np.ndarray(shape, dtype, data, start, order=order)


_LIKELY = 128
"""As long as the header of nearly every array, so that its bytes say which one it is."""


@functools.lru_cache(maxsize=4096)
def _form(kind: NDArrayType, head: bytes, length: int) -> tuple[int, Any, Any, Any]:
    """Where an array's data begin, and what they are; -1 if more bytes are needed to tell."""
    try:
        start, dtype, shape, fortran = array_header(head, length, "")
    except SampleError:
        if len(head) == _LIKELY:
            return -1, None, None, None
        raise
    kind.check(np.broadcast_to(np.empty((), dtype), shape), "")
    return start, dtype, shape, "F" if fortran else "C"
