"""Samples with large arrays, read straight to where their arrays shall be.

In a shard of such samples, the members are all as long as each other, and so the arrays' data lie
at equal distances. One call reads a batch of them: the data into the rows of one array, all that
is between them into a side buffer, where it is checked and decoded like whole bodies. So each byte
is copied once, by the kernel. (Read and then gathered: 28,000 images of 150 KB a second in batches
of 32; scattered: 40,000.) If anything isn't as it was for the sample before, nothing is decoded,
and the samples are read in the plain way.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata_core.columns import Column, Cursor, Cut, Irregular, decode
from atdata_core.headers import Places, check_headers, keys_of, padded_all
from atdata_core.members import EXTENSION, Run
from atdata_core.tar import BLOCK

LARGE = 32 << 10
"""Bytes of an array's data from which on this is faster than reading all and gathering."""

_BUFFERS = 500
"""So many samples at most in one call: the kernel takes 1,024 buffers."""
_HEADERS = 2000


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
    file: int, position: int, count: int, layout: Layout, fields: Any
) -> tuple[dict[str, Column], Sequence[str]] | None:
    """The next samples of a file, as columns, and their keys.

    Args:
        file: The file's descriptor.
        position: Where the first header is.
        count: How many samples to read at most.
        layout: How the members look.
        fields: The fields of the samples' type.

    Returns:
        The samples; None if there are none that look like that.
    """
    count = min(count, _BUFFERS, (os.fstat(file).st_size - position) // layout.stride)
    if count < 1:
        return None
    data = np.empty((count, layout.size), np.uint8)
    rest = bytearray(count * layout.rest)
    if os.preadv(file, _buffers(data, rest, layout), position) != count * layout.stride:
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
