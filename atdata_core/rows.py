"""Single samples by their number or key, read from the one shard that holds them."""

import bisect
import itertools
import mmap
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from atdata_core.errors import NotFoundError, ShardError
from atdata_core.files import SameFile, file_number
from atdata_core.headers import Places as Numbers
from atdata_core.members import Members
from atdata_core.remembered import Notes, remembered
from atdata_core.sources import DataSource
from atdata_core.views import Viewer

_NONE = np.empty(0, np.int64)
_STREAMS = 4
"""So many shards that aren't files of this machine are kept at once."""


class Places:
    """Where the samples of one shard lie in its file.

    Args:
        stream: The shard, from its start; read through once, unless it was before.
        where: Its name.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        file = SameFile.of(stream)
        known = remembered(file)
        if known is not None:
            starts, sizes = known.places()
            self._keys: list[tuple[int, Sequence[str]]] = [(0, known.keys)]
        else:
            starts, sizes, self._keys = _read_through(stream, where, Notes(file))
        # As memory, which gives Python's numbers faster than an array does.
        self.starts, self.sizes = starts.data, sizes.data

    def __len__(self) -> int:
        return len(self.starts)

    def key(self, row: int) -> str:
        """The key of a sample."""
        first, keys = self._keys[bisect.bisect_right(self._keys, row, key=lambda run: run[0]) - 1]
        return keys[row - first]

    def row(self, key: str) -> int | None:
        """The row of a key, or None."""
        for first, keys in self._keys:
            if key in keys:
                return first + keys.index(key)
        return None


def _read_through(
    stream: IO[bytes], where: str, notes: Notes
) -> tuple[Numbers, Numbers, list[tuple[int, Sequence[str]]]]:
    """Where the bodies of a shard begin, their sizes, and their keys by the row of the first."""
    starts, sizes = [_NONE], [_NONE]
    keys: list[tuple[int, Sequence[str]]] = []
    rows = 0
    for run in Members(stream, where).runs():
        notes.add(run)
        starts.append(run.starts + run.offset)
        sizes.append(run.sizes)
        keys.append((rows, run.keys))
        rows += len(run)
    notes.remember(rows)
    return np.concatenate(starts), np.concatenate(sizes), keys


class Opened:
    """A shard that is kept open, and where its samples lie in it.

    A file of this machine is mapped into memory, so a sample costs no more than its own bytes
    when they are looked at; anything else that can be sought in is read where the sample is.

    Args:
        stream: The shard, from its start; closed with this.
        where: Its name.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self.where = where
        self._stream = stream
        self._lock = threading.Lock()
        try:
            self.places = Places(stream, where)
        except BaseException:
            stream.close()
            raise
        self.is_file = file_number(stream) is not None
        self._map: mmap.mmap | None = None
        self._bytes = memoryview(b"")
        if self.is_file and len(self.places):
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            self._bytes = memoryview(self._map)
        if self.is_file:
            stream.close()

    def body(self, row: int) -> memoryview:
        """The bytes of a sample, not to be written to; a file's are a view of the mapping."""
        start, size = self.places.starts[row], self.places.sizes[row]
        if self._map is not None:
            if start + size > self._map.size():  # as it is now: beyond it is no memory
                raise self._shorter()
            # A view keeps the mapping alive, whoever holds it.
            return self._bytes[start : start + size]
        with self._lock:
            self._stream.seek(start)
            data = self._stream.read(size)
        if len(data) != size:
            raise self._shorter()
        return memoryview(data)

    def close(self) -> None:
        """Lets go of it; views of the mapping keep that until they are gone."""
        self._map, self._bytes = None, memoryview(b"")
        self._stream.close()

    def __del__(self) -> None:
        if hasattr(self, "places"):
            self.close()

    def _shorter(self) -> ShardError:
        return ShardError("shard is shorter than when it was read before", where=self.where)


class Rows:
    """Finds samples by their number in the dataset, or by their key.

    A shard is read through once to learn where its samples lie; from then on one of them costs
    no more than its own bytes.

    Args:
        source: Where the shards are.
        sample_type: What their samples are.
        told: The number of samples of each shard, by its address, as far as an index told it.
    """

    def __init__(self, source: DataSource, sample_type: type, told: Mapping[str, int]) -> None:
        self._source = source
        self._urls = source.list_shards()
        self._told = dict(told)
        self._ends: list[int] = []  # of the shards up to one, the sum of their rows
        self._opened: dict[str, Opened] = {}
        self._viewer = Viewer(sample_type)

    def total(self) -> int:
        """The number of all samples; shards of which it is not known are read through."""
        while len(self._ends) < len(self._urls):
            self._add_end()
        return self._ends[-1] if self._ends else 0

    def sample(self, number: int) -> Any:
        """The sample of this number; negative ones count from the end.

        Raises:
            IndexError: There is none.
        """
        index = number if number >= 0 else number + self.total()
        while (not self._ends or index >= self._ends[-1]) and len(self._ends) < len(self._urls):
            self._add_end()
        if not 0 <= index < (self._ends[-1] if self._ends else 0):
            raise IndexError(f"dataset has {self.total()} samples, none with number {number}")
        place = bisect.bisect_right(self._ends, index)
        return self._of(self._urls[place], index - (self._ends[place - 1] if place else 0))

    def samples(self, numbers: Sequence[int]) -> Iterator[Any]:
        """The samples of these numbers, in this order."""
        return map(self.sample, numbers)

    def find(self, key: str) -> Any:
        """The first sample of this key; raises `NotFoundError` if there is none."""
        for url in self._urls:
            row = self._open(url).places.row(key)
            if row is not None:
                return self._of(url, row)
        raise NotFoundError("no sample of the dataset has this key", got=repr(key))

    def _of(self, url: str, row: int) -> Any:
        opened = self._opened.get(url) or self._open(url)
        if row >= len(opened.places.starts):
            raise ShardError(
                "shard holds fewer samples than its entry says",
                where=url,
                expected=str(self._told[url]),
                got=str(len(opened.places)),
            )
        return self._viewer.view(
            opened.body(row), lambda: f"{url}, sample {opened.places.key(row)}"
        )

    def _add_end(self) -> None:
        url = self._urls[len(self._ends)]
        if url not in self._told:
            self._told[url] = len(self._open(url).places)
        self._ends.append((self._ends[-1] if self._ends else 0) + self._told[url])

    def _open(self, url: str) -> Opened:
        opened = self._opened.get(url)
        if opened is None:
            opened = Opened(self._source.open_shard(url), url)
            kept = [name for name, other in self._opened.items() if not other.is_file]
            for name in itertools.islice(kept, max(0, len(kept) - _STREAMS + 1)):
                self._opened.pop(name).close()
            self._opened[url] = opened
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}
