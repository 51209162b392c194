"""Datasets opened by their records, and how far what they rest on is proven."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.records import parse_schema
from atdata_core.atproto.records.common import now
from atdata_core.atproto.uri import AtUri
from atdata_core.cid import check_cid
from atdata_core.dataset import Dataset, listed_dataset
from atdata_core.entry import DatasetEntry, StrongRef
from atdata_core.errors import (
    AtdataError,
    InvalidRecordError,
    InvalidUriError,
    SchemaError,
    VerificationError,
)
from atdata_core.publishing.attestations import attestation_by
from atdata_core.publishing.manifests import read_dataset
from atdata_core.publishing.schemas import check_type
from atdata_core.schema import Schema
from atdata_core.sources import DataSource
from atdata_core.verification import Verification, VerificationLevel

_LEVEL = VerificationLevel
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """A record to open, and what is known of it before it is read.

    Args:
        uri: Its AT URI.
        cid: The CID that it has to have; None where nobody told.
        pinned: Whether the CID comes from the caller, or from a proven record.
        evidence: What led here, in words.
    """

    uri: str
    cid: str | None = None
    pinned: bool = False
    evidence: tuple[str, ...] = ()

    def pinned_to(self, link: str | StrongRef | None) -> "Target":
        """The same with the content that the caller says it must have.

        Raises:
            InvalidUriError: `link` is no CID, or a link to another record.
            VerificationError: Something else is linked to than the caller says.
        """
        if link is None:
            return self
        if isinstance(link, StrongRef):
            if link.uri != self.uri:
                raise InvalidUriError(
                    "link is one to another record", expected=self.uri, got=link.uri
                )
            link = link.cid
        if self.cid is not None and self.cid != check_cid(link):
            raise _changed("record is another one than was pinned", self.uri, link, self.cid)
        evidence = (*self.evidence, f"caller pinned {link}")
        return dataclasses.replace(self, cid=check_cid(link), pinned=True, evidence=evidence)


def target_of(uri: str, pin: str | StrongRef | None = None) -> Target:
    """The record at an AT URI, held to a CID that the caller knows; errors as `pinned_to`."""
    return Target(uri).pinned_to(pin)


@dataclass(frozen=True)
class Opened:
    """A dataset's record, read and proven.

    Args:
        entry: What it says.
        schema: What its samples are.
        verification: What is proven.
    """

    entry: DatasetEntry
    schema: Schema
    verification: Verification

    def dataset(self, source: DataSource, sample_type: type | None) -> Dataset[Any]:
        """The dataset, its shards read from `source`; raises `SchemaError` for another type."""
        where = f"{self.verification.uri} ({self.entry.name})"
        found = check_type(self.schema, sample_type, where)
        return listed_dataset(self.entry, self.schema, source, found, self.verification)


def open_record(
    client: AtmosphereClient,
    target: Target,
    least: VerificationLevel,
    trusted: Sequence[str] = (),
) -> Opened:
    """Reads a dataset's record and its schema's, and proves them.

    Args:
        client: Asks for the records.
        target: Which one.
        least: How far it has to be proven.
        trusted: DIDs whose attestations count.

    Raises:
        VerificationError: Less is proven than `least`, or something is proven to be wrong.
        InvalidRecordError: The record describes no dataset, or one that can't be opened.
        SchemaError: The schema is another one than the dataset was made with.
    """
    record, verification = _read(client, target, least)
    entry = read_dataset(client, record)
    if entry.unreadable:
        raise InvalidRecordError(
            f"dataset can't be opened: {entry.unreadable}", where=verification.uri
        )
    schema, fact = _read_schema(client, record, entry, proven=least > _LEVEL.TRANSPORT)
    verification = _with_bytes(_with_fact(verification, fact), entry)
    if verification.level > _LEVEL.TRANSPORT:
        verification = _with_attestations(client, verification, trusted)
    _check_reached(verification, entry, least)
    if loose := _loose(entry):
        _log.warning(
            "%s: %d of %d shards have no checksum, so their bytes can't be checked; "
            'verify="bytes" refuses such datasets',
            *(verification.uri, len(loose), len(entry.shards)),
        )
    return Opened(entry, schema, verification)


def _read(
    client: AtmosphereClient, target: Target, least: VerificationLevel
) -> tuple[Record, Verification]:
    rev = key = None
    if least > _LEVEL.TRANSPORT:
        try:
            proven = client.prove_record(target.uri)
        except VerificationError as error:
            error.remedy = error.remedy or f"Nothing is proven, and {least} was asked for"
            raise
        record = Record(proven.value, proven.uri, proven.cid)
        rev, key = proven.rev, proven.signing_key
        fact = f"{proven.did} signed revision {rev} with {key}; it holds the record {record.cid}"
    else:
        record = client.get_record(target.uri)
        fact = f"the server of {AtUri.parse(record.uri).authority} gave the record {record.cid}"
    collection = AtUri.parse(record.uri).collection
    if record.get("$type") != collection:
        raise InvalidRecordError(
            "record is of another type than its address says",
            where=record.uri,
            expected=collection,
            got=repr(record.get("$type"))[:120],
        )
    if target.cid not in (None, record.cid):
        raise _changed(
            "record was changed since it was linked to", record.uri, str(target.cid), record.cid
        )
    pinned = target.pinned and rev is not None
    level = _LEVEL.TRANSPORT if rev is None else _LEVEL.PINNED if pinned else _LEVEL.SIGNED
    return record, Verification(
        level=level,
        evidence=(*target.evidence, fact),
        uri=record.uri,
        did=AtUri.parse(record.uri).authority,
        record_cid=record.cid,
        checked_at=now(),
        rev=rev,
        signing_key=key,
        pinned=target.pinned,
    )


def _read_schema(
    client: AtmosphereClient, record: Record, entry: DatasetEntry, *, proven: bool
) -> tuple[Schema, str]:
    """The schema of a dataset, as it was when the dataset was published, and how that is known."""
    pinned = record.get("schema")
    if isinstance(pinned, dict) and pinned.get("cid") is not None:
        if pinned.get("uri") != record.get("schemaRef"):
            raise InvalidRecordError(
                "record names its schema in two ways",
                where=record.uri,
                got=f"{record.get('schemaRef')}, {pinned.get('uri')}",
            )
        found = client.get_record(entry.schema_ref)
        schema, fact = _as_pinned(found, check_cid(str(pinned["cid"])), entry.schema_cid)
    elif proven:
        signed = client.prove_record(entry.schema_ref)
        schema = parse_schema(Record(signed.value, signed.uri, signed.cid))
        fact = f"schema record {signed.cid} is signed by {signed.did}, not pinned by the dataset"
    else:
        schema = parse_schema(client.get_record(entry.schema_ref))
        fact = "schema record is neither signed nor pinned"
    if entry.schema_cid not in (None, schema.cid):
        raise SchemaError(
            "schema record describes another type than the dataset's",
            where=entry.schema_ref,
            expected=entry.schema_cid,
            got=schema.cid,
        )
    return schema, fact


def _as_pinned(found: Record, cid: str, content_cid: str | None) -> tuple[Schema, str]:
    if found.cid == cid:
        return parse_schema(found), f"schema record is {cid}, as the dataset's record says"
    changed = _changed(
        "schema record was changed after the dataset was published", found.uri, cid, found.cid
    )
    try:
        schema = parse_schema(found)
    except AtdataError as error:
        raise changed from error
    if content_cid is None or schema.cid != content_cid:
        raise changed
    return schema, f"schema record was changed, but describes the same type, {content_cid}"


def _with_fact(verification: Verification, fact: str) -> Verification:
    return dataclasses.replace(verification, evidence=(*verification.evidence, fact))


def _with_bytes(verification: Verification, entry: DatasetEntry) -> Verification:
    total, loose = len(entry.shards), len(_loose(entry))
    if loose:
        return _with_fact(verification, f"{loose} of {total} shards have no checksum to check")
    level = verification.level
    if level > _LEVEL.TRANSPORT:
        level = _LEVEL.BYTES
    fact = f"each of {total} shards is held to its CID before a sample of it is handed out"
    return dataclasses.replace(_with_fact(verification, fact), level=level)


def _with_attestations(
    client: AtmosphereClient, verification: Verification, trusted: Sequence[str]
) -> Verification:
    subject = StrongRef(verification.uri, verification.record_cid)
    found = []
    for did in trusted:
        if did == verification.did:
            fact = f"{did} is the dataset's own account, which can't attest it"
        else:
            try:
                attestation = attestation_by(client, did, subject)
            except AtdataError as error:  # what one witness can't tell, another may
                verification = _with_fact(verification, f"{did} couldn't be asked: {error}")
                continue
            if attestation is not None:
                found.append(did)
                fact = f"{did} attests it: {attestation.method!r}, {attestation.created_at}"
            else:
                fact = f"{did} doesn't attest it"
        verification = _with_fact(verification, fact)
    level = verification.level
    if found and level == _LEVEL.BYTES:
        level = _LEVEL.ATTESTED
    return dataclasses.replace(verification, level=level, attested_by=tuple(found))


def _loose(entry: DatasetEntry) -> list[str]:
    return [shard.url for shard in entry.shards if shard.cid is None]


def _check_reached(
    verification: Verification, entry: DatasetEntry, least: VerificationLevel
) -> None:
    why = []
    if least >= _LEVEL.BYTES and (loose := _loose(entry)):
        why.append(f"{len(loose)} of {len(entry.shards)} shards have no checksum: {loose[0]}")
    if least == _LEVEL.PINNED and not verification.pinned:
        why.append("no link or pin tells the record's CID")
    if least > verification.level and not why:
        why.append("nobody whom you trust attests it")
    if not why:
        return
    reached = min(verification.level, _LEVEL.SIGNED) if least == _LEVEL.PINNED else None
    reached = reached or verification.level
    raise VerificationError(
        "less is proven of the dataset than was asked for",
        code="level",
        where=verification.uri,
        expected=str(least),
        got=f"{reached}: {', '.join(why)}",
        remedy=f'verify="{reached}" opens it as it is',
    )


def _changed(message: str, where: str, expected: str, got: str) -> VerificationError:
    return VerificationError(message, code="changed", where=where, expected=expected, got=got)
