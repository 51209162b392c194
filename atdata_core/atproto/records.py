"""The records of this library: what they look like, and what they say when they are read.

Two types, in the seed's namespace: ``ac.foundation.dataset.sampleSchema`` describes a sample type,
``ac.foundation.dataset.record`` a dataset. Besides the fields that public ``atdata`` wrote, ours
hold the CIDs that make them checkable: of the schema record (a strongRef), of the schema's and the
dataset's content, and of each shard.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from atdata_core.atproto.client import Record
from atdata_core.atproto.uri import AtUri, blob_url
from atdata_core.cid import check_cid, dag_cbor
from atdata_core.entry import DatasetEntry
from atdata_core.errors import AtdataError, InvalidRecordError
from atdata_core.schema import Schema
from atdata_core.shard import Shard
from atdata_core.sources import expand

NAMESPACE = "ac.foundation.dataset"
SCHEMA_TYPE = f"{NAMESPACE}.sampleSchema"
DATASET_TYPE = f"{NAMESPACE}.record"
BLOBS_TYPE = f"{NAMESPACE}.storageBlobs"
EXTERNAL_TYPE = f"{NAMESPACE}.storageExternal"

_MAX_NAME_BYTES = 200
_MAX_DESCRIPTION_BYTES = 5000
_MAX_TAGS = 30
_MAX_TAG_BYTES = 150
_MAX_RECORD_BYTES = 150 * 1024
_UNHASHED = ("createdAt", "previous")
_TID = "234567abcdefghijklmnopqrstuvwxyz"
_TID_CHARS = 13
_SHARD_LIMIT = 10_000


def schema_record(schema: Schema, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The record of a schema.

    Raises:
        InvalidRecordError: A text is longer than its lexicon allows, or `metadata` hold what a
            record can't.
    """
    record: dict[str, Any] = {
        "$type": SCHEMA_TYPE,
        "name": _text(schema.name, "name", _MAX_NAME_BYTES),
        "version": schema.version,
        "fields": schema.fields_json(f"{NAMESPACE}.schemaType#"),
        "contentCid": schema.cid,
        "createdAt": _now(),
    }
    if schema.description:
        record["description"] = _text(schema.description, "description", _MAX_DESCRIPTION_BYTES)
    if metadata:
        record["metadata"] = _metadata_to_json(metadata)
    return record


def dataset_record(
    entry: DatasetEntry, storage: Mapping[str, Any], schema_cid: str | None
) -> dict[str, Any]:
    """The record of a dataset.

    Args:
        entry: What it says; `schema_ref` is the AT URI of the schema's record.
        storage: Where the shards lie: `blob_storage` or `external_storage`.
        schema_cid: The CID of the schema's record, for the strongRef.

    Raises:
        InvalidRecordError: A text, or the record, is longer than allowed, or `metadata` hold what
            a record can't.
    """
    record: dict[str, Any] = {
        "$type": DATASET_TYPE,
        "name": _text(entry.name, "name", _MAX_NAME_BYTES),
        "schemaRef": entry.schema_ref,
        "storage": dict(storage),
        "createdAt": _now(),
    }
    if schema_cid is not None:
        record["schema"] = {"uri": entry.schema_ref, "cid": schema_cid}
    if entry.cid is not None:
        record |= {"contentCid": entry.cid, "schemaContentCid": entry.schema_cid}
    if any(shard.cid for shard in entry.shards):
        record["shards"] = [_shard_to_json(shard) for shard in entry.shards]
    if entry.description:
        record["description"] = _text(entry.description, "description", _MAX_DESCRIPTION_BYTES)
    if entry.tags:
        if len(entry.tags) > _MAX_TAGS:
            raise InvalidRecordError("record has too many tags", expected=f"≤ {_MAX_TAGS}")
        record["tags"] = [_text(tag, "tag", _MAX_TAG_BYTES) for tag in entry.tags]
    if entry.license:
        record["license"] = _text(entry.license, "license", _MAX_NAME_BYTES)
    if entry.metadata:
        record["metadata"] = _metadata_to_json(entry.metadata)
    size = len(dag_cbor(record))
    if size > _MAX_RECORD_BYTES:
        raise InvalidRecordError(
            "record is larger than a PDS has to take",
            where=entry.name,
            expected=f"at most {_MAX_RECORD_BYTES:,} bytes",
            got=f"{size:,} bytes for {len(entry.shards):,} shards",
            remedy="Write fewer, larger shards (max_bytes=…)",
        )
    return record


