"""Where the samples of a file lie, remembered from one pass over it to the next.

Whoever reads a file for the second time finds its headers as they were when they were checked, as
long as nobody touched it. (Batches of samples of 1 KB: 1.9 million a second with the headers
looked at, 2.5 without.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata_core.files import InMemory, SameFile
from atdata_core.headers import NumberedKeys, Places, padded_all
from atdata_core.known import KnownFiles, state_of
from atdata_core.members import Run
from atdata_core.tar import BLOCK

_ROOM = 16 << 20
"""Bytes to remember of all files together: at two a sample, eight million samples."""
_WINDOW = 4 << 20
"""Bytes to read at a time. (With 2 MiB, batches of samples of 4 KB took 8 % longer, those of 1 KB
as long; with 8, they take longer again.)
"""
_LARGEST = 1 << 15
"""So many bytes at most may a body have; of larger ones, the headers are little."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The samples of a shard in which nothing else is, and whose headers are plain.

    Args:
        sizes: How many bytes each body has, uint16.
        keys: Their keys.
    """

    sizes: "np.ndarray[Any, np.dtype[np.uint16]]"
    keys: NumberedKeys

    def places(self) -> tuple[Places, Places]:
        """Where each body begins in the file, and how many bytes it has, int64."""
        sizes = self.sizes.astype(np.int64)
        lengths = padded_all(sizes)
        return np.cumsum(lengths + BLOCK) - lengths, sizes

    def runs(self, file: SameFile, skip: int) -> Iterator[Run]:
        """The samples from a row on, those that lie in memory together at a time.

        It ends early if the file does.
        """
        starts, sizes = self.places()
        ends = starts + sizes
        buffer = bytearray(_WINDOW)
        with memoryview(buffer) as view:
            while skip < len(ends):
                offset = int(starts[skip])
                last = int(np.searchsorted(ends, offset + _WINDOW, "right"))
                length = int(ends[last - 1]) - offset
                if file.read_at([view[:length]], offset) != length:
                    return
                here = starts[skip:last] - offset, sizes[skip:last]
                yield Run(buffer, *here, self.keys[skip:last], offset, plain=True)
                skip = last


class Notes:
    """What is learned of a file while it is read for the first time.

    Args:
        file: The file; of anything else, nothing is remembered.
    """

    def __init__(self, file: SameFile | InMemory | None) -> None:
        self._state = state_of(file.number) if isinstance(file, SameFile) else None
        self._sizes: list[np.ndarray[Any, np.dtype[np.uint16]]] = []
        self._keys: NumberedKeys | None = None

    def add(self, run: Run) -> None:
        """Takes down the next samples of the file."""
        if self._state is None:
            return
        keys = _continued(self._keys, run.keys) if run.plain else None
        if keys is None or int(run.sizes.max()) > _LARGEST:
            self._state = None
            return
        self._keys = keys
        self._sizes.append(run.sizes.astype(np.uint16))

    def remember(self, count: int) -> None:
        """Remembers them, if they are all of the `count` samples of the file."""
        if self._keys is not None and len(self._keys) == count:
            sizes = np.concatenate(self._sizes)
            _REMEMBERED.note(self._state, Remembered(sizes, self._keys), sizes.nbytes)


def _continued(before: NumberedKeys | None, keys: object) -> NumberedKeys | None:
    """Keys together with those before them, if they are numbers that go on."""
    if not isinstance(keys, NumberedKeys):
        return None
    if before is None:
        return keys
    if (keys.width, keys.numbers.start) != (before.width, before.numbers.stop):
        return None
    return NumberedKeys(range(before.numbers.start, keys.numbers.stop), keys.width)


def remembered(file: SameFile | InMemory | None) -> Remembered | None:
    """What is remembered of a file; of anything else, nothing is."""
    return _REMEMBERED.of(state_of(file.number)) if isinstance(file, SameFile) else None


_REMEMBERED: KnownFiles[Remembered] = KnownFiles(_ROOM)
