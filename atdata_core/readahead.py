"""Shards opened one after another, the next one fetched while one is read."""

import threading
from collections.abc import Generator, Sequence
from typing import IO

from atdata_core.sources import DataSource

_PATIENCE_S = 0.05
"""So long a pass has to go on in its first shard before the second is fetched: a look at the first
samples costs one shard."""


def opened(source: DataSource, urls: Sequence[str]) -> Generator[tuple[str, IO[bytes]], None, None]:
    """Shards with their streams, each closed when the next one is asked for.

    Where the source fetches a shard as a whole before it hands it out, the next one is fetched in
    a thread meanwhile, one at a time.

    Args:
        source: Where they are.
        urls: Which of them, in order.
    """
    ahead: _Ahead | None = None
    try:
        for following, url in enumerate(urls, 1):
            stream = source.open_shard(url) if ahead is None else ahead.result()
            ahead = None
            with stream:
                if following < len(urls) and getattr(source, "fetches", False):
                    patience = _PATIENCE_S if following == 1 else 0.0
                    ahead = _Ahead(source, urls[following], patience)
                yield url, stream
    finally:
        if ahead is not None:
            ahead.cancel()


class _Ahead:
    """A shard that is opened in a thread.

    Args:
        source: Where it is.
        url: Which one.
        patience: How long to wait before, in seconds, unless it is asked for.
    """

    def __init__(self, source: DataSource, url: str, patience: float) -> None:
        self._source = source
        self._url = url
        self._patience = patience
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._let_go = False
        self._stream: IO[bytes] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="atdata-ahead", daemon=True)
        self._thread.start()

    def result(self) -> IO[bytes]:
        """The shard's stream; raises what opening it raised."""
        self._wanted.set()
        self._thread.join()
        if self._stream is None:
            raise self._error or RuntimeError("shard was not opened")
        return self._stream

    def cancel(self) -> None:
        """Lets go of the shard; what is on its way is thrown away when it is there."""
        with self._lock:
            self._let_go = True
            stream, self._stream = self._stream, None
        self._wanted.set()
        if stream is not None:
            stream.close()

    def _run(self) -> None:
        self._wanted.wait(self._patience)
        try:
            if not self._let_go:
                self._keep(self._source.open_shard(self._url))
        except BaseException as error:  # noqa: BLE001 - raised where the shard is asked for
            self._error = error

    def _keep(self, stream: IO[bytes]) -> None:
        with self._lock:
            if not self._let_go:
                self._stream = stream
                return
        stream.close()
