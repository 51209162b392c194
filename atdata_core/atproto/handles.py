"""Where a handle leads, asked of the network itself: DNS first, then the handle's own host.

https://atproto.com/specs/handle. The answer is a claim: `identity.resolve_handle` confirms it.
"""

import logging
from urllib.parse import urljoin

from atdata_core.atproto.uri import check_resolvable_did
from atdata_core.errors import (
    InvalidUriError,
    NotFoundError,
    ServiceError,
    UnreachableError,
)

_NEVER = {"alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"}
"""Top-level domains that lead nowhere, or not to one place for everybody."""

_DNS_TIMEOUT_S = 5.0
_MAX_ANSWER = 2048
_MAX_REDIRECTS = 3

log = logging.getLogger(__name__)


def claimed_did(handle: str) -> str:
    """The DID that a handle's domain names, in its TXT record or at its well-known address.

    Raises:
        NotFoundError: It names none, or its top-level domain can't lead anywhere.
        ServiceError: Its TXT records name several.
    """
    if handle.rpartition(".")[2].lower() in _NEVER:
        raise NotFoundError("handles of this domain lead to nobody", where=handle)
    by_dns = _dns_did(handle)
    if by_dns is None:
        return did_at(f"https://{handle}/.well-known/atproto-did")
    return by_dns


def _dns_did(handle: str) -> str | None:
    """The DID in the handle's TXT records; None where there is none, or no DNS to ask."""
    import dns.exception
    import dns.resolver

    try:
        resolver = dns.resolver.get_default_resolver()
        answer = resolver.resolve(f"_atproto.{handle}", "TXT", lifetime=_DNS_TIMEOUT_S)
    except (dns.exception.DNSException, OSError) as error:
        log.debug("no TXT record of %s: %s", handle, type(error).__name__)
        return None
    texts = [b"".join(entry.strings).decode("ascii", "replace") for entry in answer]
    found = {text.removeprefix("did=").strip() for text in texts if text.startswith("did=")}
    if len(found) > 1:
        raise ServiceError(
            "handle's TXT records name several accounts",
            where=handle,
            expected="one did=…",
            got=", ".join(sorted(found))[:200],
            remedy="Use the DID, or ask again later",
        )
    return check_resolvable_did(found.pop()) if found else None


def did_at(url: str) -> str:
    """The DID that a host answers at an address, after three redirects at the most.

    Raises:
        NotFoundError: It answers something else, or not at all.
        ServiceError: It fails, or redirects to where nobody may be asked.
    """
    from atdata_core.atproto.web import open_stream

    asked = url
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            with open_stream(asked) as stream:
                text = stream.read(_MAX_ANSWER)
            return check_resolvable_did(text.decode("ascii", "replace").strip())
        except InvalidUriError as error:
            raise NotFoundError(
                "handle's host answers no DID", where=asked, got=repr(text[:60])
            ) from error
        except UnreachableError as error:
            raise NotFoundError(f"handle leads to nobody: {error.message}", where=url) from error
        except ServiceError as error:
            if error.location is None:
                raise
            # Whether that may be asked is looked at when it is.
            asked = urljoin(asked, error.location)
    raise NotFoundError("handle's host redirects on and on", where=url)
