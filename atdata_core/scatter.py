"""Samples with large arrays, read straight to where their arrays shall be.

In a shard of such samples, the members are all as long as each other, and so the arrays' data lie
at equal distances. What is between them is read first, for many samples, and decoded like whole
bodies. Then one call reads a batch: the data into the rows of one array, what is between them into
a side buffer, to be compared. So each byte of data is copied once, by the kernel. If anything isn't
as it was for the sample before, the samples are read in the plain way.
"""

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from atdata_core.columns import Column, Late, cut_columns, decode
from atdata_core.cursor import Cursor, Cut, Irregular
from atdata_core.fields import Field, fields_of
from atdata_core.fieldtypes import NDArrayType
from atdata_core.files import InMemory, SameFile, TwoHalves
from atdata_core.headers import Bytes, Places, check_headers, padded_all
from atdata_core.known import KnownFiles, state_of
from atdata_core.members import EXTENSION, Run
from atdata_core.memory import Memory
from atdata_core.tar import BLOCK

LARGE = 32 << 10
"""Bytes of an array's data from which on this is faster than reading all and gathering."""

_BUFFERS = 500
"""So many samples at most in one call: the kernel takes 1,024 buffers."""
_HEADERS = 256
"""So many headers are looked at together."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a member looks whose array is cut out of it.

    Args:
        stride: The bytes from one header to the next.
        offset: Where in a body the array's data begin.
        size: Their bytes.
    """

    stride: int
    offset: int
    size: int

    @property
    def rest(self) -> int:
        """The bytes of a member without the data."""
        return self.stride - self.size


def layout_of(run: Run, cursor: Cursor) -> Layout | None:
    """How the members of a run look, if they are alike and one array makes out most of them."""
    large = [(offset, size) for offset, size in cursor.arrays if size >= LARGE]
    if len(large) != 1:
        return None
    lengths = padded_all(run.sizes)
    if (lengths != lengths[0]).any():
        return None
    [(offset, size)] = large
    return Layout(BLOCK + int(lengths[0]), offset, size)


class Scattered:
    """The samples of a file with large arrays, read as such.

    What is between the arrays' data is read and decoded for many samples at once. When the data
    follow, it comes along again and has to be the same. (Decoded with each batch of 32 images of
    150 KB, whose data had just gone through the core's cache, it took 8 µs a sample; so 5.)

    Args:
        file: The file, or what lies in memory as one.
        layout: How the members look.
        sample_type: The samples' type.
        memory: Where the arrays go.
        reader: Reads them.
    """

    def __init__(
        self,
        file: SameFile | InMemory,
        layout: Layout,
        sample_type: type,
        memory: Memory,
        reader: TwoHalves,
    ) -> None:
        self._file = file
        self.layout = layout
        self._type = sample_type
        self._memory = memory
        self._reader = reader
        self._known: _Rest | None = None
        self._side: _Side | None = None

    def read(self, position: int, wanted: int) -> tuple[dict[str, Column], Sequence[str]] | None:
        """The next samples, as columns, and their keys; None if there are none that look like that.

        Args:
            position: Where the first header is.
            wanted: How many samples would be welcome.
        """
        known, layout = self._known, self.layout
        if known is None or not known.position <= position < known.end(layout):
            known = self._known = _read_rest(self._file, position, layout, self._type)
            if known is None:
                return None
        row = (position - known.position) // layout.stride
        wanted = min(wanted, _BUFFERS)
        data = self._memory.rows(len(known.keys) - row, wanted, layout.size)
        rows = slice(row, row + len(data))
        if self._side is None or len(self._side) != len(data):
            self._side = _Side(len(data), layout)
        size = self._reader.read_at(self._file, self._side.buffers(data), position)
        if size != len(data) * layout.stride or self._side.rest != known.bytes_of(rows, layout):
            return None
        return cut_columns(known.columns, data, rows), known.keys[rows]


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is between the data of some samples' arrays.

    Args:
        position: Where the first header is.
        data: The bytes.
        sizes: How many bytes each body has.
        keys: The samples' keys.
        columns: The samples as columns, one of them `Late`; none: not decoded.
    """

    position: int
    data: bytearray
    sizes: Places
    keys: Sequence[str]
    columns: Mapping[str, Column] = field(default_factory=dict)

    @classmethod
    def read(cls, file: SameFile | InMemory, position: int, layout: Layout) -> "_Rest | None":
        """That of the next samples; None if none looks like that."""
        count = min(_HEADERS, (file.length() - position) // layout.stride)
        if count < 1:
            return None
        before = BLOCK + layout.offset
        data = bytearray(count * layout.rest)
        view, apart = memoryview(data), layout.rest
        pieces = [view[start : start + apart] for start in range(before, len(data), apart)]
        if not file.read_pieces([view[:before], *pieces], position, layout.size):
            return None
        found = _alike(data, apart, layout)
        return None if found is None else cls(position, data, *found)

    def decoded(self, fields: Sequence[Field], layout: Layout) -> "_Rest | None":
        """The same, decoded; None if it can't be."""
        starts = np.arange(len(self.keys)) * layout.rest + BLOCK
        cursor = Cursor(self.data, starts, Cut(layout.offset, layout.size))
        try:
            columns = decode(fields, cursor, starts + self.sizes - layout.size)
        except Irregular:
            return None
        return replace(self, columns=columns)

    def end(self, layout: Layout) -> int:
        """Where the header after the last sample is."""
        return self.position + len(self.keys) * layout.stride

    def bytes_of(self, rows: slice, layout: Layout) -> bytearray:
        """The bytes of some samples."""
        return self.data[rows.start * layout.rest : rows.stop * layout.rest]


