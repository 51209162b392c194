"""Shards opened one after another, the next ones fetched or hashed while one is read."""

import threading
from collections import deque
from collections.abc import Generator, Sequence
from typing import IO

from atdata_core.sources import DataSource

_PATIENCE_S = 0.05
"""So long a pass has to go on in its first shard before others are opened: a look at the first
samples costs one shard."""


def opened(source: DataSource, urls: Sequence[str]) -> Generator[tuple[str, IO[bytes]], None, None]:
    """Shards with their streams, each closed when the next one is asked for.

    Where the source says so (`BaseSource.ahead`), the next ones are opened in threads meanwhile.

    Args:
        source: Where they are.
        urls: Which of them, in order.
    """
    waiting: deque[_Ahead] = deque()
    going_on = threading.Event()
    reach = getattr(source, "ahead", lambda _: 0)
    try:
        for following, url in enumerate(urls, 1):
            if following > 1:
                going_on.set()
            stream = waiting.popleft().result() if waiting else source.open_shard(url)
            with stream:
                for place in range(following + len(waiting), len(urls)):
                    if len(waiting) >= reach(urls[place]):
                        break
                    waiting.append(_Ahead(source, urls[place], going_on))
                yield url, stream
    finally:
        for ahead in waiting:
            ahead.cancel()
        going_on.set()


class _Ahead:
    """A shard that is opened in a thread.

    Args:
        source: Where it is.
        url: Which one.
        going_on: Is set once the pass leaves its first shard, or ends.
    """

    def __init__(self, source: DataSource, url: str, going_on: threading.Event) -> None:
        self._source = source
        self._url = url
        self._going_on = going_on
        self._lock = threading.Lock()
        self._let_go = False
        self._stream: IO[bytes] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="atdata-ahead", daemon=True)
        self._thread.start()

    def result(self) -> IO[bytes]:
        """The shard's stream; raises what opening it raised."""
        self._thread.join()
        if self._stream is None:
            raise self._error or RuntimeError("shard was not opened")
        return self._stream

    def cancel(self) -> None:
        """Lets go of the shard; what is on its way is thrown away when it is there."""
        with self._lock:
            self._let_go = True
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _run(self) -> None:
        self._going_on.wait(_PATIENCE_S)
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
