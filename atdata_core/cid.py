"""Content identifiers: CIDv1, SHA-256, in base32.

Two codecs exist here, the two that the AT Protocol knows
(https://atproto.com/specs/data-model#link-and-cid-formats):

- *raw* (``bafkrei…``) names bytes as they are: a shard, a blob;
- *dag-cbor* (``bafyrei…``) names a structure: a schema, a dataset, a record.

A dataset's CID is the dag-cbor CID over its schema's CID and its shards' CIDs in order, so equal
content has equal CIDs wherever it lies.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import cbrrr
import libipld

from atdata_core.errors import InvalidRecordError, InvalidUriError

_RAW = b"\x01\x55\x12\x20"
_DAG_CBOR = b"\x01\x71\x12\x20"
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_DIGITS = str.maketrans(_LETTERS, "0123456789abcdefghijklmnopqrstuv")  # as `int` has them


def raw_cid(data: bytes) -> str:
    """The CID of bytes as they are."""
    return digest_to_cid(hashlib.sha256(data).digest())


def digest_to_cid(sha256: bytes) -> str:
    """The raw CID whose content has this SHA-256 digest (32 bytes)."""
    return _text(_RAW + sha256)


def cid_to_digest(cid: str) -> bytes:
    """The SHA-256 digest (32 bytes) inside a raw CID.

    Raises:
        InvalidUriError: `cid` is not a raw, SHA-256 CIDv1 in lower-case base32.
    """
    data = _parse(cid)
    if not data.startswith(_RAW):
        raise InvalidUriError(
            "CID doesn't name plain bytes", expected="a raw SHA-256 CID, bafkrei…", got=repr(cid)
        )
    return data[4:]


def dag_cbor(value: Mapping[str, Any]) -> bytes:
    """`value` as canonical DAG-CBOR; ``{"$link": …}`` and ``{"$bytes": …}`` as in AT Protocol JSON.

    Raises:
        InvalidUriError: A ``$link`` is not a CID.
        TypeError: A value has no DAG-CBOR form.
    """
    try:
        return bytes(cbrrr.encode_dag_cbor(cast("Any", value), atjson_mode=True))
    except ValueError as error:
        raise InvalidUriError(f"structure can't be encoded as DAG-CBOR: {error}") from error


def parse_dag_cbor(data: bytes) -> Any:
    """What canonical DAG-CBOR holds, in the form that `dag_cbor` takes.

    Raises:
        InvalidRecordError: It is not DAG-CBOR, not canonical, or holds a float.
    """
    try:
        return cbrrr.decode_dag_cbor(data, atjson_mode=True)
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidRecordError(f"bytes are not canonical DAG-CBOR: {error}") from error


def dag_cbor_cid(value: Mapping[str, Any]) -> str:
    """The CID of a structure, over its canonical DAG-CBOR bytes."""
    return _text(_DAG_CBOR + hashlib.sha256(dag_cbor(value)).digest())


def dataset_cid(schema_cid: str, shard_cids: Iterable[str]) -> str:
    """The CID of a dataset: over what its samples are and the bytes that hold them, in order."""
    return dag_cbor_cid(
        {"schema": {"$link": schema_cid}, "shards": [{"$link": cid} for cid in shard_cids]}
    )


def check_cid(cid: str) -> str:
    """`cid` itself, if it is a SHA-256 CIDv1 in lower-case base32, raw or dag-cbor.

    Raises:
        InvalidUriError: It isn't.
    """
    _parse(cid)
    return cid


def _text(data: bytes) -> str:
    text: str = libipld.encode_cid(data)
    return text


def _parse(cid: str) -> bytes:
    number = int(cid[1:].translate(_DIGITS), 32) if _is_base32(cid) else 1
    data = (number >> 2).to_bytes(36, "big")
    if number & 3 or data[:4] not in (_RAW, _DAG_CBOR):  # two bits are left over: zeros
        raise InvalidUriError(
            "text is not a CID", expected="CIDv1, SHA-256, lower-case base32", got=repr(cid)
        )
    return data


_is_base32 = re.compile("b[a-z2-7]{58}").fullmatch
