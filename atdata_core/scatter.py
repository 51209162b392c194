"""Samples with large arrays, read straight to where their arrays shall be.

In a shard of such samples, the members are all as long as each other, and so the arrays' data lie
at equal distances. One call reads a batch of them: the data into the rows of one array, all that
is between them into a side buffer, where it is checked and decoded like whole bodies. So each byte
is copied once, by the kernel. (Read and then gathered: 28,000 images of 150 KB a second in batches
of 32; scattered: 40,000.) If anything isn't as it was for the sample before, nothing is decoded,
and the samples are read in the plain way.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata_core.columns import Column, Cursor, Cut, Irregular, decode
from atdata_core.files import InMemory, SameFile
from atdata_core.headers import Places, check_headers, keys_of, padded_all
from atdata_core.members import EXTENSION, Run
from atdata_core.tar import BLOCK

LARGE = 32 << 10
"""Bytes of an array's data from which on this is faster than reading all and gathering."""

_BUFFERS = 500
"""So many samples at most in one call: the kernel takes 1,024 buffers."""
_HEADERS = 2000


class Memory:
    """Memory that is used again once nobody looks at it any more.

    Fresh memory costs as much as what is written to it: the kernel has to clear it first. (32
    images of 600 KB: 7,500 a second into fresh memory, 22,000 into used.)
    """

    def __init__(self) -> None:
        self._used: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        self._filled = 0

    def rows(self, count: int, wanted: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """An array of rows of bytes, whatever is in it.

        What one call leaves of an array, the next one gives, so that a batch out of two shards
        needs not be put together.

        Args:
            count: How many rows at most.
            wanted: How many rows there should be together.
            size: Bytes a row.
        """
        array = self._used[0] if self._used else None
        if array is None or self._filled == len(array) or array.shape[1] != size:
            array, self._filled = self._whole(wanted, size), 0
        start, self._filled = self._filled, min(self._filled + count, len(array))
        return array[start : self._filled]

    def _whole(self, count: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        for place in range(len(self._used) if _COUNTS_REFERENCES else 0):
            # This list and the call itself: every view of it would be one more.
            if sys.getrefcount(self._used[place]) == 2 and self._used[place].shape == (count, size):
                self._used.insert(0, self._used.pop(place))
                return self._used[0]
        fresh = np.empty((count, size), np.uint8)
        self._used = [fresh, *self._used[: _KEPT - 1]]
        return fresh


_KEPT = 3
_COUNTS_REFERENCES = (
    sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)


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
    lengths = padded_all(run.sizes)
    if len(large) != 1 or (lengths != lengths[0]).any():
        return None
    [(offset, size)] = large
    return Layout(BLOCK + int(lengths[0]), offset, size)


def read_scattered(
    file: SameFile | InMemory,
    position: int,
    wanted: int,
    layout: Layout,
    fields: Any,
    memory: Memory,
) -> tuple[dict[str, Column], Sequence[str]] | None:
    """The next samples of a file, as columns, and their keys.

    Args:
        file: The file, or what lies in memory as one.
        position: Where the first header is.
        wanted: How many samples would be welcome.
        layout: How the members look.
        fields: The fields of the samples' type.
        memory: Where the arrays go.

    Returns:
        The samples; None if there are none that look like that.
    """
    wanted = min(wanted, _BUFFERS)
    data = memory.rows((file.length() - position) // layout.stride, wanted, layout.size)
    count = len(data)
    if not count:
        return None
    rest = bytearray(count * layout.rest)
    if file.read_at(_buffers(data, rest, layout), position) != count * layout.stride:
        return None
    members = np.frombuffer(rest, np.uint8).reshape(count, layout.rest)
    checked = check_headers(members[:, :BLOCK], EXTENSION)
    if checked is None:
        return None
    sizes, good, stems = checked
    good &= padded_all(sizes) + BLOCK == layout.stride
    if not good.all():
        count = int(good.argmin())
        sizes, stems, data = sizes[:count], stems[:count], data[:count]
        if not count:
            return None
    starts = np.arange(count) * layout.rest + BLOCK
    cursor = Cursor(rest, starts, Cut(layout.offset, data))
    try:
        columns = decode(fields, cursor, starts + sizes - layout.size)
    except Irregular:
        return None
    return columns, keys_of(stems)


def _buffers(data: Any, rest: bytearray, layout: Layout) -> list[memoryview]:
    """Where the bytes go: what is before an array's data, they, what is behind, and so on."""
    view, rows = memoryview(rest), memoryview(data.reshape(-1))
    before = BLOCK + layout.offset
    buffers = [view[:before]]
    for row in range(len(data)):
        start = row * layout.rest + before
        here = rows[row * layout.size : (row + 1) * layout.size]
        buffers += [here, view[start : start + layout.rest]]
    return buffers


def read_headers(file: int, position: int, layout: Layout) -> tuple[Places, Sequence[str]] | None:
    """The sizes and keys of the next samples of a file, of which only the headers are read.

    Args:
        file: The file's descriptor.
        position: Where the first header is.
        layout: How the members look.

    Returns:
        They; None if there are none that look like that.
    """
    count = min(_HEADERS, (os.fstat(file).st_size - position) // layout.stride)
    if count < 1:
        return None
    headers = bytearray(count * BLOCK)
    view = memoryview(headers)
    for row in range(count):
        here = view[row * BLOCK : (row + 1) * BLOCK]
        if os.preadv(file, [here], position + row * layout.stride) != BLOCK:
            return None
    checked = check_headers(np.frombuffer(headers, np.uint8).reshape(count, BLOCK), EXTENSION)
    if checked is None:
        return None
    sizes, good, stems = checked
    good &= padded_all(sizes) + BLOCK == layout.stride
    count = count if good.all() else int(good.argmin())
    return (sizes[:count], keys_of(stems[:count])) if count else None
