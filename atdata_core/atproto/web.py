"""Requests to servers that others name: PDS hosts, the PLC directory, record URLs.

They carry no credentials, follow no redirects, and go over https; plain http only to this
machine, and only when the user's own settings point there, as with the devnet.
"""

import contextlib
import functools
import ipaddress
import os
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from atdata_core.errors import (
    AtdataError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    UnreachableError,
)

if TYPE_CHECKING:
    import ssl

    import httpx

_TIMEOUT_S = 30.0
_MAX_JSON_BYTES = 5_000_000
_CHUNK = 1 << 20
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
    with _stream(url, params) as response:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > _MAX_JSON_BYTES:
                raise ServiceError(
                    "answer is too long", where=url, expected=f"≤ {_MAX_JSON_BYTES:,} bytes"
                )
        return parse_json(bytes(body), url)


def open_stream(url: str, params: Mapping[str, str | int] | None = None) -> IO[bytes]:
    """The body that a server answers to a GET, for reading piece by piece; errors as `get_json`."""
    from atdata_core.atproto.streams import ResponseStream

    context = _stream(url, params)
    return cast("IO[bytes]", ResponseStream(context, url))


def parse_json(body: bytes, where: str) -> Any:
    """JSON, or a `ServiceError` that says what came instead."""
    import json

    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServiceError("answer is not JSON", where=where, got=repr(body[:60])) from error


def check_origin(url: str) -> str:
    """`url`'s origin, if it may be asked: https, or http on this machine when settings say so.

    Raises:
        ServiceError: It may not.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise ServiceError(f"address is malformed: {error}", where=url[:200]) from error
    local = host == "localhost" or _is_loopback(host)
    public = not local and (_is_public(host) or host in _own_hosts())
    allowed = parts.scheme == "https" and public
    allowed = allowed or (local and parts.scheme in ("http", "https") and loopback_allowed())
    if not allowed or not host or parts.username is not None:
        raise ServiceError(
            "address may not be asked",
            where=url[:200],
            expected="https on a public host",
            remedy="A server on this machine or within a network is asked once ATDATA_PLC_URL or "
            "ATDATA_PDS_URL points to it",
        )
    return f"{parts.scheme}://{parts.netloc}"


def loopback_allowed() -> bool:
    """Whether the user's own settings point to this machine."""
    return any(host == "localhost" or _is_loopback(host) for host in _own_hosts())


def _own_hosts() -> set[str]:
    names = ("ATDATA_PDS_URL", "ATDATA_PLC_URL")
    return {urlsplit(os.environ.get(name, "")).hostname or "" for name in names}


def _is_public(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True  # a name: where it leads is not looked up here
    return address.is_global and not address.is_multicast


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _stream(url: str, params: Mapping[str, str | int] | None) -> "Iterator[httpx.Response]":
    import httpx

    check_origin(url)
    headers = {"Accept-Encoding": "identity"}
    options: dict[str, Any] = {"timeout": _TIMEOUT_S, "follow_redirects": False, "trust_env": False}
    try:
        with (
            httpx.Client(verify=_certificates(), **options) as client,
            client.stream("GET", url, params=params, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise _refusal(response, url)
            yield response
    except httpx.HTTPError as error:
        raise UnreachableError(
            f"no answer from the server: {error or type(error).__name__}", where=url
        ) from error


@functools.cache
def _certificates() -> "ssl.SSLContext":
    """Whom to trust; read once, which takes 20 ms."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)


def _refusal(response: "httpx.Response", url: str) -> AtdataError:
    body = b"".join(_first(response.iter_bytes(), 4096))
    code, message = xrpc_error(body)
    text = message or f"HTTP {response.status_code}"
    missing = code in _NOT_FOUND or message.lower().endswith("not found")
    if response.status_code in (404, 410) or missing or "could not locate" in message.lower():
        return NotFoundError(text, where=str(response.url))
    if response.status_code == 429:
        limited = RateLimitedError(text, code=code, where=url)
        limited.retry_after = retry_after(response.headers)
        return limited
    return ServiceError(
        text, code=code, where=str(response.url), got=f"HTTP {response.status_code}"
    )


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
    import time

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
