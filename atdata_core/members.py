"""The members of a tar, a run of them at a time.

A `Window` is a stretch of the archive in memory. `Members` finds the members that lie in it as a
whole: of plain ustar headers all at once (`headers`), of anything else one header after another.
Both give the same runs, and what the first can't prove it leaves to the second.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from atdata_core.errors import ShardError
from atdata_core.headers import NumberedKeys, plain_run
from atdata_core.tar import (
    BLOCK,
    DIRECTORY,
    END,
    MAX_MEMBER_BYTES,
    MAX_META_BYTES,
    META,
    ZERO,
    Extended,
    check_name,
    padded,
    parse_header,
    parse_meta,
)

WINDOW = 2 << 20
"""Bytes of an archive that are looked at together: they stay in a core's cache."""

_FIRST = 256 << 10

EXTENSION = ".msgpack"
"""What a sample's member is called, after its key."""


@dataclass(frozen=True, slots=True)
class Run:
    """Samples that lie in memory one after another; gone when the next run is asked for.

    Args:
        buffer: The memory.
        starts: Where each body begins in it, int64.
        sizes: How many bytes each has, int64.
        keys: Their keys.
        offset: Where the buffer begins in the archive.
        plain: Whether each is a header and a body, and nothing is between them.
    """

    buffer: bytearray
    starts: np.ndarray[Any, np.dtype[np.int64]]
    sizes: np.ndarray[Any, np.dtype[np.int64]]
    keys: Sequence[str]
    offset: int
    plain: bool

    def __len__(self) -> int:
        return len(self.starts)

    def body(self, row: int) -> bytes:
        """The bytes of one body."""
        start = int(self.starts[row])
        return bytes(memoryview(self.buffer)[start : start + int(self.sizes[row])])


class Window:
    """A stretch of a stream in memory, moved along it.

    Args:
        stream: Read once, never sought.
        where: Its name, for errors.
        size: How many bytes are in memory, once there was need of many; more where one thing is
            longer.
    """

    def __init__(self, stream: IO[bytes], where: str, size: int = WINDOW) -> None:
        self.buffer = bytearray(min(_FIRST, size))
        self.start = self.end = 0
        """Which part of `buffer` is still ahead."""
        self.offset = 0
        """Where the buffer begins in the stream."""
        self._size = size
        self._where = where
        self._stream = stream
        self._read_into = getattr(stream, "readinto", None)
        self._at_end = False

    @property
    def ahead(self) -> int:
        """How many bytes are in memory and ahead."""
        return self.end - self.start

    @property
    def is_full(self) -> bool:
        """Whether `fill` would do nothing."""
        full = not self.start and self.end == len(self.buffer) >= self._size
        return self._at_end or full

    def fill(self) -> None:
        """Moves what is ahead to the front and reads until the buffer is full or the end there.

        At first, less is read: the first samples come sooner, and large ones, which are read in
        another way once one was seen, aren't read for nothing.
        """
        if self._at_end:
            return
        rest = self.ahead
        if self.end == len(self.buffer) < self._size:
            self._grow(self._size)
        elif self.start:
            self.buffer[:rest] = self.buffer[self.start : self.end]
            self.offset += self.start
            self.start, self.end = 0, rest
        with memoryview(self.buffer) as view:
            while self.end < len(view) and not self._at_end:
                with view[self.end :] as free:
                    count = self._read(free)
                self.end += count
                self._at_end = not count

    def need(self, count: int, what: str, limit: int = MAX_MEMBER_BYTES) -> None:
        """Makes `count` bytes be ahead; a run that was handed out is gone then.

        Raises:
            ShardError: They are more than `limit`, or the stream ends before.
        """
        if count > limit:
            raise ShardError(
                f"{what} is larger than allowed",
                where=self._where,
                expected=f"at most {limit:,} bytes",
                got=f"{count:,}",
            )
        while self.ahead < count:
            if self.ahead == len(self.buffer):
                # A size is only a claim until the bytes are there: memory grows with what came.
                self._grow(min(2 * len(self.buffer), padded(count)))
            self.fill()
            if self._at_end and self.ahead < count:
                raise ShardError(
                    f"file is cut short within {what}",
                    where=self._where,
                    expected=f"{count - self.ahead:,} more bytes",
                    remedy="Fetch or write the shard again: it is not whole",
                )

    def seek(self, position: int) -> None:
        """Goes on at another place of the stream, if it isn't in memory anyway."""
        if self.offset <= position <= self.offset + self.end:
            self.start = position - self.offset
            return
        self._stream.seek(position)
        self.offset, self.start, self.end, self._at_end = position, 0, 0, False

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, which have to be ahead."""
        return bytes(memoryview(self.buffer)[self.start : self.start + count])

    def check_end(self) -> None:
        """Reads the end of the archive; raises `ShardError` if it isn't whole, or not the end."""
        self.need(2 * BLOCK, "the end of the archive")
        if self.peek(2 * BLOCK) != END:
            raise ShardError("archive ends with one zero block, not two", where=self._where)
        # tar pads to its record size with zeros; anything else after the end is hidden data.
        while self.ahead:
            rest = self.peek(self.ahead)
            if rest.count(0) != len(rest):
                raise ShardError("there are data after the end of the archive", where=self._where)
            self.start = self.end
            self.fill()

    def _grow(self, size: int) -> None:
        """Moves what is ahead to the front of a buffer of so many bytes."""
        grown = bytearray(size)
        grown[: self.ahead] = self.buffer[self.start : self.end]
        self.offset += self.start
        self.buffer, self.start, self.end = grown, 0, self.ahead

    def _read(self, free: memoryview) -> int:
        if self._read_into is not None:
            try:
                return self._read_into(free) or 0
            except NotImplementedError:  # a stream that has no more than `read`, as it may
                self._read_into = None
        data = self._stream.read(len(free))
        free[: len(data)] = data
        return len(data)


