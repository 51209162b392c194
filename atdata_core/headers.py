"""Plain ustar headers, a whole window of them at once.

Every block that holds the magic of ustar may be a header. It is one if it follows from the block
before it: the first is where the last member ended, and each one's size leads exactly to the next.
File data that only look like a header break that chain. What holds for each row is computed for
all, and the run ends before the first row for which anything doesn't: checksum, a size in octal,
a plain name, all other fields equal to the first row's. The rest is for `members` to walk.
"""

import functools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from atdata_core.tar import BLOCK

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Places = np.ndarray[Any, np.dtype[np.int64]]

_MAGIC = np.frombuffer(b"ustar\x0000", "<u8")[0]
_DIGITS = np.stack((10.0 ** np.arange(14, -1, -1), np.ones(15)), 1)
"""By these, up to 15 digits give their number, which has 50 bits, and their sum."""
_SAFE = np.zeros(256, bool)
_SAFE[np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", "u1")] = (
    True
)


class NumberedKeys(Sequence[str]):
    """Keys that are numbers one after another, ``000000007`` and ``000000008``.

    Args:
        numbers: The numbers.
        width: How many digits each key has.
    """

    def __init__(self, numbers: range, width: int) -> None:
        self.numbers = numbers
        self.width = width

    @classmethod
    def of(cls, keys: Sequence[str]) -> "NumberedKeys | None":
        """Some keys as such, if they are that."""
        if not keys or not keys[0].isascii() or not keys[0].isdigit():
            return None
        first, width = int(keys[0]), len(keys[0])
        numbers = range(first, first + len(keys))
        same = all(key == f"{number:0{width}d}" for key, number in zip(keys, numbers, strict=True))
        return cls(numbers, width) if same else None

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> "NumberedKeys": ...
    def __getitem__(self, row: int | slice) -> "str | NumberedKeys":
        if isinstance(row, slice):
            return NumberedKeys(self.numbers[row], self.width)
        return f"{self.numbers[row]:0{self.width}d}"

    def __contains__(self, key: object) -> bool:
        return (
            isinstance(key, str)
            and len(key) == self.width
            and key.isascii()
            and key.isdigit()
            and int(key) in self.numbers
        )

    def index(self, key: str, start: int = 0, stop: int = sys.maxsize) -> int:  # noqa: ARG002
        """The row of a key; raises `ValueError` if there is none."""
        if key not in self:
            raise ValueError(key)
        return self.numbers.index(int(key))


@dataclass(frozen=True, slots=True)
class PlainRun:
    """Members whose headers are plain and follow each other.

    Args:
        starts: Where each body begins in the buffer.
        sizes: How many bytes each has.
        keys: Their names, without the extension.
        end: Where the next header begins.
    """

    starts: Places
    sizes: Places
    keys: Sequence[str]
    end: int


def plain_run(buffer: bytearray, start: int, end: int, extension: str) -> PlainRun | None:
    """The plain members that lie in a part of a buffer as a whole, from its beginning on.

    Args:
        buffer: Part of an archive.
        start: Where a header begins.
        end: Where the bytes that are there end.
        extension: How the names of all of them end.

    Returns:
        The run, or None if the first member isn't plain.
    """
    blocks = (end - start) // BLOCK
    if blocks < 1:
        return None
    magics = np.ndarray((blocks,), "<u8", buffer, start + 257, (BLOCK,))
    if magics[0] != _MAGIC:
        return None
    heads = start + BLOCK * np.flatnonzero(magics == _MAGIC)
    found = check_headers(gather(buffer, heads, BLOCK, distance(heads)), extension)
    if found is None:
        return None
    following = heads + BLOCK + padded_all(found.sizes)
    good = found.good
    good[:-1] &= following[:-1] == heads[1:]
    good[-1] &= bool(following[-1] <= end)
    count = found.count()
    if not count:
        return None
    places = heads[:count] + BLOCK
    return PlainRun(places, found.sizes[:count], found.keys(count), int(following[count - 1]))


@dataclass(frozen=True, slots=True)
class Headers:
    """What headers say.

    Args:
        sizes: How many bytes each body has.
        good: Whether each is plain and like the first; to be narrowed down by who knows more.
        stems: The names without the extension, as rows of bytes.
        numbers: What numbers the names are, if all are.
    """

    sizes: Places
    good: np.ndarray[Any, np.dtype[np.bool_]]
    stems: Bytes
    numbers: Places | None

    def count(self) -> int:
        """How many are good before the first that isn't."""
        return len(self.good) if self.good.all() else int(self.good.argmin())

    def keys(self, count: int) -> Sequence[str]:
        """The names of so many good ones, plain ASCII."""
        stems, width = self.stems[:count], self.stems.shape[1]
        if self.numbers is not None:
            numbers = self.numbers[:count]
            first = int(numbers[0])
            if (numbers == np.arange(first, first + count)).all():
                return NumberedKeys(range(first, first + count), width)
        text = np.ascontiguousarray(stems).tobytes().decode("ascii")
        return [text[at : at + width] for at in range(0, len(text), width)]


