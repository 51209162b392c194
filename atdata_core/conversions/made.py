"""Shards that are made when they are read, of rows that lie in another form."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from atdata_core.errors import NotFoundError
from atdata_core.shard import Shard, write_shard
from atdata_core.sources import BaseSource

_SPOOL = 64 << 20


class Part(NamedTuple):
    """Some rows that become one shard.

    Args:
        name: What they are called.
        start: The number of the first one.
        rows: How many they are, or None where nobody has counted them.
        read: Gives their samples, from the first on, each time it is called.
    """

    name: str
    start: int
    rows: int | None
    read: Callable[[], Iterator[Any]]


class MadeSource(BaseSource):
    """A `DataSource` over rows that are no shards yet: each part becomes one when it is opened.

    So all that a `Dataset` does works on them, in bounded memory: a shard waits in memory up to
    64 MiB, beyond that in a temporary file.

    Args:
        parts: The rows, in order.
        origin: Where they come from, for people.
    """

    made = True
    """There are no shards to copy: an index that takes the dataset writes its own."""

    def __init__(self, parts: Sequence[Part], origin: str) -> None:
        self._parts = {part.name: part for part in parts}
        self._origin = origin

    @property
    def known(self) -> tuple[Shard, ...]:
        """What is known of the shards without making them: their rows."""
        return tuple(Shard(part.name, rows=part.rows) for part in self._parts.values())

    def list_shards(self) -> list[str]:
        """The names of the parts, in order."""
        return list(self._parts)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """A part as a tar; raises `NotFoundError` if there is none of this name."""
        part = self._parts.get(shard_id)
        if part is None:
            raise NotFoundError("no such part", where=shard_id)
        file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115
        try:
            write_shard(part.read(), file, first=part.start, where=shard_id)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def __repr__(self) -> str:
        return f"MadeSource({self._origin})"
