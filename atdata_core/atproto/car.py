"""CAR files: blocks in a row, each beside its CID (https://ipld.io/specs/transport/car/carv1)."""

import base64
import hashlib
from dataclasses import dataclass

import cbrrr

from atdata_core.atproto.cbor import MAX_BLOCK_BYTES, broken, decode_block
from atdata_core.errors import VerificationError

MAX_CAR_BYTES = 5_000_000
"""The size of the largest CAR that is read: that of the largest commit on the network."""

_MAX_BLOCKS = 10_000
_MAX_HEADER_BYTES = 4096
_CID_BYTES = 36
_CODECS = (b"\x01\x71\x12\x20", b"\x01\x55\x12\x20")


@dataclass(frozen=True)
class Car:
    """The blocks of a CAR, every one of them checked against its CID.

    Args:
        root: The CID of the block to start from, 36 bytes.
        blocks: The blocks by their CIDs.
    """

    root: bytes
    blocks: dict[bytes, bytes]

    def block(self, cid: bytes, what: str) -> bytes:
        """A block; raises `VerificationError` (``missing-block``) if it isn't there."""
        try:
            return self.blocks[cid]
        except KeyError:
            raise VerificationError(
                f"proof lacks a block: {what}", code="missing-block", expected=cid_text(cid)
            ) from None


def read_car(data: bytes) -> Car:
    """The blocks of a CAR.

    Blocks in another order, twice, or beside those that are needed are no error.

    Raises:
        VerificationError: It is malformed or cut short (``structure``), or a block's bytes are not
            those of its CID (``block-hash``).
    """
    if len(data) > MAX_CAR_BYTES:
        raise broken("CAR is too large", f"≤ {MAX_CAR_BYTES:,} bytes", f"{len(data):,}")
    length, position = _length(data, 0, _MAX_HEADER_BYTES)
    header = decode_block(data[position : position + length], "CAR header")
    position += length
    root = _root(header)
    blocks: dict[bytes, bytes] = {}
    count = 0
    while position < len(data):
        length, position = _length(data, position, MAX_BLOCK_BYTES + _CID_BYTES)
        cid = data[position : position + _CID_BYTES]
        block = data[position + _CID_BYTES : position + length]
        position += length
        count += 1
        if count > _MAX_BLOCKS:
            raise broken("CAR has too many blocks", f"≤ {_MAX_BLOCKS:,}")
        if length < _CID_BYTES or cid[:4] not in _CODECS:
            raise broken("CAR names a block in an unknown way", "a SHA-256 CIDv1", repr(cid[:8]))
        if hashlib.sha256(block).digest() != cid[4:]:
            raise VerificationError(
                "block's bytes are not those of its CID", code="block-hash", expected=cid_text(cid)
            )
        blocks[cid] = block
    return Car(root, blocks)


def cid_text(cid: bytes) -> str:
    """A CID as text."""
    return "b" + base64.b32encode(cid).decode("ascii").rstrip("=").lower()


def _root(header: object) -> bytes:
    roots = header.get("roots") if isinstance(header, dict) else None
    if not isinstance(header, dict) or header.get("version") != 1 or not isinstance(roots, list):
        raise broken("CAR header is of another version", "version 1 with roots", repr(header)[:80])
    if not roots or not isinstance(roots[0], cbrrr.CID):
        raise broken("CAR header names no root")
    return bytes(roots[0])


def _length(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """A length (an unsigned varint) and where it ends; what it counts lies within `data`."""
    length = 0
    for place in range(9):
        if position >= len(data):
            raise broken("CAR is cut short")
        byte = data[position]
        position += 1
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    else:
        raise broken("CAR has a length of more than 63 bits")
    if length == 0 or length > limit:
        raise broken("CAR has an impossible length", f"1 to {limit:,}", f"{length:,}")
    if length > len(data) - position:
        raise broken("CAR is cut short", f"{length:,} more bytes", f"{len(data) - position:,}")
    return length, position
