"""Writing one shard: samples into pieces of memory, and these into the file and its hash.

A sample's parts are copied once, behind the place of its header, into memory that is used again
and again; so a caller may reuse his arrays as soon as his sample is taken. The headers of a whole
piece are made at once. A piece is hashed in a thread of its own while the next is filled.
"""

import io
import queue
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from atdata_core.cid import digest_to_cid
from atdata_core.hashing import BackgroundHash
from atdata_core.headers import Places, padded_all
from atdata_core.members import EXTENSION
from atdata_core.packing import Part
from atdata_core.tar import BLOCK, END, make_headers, padded

_PIECE = 512 << 10
"""Bytes in a piece, or as many more as its last sample has: what stays in a core's cache."""
_KEPT = 4 << 20
_PADDING = [bytes(size) for size in range(BLOCK)]


class Pieces:
    """Memory to write samples into; what was hashed and written is given out again."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[io.BytesIO] = queue.SimpleQueue()

    def take(self) -> io.BytesIO:
        """Memory that nobody else uses."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return io.BytesIO()

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
        self._sizes: list[int] = []
        self._end = 0  # of what was put into the memory
        self.rows = 0
        self.size = 0

    def add(self, parts: Sequence[Part]) -> None:
        """Appends one sample.

        Args:
            parts: What its bytes are put together from. They are copied.

        Raises:
            ShardError: A sample before it is too large for a tar.
        """
        if self._end >= _PIECE:
            self._flush()
        memory, start = self._memory, self._end
        memory.seek(start + BLOCK)
        memory.writelines(parts)
        end = memory.tell()
        size = end - start - BLOCK
        if size % BLOCK:
            end += memory.write(_PADDING[-size % BLOCK])
        self._sizes.append(size)
        self._end = end
        self.size += end - start
        self.rows += 1

    def take_back(self) -> bytes:
        """Takes the sample out again that was added last, once; its bytes."""
        size = self._sizes.pop()
        start = self._end - BLOCK - padded(size)
        self.size -= self._end - start
        self.rows -= 1
        self._end = start
        self._memory.seek(start + BLOCK)
        return self._memory.read(size)

    def finish(self) -> tuple[str, int]:
        """Writes the end of the archive; the shard's CID and its size in bytes."""
        self._flush(END)
        self.size += len(END)
        return digest_to_cid(self._hash.digest()), self.size

    def close(self) -> None:
        """Ends the hashing of a shard that won't be finished."""
        self._hash.close()

    def _flush(self, end: bytes = b"") -> None:
        memory, pieces = self._memory, self._pieces
        memory.seek(self._end)
        memory.write(end)
        whole = memory.getbuffer()
        view = whole[: self._end + len(end)]
        if self._sizes:
            number = self._first + self.rows - len(self._sizes)
            _fill_in_headers(view, number, np.array(self._sizes))
        self._sizes, self._end = [], 0
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


def _fill_in_headers(piece: memoryview, first: int, sizes: Places) -> None:
    names = [key_of(number) + EXTENSION for number in range(first, first + len(sizes))]
    headers: Any = np.frombuffer(make_headers(names, sizes.tolist()), f"V{BLOCK}")
    ends = np.cumsum(padded_all(sizes) + BLOCK)
    starts = np.concatenate(([0], ends[:-1]))
    # Every place where a header could be, one byte apart: it makes this one copy a header.
    every: Any = np.ndarray((len(piece) - BLOCK + 1,), f"V{BLOCK}", piece, strides=(1,))
    every[starts] = headers
