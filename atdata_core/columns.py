"""Many samples of one type decoded together, field by field.

The bodies of a shard's samples are msgpack maps with the same keys in the same order. So the place
of a field in all of them can be computed at once, and its values gathered with one copy: arrays of
the same dtype and shape into one stacked array, others, numbers and text into lists. Every step
checks what it reads; whatever is irregular (another order of keys, a list, an extension type)
raises `Irregular`, and the samples are decoded one by one instead, which also finds the words for
what is wrong with them. Both ways give equal samples. A decoder moves a `Cursor`.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata_core.arrays import MAX_HEAD, array_header
from atdata_core.cursor import Cursor, Irregular
from atdata_core.errors import SampleError
from atdata_core.fields import Field, fields_of
from atdata_core.fieldtypes import (
    DatetimeType,
    EnumType,
    FieldType,
    LiteralType,
    NDArrayType,
    NestedType,
    NullableType,
)
from atdata_core.forms import forms_of
from atdata_core.headers import Bytes, Places, repeats
from atdata_core.packing import map_heads
from atdata_core.primitives import Primitive

Column = Any
"""The values of one field: an array with one row a sample, or a list."""

_NIL = 0xC0
_FALSE, _TRUE = 0xC2, 0xC3
_FLOAT64 = 0xCB
_UINT64 = 0xCF
_INTS = {
    0xCC: "u1",
    0xCD: ">u2",
    0xCE: ">u4",
    0xCF: ">u8",
    0xD0: "i1",
    0xD1: ">i2",
    0xD2: ">i4",
    0xD3: ">i8",
}
_WIDTHS = np.full(256, 9, np.int64)  # of a whole number, by its first byte; 9: it is none
_WIDTHS[:0x80] = _WIDTHS[0xE0:] = 0
for _kind, _dtype in _INTS.items():
    _WIDTHS[_kind] = np.dtype(_dtype).itemsize
_SIGNED = np.zeros(256, bool)
_SIGNED[0xD0:0xD4] = True
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}


@dataclass(frozen=True, slots=True)
class Late:
    """A column of arrays whose data were cut out of the bodies.

    Args:
        of: Gives the column of some rows; it takes their data, one row a body, and which they are.
    """

    of: Callable[[Bytes, slice], Column]


def decode(fields: Sequence[Field], cursor: Cursor, ends: Places) -> dict[str, Column]:
    """The values of some samples, by field.

    Args:
        fields: The fields of their type.
        cursor: At the beginning of each body.
        ends: Where each body ends.

    Raises:
        Irregular: They can't be decoded together. What is wrong with them, if anything, is for
            `atdata_core.sample.unpack` to say.
    """
    try:
        columns = _decode_map(fields, cursor)
    except (IndexError, SampleError, UnicodeDecodeError, ValueError) as error:
        raise Irregular from error
    if (cursor.places != ends).any():
        raise Irregular
    return columns


def _decode_map(fields: Sequence[Field], cursor: Cursor) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for field, head in zip(fields, map_heads(tuple(f.name for f in fields)), strict=True):
        cursor.expect(head)
        kind = NullableType(field.type) if field.optional else field.type
        columns[field.name] = _decode(kind, cursor)
    return columns


def _decode(kind: FieldType, cursor: Cursor) -> Column:
    match kind:
        case NDArrayType():
            return _arrays(kind, cursor)
        case Primitive():
            return _PRIMITIVES[kind.name](cursor)
        case NullableType():
            return _nullable(kind.item, cursor)
        case DatetimeType() | EnumType():
            return [kind.decode(text, "") for text in _texts(cursor)]
        case LiteralType() if set(kind.kinds) == {"str"}:
            return [kind.decode(text, "") for text in _texts(cursor)]
        case NestedType():
            return _nested(kind.cls, _decode_map(kind.fields, cursor))
    raise Irregular


def _nested(sample_type: type, columns: Mapping[str, Column]) -> Column:
    if not any(isinstance(column, Late) for column in columns.values()):
        return list(samples(sample_type, columns))
    return Late(lambda data, rows: list(samples(sample_type, cut_columns(columns, data, rows))))


def cut_columns(columns: Mapping[str, Column], data: Bytes, rows: slice) -> dict[str, Column]:
    """Some rows of columns of which one is `Late`, with the data that were cut out of them."""
    return {
        name: column.of(data, rows) if isinstance(column, Late) else column[rows]
        for name, column in columns.items()
    }


def _arrays(kind: NDArrayType, cursor: Cursor) -> Column:
    """Arrays, in memory of their own."""
    start = cursor.mark()
    try:
        return _alike(kind, cursor)
    except Irregular:
        if cursor.cut is not None:
            raise
    cursor.back(start)
    return _ragged(kind, cursor)


def _ragged(kind: NDArrayType, cursor: Cursor) -> Column:
    """Arrays of any dtypes and shapes, each in memory of its own.

    (65 numbers on the average and a label: 430,000 samples a second so, 110,000 one by one.)
    """
    form_of = forms_of(kind)
    view = memoryview(cursor.buffer)
    arrays: list[Any] = []
    for start, end in _spans(cursor, cursor.spans(_BINARY, None)):
        data = view[start:end]
        offset, dtype, shape, order = form_of(data)
        if dtype.kind == "V":  # NumPy wouldn't copy what is between the fields of a structure
            raise Irregular
        arrays.append(np.ndarray(shape, dtype, data, offset, order=order).copy("K"))
    return arrays


def _alike(kind: NDArrayType, cursor: Cursor) -> Column:
    """Arrays of one dtype and shape, stacked."""
    start = int(cursor.places[0])
    size = _BINARY.get(int(cursor.bytes[start]))
    if size is None:
        raise Irregular
    length = int.from_bytes(cursor.bytes[start + 1 : start + 1 + size].tobytes(), "big")
    begin = start + 1 + size
    # Not the whole array: its header, as far as one may go.
    head = cursor.bytes[begin : begin + min(length, MAX_HEAD)].tobytes()
    offset, dtype, shape, fortran = array_header(head, length, "")
    payload = length - offset
    cursor.expect(cursor.bytes[start : begin + offset].tobytes())
    here = int(cursor.places[0]) - cursor.begin
    cursor.arrays.append((here, payload))
    stacked = functools.partial(_stacked, dtype, shape, fortran)
    kind.check(dtype, shape, "")
    if cursor.cut is None or here != cursor.cut.offset:
        return stacked(cursor.take(payload))
    if cursor.cut.size != payload:
        raise Irregular
    return Late(lambda data, _: stacked(data))


def _stacked(
    dtype: "np.dtype[Any]", shape: tuple[int, ...], fortran: bool, data: Bytes
) -> np.ndarray[Any, Any]:
    """Arrays out of their data, one row an array."""
    count, size = data.shape
    if not size:
        return np.empty((count, *shape), dtype)
    flat = data.reshape(-1).view(dtype)
    if fortran:
        axes = (0, *range(len(shape), 0, -1))
        return flat.reshape(count, *shape[::-1]).transpose(axes)
    return flat.reshape(count, *shape)


def _ints(cursor: Cursor) -> list[int]:
    kinds = cursor.kinds()
    if repeats(kinds[:, None]):
        dtype = _INTS.get(int(kinds[0]))
        if dtype is not None:
            cursor.move(1)
            alike: list[int] = cursor.numbers(dtype).tolist()
            return alike
    widths = _WIDTHS[kinds]
    if int(widths.max()) > 8:
        raise Irregular
    # The bytes of each number are the first of these eight.
    words = cursor.words(1)
    shifts = 64 - 8 * widths
    signed = words.view(np.int64) >> shifts
    values = np.where(_SIGNED[kinds], signed, (words >> shifts.view(np.uint64)).view(np.int64))
    if ((kinds == _UINT64) & (values < 0)).any():  # from 2**63 on
        raise Irregular
    short = widths == 0
    values[short] = kinds[short].view(np.int8)
    cursor.move(widths + 1)
    listed: list[int] = values.tolist()
    return listed


def _floats(cursor: Cursor) -> list[float]:
    if cursor.same() != _FLOAT64:
        raise Irregular
    cursor.move(1)
    listed: list[float] = cursor.numbers(">f8").tolist()
    return listed


def _bools(cursor: Cursor) -> list[bool]:
    kinds = cursor.kinds()
    if ((kinds != _TRUE) & (kinds != _FALSE)).any():
        raise Irregular
    cursor.move(1)
    listed: list[bool] = (kinds == _TRUE).tolist()
    return listed


def _texts(cursor: Cursor) -> list[str]:
    lengths = cursor.spans(_STRINGS, (0xA0, 0xC0))
    if isinstance(lengths, int):
        data = cursor.rows(lengths).tobytes()
        if data.isascii():
            cursor.move(lengths)
            return _pieces(data.decode("ascii"), lengths, len(cursor.places))
    # (Gathered with what follows the shorter ones, and cut: 0.1 us slower.)
    buffer = cursor.buffer
    return [buffer[start:end].decode() for start, end in _spans(cursor, lengths)]


def _blobs(cursor: Cursor) -> list[bytes]:
    lengths = cursor.spans(_BINARY, None)
    if isinstance(lengths, int):
        data = cursor.rows(lengths).tobytes()
        cursor.move(lengths)
        return _pieces(data, lengths, len(cursor.places))
    view = memoryview(cursor.buffer)
    return [bytes(view[start:end]) for start, end in _spans(cursor, lengths)]


def _pieces(data: Any, size: int, count: int) -> list[Any]:
    """A text or bytes in pieces of one size, which may be 0."""
    if not size:
        return [data] * count
    cut, width = _cutter(size), size * _CUT
    whole = count // _CUT * width
    found: list[Any] = []
    for start in range(0, whole, width):
        found += cut(data[start : start + width])
    found += [data[start : start + size] for start in range(whole, len(data), size)]
    return found


_CUT = 32


@functools.lru_cache(maxsize=256)
def _cutter(size: int) -> Callable[[Any], tuple[Any, ...]]:
    """Cuts so many pieces at once: 48 ns each for 12 bytes, where a loop takes 80."""
    return operator.itemgetter(*(slice(at, at + size) for at in range(0, size * _CUT, size)))


def _spans(cursor: Cursor, lengths: int | Places) -> Iterable[tuple[int, int]]:
    """Moves over values of some lengths; where each begins and ends."""
    starts = cursor.places
    cursor.move(lengths)
    total = lengths * len(starts) if isinstance(lengths, int) else int(lengths.sum())
    if max(total, cursor.places.max()) > len(cursor.buffer):  # values of bodies don't overlap
        raise Irregular
    return zip(starts.tolist(), cursor.places.tolist(), strict=True)


def _nullable(item: FieldType, cursor: Cursor) -> Column:
    there = cursor.kinds() != _NIL
    if there.all():
        return _decode(item, cursor)
    cursor.move((~there).astype(np.int64))
    values: list[Any] = [None] * len(there)
    if there.any():
        inner = Cursor(cursor.buffer, cursor.places[there])
        column = _decode(item, inner)
        if isinstance(column, Late):  # then all of them have one
            raise Irregular
        places = cursor.places.copy()
        places[there] = inner.places
        cursor.places = places
        for row, value in zip(np.flatnonzero(there).tolist(), rows_of(column), strict=True):
            values[row] = value
    return values


_PRIMITIVES: dict[str, Callable[[Cursor], Column]] = {
    "str": _texts,
    "int": _ints,
    "float": _floats,
    "bool": _bools,
    "bytes": _blobs,
}


def samples(sample_type: type, columns: Mapping[str, Column]) -> Iterator[Any]:
    """The samples that some columns hold; an array of theirs is a view of its column."""
    rows = map(rows_of, columns.values())
    if takes_positions(sample_type):
        return map(sample_type, *rows)
    return (sample_type(**dict(zip(columns, row, strict=True))) for row in zip(*rows, strict=True))


@functools.lru_cache(maxsize=1024)
def takes_positions(sample_type: type) -> bool:
    """Whether a type can be called with its fields in order, which is faster than by name."""
    parameters = inspect.signature(sample_type).parameters.values()
    return [p.name for p in parameters] == [f.name for f in fields_of(sample_type)] and all(
        p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters
    )


def rows_of(column: Column) -> Sequence[Any]:
    """The values of a column one by one; an array's rows are views of it."""
    if isinstance(column, np.ndarray) and column.ndim == 1:
        # Python would take numbers out of it, where arrays without axes are meant.
        return [column[row : row + 1].reshape(()) for row in range(len(column))]
    return column  # type: ignore[no-any-return]
