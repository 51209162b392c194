"""Plain ustar headers, a whole window of them at once.

Every block that holds the magic of ustar may be a header. It is one if it follows from the block
before it: the first is where the last member ended, and each one's size leads exactly to the next.
File data that only look like a header break that chain. What holds for each row is computed for
all, and the run ends before the first row for which anything doesn't: checksum, a size in octal,
a plain name, all other fields equal to the first row's. The rest is for `members` to walk.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from atdata_core.tar import BLOCK

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Places = np.ndarray[Any, np.dtype[np.int64]]

_MAGIC = np.frombuffer(b"ustar\x0000", "<u8")[0]
_OCTAL = 8.0 ** np.arange(10, -1, -1)  # exact in double precision: 33 bits
_DECIMAL = 10.0 ** np.arange(14, -1, -1)  # up to 15 digits: 50 bits
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
    checked = check_headers(gather(buffer, heads, BLOCK), extension)
    if checked is None:
        return None
    sizes, good, keys = checked
    following = heads + BLOCK + padded_all(sizes)
    good[:-1] &= following[:-1] == heads[1:]
    good[-1] &= bool(following[-1] <= end)
    count = len(good) if good.all() else int(good.argmin())
    if not count:
        return None
    places = heads[:count] + BLOCK
    return PlainRun(places, sizes[:count], keys_of(keys[:count]), int(following[count - 1]))


def check_headers(
    rows: Bytes, extension: str
) -> "tuple[Places, np.ndarray[Any, np.dtype[np.bool_]], Bytes] | None":
    """What headers say, and which of them are plain and like the first.

    Args:
        rows: The headers, 512 bytes a row.
        extension: How their names end.

    Returns:
        The sizes, whether each is plain, and the names without the extension, as rows of bytes;
        None if the first isn't plain.
    """
    first = rows[0]
    width = bytes(first[:100]).find(b"\0")
    stem = width - len(extension)
    plain = first[156] in b"0\0" and not first[345:500].any()
    if stem < 1 or not plain or bytes(first[stem:width]) != extension.encode():
        return None
    sizes, good = _octal(rows[:, 124:136])
    sums, legible = _octal(rows[:, 148:156], 6)
    good &= legible
    # Whatever isn't the name's stem, the size or the checksum has to be like the first row's.
    words, own = rows.view("<u4"), -(-stem // 4)
    good &= _all([words[:, a:b] == words[0, a:b] for a, b in ((own, 31), (34, 37), (39, 128))])
    good &= _all([rows[:, stem : 4 * own] == first[stem : 4 * own], _SAFE[rows[:, :stem]]])
    varying = [rows[:, :stem], rows[:, 124:136]]
    fixed = int(first.sum()) - sum(int(part[0].sum()) for part in (*varying, rows[:, 148:156]))
    total = fixed + 8 * 32 + sum(part @ np.ones(part.shape[1]) for part in varying)
    good &= total == sums  # the checksum counts as blanks
    return sizes, good, rows[:, :stem]


def _all(conditions: "list[np.ndarray[Any, np.dtype[np.bool_]]]") -> Any:
    """For each row, whether it meets all conditions."""
    # Looked at as a whole first, which is much faster and nearly always the answer.
    if all(condition.all() for condition in conditions):
        return True
    return np.logical_and.reduce([condition.all(1) for condition in conditions])


def padded_all(sizes: Places) -> Places:
    """Sizes rounded up to whole blocks."""
    return (sizes + BLOCK - 1) // BLOCK * BLOCK


def gather(buffer: Any, places: Places, size: int) -> Bytes:
    """`size` bytes from each place of a buffer, as rows of an array of their own.

    A view of every possible row, one byte apart, makes it one copy a row (20 ns for small ones).

    Raises:
        IndexError: A place is outside the buffer.
    """
    if not size:
        return np.empty((len(places), 0), np.uint8)
    length = len(buffer) - size + 1
    if length < 1:
        raise IndexError("rows are longer than the buffer")
    every = np.ndarray((length,), f"V{size}", buffer, strides=(1,))
    return every[places].view(np.uint8).reshape(len(places), size)


def _octal(fields: Bytes, length: int = 11) -> tuple[Places, "np.ndarray[Any, np.dtype[np.bool_]]"]:
    """Numbers in octal, and which of them are legible: so many digits, then blanks or NULs."""
    digits = fields[:, :length] - np.uint8(48)
    ends = fields[:, length:]
    legible = np.ones(len(fields), bool) & _all([digits < 8, (ends == 0) | (ends == 32)])
    return (digits @ _OCTAL[-length:]).astype(np.int64), legible


def keys_of(stems: Bytes) -> Sequence[str]:
    """Keys that stand in rows of bytes, plain ASCII."""
    width = stems.shape[1]
    digits = stems - np.uint8(48)
    if width <= len(_DECIMAL) and (digits < 10).all():
        numbers = (digits @ _DECIMAL[-width:]).astype(np.int64)
        first = int(numbers[0])
        if (numbers == np.arange(first, first + len(numbers))).all():
            return NumberedKeys(range(first, first + len(numbers)), width)
    text = np.ascontiguousarray(stems).tobytes().decode("ascii")
    return [text[at : at + width] for at in range(0, len(text), width)]
