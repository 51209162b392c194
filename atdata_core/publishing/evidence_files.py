"""Evidence: one file that proves a record for as long as the file lasts, with no server.

The file is JSON. Its fields, bytes in base64:

===============  ==============================================================================
field            what it holds
===============  ==============================================================================
``type``         ``atdata.evidence``
``version``      1
``uri``          the record's AT URI, its authority a DID
``madeAt``       when the file was made, ISO 8601 in UTC
``car``          what ``com.atproto.sync.getRecord`` gave: commit, tree nodes, record
``didDocument``  the account's DID document
``plcLog``       what ``/{did}/log/audit`` of the directory gave; absent for did:web
``manifest``     the blob that lists the shards; absent where the record does it
===============  ==============================================================================

For a did:plc the file speaks for itself: the DID is a hash of the log's beginning, the log tells
the key, the key signed the record. For a did:web it holds what the host's document said.
"""

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

from atdata_core.atproto.client import AtmosphereClient, Record
from atdata_core.atproto.plc import KeyPeriod, fetch_log, verify_log
from atdata_core.atproto.proof import ProvenRecord, prove_record, tid_seconds, verify_proof
from atdata_core.atproto.records import DATASET_TYPES, manifest_blob, parse_dataset
from atdata_core.atproto.records.common import now
from atdata_core.atproto.uri import AtUri
from atdata_core.cid import digest_to_cid
from atdata_core.entry import DatasetEntry
from atdata_core.errors import (
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    VerificationError,
)

_TYPE = "atdata.evidence"
_VERSION = 1
_TOLERANCE_S = 300
_MAX_BYTES = 50_000_000


@dataclass(frozen=True)
class Evidence:
    """What a file of evidence proves.

    Args:
        record: The record, with its proof.
        made_at: When the file was made, by the clock of who made it; ISO 8601 in UTC.
        key_period: When the key that signed it was the account's, by the directory's log; None for
            a did:web, of which only the document is there.
        entry: The dataset that the record describes; None if it is a record of another type.
        shards: How many of the dataset's shards were given and are those of the record.
        facts: What is proven, in words.
    """

    record: ProvenRecord
    made_at: str
    key_period: KeyPeriod | None
    entry: DatasetEntry | None
    shards: int
    facts: tuple[str, ...]


def evidence(record: str | AtUri | ProvenRecord, path: str | PathLike[str] | None = None) -> bytes:
    """Everything that proves a record, as one file.

    Args:
        record: The record's AT URI; or one that was proven before, of which the proof is kept.
        path: Where to write it too; None: nowhere.

    Returns:
        The file's bytes, which `verify_evidence` takes.

    Raises:
        NotFoundError: There is no such record.
        VerificationError: It can't be proven now, so the file would prove nothing.
        ServiceError: A server refuses, or isn't reached.
    """
    proven = record if isinstance(record, ProvenRecord) else prove_record(record)
    body: dict[str, Any] = {
        "type": _TYPE,
        "version": _VERSION,
        "uri": proven.uri,
        "madeAt": now(),
        "car": _to_text(proven.car),
        "didDocument": dict(proven.did_document),
    }
    if proven.did.startswith("did:plc:"):
        body["plcLog"] = fetch_log(proven.did)
    plain = Record(proven.value, proven.uri, proven.cid)
    named = manifest_blob(plain) if plain.get("$type") in DATASET_TYPES else None
    if named is not None:
        body["manifest"] = _to_text(AtmosphereClient().get_blob(proven.did, *named))
    data = json.dumps(body, indent=1, ensure_ascii=False).encode("utf-8")
    verify_evidence(data)
    if path is not None:
        Path(path).write_bytes(data)
    return data


