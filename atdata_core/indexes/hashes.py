"""Entries and schemas as Redis keeps them: public ``atdata``'s fields, and ours beside them."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import msgpack
import msgspec

from atdata_core.cid import cid_to_digest, dag_cbor_cid, digest_to_cid
from atdata_core.entry import DatasetEntry
from atdata_core.errors import InvalidRecordError
from atdata_core.indexes.codec import entry_from_json, entry_to_json, read_json
from atdata_core.schema import Schema


def entry_id(entry: DatasetEntry) -> str:
    """The id of an entry: the dag-cbor CID of what it says, whenever it was written."""
    said = entry_to_json(entry)
    return _id_of(said, _sorted_json(said.get("metadata")))


def _id_of(said: Mapping[str, Any], metadata: str) -> str:
    return dag_cbor_cid({**said, "metadata": metadata})


_sorted_json = json.JSONEncoder(sort_keys=True).encode


def entry_to_hash(entry: DatasetEntry, time: str) -> dict[str, str | bytes]:
    """The fields of an entry's hash.

    Args:
        entry: The entry.
        time: When it is written, ISO 8601 in UTC.
    """
    said = entry_to_json(entry)
    metadata = _sorted_json(said.get("metadata"))
    return {
        "name": entry.name,
        "schema_ref": entry.schema_ref,
        "data_urls": msgpack.packb(entry.data_urls),
        "cid": _id_of(said, metadata),
        "metadata": msgpack.packb({**_checksums(entry), **entry.metadata}),
        "content_cid": entry.cid or "",
        "entry": _text_of({**said, "created_at": time}, metadata),
    }


def _text_of(said: Mapping[str, Any], metadata: str) -> str | bytes:
    """What an entry says as JSON.

    (1.1 us; 4.8 as Python writes it, which alone writes NaN, Infinity and NumPy's numbers.)
    """
    if "NaN" not in metadata and "Infinity" not in metadata:
        with contextlib.suppress(TypeError):
            return msgspec.json.encode(said)
    return json.dumps(said)


def _checksums(entry: DatasetEntry) -> dict[str, Any]:
    # As public atdata keeps them: SHA-256 in hex, by address.
    found = {s.url: cid_to_digest(s.cid).hex() for s in entry.shards if s.cid is not None}
    return {"checksums": found} if found else {}


def entry_from_hash(fields: Mapping[Any, Any], where: str) -> DatasetEntry:
    """The entry that a hash holds, ours or public ``atdata``'s; `InvalidRecordError` if none."""
    if b"entry" not in fields:
        return _foreign_entry(fields, where)
    said = read_json(fields[b"entry"], "entry", where)
    if b"previous" in fields and isinstance(said, dict):
        said["previous"] = as_text(fields[b"previous"])
    return entry_from_json(said, where)


def _foreign_entry(fields: Mapping[Any, Any], where: str) -> DatasetEntry:
    """The entry that public ``atdata`` wrote: addresses, and perhaps their checksums."""
    try:
        urls = msgpack.unpackb(fields[b"data_urls"])
        if not isinstance(urls, list):
            raise TypeError(f"data_urls is no list, but {type(urls).__name__}")
        metadata = msgpack.unpackb(fields.get(b"metadata", b"\x80")) or {}
        sums = metadata.pop("checksums", None) or {}
        said = {
            "name": as_text(fields[b"name"]),
            "schema_ref": as_text(fields[b"schema_ref"]),
            "shards": [{"url": url, "cid": _cid_of(sums.get(url))} for url in urls],
            "metadata": metadata,
        }
    except (KeyError, TypeError, ValueError, AttributeError, msgpack.UnpackException) as error:
        raise InvalidRecordError(f"entry can't be read: {error!r}", where=where) from error
    return entry_from_json(said, where)


def _cid_of(sha256: Any) -> str | None:
    try:
        digest = bytes.fromhex(sha256)
    except (TypeError, ValueError):
        return None
    return digest_to_cid(digest) if len(digest) == 32 else None


def schema_from_text(text: Any, where: str) -> Schema:
    """The schema that JSON text holds; raises `InvalidRecordError` or `SchemaError` if none."""
    return Schema.from_json(read_json(text, "schema", where), where)


def as_text(data: Any) -> str:
    """What Redis keeps as bytes, as text; what is none, with a sign in its place."""
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
