"""AT URIs and the identifiers in them (https://atproto.com/specs/at-uri-scheme).

Only the restricted form is accepted, the one that records may hold: no query, no fragment, no
trailing slash. Matching is against the whole text, so a newline at the end is an error.
"""

import re
from dataclasses import dataclass

from atdata_core.errors import InvalidUriError

_MAX_URI_BYTES = 8 * 1024
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HANDLE = re.compile(rf"(?:{_LABEL}\.)+[a-zA-Z](?:[a-zA-Z0-9-]{{0,61}}[a-zA-Z0-9])?")
_DID = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]")
_PLC = re.compile(r"did:plc:[a-z2-7]{24}")
_WEB = re.compile(rf"did:web:(?:{_LABEL}\.)+[a-zA-Z]{{2,63}}|did:web:localhost(?:%3A[0-9]{{1,5}})?")
_NSID = re.compile(
    rf"[a-zA-Z](?:[a-zA-Z0-9-]{{0,61}}[a-zA-Z0-9])?(?:\.{_LABEL})+\.[a-zA-Z][a-zA-Z0-9]{{0,62}}"
)
_RKEY = re.compile(r"[a-zA-Z0-9_~.:-]{1,512}")
_BLOB = re.compile(r"at://(?P<did>[^/]+)/blob/(?P<cid>[^/]+)")


@dataclass(frozen=True, slots=True)
class AtUri:
    """The address of a record.

    Args:
        authority: The DID (or handle) of the repository's owner.
        collection: The NSID of the record's type.
        rkey: The record's key within the collection.
    """

    authority: str
    collection: str
    rkey: str

    @classmethod
    def parse(cls, text: str) -> "AtUri":
        """The parts of ``at://authority/collection/rkey``.

        Raises:
            InvalidUriError: It isn't one; the message names the part that is wrong.
        """
        if not text.startswith("at://") or len(text.encode("utf-8", "replace")) > _MAX_URI_BYTES:
            raise InvalidUriError(
                "text is not an AT URI", expected="at://authority/collection/rkey", got=_short(text)
            )
        parts = text.removeprefix("at://").split("/")
        if len(parts) == 3 and parts[1] == "blob":
            raise InvalidUriError(
                "this locates a blob, not a record",
                got=_short(text),
                remedy="Open it by BlobSource",
            )
        if len(parts) != 3:
            raise InvalidUriError(
                "AT URI doesn't address a record",
                expected="at://authority/collection/rkey",
                got=_short(text),
            )
        authority, collection, rkey = parts
        if authority.startswith("did:"):
            check_did(authority)
        else:
            check_handle(authority)
        return cls(authority, check_nsid(collection), check_rkey(rkey))

    def __str__(self) -> str:
        return f"at://{self.authority}/{self.collection}/{self.rkey}"


def check_did(text: str) -> str:
    """`text` itself, if it is a DID by the syntax common to all methods; else `InvalidUriError`."""
    return _check(_DID, text, "a DID, did:plc:… or did:web:…", 2048)


def check_resolvable_did(text: str) -> str:
    """`text` itself, if it is a DID of a method that the AT Protocol knows, by that method's rules.

    Raises:
        InvalidUriError: It isn't: another method, a ``did:plc`` that is no hash, a ``did:web``
            with a path or an address in place of a host name.
    """
    check_did(text)
    pattern = _PLC if text.startswith("did:plc:") else _WEB
    return _check(
        pattern, text, "did:plc: with 24 base32 characters, or did:web: with a host", 2048
    )


def check_handle(text: str) -> str:
    """`text` itself, if it is a handle, such as ``alice.bsky.social``; else `InvalidUriError`."""
    return _check(_HANDLE, text, "a handle, such as alice.bsky.social", 253)


def check_nsid(text: str) -> str:
    """`text` itself, if it is an NSID, such as ``com.example.record``; else `InvalidUriError`."""
    return _check(_NSID, text, "an NSID, such as com.example.record", 317)


def check_rkey(text: str) -> str:
    """`text` itself, if it is a record key; else `InvalidUriError`."""
    if text in (".", ".."):
        raise InvalidUriError("text is not a record key", got=repr(text))
    return _check(_RKEY, text, "a record key: 1 to 512 of A-Z a-z 0-9 . - _ : ~", 512)


def parse_blob_url(text: str) -> tuple[str, str]:
    """DID and CID of a blob's locator, ``at://did/blob/cid``.

    This form is ours, for `data_urls`; it never stands in a record.

    Raises:
        InvalidUriError: It isn't one.
    """
    match = _BLOB.fullmatch(text)
    if match is None:
        raise InvalidUriError(
            "text doesn't locate a blob", expected="at://did/blob/cid", got=_short(text)
        )
    return check_did(match["did"]), match["cid"]


def blob_url(did: str, cid: str) -> str:
    """The locator of a blob, ``at://did/blob/cid``."""
    return f"at://{did}/blob/{cid}"


def _check(pattern: re.Pattern[str], text: str, expected: str, limit: int) -> str:
    if len(text) > limit or not pattern.fullmatch(text):
        raise InvalidUriError("malformed identifier", expected=expected, got=_short(text))
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "…")
