"""Connections to hosts that others name: to checked addresses only, at some speed at the least.

The only module that knows httpcore.
"""

import atexit
import functools
import os
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from atdata_core.atproto.door import dial_addresses

GRACE_S = 20.0
"""So long a server may take before its speed counts, in seconds of waiting."""

MIN_BYTES_PER_S = 4_096
"""Slower than this, headers and all, is no answer. (A modem of 1998 sends 7,000.)"""

ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)
"""What httpcore raises when a server can't be reached or doesn't speak HTTP."""


class GuardedBackend(httpcore.NetworkBackend):
    """Dials checked addresses, and gives up on servers that drip."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to `host`, as its name is at this moment."""
        try:
            addresses = dial_addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for last, address in enumerate(addresses, 1 - len(addresses)):
            try:
                stream = self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
                return PacedStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not last:
                    raise
        raise httpcore.ConnectError(f"{host} has no address")


class PacedStream(httpcore.NetworkStream):
    """A connection that has to answer at some speed, from the last byte written to it on."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._waited = 0.0
        self._received = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come; raises `httpcore.ReadTimeout` where it comes too slowly."""
        started = time.monotonic()
        data = self._stream.read(max_bytes, timeout)
        # The time that the reader takes between two reads is not the server's.
        self._waited += time.monotonic() - started
        self._received += len(data)
        if self._waited > GRACE_S and self._received < self._waited * MIN_BYTES_PER_S:
            rate = self._received / self._waited
            raise httpcore.ReadTimeout(
                f"{rate:.0f} bytes a second, of {MIN_BYTES_PER_S:,} at the least"
            )
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends; the answer's time starts anew."""
        self._waited, self._received = 0.0, 0
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Closes the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection, encrypted; the certificate has to be the name's."""
        return PacedStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """See httpcore."""
        return self._stream.get_extra_info(info)


def pool() -> httpcore.ConnectionPool:
    """The process's connections to hosts that others name; they carry no cookies, use no proxy."""
    return _pool(os.getpid())


@functools.lru_cache(maxsize=1)
def _pool(_process: int) -> httpcore.ConnectionPool:
    import httpx

    made = httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(trust_env=False),
        max_connections=64,
        max_keepalive_connections=8,
        keepalive_expiry=5,
        network_backend=GuardedBackend(),
    )
    atexit.register(made.close)
    return made