def blob_storage(shards: Sequence[Shard], mime_type: str) -> dict[str, Any]:
    """The part of a dataset's record that holds its shards as blobs of the same account."""
    return {
        "$type": BLOBS_TYPE,
        "blobs": [
            {
                "$type": "blob",
                "ref": {"$link": shard.cid},
                "mimeType": mime_type,
                "size": shard.size,
            }
            for shard in shards
        ],
    }


def external_storage(urls: Sequence[str]) -> dict[str, Any]:
    """The part of a dataset's record that tells where its shards lie outside the PDS."""
    return {"$type": EXTERNAL_TYPE, "urls": list(urls)}


def record_key(record: Mapping[str, Any]) -> str:
    """The key of a record that says this: equal for equal content, whenever it is written.

    It has the form of a TID, which the published lexicons want. Writing something twice thus
    finds the first record in place, without a search.
    """
    content = {key: value for key, value in record.items() if key not in _UNHASHED}
    number = int.from_bytes(hashlib.sha256(dag_cbor(content)).digest()[:8], "big") >> 1
    digits = (number >> 5 * place & 31 for place in reversed(range(_TID_CHARS)))
    return "".join(_TID[digit] for digit in digits)


def parse_schema(record: Record) -> Schema:
    """The schema that a record describes.

    Raises:
        InvalidRecordError: The record is of another type.
        SchemaError: It describes none.
    """
    _check_type(record, SCHEMA_TYPE)
    return Schema.from_json(record, record.uri)


