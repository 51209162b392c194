"""Dataset records, in every form that was ever published.

Besides the fields that public ``atdata`` writes, ours hold the CIDs that make them checkable: of
the schema's record (a strongRef), of the schema's and the dataset's content, and of each shard.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.lexicon import validate_record
from atdata_core.atproto.records.common import (
    check_type,
    metadata_bytes,
    metadata_fields,
    now,
    optional_text,
    parse_metadata,
    remote_url,
)
from atdata_core.atproto.records.manifests import blob_object, manifest_blob, parse_manifest
from atdata_core.atproto.records.names import DATASET_TYPES, Names
from atdata_core.atproto.uri import AtUri, blob_url
from atdata_core.cid import check_cid, cid_to_digest, dag_cbor, digest_to_cid
from atdata_core.entry import DatasetEntry, StrongRef
from atdata_core.errors import AtdataError, ConfigurationError, InvalidRecordError
from atdata_core.shard import Shard
from atdata_core.sources import expand

MAX_RECORD_BYTES = 150 * 1024
"""The size of the largest record that is written; the protocol has a PDS take little more."""

_MAX_SHARDS = 10_000
_DIGEST_BYTES = 32


def dataset_record(
    entry: DatasetEntry, storage: Mapping[str, Any], schema_cid: str | None, names: Names
) -> dict[str, Any]:
    """The record of a dataset.

    Args:
        entry: What it says; `schema_ref` is the AT URI of the schema's record.
        storage: Where the shards lie: `blob_storage`, `external_storage`, or that of a `Manifest`.
        schema_cid: The CID of the schema's record, for the strongRef.
        names: The types of records to write.

    Raises:
        InvalidRecordError: The record isn't what its lexicon says.
    """
    record: dict[str, Any] = {
        "$type": names.dataset,
        "name": entry.name,
        "schemaRef": entry.schema_ref,
        "storage": dict(storage),
        "createdAt": now(),
    }
    if schema_cid is not None:
        record["schema"] = {"uri": entry.schema_ref, "cid": schema_cid}
    if entry.cid is not None:
        record |= {"contentCid": entry.cid, "schemaContentCid": entry.schema_cid}
    listed = storage["$type"] != names.storage("Manifest")
    if listed and any(shard.cid for shard in entry.shards):
        record["shards"] = [_shard_to_json(shard) for shard in entry.shards]
    record |= {"description": entry.description} if entry.description else {}
    record |= {"tags": list(entry.tags)} if entry.tags else {}
    record |= {"license": entry.license} if entry.license else {}
    if entry.derived_from:
        record["derivedFrom"] = [link.to_json() for link in entry.derived_from]
    if names.is_public:
        record |= {"metadata": metadata_bytes(entry.metadata)} if entry.metadata else {}
        record |= _size(entry)
    else:
        record |= metadata_fields(entry.metadata)
    validate_record(record, names.dataset)
    return record


def record_size(record: Mapping[str, Any]) -> int:
    """The bytes that a record takes in a repository."""
    return len(dag_cbor(record))


def blob_storage(shards: Sequence[Shard], mime_type: str, names: Names) -> dict[str, Any]:
    """The part of a dataset's record that holds its shards as blobs of the same account."""
    blobs = [blob_object(shard, mime_type) for shard in shards]
    if names.is_public:
        sums = map(_checksum, shards)
        blobs = [{"blob": blob, "checksum": sum_} for blob, sum_ in zip(blobs, sums, strict=True)]
    return {"$type": names.storage("Blobs"), "blobs": blobs}


def external_storage(urls: Sequence[str], shards: Sequence[Shard], names: Names) -> dict[str, Any]:
    """The part of a dataset's record that tells where its shards lie outside the PDS.

    Args:
        urls: Their addresses, braces allowed.
        shards: What is known of them; nothing, where nobody looked.
        names: The types of records to write.

    Raises:
        ConfigurationError: The addresses are of several kinds, or in several buckets.
    """
    if not names.is_public:
        return {"$type": names.storage("External"), "urls": list(urls)}
    plain = [url for text in urls for url in expand(text)]
    known = {shard.url: shard for shard in shards}
    sums = [_checksum(known.get(url)) for url in plain]
    places = {
        url.rpartition("/")[0] if not url.startswith("s3://") else _bucket(url) for url in plain
    }
    if all(url.startswith("s3://") for url in plain) and len(places) == 1:
        bucket = places.pop()
        keys = [url.removeprefix(f"s3://{bucket}/") for url in plain]
        entries = [{"key": key, "checksum": s} for key, s in zip(keys, sums, strict=True)]
        return {"$type": names.storage("S3"), "bucket": bucket, "shards": entries}
    if all(url.startswith("https://") for url in plain):
        entries = [{"url": url, "checksum": s} for url, s in zip(plain, sums, strict=True)]
        return {"$type": names.storage("Http"), "shards": entries}
    raise ConfigurationError(
        "a record of this namespace holds shards of one kind, in one bucket",
        expected="https:// addresses, or s3:// ones in one bucket",
        got=", ".join(sorted(places))[:200],
    )


