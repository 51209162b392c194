"""Arrays as bytes.

Written as a ``.npy`` file (format 1.0, C order), as the published schemas say. Reading also takes
the compact form that public ``atdata`` writes since 0.3
(``u8 len(dtype) · dtype · u8 ndim · ndim x int64 · data``).
"""

import ast
import functools
import io
import itertools
import math
import re
import tokenize
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy

from atdata_core.errors import SampleError, SchemaError

_NPY_MAGIC = b"\x93NUMPY"
_MAX_NPY_HEADER = 10_000  # what NumPy reads without being told to trust the file
MAX_HEAD = 1 << 14
"""Longer than any header in bytes."""

_HEADER_ERRORS = (
    *(ValueError, TypeError, IndexError, OverflowError, SyntaxError),
    *(tokenize.TokenError, RecursionError, MemoryError),
)
"""What NumPy raises for a header that isn't one: it reads them as Python."""


_PLAIN_KINDS = frozenset("biufcmMSU")
"""Kinds of dtypes that are made of nothing else; all of them have a form in ``.npy``."""


def check_dtype(
    dtype: "np.dtype[Any]", where: str, error: type[SampleError] | type[SchemaError] = SampleError
) -> None:
    """Refuses dtypes whose values don't survive as ``.npy`` bytes.

    Raises:
        SampleError: For object dtypes (they would need pickle), for variable-width strings, for
            values without width, and for extension dtypes such as bfloat16, which ``.npy``
            degrades to raw bytes.
    """
    if dtype.kind in _PLAIN_KINDS and dtype.itemsize:
        return
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
        header = npy_header(array.dtype, array.shape)
    except ValueError as error:
        raise SampleError(
            f"dtype has no form in the .npy format: {error}",
            where=where,
            got=str(array.dtype)[:200],
            remedy="Give its fields fewer and shorter names, in Latin letters",
        ) from error
    return header + array.tobytes(order="C")


@functools.lru_cache(maxsize=4096)
def npy_header(dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> bytes:
    """The header of a ``.npy`` file, up to the data; `ValueError` if the dtype has none."""
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
    start, dtype, shape, fortran = array_header(data, len(data), where)
    order: Literal["F", "C"] = "F" if fortran else "C"
    try:
        if start == len(data):
            return np.empty(shape, dtype, order)
        # Copied as bytes: NumPy would leave out what lies between the fields of a structure.
        own = np.frombuffer(data, np.uint8, offset=start).copy()
        return own.view(dtype).reshape(shape, order=order)
    except (ValueError, MemoryError) as error:
        raise SampleError(
            f"bytes don't hold an array: {error}", where=where, got=shape_text(shape)
        ) from error


def array_header(
    head: bytes, length: int, where: str
) -> tuple[int, "np.dtype[Any]", tuple[int, ...], bool]:
    """What the beginning of ``.npy`` or compact bytes says of the array in them.

    Args:
        head: The first bytes, at least `MAX_HEAD` of them where there are so many.
        length: How many bytes there are in all.
        where: What errors name.

    Returns:
        Where the data begin, their dtype and shape, and whether they are in Fortran order.

    Raises:
        SampleError: See `array_from_bytes`.
    """
    found = _array_header(head, where)
    start, dtype, shape, _ = found
    check_dtype(dtype, where)
    expected = math.prod(shape) * dtype.itemsize
    if length - start != expected:
        raise SampleError(
            "array data don't match their header",
            where=where,
            expected=f"{expected} bytes for {dtype} {shape_text(shape)}",
            got=f"{length - start}",
        )
    return found


def _array_header(data: bytes, where: str) -> tuple[int, "np.dtype[Any]", tuple[int, ...], bool]:
    try:
        if data.startswith(_NPY_MAGIC):
            size = 10 + int.from_bytes(data[8:10], "little")
            if data[6:8] != b"\x01\x00":
                size = 12 + int.from_bytes(data[8:12], "little")
            parse = _parse_npy_header if size <= _SHORT else _parse_long_npy_header
            return parse(data[:size])
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
    # Python 2 wrote lengths as 3L. NumPy reads that with a warning; here it is 3 and a space.
    header = re.sub(rb"(\d)L(?=[,)])", rb"\1 ", header)
    stream = io.BytesIO(header)
    version = npy.read_magic(stream)
    read: Callable[..., Any] = (
        npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    )
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f".npy version {version} is not supported")
    if len(header) <= _MAX_NPY_HEADER:
        ast.literal_eval(header[10 if version == (1, 0) else 12 :].decode("latin-1"))
    shape, fortran, dtype = read(stream)
    _check_dims(shape)
    return stream.tell(), dtype, shape, fortran


_SHORT = 256
_parse_long_npy_header = functools.lru_cache(maxsize=64)(_parse_npy_header.__wrapped__)
"""For headers of a few KB, of which not thousands are kept: a stranger may send many."""


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


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape for people: ``(8, any)``."""
    return "(" + ", ".join("any" if dim is None else str(dim) for dim in shape) + ")"