def _read_rest(
    file: SameFile | InMemory, position: int, layout: Layout, sample_type: type
) -> _Rest | None:
    """What is between the data of the next samples, decoded; None if none looks like that."""
    state = state_of(file.number) if isinstance(file, SameFile) else None
    part = position, layout, sample_type
    known = _RESTS.of(state, part)
    rest = known or _Rest.read(file, position, layout)
    if rest is None or rest.columns:
        return rest
    fields = fields_of(sample_type)
    decoded = rest.decoded(fields, layout)
    if decoded is not None and known is None:
        kept = decoded if _is_fixed(fields, decoded.columns) else rest
        _RESTS.note(state, kept, 2 * len(rest.data), part)
    return decoded


def _is_fixed(fields: Sequence[Field], columns: Mapping[str, Column]) -> bool:
    """Whether whoever gets rows of some columns can't change what is in them."""
    return all(
        all(isinstance(value, _FIXED) for value in column)
        if isinstance(column, list)
        else isinstance(column, Late) and isinstance(each.type, NDArrayType)
        for each, column in zip(fields, columns.values(), strict=True)
    )


_FIXED = (str, bytes, int, float, datetime.datetime, enum.Enum, type(None))
_RESTS: KnownFiles[_Rest] = KnownFiles(16 << 20)
"""In 16 MiB or so. (Images of 150 KB in batches: 19 µs each where the bytes are read in each pass,
16 where they are decoded in each, and 4 % less where what is decoded is remembered.)
"""


class _Side:
    """Memory for what is between the data of some samples' arrays, used again for each batch.

    (Made anew each time, it took 4 % of three batches of 32 images of 150 KB.)

    Args:
        count: How many samples.
        layout: How they look.
    """

    def __init__(self, count: int, layout: Layout) -> None:
        self._size = layout.size
        self.rest = bytearray(count * layout.rest)
        view, before = memoryview(self.rest), BLOCK + layout.offset
        starts = range(before, len(view), layout.rest)
        self._pieces = [view[:before], *(view[start : start + layout.rest] for start in starts)]

    def __len__(self) -> int:
        return len(self._pieces) - 1

    def buffers(self, data: Bytes) -> list[memoryview]:
        """Where the bytes go: what is before an array's data, they, what is behind, and so on."""
        rows, size = data.reshape(-1).data, self._size
        buffers = [rows] * (2 * len(self) + 1)
        buffers[::2] = self._pieces
        buffers[1::2] = [rows[start : start + size] for start in range(0, len(rows), size)]
        return buffers


def read_headers(
    file: SameFile, position: int, layout: Layout
) -> tuple[Places, Sequence[str]] | None:
    """The sizes and keys of the next samples of a file, of which only the headers are read.

    Args:
        file: The file.
        position: Where the first header is.
        layout: How the members look.

    Returns:
        They; None if there are none that look like that.
    """
    count = min(_HEADERS, (file.length() - position) // layout.stride)
    if count < 1:
        return None
    headers = bytearray(count * BLOCK)
    view = memoryview(headers)
    pieces = [view[start : start + BLOCK] for start in range(0, len(headers), BLOCK)]
    if not file.read_pieces(pieces, position, layout.stride - BLOCK):
        return None
    return _alike(headers, BLOCK, layout)


def _alike(data: bytearray, apart: int, layout: Layout) -> tuple[Places, Sequence[str]] | None:
    """The sizes and keys of as many samples as look like that; None if the first doesn't.

    Args:
        data: Their headers, and what else there is.
        apart: The bytes from one header to the next.
        layout: How the members look.
    """
    headers = np.frombuffer(data, np.uint8).reshape(-1, apart)[:, :BLOCK]
    found = check_headers(headers, EXTENSION)
    if found is None:
        return None
    good = found.good
    good &= padded_all(found.sizes) + BLOCK == layout.stride
    count = found.count()
    return (found.sizes[:count], found.keys(count)) if count else None