def check_headers(rows: Bytes, extension: str) -> Headers | None:
    """What headers say, and which of them are plain and like the first.

    Args:
        rows: The headers, 512 bytes a row.
        extension: How their names end.

    Returns:
        That; None if the first isn't plain.
    """
    first = rows[0].tobytes()
    width = first.find(b"\0", 0, 100)
    stem = width - len(extension)
    if stem < 1 or first[stem:width] != extension.encode() or not _PLAIN(first):
        return None
    stems = rows[:, :stem]
    count = len(rows)
    words = np.concatenate((rows[:, 127:135].view("<u8"), rows[:, 147:155].view("<u8")))[:, 0]
    words[count:] = words[count:] & _CHECKSUM | _NO_CHECKSUM
    numbers, digits, legible = _octal(words)
    good = legible[:count] & legible[count:]
    if not _shared_repeats(rows, stem):
        good &= _alike(rows, stem)
    names: Places | None = None
    figures = stems - np.uint8(48)
    if stem <= len(_DIGITS) and figures.max() < 10:
        names, of_stems = (figures @ _DIGITS[-stem:]).astype(np.int64).T
        of_stems = of_stems + 48 * stem
    else:
        good &= _SAFE[stems].all(1)
        of_stems = stems.sum(1, np.int64)
    # The checksum: of the bytes that all share, of each one's own, and its own field as blanks.
    fixed = _sum_of(first[stem:127] + first[135:148] + first[156:]) + 8 * 48 + 8 * 32
    good &= of_stems + digits[:count] + fixed == numbers[count:] >> 3
    return Headers(numbers[:count] + (int(first[124:127], 8) << 24), good, stems, names)


_PLAIN = re.compile(
    rb".{124}[0-7]{3}"  # the highest digits of the size
    rb".{8}[\0 ].{18}[\0 ]{2}"  # how size and checksum end
    rb"[0\0].{188}\0{155}",  # a regular file, whose name has no prefix
    re.DOTALL,
).match


_sum_of = functools.lru_cache(maxsize=64)(sum)
"""The same bytes come in every window."""


def _shared_repeats(rows: Bytes, stem: int) -> bool:
    """Whether the bytes that aren't a header's own are the same in all rows.

    Its own are those of its name's stem, its size and checksum. Of the size, the three highest
    digits are like those of the first: below 16 MiB they are zeros.
    """
    return repeats(rows[:, 154:]) and repeats(rows[:, stem:127]) and repeats(rows[:, 135:148])


def _alike(rows: Bytes, stem: int) -> Any:
    """For each row, whether all bytes but its own are those of the first row."""
    same = rows == rows[0]
    same[:, :stem] = same[:, 127:135] = same[:, 148:154] = True
    return same.all(1)


def repeats(rows: Bytes) -> bool:
    """Whether all rows are like the first; for short ones faster than `==` and `all`."""
    if rows.shape[1] > BLOCK:
        return bool((rows == rows[0]).all())
    count = len(rows)
    return _repeated(rows[0].tobytes(), -(-count // _REPEATS)).startswith(rows.tobytes())


_REPEATS = 1024


@functools.lru_cache(maxsize=16)
def _repeated(row: bytes, times: int) -> bytes:
    return row * (times * _REPEATS)


def padded_all(sizes: Places) -> Places:
    """Sizes rounded up to whole blocks."""
    return (sizes + BLOCK - 1) // BLOCK * BLOCK


def distance(places: Places) -> int | None:
    """How many bytes are from each place to the next, if it is the same for all."""
    first = int(places[1] - places[0]) if len(places) > 1 else 0
    return first if (places[1:] - places[:-1] == first).all() else None


def gather(buffer: Any, places: Places, size: int, apart: int | None = None) -> Bytes:
    """`size` bytes from each place of a buffer, as rows of an array.

    Places at equal distances are looked at where they are; others are copied, for which a view of
    every possible row, one byte apart, makes it one copy a row (20 ns for small ones).

    Args:
        buffer: The memory.
        places: The places in it.
        size: How many bytes.
        apart: The distance between the places, if it is the same for all.

    Raises:
        IndexError: A place is outside the buffer, or the rows would be more than it holds, as
            those of bodies that don't overlap can't be.
    """
    if not size:
        return np.empty((len(places), 0), np.uint8)
    if size * len(places) > len(buffer):
        raise IndexError("rows overlap")
    if apart is not None:
        if int(places[-1]) + size > len(buffer):
            raise IndexError("rows end beyond the buffer")
        return np.ndarray((len(places), size), np.uint8, buffer, int(places[0]), (apart, 1))
    length = len(buffer) - size + 1
    if length < 1:
        raise IndexError("rows are longer than the buffer")
    every = np.ndarray((length,), f"V{size}", buffer, strides=(1,))
    return every[places].view(np.uint8).reshape(len(places), size)


def _octal(
    words: "np.ndarray[Any, np.dtype[np.uint64]]",
) -> tuple[Places, Places, "np.ndarray[Any, np.dtype[np.bool_]]"]:
    """Numbers of eight octal digits, the sums of the digits, and whether all are digits.

    A word holds the eight, the first in its lowest byte; they are lost.
    """
    legible = words & _HIGH == _ZEROS
    words &= _LOW
    numbers, sums = (words.view(np.uint8).reshape(-1, 8) @ _OCTAL).astype(np.int64).T
    return numbers, sums, legible


_OCTAL = np.stack((8.0 ** np.arange(7, -1, -1), np.ones(8)), 1)
_HIGH, _LOW, _ZEROS = (np.uint64(int.from_bytes(bytes([byte]) * 8)) for byte in (0xF8, 7, 0x30))
_CHECKSUM = np.uint64(0x00FFFFFFFFFFFF00)
"""Which bytes of the word at 147 are the checksum's: it has six digits."""
_NO_CHECKSUM = _ZEROS & ~_CHECKSUM
