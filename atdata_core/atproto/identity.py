"""Who somebody is: a handle's DID, and a DID's document with its host.

Handles are confirmed in both directions (https://atproto.com/specs/handle): the DID's document has
to name the handle too.
"""

import functools
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from atdata_core.atproto.door import check_origin
from atdata_core.atproto.handles import claimed_did
from atdata_core.atproto.uri import check_did, check_handle, check_resolvable_did
from atdata_core.atproto.web import get_json
from atdata_core.errors import NotFoundError, RateLimitedError, ServiceError, UnreachableError

DEFAULT_PLC_URL = "https://plc.directory"
_KEEP_S = 300
_STALE_S = 24 * 3600
_MAX_KNOWN = 4096

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """What a DID document says of an account.

    Args:
        did: Its DID.
        handle: The handle that it claims, not confirmed from the handle's side; None without one.
        pds: The origin of the server that holds its repository.
        document: The whole document.
    """

    did: str
    handle: str | None
    pds: str
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def resolve_did(did: str, *, fresh: bool = False) -> Identity:
    """The identity that a DID's document describes; asked anew after five minutes.

    Where the directory doesn't answer, what it said within the last day is taken, with a warning.

    Args:
        did: The DID.
        fresh: Whether to ask anew now, since what is known seems to have changed.

    Raises:
        InvalidUriError: `did` is malformed, or of a method other than plc and web.
        NotFoundError: The directory doesn't know it.
        ServiceError: Its document is another's, or names no usable PDS.
    """
    check_resolvable_did(did)
    if fresh:
        _resolve_did.cache_clear()
    asked = (did, plc_url())
    try:
        found = _resolve_did(*asked, int(time.monotonic() // _KEEP_S))
    except ServiceError as error:
        known, at = _last.get(asked, (None, 0.0))
        if known is None or not _is_passing(error) or time.monotonic() - at > _STALE_S:
            raise
        log.warning("%s; going on with what it said of %s before", error, did)
        return known
    _last[asked] = (found, time.monotonic())
    if len(_last) > _MAX_KNOWN:
        _last.pop(next(iter(_last)))
    return found


def _is_passing(error: ServiceError) -> bool:
    """Whether a directory is out of order, rather than that it says something else now."""
    passing = isinstance(error, UnreachableError | RateLimitedError)
    return passing or (error.got or "").startswith("HTTP 5")


def ask_host(did: str, ask: Callable[[str], T]) -> T:
    """What an account's PDS answers; where it has moved, what its new one does."""
    pds = resolve_did(did).pds
    try:
        return ask(pds)
    except (NotFoundError, UnreachableError):
        moved_to = resolve_did(did, fresh=True).pds
        if moved_to == pds:
            raise
        return ask(moved_to)


def known_host(did: str) -> str | None:
    """The origin of an account's PDS as it was resolved last; nobody is asked."""
    known, _ = _last.get((did, plc_url()), (None, 0.0))
    return None if known is None else known.pds


def forget_identities() -> None:
    """Asks for every document anew from now on: an account may have moved."""
    _resolve_did.cache_clear()


def resolve_handle(handle: str) -> str:
    """The DID of a handle, confirmed by its document.

    The user's own PDS is asked, where ``ATDATA_PDS_URL`` names one, else DNS and the handle's host.

    Raises:
        InvalidUriError: `handle` is malformed.
        NotFoundError: It leads to no DID, or to one that doesn't claim it.
    """
    check_handle(handle)
    pds = os.environ.get("ATDATA_PDS_URL")
    if pds:
        url = f"{check_origin(pds)}/xrpc/com.atproto.identity.resolveHandle"
        try:
            answer = get_json(url, {"handle": handle})
        except ServiceError as error:
            if error.code not in ("InvalidRequest", "HandleNotFound"):
                raise
            raise NotFoundError("handle leads to no account", where=handle) from error
        did = check_did(str(answer.get("did") if isinstance(answer, dict) else answer))
    else:
        did = claimed_did(handle)
    if resolve_did(did).handle != handle.lower():
        raise NotFoundError(
            "account doesn't claim this handle", where=handle, got=did, remedy="Use the DID instead"
        )
    return did


def resolve_authority(authority: str) -> str:
    """The DID that an AT URI's authority stands for, be it a DID or a handle."""
    return check_did(authority) if authority.startswith("did:") else resolve_handle(authority)


def plc_url() -> str:
    """The PLC directory to ask: ``ATDATA_PLC_URL``, else the public one."""
    return os.environ.get("ATDATA_PLC_URL", DEFAULT_PLC_URL).rstrip("/")


_last: dict[tuple[str, str], tuple[Identity, float]] = {}


@functools.lru_cache(maxsize=_MAX_KNOWN)
def _resolve_did(did: str, directory: str, _slot: int) -> Identity:
    if did.startswith("did:plc:"):
        document = get_json(f"{directory}/{quote(did, safe=':')}")
    else:
        host = did.removeprefix("did:web:").replace("%3A", ":")
        scheme = "http" if host.split(":")[0] == "localhost" else "https"
        document = get_json(f"{scheme}://{host}/.well-known/did.json")
    return _identity(did, document)


def _identity(did: str, document: Any) -> Identity:
    if not isinstance(document, dict) or document.get("id") != did:
        raise ServiceError("DID document belongs to another DID", where=did)
    names = [
        str(name).removeprefix("at://")
        for name in _list(document, "alsoKnownAs")
        if str(name).startswith("at://")
    ]
    for service in _list(document, "service"):
        if (
            isinstance(service, dict)
            and str(service.get("id", "")).endswith("#atproto_pds")
            and service.get("type") == "AtprotoPersonalDataServer"
        ):
            endpoint = str(service.get("serviceEndpoint", ""))
            handle = names[0].lower() if names else None
            return Identity(did, handle, check_origin(endpoint), document)
    raise ServiceError("DID document names no PDS", where=did, expected="a service #atproto_pds")


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []
