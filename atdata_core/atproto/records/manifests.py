"""Lists of shards that are too long for a record: in a blob, which the record names.

A PDS keeps a blob for as long as a record refers to it, and doesn't look for references inside of
blobs. So the shards that are blobs themselves are named once more, by records of type ``part``,
which come before the dataset's record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.lexicon import lexicons
from atdata_core.atproto.records.common import record_key, remote_url
from atdata_core.atproto.records.names import DATASET_TYPES, SEED_NAMESPACE, Names
from atdata_core.atproto.uri import AtUri, blob_url
from atdata_core.cid import (
    cid_to_digest,
    dag_cbor,
    dag_cbor_cid,
    digest_to_cid,
    parse_dag_cbor,
    raw_cid,
)
from atdata_core.errors import IntegrityError, InvalidRecordError, InvalidUriError
from atdata_core.shard import Shard

MANIFEST_MIME_TYPE = "application/vnd.ipld.dag-cbor"
MAX_SHARDS = 100_000
_MAX_BYTES = 32 * 1024 * 1024
_PART_BLOBS = 1_000
_VERSION = 1
_FORM = f"{SEED_NAMESPACE}.storageManifest#manifest"


@dataclass(frozen=True)
class Part:
    """A record that keeps some of a dataset's blobs from being dropped.

    Args:
        record: The record. It holds no time, so that it is the same whenever it is written.
        uri: Its address.
        span: Which of the dataset's shards it names.
    """

    record: dict[str, Any]
    uri: AtUri
    span: slice

    @property
    def cid(self) -> str:
        """The CID that the record has."""
        return dag_cbor_cid(self.record)


@dataclass(frozen=True)
class Manifest:
    """A list of shards outside of the record.

    Args:
        body: The blob.
        storage: The part of the dataset's record that names it.
        parts: The records that keep the shards' blobs; none where the shards lie elsewhere.
    """

    body: bytes
    storage: dict[str, Any]
    parts: tuple[Part, ...] = ()

    @property
    def cid(self) -> str:
        """The raw CID of the blob."""
        return raw_cid(self.body)


def url_manifest(shards: Sequence[Shard], names: Names) -> Manifest:
    """The list of shards that lie at addresses outside of the PDS.

    Raises:
        InvalidRecordError: They are too many even for this.
    """
    items = [{"url": shard.url, **_facts(shard)} for shard in shards]
    return _manifest(items, (), names)


def blob_manifest(shards: Sequence[Shard], mime_type: str, did: str, names: Names) -> Manifest:
    """The list of shards that are blobs of an account, and the records that keep them.

    Raises:
        InvalidRecordError: They are too many even for this.
    """
    parts = []
    for start in range(0, len(shards), _PART_BLOBS):
        span = slice(start, start + _PART_BLOBS)
        blobs = [blob_object(shard, mime_type) for shard in shards[span]]
        record = {"$type": names.part, "blobs": blobs}
        parts.append(Part(record, AtUri(did, names.part, record_key(record)), span))
    return _manifest([_facts(shard) for shard in shards], parts, names)


def blob_object(shard: Shard, mime_type: str) -> dict[str, Any]:
    """A shard as the blob object by which a record refers to it."""
    return {"$type": "blob", "ref": {"$link": shard.cid}, "mimeType": mime_type, "size": shard.size}


def manifest_blob(record: Record) -> tuple[str, int] | None:
    """CID and size of the blob that lists a dataset's shards; None where the record lists them.

    Raises:
        InvalidRecordError: The record doesn't tell them, or the blob is larger than it may be.
    """
    storage = record.get("storage")
    kind = str(storage.get("$type")) if isinstance(storage, Mapping) else ""
    known = {nsid.rpartition(".")[0] + ".storageManifest" for nsid in DATASET_TYPES}
    if record.get("$type") not in DATASET_TYPES or kind not in known:
        return None
    try:
        lexicons().validate_value(storage, kind)
        blob = record["storage"]["manifest"]
        cid_to_digest(blob["ref"]["$link"])
    except (InvalidRecordError, InvalidUriError) as error:
        raise InvalidRecordError(f"storage names no manifest: {error}", where=record.uri) from error
    return str(blob["ref"]["$link"]), int(blob["size"])


def parse_manifest(record: Record, body: bytes) -> list[Shard]:
    """The shards that a dataset's manifest lists, in order.

    Args:
        record: The dataset's record.
        body: The blob that it names.

    Raises:
        IntegrityError: These are other bytes than those of the blob's CID.
        InvalidRecordError: They aren't a list of shards, or not of as many as the record says.
    """
    named = manifest_blob(record)
    if named is None or (raw_cid(body), len(body)) != named:
        raise IntegrityError(
            "manifest's bytes are not those of its CID",
            where=record.uri,
            expected=str(named),
            got=f"{len(body):,} bytes",
        )
    try:
        manifest = parse_dag_cbor(body)
        lexicons().validate_value(manifest, _FORM)
        did = AtUri.parse(record.uri).authority
        shards = [_shard(item, did) for item in manifest["shards"]]
    except (InvalidRecordError, InvalidUriError) as error:
        raise InvalidRecordError(f"manifest is malformed: {error}", where=record.uri) from error
    if len(shards) != record["storage"]["count"]:
        raise InvalidRecordError(
            "manifest lists another number of shards than the record says",
            where=record.uri,
            expected=str(record["storage"]["count"]),
            got=str(len(shards)),
        )
    return shards


def _manifest(items: list[dict[str, Any]], parts: Sequence[Part], names: Names) -> Manifest:
    manifest = {"version": _VERSION, "shards": items}
    body = dag_cbor(manifest)
    if len(items) > MAX_SHARDS or len(body) > _MAX_BYTES:
        raise InvalidRecordError(
            "dataset has too many shards for a record",
            expected=f"at most {MAX_SHARDS:,}, listed in {_MAX_BYTES:,} bytes",
            got=f"{len(items):,}, {len(body):,} bytes",
            remedy="Write fewer, larger shards (max_bytes=…)",
        )
    lexicons().validate_value(manifest, _FORM)
    blob = {"ref": {"$link": raw_cid(body)}, "mimeType": MANIFEST_MIME_TYPE, "size": len(body)}
    storage: dict[str, Any] = {
        "$type": names.storage("Manifest"),
        "manifest": {"$type": "blob", **blob},
        "count": len(items),
    }
    if parts:
        storage["parts"] = [{"uri": str(part.uri), "cid": part.cid} for part in parts]
    return Manifest(body, storage, tuple(parts))


def _facts(shard: Shard) -> dict[str, Any]:
    cid = None if shard.cid is None else {"$link": shard.cid}
    facts = {"cid": cid, "size": shard.size, "rows": shard.rows}
    return {key: value for key, value in facts.items() if value is not None}


def _shard(item: Mapping[str, Any], did: str) -> Shard:
    cid = item["cid"]["$link"] if "cid" in item else None
    if cid is not None:
        cid = digest_to_cid(cid_to_digest(cid))
    if "url" in item:
        return Shard(remote_url(item["url"]), cid, item.get("size"), item.get("rows"))
    if cid is None or "size" not in item:
        raise InvalidRecordError("shard has neither an address nor a CID and size")
    return Shard(blob_url(did, cid), cid, item["size"], item.get("rows"))
