"""Random order, the same for the same seed on every machine."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

V = TypeVar("V")


class Mixer(Generic[V]):
    """Hands out what it is given in random order, keeping up to `size` of it back.

    Args:
        size: How many it keeps; 0 keeps the order.
        seed: What the order depends on. NumPy's `RandomState` gives the same numbers for it in
            every version (https://numpy.org/neps/nep-0019-rng-policy.html).
    """

    def __init__(self, size: int, seed: str) -> None:
        self.kept: list[V] = []
        self._size = size
        self._rng = np.random.RandomState(
            np.frombuffer(hashlib.sha256(seed.encode()).digest(), "<u4")
        )
        self._at_end = False
        self.giving = 0
        """How many of the items that were taken last are exchanged for others."""

    def through(self, items: Iterable[V], count: int) -> Iterator[V]:
        """Takes `count` items, and gives others (or the same) once enough are kept."""
        iterator = iter(items)
        room = min(self._size - len(self.kept), count)
        self.giving = count - room
        self.kept.extend(islice(iterator, room))
        return self._exchanged(iterator, count - room) if self._size else iterator

    def _exchanged(self, items: Iterator[V], count: int) -> Iterator[V]:
        # All places are drawn at once, which is ten times as fast as one by one.
        places = (self._rng.random_sample(count) * self._size).astype(np.int64).tolist()
        kept = self.kept
        for item, place in zip(items, places, strict=True):
            given = kept[place]
            kept[place] = item
            yield given

    def rest(self) -> Iterator[V]:
        """Gives those that are kept, when no more will come."""
        if not self._at_end:
            self._at_end = True
            draws = self._rng.random_sample(len(self.kept)).tolist()
            for i in range(len(self.kept) - 1, 0, -1):
                j = int(draws[i] * (i + 1))
                self.kept[i], self.kept[j] = self.kept[j], self.kept[i]
        while self.kept:
            yield self.kept.pop()

    def over(self, items: list[V]) -> Iterator[V]:
        """All of these in random order."""
        yield from self.through(items, len(items))
        yield from self.rest()
