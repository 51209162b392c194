"""SHA-256 beside other work."""

import hashlib
import queue
import threading

Data = bytes | bytearray | memoryview


class BackgroundHash:
    """SHA-256 of a stream of bytes, computed in a thread while the next ones are made.

    (1.1 to 1.9 GB/s a core, on two machines: about as fast as samples are packed and written.
    hashlib lets others run.)
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._thread: threading.Thread | None = None
        self._waiting: queue.SimpleQueue[Data | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ahead = 0

    def update(self, data: Data) -> None:
        """Adds bytes; waits while too many are waiting."""
        self._ahead += len(data)
        self._waiting.put(data)
        if self._thread is None:
            if self._ahead < _ALONE:
                return
            self._thread = threading.Thread(target=self._run, name="atdata-hash", daemon=True)
            self._thread.start()
        while self._ahead > _AHEAD:
            self._ahead -= self._done.get()

    def digest(self) -> bytes:
        """The digest of all bytes, 32 bytes."""
        self.close()
        return self._hash.digest()

    def close(self) -> None:
        """Ends the thread, after what was added."""
        self._waiting.put(None)
        if self._thread is None:
            self._run()
        else:
            self._thread.join()

    def _run(self) -> None:
        while (given := self._waiting.get()) is not None:
            self._hash.update(given)
            self._done.put(len(given))


_ALONE = 1 << 20
"""Bytes that are worth a thread. (A shard of 200 KB: 650 us with one, 330 without.)"""
_AHEAD = 2 << 20
"""Bytes that may wait: enough that neither thread waits for the other to be woken, and few enough
that they are in the cores' cache when they are hashed. (Of 8 MB, images are written 6 % slower.)"""