def parse_dataset(record: Record) -> DatasetEntry:
    """The dataset that a record describes.

    Raises:
        InvalidRecordError: It lacks what a dataset has to have, contradicts itself, or keeps its
            shards in a way that is not known.
    """
    _check_type(record, DATASET_TYPE)
    shards = _parse_shards(record)
    schema_cid = record.get("schemaContentCid")
    try:
        entry = DatasetEntry(
            name=str(record["name"]),
            schema_ref=str(AtUri.parse(str(record["schemaRef"]))),
            shards=shards,
            schema_cid=None if schema_cid is None else check_cid(str(schema_cid)),
            description=_optional_text(record, "description"),
            tags=tuple(map(str, record.get("tags") or ())),
            license=_optional_text(record, "license"),
            metadata=_metadata_from_json(record.get("metadata")),
            uri=record.uri,
            record_cid=record.cid,
            previous=(record.get("previous") or {}).get("uri"),
            created_at=_optional_text(record, "createdAt"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidRecordError(f"record is incomplete: {error!r}", where=record.uri) from error
    except AtdataError as error:
        error.where = error.where or record.uri
        raise
    if record.get("contentCid") not in (None, entry.cid):
        raise InvalidRecordError(
            "record contradicts itself: schema and shards don't make the dataset that it names",
            where=record.uri,
            expected=str(record.get("contentCid")),
            got=str(entry.cid),
        )
    return entry


def storage_type(record: Mapping[str, Any]) -> str:
    """``blobs`` or ``external``; raises `InvalidRecordError` for a storage that isn't known."""
    storage = record.get("storage")
    kind = storage.get("$type") if isinstance(storage, dict) else None
    if kind not in (BLOBS_TYPE, EXTERNAL_TYPE):
        raise InvalidRecordError(
            "storage is of a kind that is not supported",
            expected=f"{BLOBS_TYPE} or {EXTERNAL_TYPE}",
            got=repr(kind),
        )
    return "blobs" if kind == BLOBS_TYPE else "external"


def _parse_shards(record: Record) -> tuple[Shard, ...]:
    did = AtUri.parse(record.uri).authority
    told = record.get("shards") or []
    try:
        if storage_type(record) == "blobs":
            blobs = record["storage"]["blobs"]
            placed = [
                Shard(
                    blob_url(did, check_cid(blob["ref"]["$link"])),
                    blob["ref"]["$link"],
                    _count(blob["size"]),
                )
                for blob in blobs[:_SHARD_LIMIT]
            ]
        else:
            urls = [str(url) for url in record["storage"]["urls"][:_SHARD_LIMIT]]
            placed = [Shard(url) for text in urls for url in expand(_remote(text))]
        if told and len(told) != len(placed):
            raise InvalidRecordError("record counts its shards in two ways")
        known = [_shard_from_json(each) for each in told] or placed
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidRecordError(f"storage is malformed: {error!r}", where=record.uri) from error
    shards: list[Shard] = []
    for place, facts in zip(placed, known, strict=True):
        if (place.cid or facts.cid, place.size or facts.size) != (facts.cid, facts.size):
            raise InvalidRecordError("record names a shard in two ways", where=record.uri)
        shards.append(Shard(place.url, facts.cid, facts.size, facts.rows))
    return tuple(shards)


def _remote(url: str) -> str:
    # What a stranger writes must never be taken for a path on this machine.
    if url.partition("://")[0] not in ("https", "s3"):
        raise InvalidRecordError(
            "shard's address can't be opened", expected="https:// or s3://", got=repr(url[:200])
        )
    return url


def _shard_to_json(shard: Shard) -> dict[str, Any]:
    facts = {"cid": shard.cid, "size": shard.size, "rows": shard.rows}
    return {key: value for key, value in facts.items() if value is not None}


def _shard_from_json(body: Mapping[str, Any]) -> Shard:
    cid, size, rows = body.get("cid"), body.get("size"), body.get("rows")
    return Shard(
        "",
        None if cid is None else check_cid(cid),
        None if size is None else _count(size),
        None if rows is None else _count(rows),
    )


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise InvalidRecordError("shard's size or rows is not a count", got=repr(value)[:60])
    return value


def _metadata_to_json(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A map as it is, or as msgpack bytes where it holds what a record can't: floats, bytes."""
    if _fits_record(metadata):
        return dict(metadata)
    import msgpack

    try:
        data: bytes = msgpack.packb(dict(metadata), use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRecordError(f"metadata can't be written: {error}") from error
    return {"$bytes": base64.b64encode(data).decode("ascii").rstrip("=")}


def _metadata_from_json(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        return {}
    if set(body) != {"$bytes"}:
        return body
    import msgpack

    try:
        text = body["$bytes"]
        data = msgpack.unpackb(base64.b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise InvalidRecordError(f"metadata can't be read: {error}") from error
    return data if isinstance(data, dict) else {}


def _fits_record(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(
            isinstance(key, str) and not key.startswith("$") and _fits_record(item)
            for key, item in value.items()
        )
    if isinstance(value, (list, tuple)):
        return all(map(_fits_record, value))
    if isinstance(value, int):
        return -(2**53) < value < 2**53
    return value is None or isinstance(value, str)


def _check_type(record: Record, expected: str) -> None:
    if record.get("$type") != expected:
        raise InvalidRecordError(
            "record is of another type",
            where=record.uri,
            expected=expected,
            got=repr(record.get("$type")),
        )


def _text(value: str, what: str, limit: int) -> str:
    size = len(value.encode("utf-8"))
    if not 0 < size <= limit:
        raise InvalidRecordError(
            f"{what} is too long for a record" if size else f"{what} is empty",
            expected=f"1 to {limit:,} bytes of UTF-8",
            got=f"{size:,}",
        )
    return value


def _optional_text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
