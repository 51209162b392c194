"""Single samples by their number or key, read from the one shard that holds them."""

import itertools
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

from atdata_core.errors import NotFoundError, ShardError
from atdata_core.passes import Body
from atdata_core.shard import read_bodies
from atdata_core.sources import DataSource

_CHUNK = 1 << 20
_BLOCK = 512


@dataclass(frozen=True)
class Places:
    """Where the samples of one shard lie in its file.

    Args:
        keys: Their keys, in order.
        offsets: Where each one's bytes begin.
        sizes: How many bytes each one has.
    """

    keys: tuple[str, ...]
    offsets: "array[int]"
    sizes: "array[int]"


class Rows:
    """Finds samples by their number in the dataset, or by their key.

    A shard is read through once to learn where its samples lie; from then on one of them costs
    no more than its own bytes, if the source's streams can seek.

    Args:
        source: Where the shards are.
        told: The number of samples of each shard, by its address, as far as an index told it.
    """

    def __init__(self, source: DataSource, told: Mapping[str, int]) -> None:
        self._source = source
        self._told = dict(told)
        self._places: dict[str, Places] = {}

    def count(self, url: str) -> int:
        """The number of samples of a shard."""
        if url not in self._told:
            self._told[url] = len(self.places(url).keys)
        return self._told[url]

    def places(self, url: str) -> Places:
        """Where the samples of a shard lie; remembered."""
        if url not in self._places:
            with self._source.open_shard(url) as stream:
                self._places[url] = _locate(stream, url)
        return self._places[url]

    def total(self) -> int:
        """The number of all samples; shards of which it is not known are read through."""
        return sum(map(self.count, self._source.list_shards()))

    def read(self, numbers: Sequence[int]) -> list[Body]:
        """The samples of these numbers, in this order; every shard is opened at most once.

        Raises:
            IndexError: There is none of such a number.
        """
        if any(number < 0 for number in numbers):
            total = self.total()
            numbers = [number + total if number < 0 else number for number in numbers]
        found: dict[int, Body] = {}
        start = 0
        wanted = sorted(set(numbers))
        for url in self._source.list_shards():
            if len(found) == len(wanted):
                break
            end = start + self.count(url)
            here = [number for number in wanted if start <= number < end]
            rows = (number - start for number in here)
            found.update(zip(here, self._of_shard(url, list(rows)), strict=True))
            start = end
        missing = [number for number in wanted if number not in found]
        if missing:
            raise IndexError(f"dataset has {start} samples, none with number {missing[0]}")
        return [found[number] for number in numbers]

    def find(self, key: str) -> Body:
        """The first sample of this key; raises `NotFoundError` if there is none."""
        for url in self._source.list_shards():
            keys = self.places(url).keys
            if key in keys:
                return self._of_shard(url, [keys.index(key)])[0]
        raise NotFoundError("no sample of the dataset has this key", got=repr(key))

    def _of_shard(self, url: str, rows: Sequence[int]) -> list[Body]:
        if not rows:
            return []
        places = self.places(url)
        if rows[-1] >= len(places.keys):
            raise ShardError(
                "shard holds fewer samples than its entry says",
                where=url,
                expected=str(self.count(url)),
                got=str(len(places.keys)),
            )
        with self._source.open_shard(url) as stream:
            position = 0
            found: list[Body] = []
            for row in rows:
                _skip(stream, position, places.offsets[row], url)
                data = _exactly(stream, places.sizes[row], url)
                position = places.offsets[row] + places.sizes[row]
                found.append(Body(url, places.keys[row], data))
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_places": {}}


class _Counting:
    """Passes a stream's bytes on, and counts them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.position = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.position += len(data)
        return data


def _locate(stream: IO[bytes], url: str) -> Places:
    keys: list[str] = []
    offsets, sizes = array("Q"), array("Q")
    counting = _Counting(stream)
    for key, data in read_bodies(cast("IO[bytes]", counting), url):
        keys.append(key)
        # A body was just read up to its last block's end.
        offsets.append(counting.position - len(data) - -len(data) % _BLOCK)
        sizes.append(len(data))
    return Places(tuple(keys), offsets, sizes)


def _skip(stream: IO[bytes], position: int, target: int, url: str) -> None:
    if target == position:
        return
    if stream.seekable():
        stream.seek(target)
        return
    for size in _pieces(target - position):
        _exactly(stream, size, url)


def _exactly(stream: IO[bytes], size: int, url: str) -> bytes:
    parts: list[bytes] = []
    while size:
        part = stream.read(size)
        if not part:
            raise ShardError("shard is shorter than when it was read before", where=url)
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _pieces(size: int) -> Iterator[int]:
    full, rest = divmod(size, _CHUNK)
    return itertools.chain(itertools.repeat(_CHUNK, full), [rest] if rest else [])
