"""Random order, the same for the same seed on every machine."""

import hashlib
from collections.abc import Iterator
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

    def exchange(self, items: list[V]) -> list[V]:
        """Takes items, and gives others (or the same) for those that find no room.

        Each takes the place of another, drawn at random, which is given for it.
        """
        room = min(self._size - len(self.kept), len(items))
        self.kept += items[:room]
        rest = items[room:]
        if not rest or not self._size:
            return rest
        places = (self._rng.random_sample(len(rest)) * self._size).astype(np.int64)
        # At a place that was drawn before is the item that was put there then.
        order = np.argsort(places, kind="stable")
        again = np.flatnonzero(places[order[1:]] == places[order[:-1]])
        found = places.copy()
        found[order[again + 1]] = self._size + order[again]
        every = self.kept + rest
        given = list(map(every.__getitem__, found.tolist()))
        for place, item in zip(places.tolist(), rest, strict=True):
            self.kept[place] = item
        return given

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
        yield from self.exchange(items)
        yield from self.rest()
