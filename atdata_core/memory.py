"""Memory that is used again, since fresh memory costs as much as what is written to it."""

import functools
import sys
from typing import Any

import numpy as np


class Memory:
    """Memory that is used again once nobody looks at it any more.

    Fresh memory costs as much as what is written to it: the kernel has to clear it first. (32
    images of 600 KB: 7,500 a second into fresh memory, 22,000 into used.)
    """

    def __init__(self) -> None:
        self._used: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        self._filled = 0

    def rows(self, count: int, wanted: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """An array of rows of bytes, whatever is in it.

        What one call leaves of an array, the next one gives, so that a batch out of two shards
        needs not be put together.

        Args:
            count: How many rows at most.
            wanted: How many rows there should be together.
            size: Bytes a row.
        """
        if self._left() < 1 or self._used[0].shape[1] != size:
            self._whole(wanted, size)
        array, start = self._used[0], self._filled
        self._filled = min(start + count, len(array))
        return array[start : self._filled]

    def _left(self) -> int:
        return len(self._used[0]) - self._filled if self._used else 0

    def _whole(self, count: int, size: int) -> None:
        """Has memory for so many rows, used or fresh, be the first."""
        self._filled = 0
        for place in range(len(self._used) if _COUNTS_REFERENCES else 0):
            # This list and the call itself: every view of it would be one more.
            if sys.getrefcount(self._used[place]) == 2 and self._used[place].shape == (count, size):
                self._used.insert(0, self._used.pop(place))
                return
        self._used = [np.empty((count, size), np.uint8), *self._used[: _KEPT - 1]]


_KEPT = 3
_COUNTS_REFERENCES = (
    sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)


@functools.cache
def keep_freed_memory() -> None:
    """Has the C library keep what was freed for the next arrays of its size.

    glibc returns memory to the kernel if it is larger than anything freed before, up to 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD). So it learns by and by, and until then each window's arrays are
    memory that the kernel has to clear. Taken and freed once, untouched, this much teaches it.
    (The first 50,000 samples of 4 KB: 240,000 a second; so 410,000. The first passes over 500
    images of 600 KB, in batches of 32: 8,700 a second with half as much memory, 10,700 so.)
    """
    np.empty((32 << 20) - (1 << 16), np.uint8)
