"""Files of this machine among streams."""

import io
import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue as Queue
from typing import IO, Any, TypeVar

from atdata_core.errors import ShardError
from atdata_core.shares import worker_share

R = TypeVar("R")


def file_number(stream: IO[bytes]) -> int | None:
    """The descriptor of a stream that is a regular file, open for reading; else None."""
    # A spool has a number as well, but asking for it would move it to the disk.
    if not isinstance(stream, (io.BufferedReader, io.FileIO)):
        return None
    try:
        number = stream.fileno()
    except OSError:
        return None
    return number if stat.S_ISREG(os.fstat(number).st_mode) else None


@dataclass(frozen=True, slots=True)
class SameFile:
    """A file that can be opened again, as long as it is the same one.

    Args:
        path: Where it is.
        number: The descriptor of the stream that it was found by.
        identity: Device, inode, length, and time of the last change.
    """

    path: str
    number: int
    identity: tuple[int, int, int, int]

    @classmethod
    def of(cls, stream: IO[bytes]) -> "SameFile | None":
        """The file behind a stream, if it is one of this machine."""
        number = file_number(stream)
        path = getattr(stream, "name", None)
        if number is None or not isinstance(path, str):
            return None
        return cls(path, number, identity_of(os.fstat(number)))

    def length(self) -> int:
        """How long it is, as long as the stream is open."""
        return os.fstat(self.number).st_size

    def read_at(self, buffers: Sequence[memoryview], offset: int) -> int:
        """Fills memory from a place of the open stream; how many bytes there were."""
        return os.preadv(self.number, buffers, offset)

    def read_pieces(self, pieces: Iterable[memoryview], offset: int, gap: int) -> bool:
        """Fills memory piece by piece, between which `gap` bytes are left out; whether all was."""
        number, read = self.number, os.preadv
        for piece in pieces:
            if read(number, (piece,), offset) != len(piece):
                return False
            offset += len(piece) + gap
        return True

    def read_into(self, buffers: Sequence[memoryview], offset: int) -> int:
        """Fills memory from a place of the file, opened for this; how many bytes there were.

        Raises:
            ShardError: There is no such file any more, or another one.
        """
        try:
            number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._gone() from error
        try:
            if identity_of(os.fstat(number)) != self.identity:
                raise self._gone()
            return os.preadv(number, buffers, offset)
        finally:
            os.close(number)

    def _gone(self) -> ShardError:
        return ShardError("file was changed or removed while it was read", where=self.path)


class InMemory(io.RawIOBase):
    """Bytes in memory as a stream, which can be read at any place as well.

    Args:
        data: They; let go of when the stream is closed.
    """

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Goes on at another place; returns which."""
        start = (0, self._position, len(self._data))[whence]
        self._position = max(0, start + position)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` as far as the bytes go; returns how many there were."""
        count = self.read_at([memoryview(buffer)], self._position)
        self._position += count
        return count

    def close(self) -> None:
        """Lets go of the bytes."""
        self._data.release()
        super().close()

    def length(self) -> int:
        """How many they are."""
        return len(self._data)

    def read_at(self, buffers: Sequence[memoryview], offset: int) -> int:
        """Fills memory from a place; how many bytes there were."""
        at = offset
        for buffer in buffers:
            piece = self._data[at : at + len(buffer)]
            buffer[: len(piece)] = piece
            at += len(piece)
        return at - offset

    def read_pieces(self, pieces: Iterable[memoryview], offset: int, gap: int) -> bool:
        """Fills memory piece by piece, between which `gap` bytes are left out; whether all was."""
        for piece in pieces:
            if self.read_at([piece], offset) != len(piece):
                return False
            offset += len(piece) + gap
        return True


class TwoHalves:
    """Reads much from files, a half of it in a thread of its own.

    (Images of 150 KB out of the page cache: one core copied 4.9 GB/s, two 8.2.) Little, and a
    process that shares the cores with others of its kind, gains nothing.
    """

    def __init__(self) -> None:
        self._process = 0
        self._asked: Queue[Callable[[], Any] | None] = Queue()
        self._told: Queue[tuple[Any, BaseException | None]] = Queue()

    def read_at(self, file: "SameFile | InMemory", buffers: Sequence[memoryview], at: int) -> int:
        """Fills memory from a place of a file; how many bytes there were."""
        half = len(buffers) // 2
        size = sum(map(len, buffers[:half]))
        if isinstance(file, InMemory) or not two_threads_pay(2 * size):
            return file.read_at(buffers, at)
        count, more = self.both(
            lambda: file.read_at(buffers[:half], at),
            lambda: file.read_at(buffers[half:], at + size),
        )
        return count + more if count == size else count

    def both(self, one: Callable[[], R], other: Callable[[], R]) -> tuple[R, R]:
        """What two calls give, the second one made in the thread."""
        if self._process != os.getpid():  # a fork has no threads
            self._begin()
        self._asked.put(other)
        try:
            found = one()
        finally:
            more, error = self._wait()
        if error is not None:
            raise error
        return found, more

    def _begin(self) -> None:
        # (A call of nothing there and back: 80 us with a ThreadPoolExecutor, 15 so.)
        self._asked, self._told = Queue(), Queue()
        queues = self._asked, self._told
        threading.Thread(target=_answer, args=queues, name="atdata-read", daemon=True).start()
        weakref.finalize(self, self._asked.put, None).atexit = False
        self._process = os.getpid()

    def _wait(self) -> tuple[Any, BaseException | None]:
        """What the thread found, in any case: until then it writes to the memory."""
        try:
            return self._told.get()
        except BaseException:
            self._process = 0  # what it has still to tell is for nobody
            self._asked.put(None)
            raise


def two_threads_pay(size: int) -> bool:
    """Whether it takes less time to go through so many bytes by two threads."""
    return size >= _MUCH and _cores() > 1 and worker_share().whole


_MUCH = 1 << 20


def _answer(
    asked: "Queue[Callable[[], Any] | None]", told: "Queue[tuple[Any, BaseException | None]]"
) -> None:
    """Makes the calls that are asked for, until there is None."""
    while (call := asked.get()) is not None:
        try:
            told.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            told.put((None, error))
        del call  # or the memory that it wrote to would be held until the next


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def identity_of(found: os.stat_result) -> tuple[int, int, int, int]:
    """Device, inode, length, and time of the last change."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