def verify_evidence(
    file: bytes | str | PathLike[str],
    shards: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    log: Sequence[Any] | None = None,
) -> Evidence:
    """What a file of evidence proves; asks nobody.

    Args:
        file: The file's path, or its bytes.
        shards: A file, or files in any order, that have to be shards of the dataset.
        log: A newer history of the account than the one in the file, if there is one: it tells
            until when the key was the account's.

    Raises:
        VerificationError: It proves nothing, or contradicts itself; `code` says why.
        IntegrityError: One of `shards` is none of the dataset's.
        NotFoundError: There is no such file.
    """
    body = _read(file)
    paths = [shards] if isinstance(shards, (str, PathLike)) else list(shards)
    try:
        uri = AtUri.parse(str(body["uri"]))
        car, document, made_at = _to_bytes(body["car"]), body["didDocument"], str(body["madeAt"])
        made = datetime.fromisoformat(made_at).timestamp()
        log = body.get("plcLog") if log is None else log
        manifest = _to_bytes(body["manifest"]) if "manifest" in body else None
    except (KeyError, TypeError, ValueError) as error:
        raise _contradiction(f"file of evidence is incomplete: {error!r}") from error
    if made > time.time() + _TOLERANCE_S or not isinstance(document, dict):
        raise _contradiction("file of evidence is malformed, or made in the future", got=made_at)
    proven = verify_proof(car, document, uri, now=made)
    facts = [
        f"{proven.did} signed revision {proven.rev} with {proven.signing_key}",
        f"it holds the record {proven.uri} as {proven.cid}",
    ]
    period, fact = _key_period(proven, log, made)
    record = Record(proven.value, proven.uri, proven.cid)
    entry = parse_dataset(record, manifest) if record.get("$type") in DATASET_TYPES else None
    facts.append(fact)
    if paths:
        facts.append(_check_shards(paths, entry, proven.uri))
    return Evidence(proven, made_at, period, entry, len(paths), tuple(facts))


def _key_period(
    proven: ProvenRecord, log: Sequence[Any] | None, made: float
) -> tuple[KeyPeriod | None, str]:
    if not proven.did.startswith("did:plc:"):
        return None, "the key is what the account's host said when the file was made"
    if not isinstance(log, list):
        raise _contradiction("file of evidence lacks the account's history", proven.uri)
    found = [each for each in verify_log(proven.did, log) if each.key == proven.signing_key]
    if not found:
        raise _contradiction(
            "key of the document never was the account's", proven.uri, got=proven.signing_key
        )
    if found[0].since.timestamp() > time.time() + _TOLERANCE_S:
        raise _contradiction("history tells of the future", proven.uri, str(found[0].since))
    signed = tid_seconds(proven.rev)
    period = next((p for p in found if _ends(p, made) > signed), None)
    if period is None:
        raise VerificationError(
            "record was signed after its key had been replaced",
            code="key",
            where=proven.uri,
            expected=f"before {found[-1].until}",
            got=str(datetime.fromtimestamp(signed, UTC)),
        )
    until = "the end of its history" if period.until is None else period.until.isoformat()
    fact = f"by the history of {proven.did} the key was its own from {period.since.isoformat()}"
    return period, f"{fact} to {until}"


def _ends(period: KeyPeriod, made: float) -> float:
    end = made if period.until is None else period.until.timestamp()
    return end + _TOLERANCE_S


def _check_shards(
    shards: Sequence[str | PathLike[str]], entry: DatasetEntry | None, where: str
) -> str:
    if entry is None:
        raise ConfigurationError("record is not one of a dataset, so it has no shards", where=where)
    known = {shard.cid for shard in entry.shards} - {None}
    seen = set()
    for path in shards:
        cid = _file_cid(path)
        if cid not in known:
            raise IntegrityError("file is none of the dataset's shards", where=str(path), got=cid)
        seen.add(cid)
    return f"{len(seen)} of {len(entry.shards)} shards are here, each the one of its CID"


def _file_cid(path: str | PathLike[str]) -> str:
    try:
        with Path(path).open("rb") as file:
            return digest_to_cid(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise NotFoundError(f"shard can't be read: {error.strerror}", where=str(path)) from error


def _read(file: bytes | str | PathLike[str]) -> dict[str, Any]:
    try:
        data = file if isinstance(file, bytes) else Path(file).read_bytes()
    except OSError as error:
        raise NotFoundError(f"evidence can't be read: {error.strerror}", where=str(file)) from error
    if len(data) > _MAX_BYTES:
        raise _contradiction("file is too large to be evidence", got=f"{len(data):,} bytes")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _contradiction(f"file is no evidence: {error}") from error
    if not isinstance(body, dict) or (body.get("type"), body.get("version")) != (_TYPE, _VERSION):
        raise _contradiction("file is no evidence of this version", got=repr(body)[:80])
    return body


def _contradiction(
    message: str, where: str | None = None, got: str | None = None
) -> VerificationError:
    return VerificationError(message, code="evidence", where=where, got=got)


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _to_bytes(text: Any) -> bytes:
    return base64.b64decode(str(text), validate=True)
