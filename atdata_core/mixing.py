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

    def places(self, items: Iterator[V], count: int) -> list[int]:
        """Takes items as long as there is room, and draws places of `kept` for the others.

        Whoever calls this has to put each of the others in its place, and to hand out what was
        there.

        Args:
            items: Some items.
            count: How many they are.
        """
        room = min(self._size - len(self.kept), count)
        self.kept.extend(islice(items, room))
        # All are drawn at once, which is ten times as fast as one by one.
        draws = self._rng.random_sample(count - room) * self._size
        drawn: list[int] = draws.astype(np.int64).tolist()
        return drawn

    def through(self, items: Iterable[V], count: int) -> Iterator[V]:
        """Takes `count` items, and gives others (or the same) once enough are kept."""
        iterator, kept = iter(items), self.kept
        if not self._size:
            yield from iterator
            return
        for place, item in zip(self.places(iterator, count), iterator, strict=True):
            given, kept[place] = kept[place], item
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