def storage_type(record: Mapping[str, Any]) -> str:
    """``blobs`` or ``external``; raises `InvalidRecordError` for a storage that isn't known."""
    kind = _storage_kind(record)
    if kind in ("storageBlobs", "storageExternal", "storageHttp", "storageS3"):
        return "blobs" if kind == "storageBlobs" else "external"
    if kind == "storageManifest":
        return "blobs" if record["storage"].get("parts") else "external"
    raise InvalidRecordError(
        "storage is of a kind that is not supported",
        expected="storageBlobs, storageHttp, storageS3, storageExternal or storageManifest",
        got=repr((record.get("storage") or {}).get("$type")),
    )


def blobs_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The blob objects of a record's shards, in order, however they are wrapped."""
    return [item.get("blob", item) for item in record["storage"]["blobs"]]


def parse_dataset(record: Record, manifest: bytes | None = None) -> DatasetEntry:
    """The dataset that a record describes.

    One whose storage is of a kind that isn't known is described all the same; it can't be opened,
    and says why. So is one whose shards are listed in a manifest that isn't given.

    Args:
        record: The record.
        manifest: The blob that `manifest_blob` names.

    Raises:
        InvalidRecordError: It lacks what a dataset has to have, or contradicts itself.
        IntegrityError: The manifest is not the one that the record names.
    """
    check_type(record, DATASET_TYPES)
    schema_cid = record.get("schemaContentCid")
    try:
        unreadable = _unreadable(record, manifest)
        entry = DatasetEntry(
            name=str(record["name"]),
            schema_ref=str(AtUri.parse(str(record["schemaRef"]))),
            shards=() if unreadable else _parse_shards(record, manifest),
            schema_cid=None if schema_cid is None else check_cid(str(schema_cid)),
            description=optional_text(record, "description"),
            tags=tuple(map(str, record.get("tags") or ())),
            license=optional_text(record, "license"),
            metadata=parse_metadata(record),
            uri=record.uri,
            record_cid=record.cid,
            previous=(record.get("previous") or {}).get("uri"),
            created_at=optional_text(record, "createdAt"),
            derived_from=tuple(map(_parse_link, record.get("derivedFrom") or ())),
            unreadable=unreadable,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidRecordError(f"record is incomplete: {error!r}", where=record.uri) from error
    except AtdataError as error:
        error.where = error.where or record.uri
        raise
    if not unreadable and record.get("contentCid") not in (None, entry.cid):
        raise InvalidRecordError(
            "record contradicts itself: schema and shards don't make the dataset that it names",
            where=record.uri,
            expected=str(record.get("contentCid")),
            got=str(entry.cid),
        )
    return entry


def _parse_link(body: Mapping[str, Any]) -> StrongRef:
    return StrongRef(str(AtUri.parse(str(body["uri"]))), str(body["cid"]))


def _unreadable(record: Record, manifest: bytes | None) -> str | None:
    try:
        storage_type(record)
    except InvalidRecordError as error:
        return str(error)
    unlisted = manifest_blob(record) is not None and manifest is None
    return "its shards are listed in a blob, which was not fetched" if unlisted else None


def _parse_shards(record: Record, manifest: bytes | None) -> tuple[Shard, ...]:
    if manifest is not None:
        return tuple(parse_manifest(record, manifest))
    try:
        placed = _placed(record)
        told = record.get("shards") or []
        if told and len(told) != len(placed):
            raise InvalidRecordError("record counts its shards in two ways", where=record.uri)
        known = [_shard_from_json(each) for each in told] or placed
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, AtdataError):
            raise
        raise InvalidRecordError(f"storage is malformed: {error!r}", where=record.uri) from error
    return tuple(map(_merged, placed, known))


