"""Random order, the same for the same seed on every machine."""

import hashlib
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class Mixer:
    """Hands out the numbers it is given in random order, keeping up to `size` of them back.

    Args:
        size: How many it keeps; 0 keeps the order.
        seed: What the order depends on. NumPy's `RandomState` gives the same numbers for it in
            every version (https://numpy.org/neps/nep-0019-rng-policy.html).
    """

    def __init__(self, size: int, seed: str) -> None:
        self.kept: Numbers = np.empty(0, np.int64)
        self._size = size
        self._rng = np.random.RandomState(
            np.frombuffer(hashlib.sha256(seed.encode()).digest(), "<u4")
        )
        self._at_end = False

    def exchange(self, numbers: Numbers) -> Numbers:
        """Takes numbers, and gives others (or the same) for those that find no room.

        Each takes the place of another, drawn at random, which is given for it.
        """
        room = min(self._size - len(self.kept), len(numbers))
        if room:
            self.kept = np.concatenate((self.kept, numbers[:room]))
        rest = numbers[room:]
        if not len(rest) or not self._size:
            return rest
        places = (self._rng.random_sample(len(rest)) * self._size).astype(np.int64)
        # At a place that was drawn before is the number that was put there then.
        order = np.argsort(places, kind="stable")
        again = places[order[1:]] == places[order[:-1]]
        given = self.kept[places]
        given[order[1:][again]] = rest[order[:-1][again]]
        last = order[np.append(~again, True)]
        self.kept[places[last]] = rest[last]
        return given

    def rest(self, count: int) -> Numbers:
        """Gives up to so many of those that are kept, when no more will come."""
        if not self._at_end:
            self._at_end = True
            kept = self.kept.tolist()
            draws = self._rng.random_sample(len(kept)).tolist()
            for i in range(len(kept) - 1, 0, -1):
                j = int(draws[i] * (i + 1))
                kept[i], kept[j] = kept[j], kept[i]
            self.kept = np.array(kept[::-1], np.int64)
        given, self.kept = self.kept[:count], self.kept[count:]
        return given

    def over(self, count: int) -> list[int]:
        """The numbers from 0 to `count` in random order."""
        given = self.exchange(np.arange(count))
        order: list[int] = np.concatenate((given, self.rest(count))).tolist()
        return order
