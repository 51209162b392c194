"""Requests in the account's name: the SDK's transport, with its errors as ours."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from atdata_core.atproto.web import retry_after
from atdata_core.errors import (
    AtdataError,
    AuthenticationError,
    ConflictError,
    InvalidRecordError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    TooLargeError,
    UnreachableError,
)

if TYPE_CHECKING:
    from atproto import Client


def new_sdk(base_url: str) -> "Client":
    """The SDK's client for a PDS; it follows no redirects."""
    from atproto import Client, Request

    request = Request(timeout=60)
    # A redirect would carry the password, or a record, to a host of the server's choice.
    request._client.follow_redirects = False
    return Client(base_url, request=request)


def session_scope(session: str) -> str | None:
    """The scope that a session's access token names, ``com.atproto.appPass`` for an app password.

    None where the token can't be read: it is the server's own business what is in it.
    """
    import base64

    with contextlib.suppress(IndexError, ValueError, AttributeError):
        token = session.split(":::")[2]
        claims = token.split(".")[1]
        scope = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))).get("scope")
        return scope if isinstance(scope, str) else None
    return None


def encode_json(body: Mapping[str, Any]) -> bytes:
    """A request's body; raises `InvalidRecordError` for what a record can't hold (NaN, bytes)."""
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InvalidRecordError(f"record can't be written as JSON: {error}") from error


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns what the SDK raises within the block into errors of ours; `what` says where it was."""
    import httpx
    from atproto import exceptions

    try:
        yield
    except httpx.HTTPError as error:
        raise UnreachableError(f"request failed: {error!r}", where=what) from error
    except exceptions.RequestErrorBase as error:
        raise _translate(error, what) from error
    except exceptions.AtProtocolError as error:
        raise ServiceError(
            f"request failed: {error or type(error).__name__}", where=what
        ) from error
    except ValueError as error:
        if isinstance(error, AtdataError):
            raise
        raise AuthenticationError(f"session can't be used: {error}", where=what) from error


def invoke(
    sdk: "Client",
    method: str,
    content: Callable[[], Any],
    headers: Mapping[str, str],
    where: str,
    **options: Any,
) -> Any:
    """Calls a procedure; a session that expired on the way is renewed once.

    Args:
        sdk: Whose session it is.
        method: The procedure's NSID.
        content: Makes the body, from its start.
        headers: The request's headers.
        where: What errors name.
        **options: Passed on to the SDK.
    """
    try:
        with translated(where):
            return sdk.invoke_procedure(
                method, content=content(), headers=dict(headers), **options
            ).content
    except AuthenticationError as error:
        if error.code != "ExpiredToken":
            raise
    with translated(where):
        sdk._refresh_and_set_session()
        return sdk.invoke_procedure(
            method, content=content(), headers=dict(headers), **options
        ).content


def _translate(error: Any, what: str) -> ServiceError | NotFoundError | ConflictError:
    response = error.response
    if response is None:
        return UnreachableError("no answer from the server", where=what)
    code = getattr(response.content, "error", None)
    message = str(getattr(response.content, "message", None) or f"HTTP {response.status_code}")
    if code == "InvalidSwap":
        return ConflictError(f"another writer was first: {message}", where=what)
    if code in ("BlobNotFound", "RecordNotFound", "RepoNotFound"):
        return NotFoundError(message, where=what)
    if response.status_code in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
        return AuthenticationError(
            message,
            code=code,
            where=what,
            remedy="Check handle and app password (ATDATA_HANDLE, ATDATA_APP_PASSWORD)",
        )
    if response.status_code == 429:
        limited = RateLimitedError(message, code=code, where=what)
        limited.retry_after = retry_after(response.headers)
        if limited.retry_after is not None:
            at = time.strftime("%H:%M:%S", time.localtime(time.time() + limited.retry_after))
            limited.remedy = f"The server takes requests again at {at}"
        return limited
    if response.status_code == 413:
        return TooLargeError(message, code=code, where=what)
    return ServiceError(message, code=code, where=what)
