"""Records with their proof: that the account's key signed a repository that holds them.

``com.atproto.sync.getRecord`` gives the signed commit, the way down the tree, and the record
(https://atproto.com/specs/sync). All of it is checked here: the hash of each block, the shape of
the tree, and the signature by the key that the account's DID document names. A proof shows who
wrote a record and that nobody changed it since, not that it is the newest; see `RevStore`.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import cbrrr

from atdata_core.atproto.car import MAX_CAR_BYTES, Car, cid_text, read_car
from atdata_core.atproto.cbor import broken, decode_block, decode_json
from atdata_core.atproto.identity import Identity, resolve_authority, resolve_did
from atdata_core.atproto.keys import is_signed, signing_key
from atdata_core.atproto.mst import find
from atdata_core.atproto.revisions import RevStore, default_revs
from atdata_core.atproto.uri import AtUri
from atdata_core.atproto.web import get_bytes
from atdata_core.errors import AbsentError, NotFoundError, UnreachableError, VerificationError

_VERSION = 3
_MAX_AHEAD_S = 300
_TID = "234567abcdefghijklmnopqrstuvwxyz"
_COMMIT_KEYS = {"did", "version", "data", "rev", "sig"}
_STALE = ("signature", "key")


@dataclass(frozen=True)
class ProvenRecord:
    """A record, and what proves that it is the account's.

    Args:
        uri: Its AT URI, its authority a DID.
        cid: Its CID.
        value: Its fields, in the form of AT Protocol JSON.
        rev: The revision of the repository that was signed; in the order of time.
        signing_key: The key that signed it, as did:key.
        commit: The CID of the signed commit.
        car: The proof as the server sent it.
        did_document: The DID document that names the key.
    """

    uri: str
    cid: str
    value: dict[str, Any]
    rev: str
    signing_key: str
    commit: str
    car: bytes = field(repr=False)
    did_document: Mapping[str, Any] = field(repr=False)

    @property
    def did(self) -> str:
        """The account whose record it is."""
        return AtUri.parse(self.uri).authority


@dataclass(frozen=True)
class Commit:
    """A signed commit.

    Args:
        did: Whose repository it is of.
        data: The CID of the tree's root, 36 bytes.
        rev: The revision.
        signature: The signature, 64 bytes if it is a legal one.
        signed: The bytes that are signed.
    """

    did: str
    data: bytes
    rev: str
    signature: bytes
    signed: bytes


def prove_record(
    uri: str | AtUri, *, revs: RevStore | None = None, allow_rollback: bool = False
) -> ProvenRecord:
    """A record of anybody's, proven to be in the repository that the account signed.

    Args:
        uri: Its AT URI.
        revs: Remembers the newest revision of each repository; by default this process does, and
            the folder that ``ATDATA_STATE`` names.
        allow_rollback: Whether an older state of the repository than was seen is taken.

    Raises:
        AbsentError: Its repository is proven to hold no such record.
        NotFoundError: There is no such account, or its server says that there is no such record.
        VerificationError: The proof doesn't prove it; `code` says why.
        ServiceError: A server refuses, or isn't reached.
    """
    parsed = uri if isinstance(uri, AtUri) else AtUri.parse(uri)
    did = resolve_authority(parsed.authority)
    parsed = AtUri(did, parsed.collection, parsed.rkey)
    identity = resolve_did(did)
    revs = revs or default_revs()
    floor = revs.get(did) or ""
    try:
        proof = _fetch(identity, parsed)
    except (VerificationError, NotFoundError, UnreachableError) as error:
        # The account may have moved, or changed its key, since its document was asked for.
        if isinstance(error, VerificationError) and error.code not in _STALE:
            raise
        fresh = resolve_did(did, fresh=True)
        if fresh.document == identity.document:
            raise
        proof = _fetch(fresh, parsed)
    # Also where it proves an absence: an old state would show that what is new isn't there.
    commit = cid_text(proof.car.root)
    revs.note(did, proof.commit.rev, commit, floor=floor, allow_rollback=allow_rollback)
    return proof.record()


def verify_proof(
    car: bytes, did_document: Mapping[str, Any], uri: str | AtUri, *, now: float | None = None
) -> ProvenRecord:
    """The record that a CAR proves to be in an account's repository; asks nobody.

    Args:
        car: What ``com.atproto.sync.getRecord`` gave.
        did_document: The account's DID document.
        uri: The record's AT URI, its authority a DID.
        now: The time by which revisions of the future are told, in seconds since 1970; by default
            that of this machine.

    Raises:
        AbsentError: It proves that the repository holds no such record.
        VerificationError: It proves nothing; `code` says why.
    """
    parsed = uri if isinstance(uri, AtUri) else AtUri.parse(uri)
    return _verify(car, did_document, parsed, time.time() if now is None else now).record()


@dataclass(frozen=True)
class _Proof:
    """A CAR that proves where a record is, or that it isn't."""

    uri: AtUri
    data: bytes
    car: Car
    commit: Commit
    key: str
    cid: bytes | None
    document: Mapping[str, Any]

    def record(self) -> ProvenRecord:
        """The record; raises `AbsentError` if the proof is of its absence."""
        if self.cid is None:
            raise AbsentError(
                "repository holds no such record, as its signature proves",
                where=str(self.uri),
                got=f"revision {self.commit.rev}",
            )
        with _located(self.uri):
            value = decode_json(self.car.block(self.cid, "the record"), "record")
            if not isinstance(value, dict):
                raise broken("record is not a map", got=repr(value)[:80])
        return ProvenRecord(
            uri=str(self.uri),
            cid=cid_text(self.cid),
            value=value,
            rev=self.commit.rev,
            signing_key=self.key,
            commit=cid_text(self.car.root),
            car=self.data,
            did_document=self.document,
        )


