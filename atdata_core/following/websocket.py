"""Reading a stream for a while: a connection is opened, drained and closed within one call."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from atdata_core.atproto.door import check_origin, open_socket
from atdata_core.atproto.web import xrpc_error
from atdata_core.errors import ServiceError, UnreachableError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

MAX_FRAME_BYTES = 8_000_000
_OPEN_S = 10.0


class FrameTooLargeError(ServiceError):
    """A frame is larger than the protocol allows."""


def websocket_url(url: str) -> str:
    """`url` with ``ws`` or ``wss``, if it may be asked; else `ServiceError`.

    Args:
        url: An address; ``http`` and ``https`` will do as well.
    """
    scheme, _, rest = url.partition("://")
    plain = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    check_origin(f"{plain}://{rest}")
    return f"{'wss' if plain == 'https' else 'ws'}://{rest}".rstrip("/")


def frames(url: str, budget_s: float, idle_s: float) -> Iterator[str | bytes | None]:
    """The messages of a websocket, until the budget is used up.

    None, as the last, means that nothing came for `idle_s`: all was read that there is now.

    Args:
        url: What to connect to.
        budget_s: The seconds after which to stop.
        idle_s: The seconds of silence after which to stop.

    Raises:
        UnreachableError: There is no connection, or it broke before anything came.
        FrameTooLargeError: A message is larger than `MAX_FRAME_BYTES`.
        ServiceError: The server refuses; its own name of the error is in `code`.
    """
    from websockets.exceptions import ConnectionClosed

    end = time.monotonic() + budget_s
    came = False
    with _connection(url) as connection:
        while (left := end - time.monotonic()) > 0:
            try:
                message = connection.recv(timeout=min(idle_s, left))
            except TimeoutError:
                if left >= idle_s:
                    yield None
                return
            except ConnectionClosed as error:
                if error.sent is not None and error.sent.code == 1009:
                    raise FrameTooLargeError("frame is too large", where=_short(url)) from error
                if not came:
                    raise UnreachableError(
                        f"stream was closed: {error}", where=_short(url)
                    ) from error
                return
            came = True
            yield message


@contextlib.contextmanager
def _connection(url: str) -> Iterator["ClientConnection"]:
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(_opened(url))
        # However the reading ends, it ends in order: a reader that has enough is no failure.
        stack.callback(connection.close)
        yield connection


@contextlib.contextmanager
def _opened(url: str) -> Iterator["ClientConnection"]:
    from websockets.exceptions import InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect

    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    stack = contextlib.ExitStack()
    try:
        connection = stack.enter_context(
            connect(
                url,
                sock=open_socket(parts.hostname or "", port, _OPEN_S),
                open_timeout=_OPEN_S,
                close_timeout=1,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                proxy=None,
            )
        )
    except InvalidStatus as error:
        code, message = xrpc_error(bytes(error.response.body or b""))
        status = error.response.status_code
        raise ServiceError(
            message or f"HTTP {status}", code=code, where=_short(url), got=f"HTTP {status}"
        ) from error
    except (OSError, InvalidHandshake) as error:
        raise UnreachableError(
            f"no answer from the server: {error or type(error).__name__}", where=_short(url)
        ) from error
    with stack:
        yield connection


def _short(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
