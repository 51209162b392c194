"""Many values at once, at places of their own in one memory: `Cursor`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata_core.headers import Places, distance, gather, repeats

_LENGTHS = {1: "u1", 2: ">u2", 4: ">u4"}


class Irregular(Exception):  # noqa: N818 - no error: the samples are decoded in another way
    """The samples can't be decoded together."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The data of one array of each body, which aren't in the memory that holds the bodies.

    Args:
        offset: Where in a body they would begin.
        size: Their bytes.
    """

    offset: int
    size: int


class Cursor:
    """Where the next value begins in each body.

    Reading beyond a body can't do harm, since all places have to be at their bodies' ends in the
    end.

    Args:
        buffer: The memory that holds the bodies.
        places: A place in it for each.
        cut: What was cut out of the bodies.
    """

    def __init__(self, buffer: Any, places: Places, cut: "Cut | None" = None) -> None:
        self.buffer = buffer
        self.places = places
        self._apart = distance(places)  # while it is the same for all, nothing is gathered
        self.bytes = np.frombuffer(buffer, np.uint8)
        self.cut = cut
        self.begin = int(places[0])
        self.arrays: list[tuple[int, int]] = []
        """Of each array in the first body: where its data begin in it, and their bytes."""

    def rows(self, size: int, ahead: int = 0) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """`size` bytes from each place, or from some bytes ahead of it; to be looked at only."""
        return gather(self.buffer, self.places + ahead if ahead else self.places, size, self._apart)

    def take(self, size: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """Moves over `size` bytes at every place; they, in memory of their own."""
        rows = self.rows(size)
        if self._apart is not None:  # a view, which changes when the buffer is filled again
            rows = rows.copy()
        self.move(size)
        return rows

    def move(self, count: "int | Places") -> None:
        """Moves by as many bytes at every place, or by other ones at each."""
        self.places = self.places + count
        if not isinstance(count, int):
            self._apart = None

    def mark(self) -> "tuple[Places, int | None]":
        """Where it is now; for `back`."""
        return self.places, self._apart

    def back(self, mark: "tuple[Places, int | None]") -> None:
        """Moves back to a mark."""
        self.places, self._apart = mark

    def kinds(self) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """The byte at each place, which tells what the value is."""
        return self.rows(1)[:, 0]

    def same(self) -> int:
        """The byte that is at every place; raises `Irregular` if there are several."""
        kinds = self.kinds()
        first = int(kinds[0])
        if (kinds != first).any():
            raise Irregular
        return first

    def expect(self, data: bytes) -> None:
        """Moves over bytes that have to be these at every place."""
        rows = self.rows(len(data))
        if rows[0].tobytes() != data or not repeats(rows):
            raise Irregular
        self.move(len(data))

    def numbers(self, kind: str) -> Any:
        """Moves over one number of a dtype at every place."""
        dtype = np.dtype(kind)
        found = self.rows(dtype.itemsize).view(dtype)[:, 0]
        self.move(dtype.itemsize)
        return found

    def words(self, ahead: int) -> "np.ndarray[Any, np.dtype[np.uint64]]":
        """The eight bytes that begin some bytes ahead of each place, as numbers."""
        if int(self.places.max()) + ahead + 8 > len(self.buffer):
            self.buffer = bytes(self.buffer) + bytes(ahead + 8)
            self.bytes = np.frombuffer(self.buffer, np.uint8)
        return self.rows(8, ahead).view(">u8")[:, 0].astype("<u8")

    def spans(self, kinds: Mapping[int, int], short: tuple[int, int] | None) -> int | Places:
        """Moves over the head of a text or of bytes at every place; their lengths, or their length.

        Args:
            kinds: The bytes that begin such a head, and how many bytes of length follow.
            short: The range of those that hold the length themselves, in their lowest bits.
        """
        first = self.kinds()
        kind = int(first[0])
        if repeats(first[:, None]):
            if short is not None and short[0] <= kind < short[1]:
                self.move(1)
                return kind - short[0]
            if kind in kinds:
                self.move(1)
                stated = self.numbers(_LENGTHS[kinds[kind]])
                same = (stated == stated[0]).all()
                return int(stated[0]) if same else stated.astype(np.int64)
        lengths = np.zeros(len(first), np.int64)
        moved = np.ones(len(first), np.int64)
        done = np.zeros(len(first), bool)
        if short is not None:
            done = (first >= short[0]) & (first < short[1])
            lengths[done] = first[done] - short[0]
        for kind, size in kinds.items() if not done.all() else ():
            here = first == kind
            if here.any():
                stated = gather(self.buffer, self.places[here] + 1, size)
                lengths[here] = stated.view(_LENGTHS[size])[:, 0]
                moved[here] += size
                done |= here
        if not done.all():
            raise Irregular
        self.move(moved)
        return lengths