def _verify(data: bytes, document: Mapping[str, Any], uri: AtUri, now: float) -> _Proof:
    with _located(uri):
        car = read_car(data)
        commit = read_commit(car)
        if commit.did != uri.authority:
            raise VerificationError(
                "commit is of another account's repository",
                code="other-did",
                expected=uri.authority,
                got=repr(commit.did)[:120],
            )
        key = signing_key(document, uri.authority)
        if not is_signed(key, commit.signed, commit.signature):
            raise VerificationError(
                "commit isn't signed by the account's key", code="signature", expected=key
            )
        _check_time(commit.rev, now)
        cid = find(car, commit.data, f"{uri.collection}/{uri.rkey}")
    return _Proof(uri, data, car, commit, key, cid, document)


@contextlib.contextmanager
def _located(uri: AtUri) -> Iterator[None]:
    """Says of a failure within the block what was to be proven."""
    try:
        yield
    except VerificationError as error:
        error.where = error.where or str(uri)
        raise


def read_commit(car: Car) -> Commit:
    """The commit that a CAR begins with; its signature is not looked at.

    Raises:
        VerificationError: It is malformed, or of another version than 3.
    """
    body = decode_block(car.block(car.root, "the commit"), "commit")
    if not isinstance(body, dict) or not set(body) >= _COMMIT_KEYS:
        raise broken("commit lacks fields", ", ".join(sorted(_COMMIT_KEYS)), repr(body)[:120])
    if body["version"] != _VERSION:
        raise broken("commit is of another version", str(_VERSION), repr(body["version"])[:40])
    did, rev, data, signature = body["did"], body["rev"], body["data"], body["sig"]
    if not isinstance(did, str) or not isinstance(rev, str) or not isinstance(signature, bytes):
        raise broken("commit is malformed", got=repr(body)[:200])
    if not isinstance(data, cbrrr.CID) or not data.is_cidv1_dag_cbor_sha256_32():
        raise broken("commit names no tree", got=repr(data)[:80])
    tid_seconds(rev)
    signed = cbrrr.encode_dag_cbor({key: value for key, value in body.items() if key != "sig"})
    return Commit(did, bytes(data), rev, signature, bytes(signed))


def tid_seconds(tid: str) -> float:
    """The time in a TID, in seconds since 1970; `VerificationError` if it isn't one."""
    if len(tid) != 13 or set(tid) - set(_TID) or tid[0] not in _TID[:16]:
        raise broken("revision is not a TID", "13 of 234567a-z", repr(tid)[:40])
    number = 0
    for letter in tid:
        number = number * 32 + _TID.index(letter)
    return (number >> 10) / 1e6


def _check_time(rev: str, now: float) -> None:
    made = tid_seconds(rev)
    if made > now + _MAX_AHEAD_S:
        raise VerificationError(
            "commit says that it was made in the future",
            code="rev",
            expected=f"at most {_MAX_AHEAD_S} s after {datetime.fromtimestamp(now, UTC)}",
            got=f"{made - now:,.0f} s after it",
            remedy="Is this machine's clock right?",
        )


def _fetch(identity: Identity, uri: AtUri) -> _Proof:
    url = f"{identity.pds}/xrpc/com.atproto.sync.getRecord"
    params = {"did": uri.authority, "collection": uri.collection, "rkey": uri.rkey}
    car = get_bytes(url, params, MAX_CAR_BYTES)
    return _verify(car, identity.document, uri, time.time())
