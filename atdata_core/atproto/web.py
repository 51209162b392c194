"""Requests to servers that others name: PDS hosts, the PLC directory, record URLs.

They carry no credentials, follow no redirects, take nothing compressed, and go through the door.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode, urlsplit

from atdata_core.atproto.answers import headers_of
from atdata_core.atproto.door import check_origin, turn
from atdata_core.errors import (
    AtdataError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    UnreachableError,
)

if TYPE_CHECKING:
    import httpcore

_TIMEOUT_S = 30.0
_DEADLINE_S = 60.0  # the timeout starts anew with each byte
_MAX_JSON_BYTES = 5_000_000
_USER_AGENT = "atdata-dagster"
_URL_CHARACTERS = "!$&'()*+,/:;=@?%[]~-._"
_NOT_FOUND = {
    "RecordNotFound",
    "RepoNotFound",
    "BlobNotFound",
    "RepoTakendown",
    "RepoDeactivated",
    "RepoSuspended",
}


def get_json(url: str, params: Mapping[str, str | int] | None = None) -> Any:
    """The JSON that a server answers to a GET.

    Raises:
        NotFoundError: The server says that there is no such thing, or that it was taken away.
        RateLimitedError: It asks to wait.
        ServiceError: It answers with an error, with more than 5 MB, or with something else.
        UnreachableError: It doesn't answer.
    """
    return parse_json(get_bytes(url, params), url)


def get_bytes(
    url: str, params: Mapping[str, str | int] | None = None, limit: int = _MAX_JSON_BYTES
) -> bytes:
    """The body that a server answers to a GET, at most `limit` bytes; errors as `get_json`."""
    body = bytearray()
    with turn(url), _stream(url, params) as response:
        end = time.monotonic() + _DEADLINE_S
        for piece in response.iter_stream():
            body += piece
            if len(body) > limit:
                raise ServiceError("answer is too long", where=url, expected=f"≤ {limit:,} bytes")
            if time.monotonic() > end:
                raise UnreachableError(
                    "answer takes too long", where=url, expected=f"≤ {_DEADLINE_S:.0f} s"
                )
    return bytes(body)


def open_stream(url: str, params: Mapping[str, str | int] | None = None) -> IO[bytes]:
    """The body that a server answers to a GET, for reading piece by piece; errors as `get_json`."""
    from atdata_core.atproto.streams import ResponseStream

    context = _stream(url, params)
    # Until the answer begins, and no longer: one thread may read many in turns.
    with turn(url):
        return cast("IO[bytes]", ResponseStream(context, url))


def parse_json(body: bytes, where: str) -> Any:
    """JSON, or a `ServiceError` that says what came instead."""
    import json

    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServiceError("answer is not JSON", where=where, got=repr(body[:60])) from error


@contextlib.contextmanager
def _stream(url: str, params: Mapping[str, str | int] | None) -> "Iterator[httpcore.Response]":
    from atdata_core.atproto import dial

    check_origin(url)
    target = f"{url}?{urlencode(params)}" if params else url
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), _TIMEOUT_S)
    try:
        with dial.pool().stream(
            "GET",
            _encoded(target),
            headers={"Accept-Encoding": "identity", "User-Agent": _USER_AGENT},
            extensions={"timeout": timeout},
        ) as response:
            headers = headers_of(response)
            if response.status != 200:
                raise _refusal(response, headers, target)
            if headers.get("content-encoding", "identity").lower() != "identity":
                raise ServiceError(
                    "answer is compressed, though that was not asked for",
                    where=url,
                    expected="no Content-Encoding",
                    got=headers["content-encoding"][:60],
                )
            yield response
    except dial.ERRORS as error:
        raise UnreachableError(
            f"no answer from the server: {str(error) or type(error).__name__}", where=url
        ) from error


def _encoded(url: str) -> str:
    """The same address with every character that HTTP can't hold as percent and number."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.encode("idna").decode("ascii")
    except (UnicodeError, ValueError) as error:
        raise ServiceError(f"address is malformed: {error}", where=url[:200]) from error
    path = quote(parts.path or "/", safe=_URL_CHARACTERS)
    query = quote(parts.query, safe=_URL_CHARACTERS)
    return f"{parts.scheme}://{host}{path}{'?' if query else ''}{query}"


def _refusal(response: "httpcore.Response", headers: Mapping[str, str], url: str) -> AtdataError:
    body = b"".join(_first(response.iter_stream(), 4096))
    code, message = xrpc_error(body)
    text = message or f"HTTP {response.status}"
    missing = code in _NOT_FOUND or message.lower().endswith("not found")
    if response.status in (404, 410) or missing or "could not locate" in message.lower():
        absent = NotFoundError(text, where=url)
        absent.code = code
        return absent
    if response.status == 429:
        limited = RateLimitedError(text, code=code, where=url)
        limited.retry_after = retry_after(headers)
        return limited
    refused = ServiceError(text, code=code, where=url, got=f"HTTP {response.status}")
    if response.status in (301, 302, 303, 307, 308):
        refused.location = headers.get("location")
    return refused


def xrpc_error(body: bytes) -> tuple[str | None, str]:
    """Name and message of an XRPC error (https://atproto.com/specs/xrpc#error-responses)."""
    import json

    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(body)
        if isinstance(answer, dict):
            return answer.get("error"), str(answer.get("message") or "")
    return None, ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, from ``retry-after`` or ``ratelimit-reset``."""
    with contextlib.suppress(KeyError, ValueError):
        return float(headers["retry-after"])
    with contextlib.suppress(KeyError, ValueError):
        return max(0.0, float(headers["ratelimit-reset"]) - time.time())
    return None


def _first(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        yield piece
        total += len(piece)
        if total >= limit:
            return
