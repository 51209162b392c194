"""Attestation records: somebody says that they have checked a dataset's record.

Its key follows from what it is about, so that whoever knows an account can ask for the one record
that would be there, and is proven its absence otherwise.
"""

from dataclasses import dataclass
from typing import Any

from atdata_core.atproto.client import Record
from atdata_core.atproto.lexicon import validate_record
from atdata_core.atproto.records.common import check_type, now, optional_text, record_key
from atdata_core.atproto.records.names import ATTESTATION_TYPES, Names
from atdata_core.atproto.uri import AtUri
from atdata_core.entry import StrongRef
from atdata_core.errors import InvalidRecordError


@dataclass(frozen=True)
class Attestation:
    """What somebody says to have checked.

    Args:
        subject: The dataset's record, at the content that was checked.
        method: What was done, in a word or a sentence.
        level: How far the dataset was proven to them; None where the record doesn't tell.
        shards: How many shards were read and are those of the record; None where it doesn't tell.
        bytes: How many bytes they have.
        content_cid: The CID of the dataset's content.
        description: For people.
        created_at: When it was checked, by their own word; ISO 8601.
        did: Who says so; None before it is published.
        uri: The AT URI of the attestation's record.
        record_cid: The CID of that record.
    """

    subject: StrongRef
    method: str
    level: str | None = None
    shards: int | None = None
    bytes: int | None = None
    content_cid: str | None = None
    description: str | None = None
    created_at: str | None = None
    did: str | None = None
    uri: str | None = None
    record_cid: str | None = None


def attestation_key(subject: StrongRef) -> str:
    """The key of the record by which an account attests this very record."""
    return record_key({"subject": subject.to_json()})


def attestation_record(attestation: Attestation, names: Names) -> dict[str, Any]:
    """The record of an attestation.

    Raises:
        InvalidRecordError: It isn't what its lexicon says.
    """
    told = {
        "level": attestation.level,
        "shards": attestation.shards,
        "bytes": attestation.bytes,
        "contentCid": attestation.content_cid,
        "description": attestation.description,
    }
    record: dict[str, Any] = {
        "$type": names.attestation,
        "subject": attestation.subject.to_json(),
        "method": attestation.method,
        **{key: value for key, value in told.items() if value is not None},
        "createdAt": attestation.created_at or now(),
    }
    validate_record(record, names.attestation)
    return record


def parse_attestation(record: Record) -> Attestation:
    """What an attestation's record says.

    Raises:
        InvalidRecordError: It is of another type, or not what its lexicon says.
    """
    check_type(record, ATTESTATION_TYPES)
    validate_record(record, str(record["$type"]))
    subject = record["subject"]
    if set(subject) - {"$type"} != {"uri", "cid"}:
        raise InvalidRecordError("subject is no strongRef", where=record.uri, got=repr(subject))
    return Attestation(
        subject=StrongRef(subject["uri"], subject["cid"]),
        method=record["method"],
        level=optional_text(record, "level"),
        shards=record.get("shards"),
        bytes=record.get("bytes"),
        content_cid=optional_text(record, "contentCid"),
        description=optional_text(record, "description"),
        created_at=optional_text(record, "createdAt"),
        did=AtUri.parse(record.uri).authority,
        uri=record.uri,
        record_cid=record.cid,
    )
