"""What records of all types have in common: their keys, times, and metadata."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.cid import dag_cbor
from atdata_core.errors import InvalidRecordError

_UNHASHED = ("createdAt", "previous")
_TID = "234567abcdefghijklmnopqrstuvwxyz"
_TID_CHARS = 13


def record_key(record: Mapping[str, Any]) -> str:
    """The key of a record that says this: equal for equal content, whenever it is written.

    It has the form of a TID, which the published lexicons want. Writing something twice thus
    finds the first record in place, without a search.
    """
    content = {key: value for key, value in record.items() if key not in _UNHASHED}
    number = int.from_bytes(hashlib.sha256(dag_cbor(content)).digest()[:8], "big") >> 1
    digits = (number >> 5 * place & 31 for place in reversed(range(_TID_CHARS)))
    return "".join(_TID[digit] for digit in digits)


def check_type(record: Record, expected: Sequence[str]) -> None:
    """Raises `InvalidRecordError` if a record is of none of the expected types."""
    if record.get("$type") not in expected:
        raise InvalidRecordError(
            "record is of another type",
            where=record.uri,
            expected=" or ".join(expected),
            got=repr(record.get("$type")),
        )


def remote_url(url: str) -> str:
    """A shard's address, if it may be opened; `InvalidRecordError` for any other."""
    # What a stranger writes must never be taken for a path on this machine.
    if url.partition("://")[0] not in ("https", "s3"):
        raise InvalidRecordError(
            "shard's address can't be opened", expected="https:// or s3://", got=repr(url[:200])
        )
    return url


def optional_text(record: Mapping[str, Any], key: str) -> str | None:
    """A field's text, or None where there is something else or nothing."""
    value = record.get(key)
    return value if isinstance(value, str) else None


def now() -> str:
    """The time, as records hold it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def metadata_fields(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The field that holds metadata: a map, or bytes where they hold what a record can't.

    Raises:
        InvalidRecordError: They hold what msgpack can't, either.
    """
    if not metadata:
        return {}
    if _fits_record(metadata):
        return {"metadata": _plain(metadata)}
    return {"metadataBytes": metadata_bytes(metadata)}


def metadata_bytes(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Metadata as msgpack, in a length that base64 writes without padding.

    A PDS hands bytes out without padding, and public ``atdata`` reads none without. msgpack
    writes the number of a map's pairs in 1, 3, or 5 bytes, so any remainder can be made up for.

    Raises:
        InvalidRecordError: They hold what msgpack can't.
    """
    import msgpack

    try:
        data: bytes = msgpack.packb(dict(metadata), use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRecordError(f"metadata can't be written: {error}") from error
    count = len(metadata)
    heads = [b"\xde" + count.to_bytes(2, "big"), b"\xdf" + count.to_bytes(4, "big")]
    if count < 16:
        body, heads = data[1:], [bytes([0x80 | count]), *heads]
        data = next(head + body for head in heads if (len(head) + len(body)) % 3 == 0)
    return {"$bytes": base64.b64encode(data).decode("ascii").rstrip("=")}


def parse_metadata(record: Record) -> dict[str, Any]:
    """What a record says in its metadata, in whichever form.

    Raises:
        InvalidRecordError: They are bytes that can't be read.
    """
    body = record.get("metadataBytes", record.get("metadata"))
    if not isinstance(body, dict):
        return {}
    if set(body) != {"$bytes"}:
        return body
    import msgpack

    try:
        text = body["$bytes"]
        data = msgpack.unpackb(base64.b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise InvalidRecordError(f"metadata can't be read: {error}", where=record.uri) from error
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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
