"""The history of a did:plc, checked without trust in the directory that keeps it.

The DID is the hash of the first operation, and each operation is signed by a key that the one
before it names (https://web.plc.directory/spec/v0.1/did-plc). So whoever holds the log can tell
which key was an account's at what time; only the times themselves are the directory's word.
"""

import base64
import binascii
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import cbrrr

from atdata_core.atproto.car import cid_text
from atdata_core.atproto.identity import plc_url
from atdata_core.atproto.keys import is_signed
from atdata_core.atproto.uri import check_resolvable_did
from atdata_core.atproto.web import get_json
from atdata_core.errors import VerificationError

_RECOVERY = timedelta(hours=72)
_MAX_OPERATIONS = 5_000
_TYPES = ("plc_operation", "plc_tombstone", "create")
_DAG_CBOR = b"\x01\x71\x12\x20"


@dataclass(frozen=True)
class KeyPeriod:
    """A time during which a key signed an account's repository.

    Args:
        key: The key, as did:key.
        since: When the directory took it, in UTC.
        until: When another key, or none, took its place; None: it was the last one in the log.
    """

    key: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True)
class _Operation:
    body: Mapping[str, Any]
    cid: str
    created_at: datetime
    signer: int  # among the rotation keys that could have signed it

    @property
    def rotation_keys(self) -> list[str]:
        if self.body.get("type") == "create":
            return _texts([self.body.get("recoveryKey"), self.body.get("signingKey")])
        return _texts(self.body.get("rotationKeys", []))

    @property
    def signing_key(self) -> str | None:
        if self.body.get("type") == "create":
            return str(self.body.get("signingKey"))
        methods = self.body.get("verificationMethods")
        key = methods.get("atproto") if isinstance(methods, dict) else None
        return None if key is None else str(key)


def fetch_log(did: str) -> list[dict[str, Any]]:
    """The history of a did:plc, as the directory gives it; errors as `get_json`."""
    log = get_json(f"{plc_url()}/{check_resolvable_did(did)}/log/audit")
    if not isinstance(log, list):
        raise _broken("directory gave no history", did, "a list", type(log).__name__)
    return log


def verify_log(did: str, log: Sequence[Any]) -> tuple[KeyPeriod, ...]:
    """The keys that signed an account's repository, oldest first, by its history.

    Args:
        did: The account, a did:plc.
        log: What ``/{did}/log/audit`` of a directory gave.

    Raises:
        VerificationError: The history breaks a rule: it doesn't begin with the operation that the
            DID is the hash of, or an operation isn't signed by a key that may, or doesn't follow
            the one that it says (``log``).
    """
    if not log or len(log) > _MAX_OPERATIONS:
        raise _broken(
            "history is empty or too long", did, f"1 to {_MAX_OPERATIONS:,}", f"{len(log)}"
        )
    chain: list[_Operation] = []
    nullified: set[str] = set()
    last = datetime.min.replace(tzinfo=UTC)
    for index, entry in enumerate(log):
        where = f"{did}, operation {index}"
        body, cid, created_at = _read_entry(did, entry, where)
        if created_at < last:
            raise _broken("history is not in the order of time", where)
        last = created_at
        kept = _before(chain, body, where)
        keys = kept[-1].rotation_keys if kept else _Operation(body, cid, last, 0).rotation_keys
        operation = _Operation(body, cid, created_at, _signer(keys, body, where))
        if not kept:
            _check_genesis(did, body, where)
        _check_recovery(chain[len(kept) :], operation, where)
        nullified |= {gone.cid for gone in chain[len(kept) :]}
        chain = [*kept, operation]
    told = {str(entry["cid"]) for entry in log if entry.get("nullified")}
    if told != nullified:
        raise _broken(
            "history calls other operations void than are",
            did,
            ", ".join(sorted(nullified)) or "none",
            ", ".join(sorted(told)) or "none",
        )
    return _periods(chain)


def _read_entry(did: str, entry: Any, where: str) -> tuple[Mapping[str, Any], str, datetime]:
    if not isinstance(entry, dict) or entry.get("did") != did:
        raise _broken("operation is of another account", where, did, repr(entry)[:120])
    body = entry.get("operation")
    if not isinstance(body, dict) or body.get("type") not in _TYPES:
        raise _broken("entry holds no operation", where, " or ".join(_TYPES), repr(body)[:120])
    cid = cid_text(_DAG_CBOR + hashlib.sha256(_encode(body, where)).digest())
    if entry.get("cid") != cid:
        raise _broken("operation has another CID", where, cid, repr(entry.get("cid"))[:120])
    try:
        created_at = datetime.fromisoformat(str(entry.get("createdAt")))
    except ValueError as error:
        raise _broken(f"time can't be read: {error}", where) from error
    return body, cid, created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC)


def _before(chain: list[_Operation], body: Mapping[str, Any], where: str) -> list[_Operation]:
    """What an operation follows: the whole chain, or the part that a recovery leaves."""
    prev = body.get("prev")
    if prev is None and not chain:
        return []
    for index, operation in enumerate(chain):
        if operation.cid == prev:
            return chain[: index + 1]
    raise _broken("operation follows none that is in force", where, got=repr(prev)[:120])


def _signer(keys: Sequence[str], body: Mapping[str, Any], where: str) -> int:
    text = body.get("sig")
    try:
        if not isinstance(text, str) or "=" in text:
            raise ValueError("it is not base64url without padding")
        signature = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise _broken(f"signature can't be read: {error}", where) from error
    data = _encode({key: value for key, value in body.items() if key != "sig"}, where)
    for index, key in enumerate(keys):
        with contextlib.suppress(VerificationError):  # no key at all
            if is_signed(key, data, signature):
                return index
    raise _broken("operation isn't signed by a rotation key", where, ", ".join(keys) or "none")


def _check_genesis(did: str, body: Mapping[str, Any], where: str) -> None:
    digest = hashlib.sha256(_encode(body, where)).digest()
    made = "did:plc:" + base64.b32encode(digest).decode("ascii").lower()[:24]
    if made != did or body["type"] == "plc_tombstone":
        raise _broken("history begins with the operation of another account", where, did, made)


def _check_recovery(void: Sequence[_Operation], operation: _Operation, where: str) -> None:
    if not void:
        return
    if operation.signer >= void[0].signer:
        raise _broken("operation is made void by a key of no higher rank", where)
    if operation.created_at - void[0].created_at > _RECOVERY:
        raise _broken("operation is made void after more than 72 hours", where)


def _periods(chain: Sequence[_Operation]) -> tuple[KeyPeriod, ...]:
    periods: list[KeyPeriod] = []
    for operation in chain:
        key = operation.signing_key
        if periods and periods[-1].until is None:
            if periods[-1].key == key:
                continue
            open_one = periods.pop()
            periods.append(KeyPeriod(open_one.key, open_one.since, operation.created_at))
        if key is not None:
            periods.append(KeyPeriod(key, operation.created_at))
    return tuple(periods)


def _encode(body: Mapping[str, Any], where: str) -> bytes:
    try:
        return bytes(cbrrr.encode_dag_cbor(cast("Any", dict(body))))
    except (ValueError, TypeError, RecursionError) as error:
        raise _broken(f"operation can't be encoded: {error}", where) from error


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _broken(
    message: str, where: str, expected: str | None = None, got: str | None = None
) -> VerificationError:
    return VerificationError(message, code="log", where=where, expected=expected, got=got)
