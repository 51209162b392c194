"""Writing one shard: samples into pieces of memory, and these into the file and its hash.

A sample's parts are copied once, behind the place of its header, into memory that is used again
and again; so a caller may reuse his arrays as soon as his sample is taken. The headers of a whole
piece are made at once. A piece is hashed in a thread of its own while the next is filled.
"""

import io
import queue
from collections.abc import Sequence
from typing import IO

import numpy as np

from atdata_core.cid import digest_to_cid
from atdata_core.hashing import BackgroundHash
from atdata_core.headers import Places, padded_all
from atdata_core.members import EXTENSION
from atdata_core.packing import Part
from atdata_core.tar import BLOCK, END, blank, fill_in

_PIECE = 512 << 10
"""Bytes in a piece, or as many more as its last sample has: what stays in a core's cache."""
_KEPT = 4 << 20
_GAPS = [bytes(-end % BLOCK) + blank(EXTENSION) for end in range(BLOCK)]
"""What comes after a body that ends so far into a block: the rest of it, and the next header."""


class Pieces:
    """Memory to write samples into; what was hashed and written is given out again."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[io.BytesIO] = queue.SimpleQueue()

    def take(self) -> io.BytesIO:
        """Memory that nobody else uses."""
        try:
            memory = self._free.get_nowait()
        except queue.Empty:
            return io.BytesIO()
        memory.seek(0)
        return memory

    def give_back(self, memory: io.BytesIO, *views: memoryview) -> None:
        """Takes memory that isn't needed any more; `views` are what was looked at it through."""
        large = len(views[0]) > _KEPT
        for view in views:
            view.release()
        if not large:
            self._free.put(memory)


class ShardWriter:
    """Writes one shard to an open file, hashing on the way.

    Args:
        file: A file open for binary writing, at its start, raw or buffered. It is neither flushed
            nor closed.
        first: The number of the first sample. Keys are numbers of nine digits, one after another.
        pieces: Memory that the writers of several shards share, one after another.
    """

    def __init__(self, file: IO[bytes], first: int = 0, pieces: Pieces | None = None) -> None:
        self._file = file
        self._hash = BackgroundHash()
        self._pieces = pieces or Pieces()
        self._memory = self._pieces.take()
        self._first = first
        self._ends: list[int] = []  # of the bodies in the memory
        self._end = 0  # of the last one
        self._flushed = 0
        self._flushed_rows = 0

    @property
    def rows(self) -> int:
        """How many samples it holds."""
        return self._flushed_rows + len(self._ends)

    def add(self, parts: Sequence[Part]) -> int:
        """Appends one sample; the bytes of all so far, headers and padding included.

        Args:
            parts: What its bytes are put together from. They are copied.

        Raises:
            ShardError: A sample before it is too large for a tar.
        """
        if self._end >= _PIECE:
            self._flush()
        memory = self._memory
        memory.write(_GAPS[self._end % BLOCK])
        memory.writelines(parts)
        self._end = end = memory.tell()
        self._ends.append(end)
        return self._flushed + end + -end % BLOCK

    def take_back(self) -> bytes:
        """Takes the sample out again that was added last, once; its bytes."""
        start, end = int(self._starts()[-1]), self._ends.pop()
        self._end = self._ends[-1] if self._ends else 0
        self._memory.seek(start)
        body = self._memory.read(end - start)
        self._memory.seek(self._end)
        return body

    def finish(self) -> tuple[str, int]:
        """Writes the end of the archive; the shard's CID and its size in bytes."""
        self._flush(END)
        return digest_to_cid(self._hash.digest()), self._flushed

    def close(self) -> None:
        """Ends the hashing of a shard that won't be finished."""
        self._hash.close()

    def _starts(self) -> Places:
        """Where the bodies begin in the memory."""
        return padded_all(np.array([0, *self._ends[:-1]])) + BLOCK

    def _flush(self, end: bytes = b"") -> None:
        memory, pieces = self._memory, self._pieces
        memory.write(bytes(-self._end % BLOCK) + end)
        whole = memory.getbuffer()
        view = whole[: memory.tell()]
        if self._ends:
            starts, first = self._starts(), self._first + self._flushed_rows
            fill_in(view, starts - BLOCK, first, np.array(self._ends) - starts, EXTENSION)
        self._flushed_rows += len(self._ends)
        self._flushed += len(view)
        self._ends, self._end = [], 0
        self._hash.update(view)
        # A raw file takes what fits (on a full disk, or past 2 GiB), and fails with the next write.
        at = 0
        while at < len(view):
            at += self._file.write(view[at:]) or len(view)
        self._hash.when_done(lambda: pieces.give_back(memory, view, whole))
        self._memory = pieces.take()


def key_of(number: int) -> str:
    """The key of a sample of this number."""
    return f"{number:09d}"