def _placed(record: Record) -> list[Shard]:
    """The shards with what the storage alone says of them."""
    storage = record["storage"]
    kind = _storage_kind(record)
    if kind == "storageBlobs":
        did = AtUri.parse(record.uri).authority
        return [_blob_shard(did, item) for item in storage["blobs"][:_MAX_SHARDS]]
    if kind == "storageExternal":
        texts = [remote_url(str(url)) for url in storage["urls"][:_MAX_SHARDS]]
        return [Shard(url) for text in texts for url in expand(text)]
    items = storage["shards"][:_MAX_SHARDS]
    if kind == "storageHttp":
        return [Shard(remote_url(str(item["url"])), _checksum_cid(item)) for item in items]
    base = f"s3://{storage['bucket']}"
    if storage.get("endpoint"):
        # A stranger's server is asked as anybody's, never with the reader's own keys.
        base = remote_url(f"{str(storage['endpoint']).rstrip('/')}/{storage['bucket']}")
    return [Shard(f"{base}/{item['key']}", _checksum_cid(item)) for item in items]


def as_stored(value: Any, media_types: Mapping[str, str] | None = None) -> Any:
    """A record whose blobs have the media types that a PDS gave them, or all the same.

    Args:
        value: The record, or a part of it.
        media_types: Media types by the blobs' CIDs; None, to compare records by all else.
    """
    if isinstance(value, list):
        return [as_stored(item, media_types) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("$type") == "blob":
        types = {} if media_types is None else media_types
        kept = "any" if media_types is None else value["mimeType"]
        return {**value, "mimeType": types.get(value["ref"]["$link"], kept)}
    return {key: as_stored(item, media_types) for key, item in value.items()}


def _blob_shard(did: str, item: Mapping[str, Any]) -> Shard:
    blob = item.get("blob", item)
    # A form that the protocol itself has given up: the CID as text, and no size.
    cid = blob["cid"] if "cid" in blob else blob["ref"]["$link"]
    size = blob.get("size")
    if "cid" not in blob and (type(size) is not int or size < 0):
        raise InvalidRecordError("blob's size is not a count", got=repr(size)[:60])
    cid_to_digest(str(cid))
    stated = _checksum_cid(item)
    if stated not in (None, cid):
        raise InvalidRecordError("blob's checksum is not that of its CID", got=str(cid))
    return Shard(blob_url(did, cid), cid, size)


def _merged(place: Shard, facts: Shard) -> Shard:
    for stated, told in ((place.cid, facts.cid), (place.size, facts.size)):
        if stated is not None and told is not None and stated != told:
            raise InvalidRecordError("record names a shard in two ways", got=f"{stated}, {told}")
    return Shard(place.url, facts.cid or place.cid, facts.size or place.size, facts.rows)


def _storage_kind(record: Mapping[str, Any]) -> str:
    storage = record.get("storage")
    kind = str(storage.get("$type")) if isinstance(storage, dict) else ""
    namespace, _, name = kind.rpartition(".")
    known = {nsid.rpartition(".")[0] for nsid in DATASET_TYPES}
    return name if namespace in known else ""


def _bucket(url: str) -> str:
    return url.removeprefix("s3://").partition("/")[0]


def _checksum(shard: Shard | None) -> dict[str, str]:
    if shard is None or shard.cid is None:
        return {"algorithm": "none", "digest": ""}
    return {"algorithm": "sha256", "digest": cid_to_digest(shard.cid).hex()}


def _checksum_cid(item: Mapping[str, Any]) -> str | None:
    stated = item.get("checksum") or {}
    if stated.get("algorithm") != "sha256":
        return None
    digest = bytes.fromhex(stated["digest"])
    if len(digest) != _DIGEST_BYTES:
        raise InvalidRecordError("checksum has another length than SHA-256", got=stated["digest"])
    return digest_to_cid(digest)


def _size(entry: DatasetEntry) -> dict[str, Any]:
    facts = {"samples": entry.rows, "bytes": entry.size, "shards": len(entry.shards) or None}
    known = {key: value for key, value in facts.items() if value is not None}
    return {"size": known} if known else {}


def _shard_to_json(shard: Shard) -> dict[str, Any]:
    facts = {"cid": shard.cid, "size": shard.size, "rows": shard.rows}
    return {key: value for key, value in facts.items() if value is not None}


def _shard_from_json(body: Mapping[str, Any]) -> Shard:
    cid, size, rows = body.get("cid"), body.get("size"), body.get("rows")
    if any(n is not None and (type(n) is not int or n < 0) for n in (size, rows)):
        raise InvalidRecordError("shard's size or rows is not a count", got=repr((size, rows)))
    return Shard("", None if cid is None else check_cid(cid), size, rows)
