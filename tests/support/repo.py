"""Repositories made by hand: trees, commits and CARs, legal ones and others.

Written after the specification, apart from the library's reader of them.
"""

import base64
import hashlib
import os
import time

import cbrrr
from cbrrr import CID
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

DID = "did:plc:" + "b" * 24
_B58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_TID = "234567abcdefghijklmnopqrstuvwxyz"
ORDERS = {
    "P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "K-256": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}
_CURVES = {"P-256": (ec.SECP256R1, b"\x80\x24"), "K-256": (ec.SECP256K1, b"\xe7\x01")}


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _B58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def tid(seconds=None, clock=0):
    number = int((time.time() if seconds is None else seconds) * 1e6) << 10 | clock
    return "".join(_TID[number >> 5 * place & 31] for place in reversed(range(13)))


class Key:
    """A signing key."""

    def __init__(self, curve="K-256", private=None):
        kind, self._prefix = _CURVES[curve]
        self.curve, self._order = curve, ORDERS[curve]
        self._private = (
            ec.generate_private_key(kind())
            if private is None
            else ec.derive_private_key(private, kind())
        )

    def public(self, compressed=True):
        form = serialization.PublicFormat
        return self._private.public_key().public_bytes(
            serialization.Encoding.X962,
            form.CompressedPoint if compressed else form.UncompressedPoint,
        )

    @property
    def multibase(self):
        return "z" + base58(self._prefix + self.public())

    @property
    def did(self):
        return f"did:key:{self.multibase}"

    def sign_der(self, data):
        return self._private.sign(data, ec.ECDSA(hashes.SHA256()))

    def sign(self, data, high=False):
        r, s = decode_dss_signature(self.sign_der(data))
        if (s > self._order // 2) != high:
            s = self._order - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def document(key, did=DID, pds="https://pds.example.org", **method):
    """The DID document of an account, its key in today's form."""
    return {
        "id": did,
        "alsoKnownAs": ["at://someone.example.org"],
        "verificationMethod": [
            {
                "id": f"{did}#atproto",
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": key.multibase,
            }
            | method
        ],
        "service": [
            {
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": pds,
            }
        ],
    }


def cid_of(block, codec=0x71):
    return bytes([1, codec, 0x12, 0x20]) + hashlib.sha256(block).digest()


def text_of(cid):
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def height(key):
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(key).digest())
    return (len(bits) - len(bits.lstrip("0"))) // 2


class Tree:
    """The tree of some records: key (text) -> CID (36 bytes)."""

    def __init__(self, records):
        self.blocks = {}
        items = sorted((key.encode(), cid) for key, cid in records.items())
        top = max((height(key) for key, _ in items), default=0)
        self.root = self._node(items, top) or self.add({"l": None, "e": []})

    def add(self, value):
        block = cbrrr.encode_dag_cbor(value)
        self.blocks[cid_of(block)] = block
        return cid_of(block)

    def _node(self, items, level):
        if not items:
            return None
        gaps, here = [[]], []
        for key, cid in items:
            if height(key) == level:
                here.append((key, cid))
                gaps.append([])
            else:
                gaps[-1].append((key, cid))
        links = [self._node(gap, level - 1) for gap in gaps]
        links = [None if link is None else CID(link) for link in links]
        entries, before = [], b""
        for (key, cid), link in zip(here, links[1:], strict=True):
            shared = len(os.path.commonprefix([before, key]))  # noqa: RUF071
            entries.append({"p": shared, "k": key[shared:], "v": CID(cid), "t": link})
            before = key
        return self.add({"l": links[0], "e": entries})


class Repo:
    """A signed repository; `car` is all of it."""

    def __init__(self, records, key=None, did=DID, rev=None, **commit):
        self.key = key or Key()
        self.did = did
        self.blocks = {}
        cids = {}
        for name, value in records.items():
            block = value if isinstance(value, bytes) else cbrrr.encode_dag_cbor(value, True)
            cids[name] = cid_of(block)
            self.blocks[cids[name]] = block
        tree = Tree(cids)
        self.blocks |= tree.blocks
        self.cids = cids
        self.commit(tree.root, rev, **commit)

    def commit(self, tree, rev=None, sign=None, **fields):
        """Signs a tree as it is; `fields` replace those of the commit."""
        body = {
            "did": self.did,
            "version": 3,
            "data": CID(tree),
            "rev": rev or tid(),
            "prev": None,
        } | fields
        signature = (sign or self.key.sign)(cbrrr.encode_dag_cbor(body))
        block = cbrrr.encode_dag_cbor(body | {"sig": signature})
        self.root = cid_of(block)
        self.blocks[self.root] = block

    def document(self, **method):
        return document(self.key, self.did, **method)

    def car(self):
        return car(self.root, list(self.blocks.items()))


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def car(root, blocks, header=None):
    """A CAR of (CID, bytes), in this order."""
    head = header or cbrrr.encode_dag_cbor({"version": 1, "roots": [CID(root)]})
    parts = [varint(len(head)), head]
    for cid, block in blocks:
        parts += [varint(len(cid) + len(block)), cid, block]
    return b"".join(parts)


def split_car(data):
    """Root and blocks of a CAR, in their order; nothing is checked."""

    def number(position):
        value, shift = 0, 0
        while True:
            byte = data[position]
            value |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                return value, position

    length, position = number(0)
    root = cbrrr.decode_dag_cbor(data[position : position + length])["roots"][0].cid_bytes
    position += length
    blocks = []
    while position < len(data):
        length, position = number(position)
        blocks.append((data[position : position + 36], data[position + 36 : position + length]))
        position += length
    return root, blocks
