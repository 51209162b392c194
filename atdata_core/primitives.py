"""Field types that msgpack has itself: text, numbers, truth values, bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata_core.errors import SampleError


@dataclass(frozen=True, slots=True)
class Primitive:
    """``str``, ``int``, ``float``, ``bool`` or ``bytes``, as msgpack's own types."""

    name: str

    def encode(self, value: Any, where: str) -> Any:
        """`value` in the form that msgpack carries; raises `SampleError` if it is another type."""
        return _ENCODERS[self.name](value, where)

    def decode(self, data: Any, where: str) -> Any:
        """The value again; raises `SampleError` if the data hold another type."""
        expected = PRIMITIVES[self.name]
        if type(data) is expected:
            return data
        if expected is float and type(data) is int:
            return float(data)
        raise mismatch(self, data, where)

    def python_type(self) -> Any:
        """The annotation that stands for this type."""
        return PRIMITIVES[self.name]

    def __str__(self) -> str:
        return self.name


def mismatch(expected: object, value: Any, where: str, remedy: str | None = None) -> SampleError:
    """The error for a value of another type than the field's, which is `expected`."""
    got = f"ndarray[{value.dtype}]" if isinstance(value, np.ndarray) else type(value).__name__
    if isinstance(value, (list, tuple)):
        got += f" of {len(value)}"
    return SampleError(
        "value has another type", where=where, expected=str(expected), got=got, remedy=remedy
    )


def _encode_int(value: Any, where: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise mismatch(Primitive("int"), value, where)
    if not -(2**63) <= int(value) < 2**64:
        raise SampleError("integer doesn't fit in 64 bits", where=where, got=str(value))
    return int(value)


def _encode_float(value: Any, where: str) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (float, int, np.floating, np.integer)
    ):
        raise mismatch(Primitive("float"), value, where)
    try:
        return float(value)
    except OverflowError as error:
        raise SampleError("number doesn't fit a float", where=where, got=str(value)[:40]) from error


def _encode_bool(value: Any, where: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise mismatch(Primitive("bool"), value, where)
    return bool(value)


def encode_text(value: Any, where: str) -> str:
    """A text that UTF-8 can hold; raises `SampleError` if it is none."""
    if not isinstance(value, str):
        raise mismatch(Primitive("str"), value, where)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SampleError(
            "text can't be encoded as UTF-8", where=where, got=ascii(value)
        ) from error
    return str(value)


def _encode_bytes(value: Any, where: str) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise mismatch(Primitive("bytes"), value, where)
    return bytes(value)


PRIMITIVES: dict[str, type] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "bytes": bytes,
}
_ENCODERS: dict[str, Callable[[Any, str], Any]] = {
    "str": encode_text,
    "int": _encode_int,
    "float": _encode_float,
    "bool": _encode_bool,
    "bytes": _encode_bytes,
}
