"""Datasets whose shards are too many for a record: the list of them as a blob, written and read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.records import (
    MANIFEST_MIME_TYPE,
    MAX_SHARDS,
    Manifest,
    Names,
    Part,
    dataset_record,
    manifest_blob,
    parse_dataset,
    record_size,
)
from atdata_core.atproto.uri import AtUri
from atdata_core.entry import DatasetEntry
from atdata_core.errors import InvalidRecordError, NotFoundError
from atdata_core.publishing.common import create_once


@dataclass(frozen=True)
class Draft:
    """A dataset's record before it is written.

    Args:
        record: The record.
        manifest: What has to be there before it; None where the record lists its shards itself.
    """

    record: dict[str, Any]
    manifest: Manifest | None = None


def draft_record(
    entry: DatasetEntry,
    storage: dict[str, Any],
    schema_cid: str | None,
    names: Names,
    *,
    max_bytes: int,
    spill: Callable[[], Manifest],
) -> Draft:
    """The record of a dataset, with the list of shards in it or, where that is too long, beside it.

    Args:
        entry: What it says.
        storage: Where the shards lie, told in the record.
        schema_cid: The CID of the schema's record.
        names: The types of records to write.
        max_bytes: The size of the largest record to write.
        spill: Gives the list of shards as a manifest.

    Raises:
        InvalidRecordError: The record is too large all the same, or isn't what its lexicon says.
    """
    if len(entry.shards) <= MAX_SHARDS:
        record = dataset_record(entry, storage, schema_cid, names)
        if record_size(record) <= max_bytes:
            return Draft(record)
    manifest = spill()
    record = dataset_record(entry, manifest.storage, schema_cid, names)
    size = record_size(record)
    if size > max_bytes:
        raise InvalidRecordError(
            "record is larger than a PDS has to take",
            where=entry.name,
            expected=f"at most {max_bytes:,} bytes",
            got=f"{size:,} bytes without the list of shards",
            remedy="Say less in its metadata",
        )
    return Draft(record, manifest)


def send_manifest(
    client: AtmosphereClient,
    manifest: Manifest,
    send: Callable[[slice], None],
    skip: Callable[[slice], None] = lambda _span: None,
) -> None:
    """Puts a manifest and all that it names in their place, so that a record may follow.

    The shards' blobs go first, part by part, each with the record that keeps it: the first would
    be dropped before the last are there, if one record waited for all of them. A part whose record
    is there was sent before, and is not sent again.

    Args:
        client: The account, logged in.
        manifest: The manifest.
        send: Uploads some of the shards, told by their numbers.
        skip: Told of those that are there.

    Raises:
        NotFoundError: The PDS dropped blobs before their record came.
    """
    for part in manifest.parts:
        if _is_there(client, part):
            skip(part.span)
        else:
            send(part.span)
            create_once(client, part.uri.collection, part.record, part.uri.rkey)
    client.upload_blob(manifest.body, MANIFEST_MIME_TYPE, cid=manifest.cid)


def read_dataset(client: AtmosphereClient, record: Record) -> DatasetEntry:
    """The dataset that a record describes, with its shards, wherever they are listed.

    Raises:
        InvalidRecordError: The record or its manifest is malformed.
        IntegrityError: The manifest's bytes are not those of its CID.
        NotFoundError: The PDS has no such manifest (any more).
    """
    named = manifest_blob(record)
    if named is None:
        return parse_dataset(record)
    cid, size = named
    return parse_dataset(record, client.get_blob(AtUri.parse(record.uri).authority, cid, size))


def _is_there(client: AtmosphereClient, part: Part) -> bool:
    try:
        client.get_record(part.uri, part.cid)
    except NotFoundError:
        return False
    return True
