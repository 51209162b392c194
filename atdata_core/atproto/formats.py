"""The string formats of lexicons (https://atproto.com/specs/lexicon#string-formats)."""

import re
from collections.abc import Callable
from datetime import datetime

from atdata_core.atproto.uri import check_did, check_handle, check_nsid, check_rkey
from atdata_core.errors import InvalidUriError

_MAX_URI_BYTES = 8 * 1024
_MAX_LANGUAGE = 128
_TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")
_CID = re.compile(r"[a-zA-Z0-9+=]{8,256}")
_CID_V0 = "Qmb"
_URI = re.compile(r"[a-z][a-z0-9+.-]{0,80}:[^\s\x00-\x20\x7f]+")
_DATETIME = re.compile(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](?:\.[0-9]{1,20})?"
    r"(?:Z|[+-][0-2][0-9]:[0-5][0-9])"
)
# BCP 47 as far as the protocol checks it: a language, or a registered or private tag, and subtags.
_LANGUAGE = re.compile(r"(?:[a-z]{2,3}|[ixX](?=-))(?:-[a-zA-Z0-9]{1,8})*")


def has_format(text: str, name: str) -> bool:
    """Whether a text has one of the `FORMATS`; `KeyError` for a format that there isn't."""
    try:
        return FORMATS[name](text)
    except InvalidUriError:
        return False


def is_at_uri(text: str) -> bool:
    """Whether a text is an AT URI of a repository, of a collection in it, or of a record."""
    if not text.startswith("at://") or len(text) > _MAX_URI_BYTES or not text.isascii():
        return False
    authority, *path = text.removeprefix("at://").split("/")
    checks: tuple[Callable[[str], object], ...] = (check_nsid, check_rkey)
    if len(path) > len(checks) or not _is_identifier(authority):
        return False
    return all(check(part) for check, part in zip(checks, path, strict=False))


def is_datetime(text: str) -> bool:
    """Whether a text is a moment as RFC 3339 and ISO 8601 both write it, with a time zone."""
    if not _DATETIME.fullmatch(text) or text.endswith("-00:00"):
        return False
    # Python knows neither the year 0, nor leap seconds, nor more digits than six.
    plain = re.sub(r"\.[0-9]+", "", text.replace(":60", ":59"))
    try:
        moment = datetime.fromisoformat("0004" + plain[4:] if plain.startswith("0000") else plain)
    except ValueError:
        return False
    # Nothing lies before the year 0, nor does it in another time zone.
    return not text.startswith("0000") or moment.utctimetuple().tm_year >= 4


def _is_identifier(text: str) -> bool:
    return bool(check_did(text) if text.startswith("did:") else check_handle(text))


FORMATS: dict[str, Callable[[str], bool]] = {
    "at-identifier": _is_identifier,
    "at-uri": is_at_uri,
    "cid": lambda text: bool(_CID.fullmatch(text)) and not text.startswith(_CID_V0),
    "datetime": is_datetime,
    "did": lambda text: bool(check_did(text)),
    "handle": lambda text: bool(check_handle(text)),
    "language": lambda text: len(text) <= _MAX_LANGUAGE and bool(_LANGUAGE.fullmatch(text)),
    "nsid": lambda text: bool(check_nsid(text)),
    "record-key": lambda text: bool(check_rkey(text)),
    "tid": lambda text: bool(_TID.fullmatch(text)),
    "uri": lambda text: len(text.encode()) <= _MAX_URI_BYTES and bool(_URI.fullmatch(text)),
}
"""Each format's name, and what tells whether a text has it (or raises `InvalidUriError`)."""
