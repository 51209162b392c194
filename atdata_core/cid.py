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
from typing import Annotated, Any, cast

import cbrrr
import libipld
import msgspec

from atdata_core.errors import InvalidRecordError, InvalidUriError

# Of 58 characters of 5 bits, 32 bits are version 1, the codec, SHA-256 and its length, 256 the
# digest, and two are left over: zeros.
_PATTERN = r"\Abaf[ky]rei[a-h][a-z2-7]{50}[aeimquy4]\Z"
Cid = Annotated[str, msgspec.Meta(pattern=_PATTERN)]
"""A text that `check_cid` lets through, as `msgspec` checks it."""
is_cid = re.compile(_PATTERN).match
"""Whether `check_cid` lets a text through: not None."""

_RAW = b"\x01\x55\x12\x20"
_DAG_CBOR = b"\x01\x71\x12\x20"


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
    if not check_cid(cid).startswith("bafk"):
        raise InvalidUriError(
            "CID doesn't name plain bytes", expected="a raw SHA-256 CID, bafkrei…", got=repr(cid)
        )
    digest: bytes = libipld.decode_cid(cid)["hash"]["digest"]
    return digest


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
    if not is_cid(cid):
        raise InvalidUriError(
            "text is not a CID", expected="CIDv1, SHA-256, lower-case base32", got=repr(cid)
        )
    return cid


def _text(data: bytes) -> str:
    text: str = libipld.encode_cid(data)
    return text
