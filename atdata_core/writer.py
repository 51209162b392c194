"""Writing one shard: the samples' bytes with their headers, into the file and its hash.

Packed samples, which are copies already, so that a caller may reuse his arrays, are collected until
there are enough of them, and their headers are made at once. Small ones are then put together in
one piece of memory; large ones are written and hashed where they lie. A piece is hashed in a thread
of its own while the next is filled.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import IO, Self

import numpy as np

from atdata_core.cid import digest_to_cid
from atdata_core.hashing import BackgroundHash, Data
from atdata_core.headers import Places, padded_all
from atdata_core.members import EXTENSION
from atdata_core.memory import keep_freed_memory
from atdata_core.tar import BLOCK, END, blank, fill_in

_PIECE = 1 << 20
"""Bytes in a piece, or as many more as its last sample has: what stays in a core's cache. (Of half
as much, small samples are written 6 % slower; of twice as much, 8 to 40 %.)"""
_LARGE = 256 << 10
"""Bytes of a body from which on it isn't copied into a piece. (Images of 150 KB are written a fifth
faster with the copy: the two threads wait for each other less often. Of 600 KB, 4 % slower.)"""
_BLANK = blank(EXTENSION)
_PADDING = [bytes(-end % BLOCK) for end in range(BLOCK)]
"""What comes after a body that ends so far into a block."""
_GAPS = [padding + _BLANK for padding in _PADDING]
"""That, and the next header."""


class ShardWriter:
    """Writes one shard to an open file, hashing on the way.

    Args:
        file: A file open for binary writing, at its start, raw or buffered. It is neither flushed
            nor closed.
        first: The number of the first sample. Keys are numbers of nine digits, one after another.
    """

    def __init__(self, file: IO[bytes], first: int = 0) -> None:
        keep_freed_memory()
        self._file = file
        self._hash = BackgroundHash()
        self._first = first
        self._size = 0  # of all so far, headers and padding included
        self._parts: list[bytes] = [_BLANK]  # what isn't written yet: header, body, gap, body, gap
        self._written = 0
        self._written_rows = 0
        self._enough = _PIECE  # bytes, to write them

    @property
    def rows(self) -> int:
        """How many samples it holds."""
        return self._written_rows + len(self._parts) // 2

    def fill(self, bodies: Iterable[bytes], max_bytes: int = sys.maxsize) -> bytes | None:
        """Appends samples, as long as there is room for the next.

        Args:
            bodies: Their bytes; taken one at a time.
            max_bytes: What the shard may have at most, its end included.

        Returns:
            The first sample that there is no room for; it is not appended.

        Raises:
            ShardError: A sample is too large for a tar.
        """
        room = max_bytes - len(END)
        add, size = self._parts.append, self._size
        full = self._written + self._enough
        for body in bodies:
            length = len(body)
            gap = _GAPS[length % BLOCK]
            more = size + length + len(gap)
            if more > room:
                return body
            add(body)
            add(gap)
            size = self._size = more
            if size >= full:
                self._flush()
                full = size + self._enough
        return None

    def finish(self) -> tuple[str, int]:
        """Writes the end of the archive; the shard's CID and its size in bytes."""
        self._flush()
        self._put(END)
        return digest_to_cid(self._hash.digest()), self._size + len(END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hash.close()  # which still runs if the shard isn't finished

    def _flush(self) -> None:
        bodies, size = self._parts[1::2], self._size - self._written
        if not bodies:
            return
        sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
        first = self._first + self._written_rows
        large = size > _LARGE * len(bodies)
        self._enough = _LARGE if large else _PIECE
        if large:
            for data in _apart(bodies, sizes, first):
                self._put(data)
        else:
            self._put(_joined(self._parts, sizes, first))
        self._written = self._size
        self._written_rows += len(bodies)
        del self._parts[1:]

    def _put(self, data: Data) -> None:
        self._hash.update(data)
        # A raw file takes what fits (on a full disk, or past 2 GiB), and fails with the next write.
        done = self._file.write(data) or len(data)
        while done < len(data):
            done += self._file.write(memoryview(data)[done:]) or len(data)


def _joined(parts: list[bytes], sizes: Places, first: int) -> memoryview:
    """Members as they follow each other in an archive, in one piece of memory."""
    piece = memoryview(bytearray().join(parts))[:-BLOCK]  # without the header after the last one
    places = np.zeros(len(sizes), np.int64)
    np.cumsum(padded_all(sizes[:-1]) + BLOCK, out=places[1:])
    fill_in(piece, places, first, sizes, EXTENSION)
    return piece


def _apart(bodies: list[bytes], sizes: Places, first: int) -> Iterator[Data]:
    """Members as they follow each other in an archive, bodies where they lie."""
    heads = bytearray(_BLANK * len(bodies))
    fill_in(memoryview(heads), BLOCK * np.arange(len(bodies)), first, sizes, EXTENSION)
    padding = b""
    for number, body in enumerate(bodies):
        yield padding + heads[BLOCK * number : BLOCK * (number + 1)]
        yield body
        padding = _PADDING[len(body) % BLOCK]
    yield padding


def key_of(number: int) -> str:
    """The key of a sample of this number."""
    return f"{number:09d}"
