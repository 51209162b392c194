"""Shards at plain web addresses, for reading only."""

from collections.abc import Sequence
from typing import IO

from atdata_core.atproto.web import open_stream
from atdata_core.sources import BaseSource


class HttpSource(BaseSource):
    """Shards read over https.

    Args:
        urls: Their addresses, in order.
    """

    remote = True

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = list(urls)

    def list_shards(self) -> list[str]:
        """The addresses, in order."""
        return list(self._urls)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """The body at an address; raises `NotFoundError` if there is none."""
        return open_stream(shard_id)

    def __repr__(self) -> str:
        return f"HttpSource({len(self._urls)} shards)"
