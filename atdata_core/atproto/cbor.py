"""DAG-CBOR as strangers send it: blocks that are exactly what their CIDs say, or an error.

`cbrrr` refuses what isn't canonical (key order, duplicates, long integers, indefinite lengths,
trailing bytes). What it lets through is refused here: nesting without end, lengths that only
claim memory, floats, CIDs of other kinds, and maps that would read as a link or as bytes.
"""

from typing import Any

import cbrrr

from atdata_core.errors import VerificationError

MAX_BLOCK_BYTES = 2_000_000
"""The size of the largest block that is looked at; a record may have half of it."""

MAX_DEPTH = 64
"""How deep lists and maps may lie in each other; the protocol advises 32."""

_MAX_INTEGER = 2**53
_CID_PREFIXES = (b"\x01\x71\x12\x20", b"\x01\x55\x12\x20")
_CID_BYTES = 36
_RESERVED = {"$link", "$bytes"}


def decode_block(data: bytes, what: str) -> Any:
    """What a block holds, with links as `cbrrr.CID` and bytes as bytes.

    Args:
        data: The block.
        what: Names it in errors.

    Raises:
        VerificationError: It is not canonical DAG-CBOR of the AT Protocol's data model; code
            ``structure``.
    """
    if len(data) > MAX_BLOCK_BYTES:
        raise broken(f"{what} is larger than a block may be", f"≤ {MAX_BLOCK_BYTES:,} bytes")
    try:
        _check_claims(data)
        value = cbrrr.decode_dag_cbor(data)
        _check_model(value)
        if cbrrr.encode_dag_cbor(value) != data:
            raise ValueError("it would be written in other bytes")
    except (ValueError, IndexError, MemoryError) as error:
        raise broken(f"{what} is not canonical DAG-CBOR: {error}") from error
    return value


def decode_json(data: bytes, what: str) -> Any:
    """What a block holds, in the form of AT Protocol JSON; errors as `decode_block`."""
    decode_block(data, what)
    return cbrrr.decode_dag_cbor(data, atjson_mode=True)


def broken(message: str, expected: str | None = None, got: str | None = None) -> VerificationError:
    """The error for bytes that don't have the structure of a proof."""
    return VerificationError(message, code="structure", expected=expected, got=got)


def _check_claims(data: bytes) -> None:
    """Raises `ValueError` for nesting without end, and for lengths that the bytes can't hold.

    The decoder makes room for a list when it sees its length, so that many long ones within each
    other would take memory out of all proportion.
    """
    position, open_items = 0, [1]
    pending = 1
    while open_items:
        if not open_items[-1]:
            open_items.pop()
            continue
        open_items[-1] -= 1
        pending -= 1
        kind, info = data[position] >> 5, data[position] & 31
        position += 1
        argument = info
        if info >= 24:
            size = 1 << (info - 24)
            if size > 8:
                raise ValueError("length is indefinite")
            argument = int.from_bytes(data[position : position + size], "big")
            position += size
        if kind in (2, 3):
            position += argument
        elif kind in (4, 5, 6):
            count = (argument, 2 * argument, 1)[kind - 4]
            open_items.append(count)
            pending += count
        if pending > len(data) - position or len(open_items) > MAX_DEPTH:
            raise ValueError("it is nested too deep, or shorter than it says")


def _check_model(value: Any) -> None:
    if isinstance(value, dict):
        if not _RESERVED.isdisjoint(value):
            raise ValueError("a map has a reserved key")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_model(item)
    elif isinstance(value, float):
        raise ValueError("it holds a float")
    elif isinstance(value, int) and not -_MAX_INTEGER < value < _MAX_INTEGER:
        raise ValueError("it holds an integer of more than 53 bits")
    elif isinstance(value, cbrrr.CID) and not _is_known(value.cid_bytes):
        raise ValueError("it holds a link of another kind")


def _is_known(cid: bytes) -> bool:
    return len(cid) == _CID_BYTES and cid[:4] in _CID_PREFIXES
