"""Bytes that wait until all of them are there."""

import mmap
import tempfile
from typing import IO, Any, cast

from atdata_core.files import InMemory

_LIMIT = 28 << 20
"""28 MiB: three times that, of a shard that is read and two fetched meanwhile, are under 100 MB."""


class Spool:
    """Takes bytes piece by piece, and gives all of them back as a stream.

    They wait in memory, beyond a limit in a temporary file. The memory is the kernel's, and goes
    back to it with the last view of it: what malloc gives would stay with the thread that took it.
    (Shards of 25 MB from S3, two fetched ahead of one that is read: 143 MB, and 74 so.) What was
    never written to takes none.

    Args:
        limit: So many bytes wait in memory.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        memory = mmap.mmap(-1, limit, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):  # (in pages of 4 KB, S3 is read 7 % slower)
            memory.madvise(mmap.MADV_HUGEPAGE)
        self._memory: memoryview | None = memoryview(memory)
        self._file: IO[bytes] | None = None
        self._size = 0

    def write(self, piece: Any) -> None:
        """Adds bytes."""
        end = self._size + len(piece)
        if self._memory is not None and end > len(self._memory):
            self._file = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - see `close`
            self._file.write(self._memory[: self._size])
            self._memory = None
        if self._memory is not None:
            self._memory[self._size : end] = piece
        elif self._file is not None:
            self._file.write(piece)
        self._size = end

    def whole(self) -> IO[bytes]:
        """All bytes from their start; the stream is the caller's to close."""
        if self._memory is not None:
            return cast("IO[bytes]", InMemory(self._memory[: self._size]))
        assert self._file is not None
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Throws the bytes away."""
        self._memory = None
        if self._file is not None:
            self._file.close()