class Members:
    """Goes through an archive.

    Args:
        stream: The archive, from its start; read once, never sought.
        where: Its name, for errors.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._window = Window(stream, where)
        self._where = where
        self._keys = _Keys(where)
        self._known = Extended()
        self._others = False
        self._first = True
        self._seen = 0  # the keys of so many samples from here on were added before

    @property
    def position(self) -> int:
        """Where in the archive the next member begins."""
        return self._window.offset + self._window.start

    @property
    def at_member(self) -> bool:
        """Whether a header that stands for itself comes next, or the end."""
        return self._known == Extended()

    def pass_over(self, keys: Sequence[str], position: int) -> None:
        """Goes on at a later place; what lies before it was read by somebody else.

        Args:
            keys: The keys of the samples there.
            position: Where in the archive a header is; the stream has to be seekable.

        Raises:
            ShardError: Another sample has one of the keys.
        """
        self._add(keys)
        self._first = False
        self._window.seek(position)

    def reread(self, position: int, known: int) -> None:
        """Goes back to the header of a sample that was in the last run.

        Args:
            position: Where in the archive it is.
            known: How many samples from there on were handed out.
        """
        self._window.seek(position)
        self._seen = known

    def _add(self, keys: Sequence[str]) -> None:
        seen = min(self._seen, len(keys))
        self._seen -= seen
        keys = keys[seen:]
        if not keys:
            return
        if isinstance(keys, NumberedKeys):
            self._keys.add_numbered(keys)
        else:
            self._keys.add(keys)

    def runs(self) -> Iterator[Run]:
        """The samples, those that lie in memory together at a time; other members are passed over.

        Raises:
            ShardError: A header's checksum is wrong; a member is a link, a device, sparse, has an
                unsafe name, or a key that another one has; the file ends before its
                end-of-archive mark, or goes on after it. A file that is cut short never reads as
                a shorter dataset.
        """
        while True:
            run = self._plain() or self._walked()
            if run is None:
                break
            if len(run):
                yield run
        if self._others and not self._keys.count:
            raise ShardError(
                "shard holds no samples of ours",
                where=self._where,
                expected=f"members named <key>{EXTENSION}",
            )

    def _plain(self) -> Run | None:
        """The samples from here on whose headers are plain, if there are any."""
        window = self._window
        # What is left of the last window is less than a member, most of the time.
        if window.ahead < len(window.buffer) // 4:
            window.fill()
        if self._known != Extended():
            return None
        found = plain_run(window.buffer, window.start, window.end, EXTENSION)
        if found is None and not window.is_full:  # maybe the first member isn't there as a whole
            window.fill()
            found = plain_run(window.buffer, window.start, window.end, EXTENSION)
        if found is None:
            return None
        self._add(found.keys)
        self._first = False
        window.start = found.end
        return Run(window.buffer, found.starts, found.sizes, found.keys, window.offset, plain=True)

    def _walked(self) -> Run | None:
        """The samples from here to the window's end, header by header; None at the archive's."""
        window, where = self._window, self._where
        starts: list[int] = []
        sizes: list[int] = []
        keys: list[str] = []
        # What isn't in memory as a whole waits until the run was used: then it can be read.
        while not keys or window.ahead >= BLOCK:
            window.need(BLOCK, "a member's header")
            block = window.peek(BLOCK)
            if block == ZERO and keys:
                break
            if block == ZERO:
                window.check_end()
                return None
            header = parse_header(block, where, first=self._first)
            meta = header.kind == META
            name, size = header.name, header.size
            if not meta:
                name, size = self._known.name or name, self._known.size or size
            total = BLOCK + padded(size)
            if keys and window.ahead < total:
                break
            limit = MAX_META_BYTES if meta else MAX_MEMBER_BYTES
            window.need(total, repr(name), BLOCK + limit)
            self._first = False
            window.start += BLOCK
            if meta:
                self._known = parse_meta(header, window.peek(size), self._known, where)
            else:
                self._known = Extended()
                key, dot, extension = name.rpartition(".")
                if header.kind == DIRECTORY or name.endswith("/"):
                    pass
                elif check_name(name, where) and (dot + extension).lower() == EXTENSION:
                    keys.append(key)
                    starts.append(window.start)
                    sizes.append(size)
                else:
                    self._others = True
            window.start += padded(size)
        self._add(keys)
        places = np.array(starts, np.int64), np.array(sizes, np.int64)
        return Run(window.buffer, *places, keys, window.offset, plain=False)


class _Keys:
    """The keys of a shard so far, so that none is there twice.

    Numbers that follow each other, as our own writer gives them, take no memory.
    """

    def __init__(self, where: str) -> None:
        self.count = 0
        self._where = where
        self._names: set[str] = set()
        self._numbered: dict[int, list[range]] = {}

    def add_numbered(self, keys: NumberedKeys) -> None:
        """Adds keys that are numbers, one after another."""
        known = self._numbered.setdefault(keys.width, [])
        new = keys.numbers
        for old in known:
            if new.start < old.stop and old.start < new.stop:
                self._refuse(keys[max(new.start, old.start) - new.start])
        for name in self._names:
            if len(name) == keys.width and name in keys:
                self._refuse(name)
        if known and known[-1].stop == new.start:
            known[-1] = range(known[-1].start, new.stop)
        else:
            known.append(new)
        self.count += len(new)

    def add(self, keys: Sequence[str]) -> None:
        """Adds keys of any kind."""
        numbered = NumberedKeys.of(keys)
        if numbered is not None:
            self.add_numbered(numbered)
            return
        for key in keys:
            known = self._numbered.get(len(key))
            number = int(key) if known and key.isascii() and key.isdigit() else -1
            if key in self._names or (known and any(number in old for old in known)):
                self._refuse(key)
            self._names.add(key)
        self.count += len(keys)

    def _refuse(self, key: str) -> None:
        raise ShardError("two samples have the same key", where=self._where, got=key)
