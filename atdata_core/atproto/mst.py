"""The Merkle search tree of a repository (https://atproto.com/specs/repository#mst-structure).

A key's place in the tree follows from its hash alone, so a tree has one shape for one content, and
the way down to a key shows either the record or that there is none.
"""

import hashlib
import itertools
import re
from typing import Any

import cbrrr

from atdata_core.atproto.car import Car
from atdata_core.atproto.cbor import broken, decode_block

_MAX_ENTRIES = 1_000  # a node holds four on average; this many take 2^400 tries
_MAX_KEY_BYTES = 1024
_KEY = re.compile(rb"[a-zA-Z0-9_~:.-]+/[a-zA-Z0-9_~:.-]+")
_NODE_KEYS = {"l", "e"}
_ENTRY_KEYS = {"p", "k", "v", "t"}


def find(car: Car, root: bytes, key: str) -> bytes | None:
    """The CID of the record at a key, or None where the tree proves that there is none.

    Each node on the way is held to the rules: keys in order, at their height, between those of the
    node above, written as short as can be.

    Args:
        car: Holds the nodes on the way.
        root: The CID of the tree's root.
        key: ``collection/rkey``.

    Raises:
        VerificationError: A node breaks a rule (``structure``), or isn't there
            (``missing-block``).
    """
    wanted = key.encode("ascii")
    low, high = b"", b"\xff"
    cid, height = root, None
    while True:
        node = _Node(car.block(cid, f"a node on the way to {key}"))
        height = node.check(low, high, height)
        following: bytes | None = node.left
        for name, value, right in node.entries:
            if name == wanted:
                return value
            if name > wanted:
                high = name
                break
            low, following = name, right
        if following is None:
            return None
        cid = following


def key_height(key: bytes) -> int:
    """How high above the leaves a key stands: pairs of zero bits at the start of its hash."""
    number = int.from_bytes(hashlib.sha256(key).digest(), "big")
    return (256 - number.bit_length()) // 2


def common_prefix(left: bytes, right: bytes) -> int:
    """How many bytes two keys have in common at their start."""
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


class _Node:
    """A node: `left`, the subtree before all of its keys, and `entries`: (key, value, subtree)."""

    def __init__(self, block: bytes) -> None:
        body = decode_block(block, "tree node")
        if not isinstance(body, dict) or set(body) != _NODE_KEYS or not isinstance(body["e"], list):
            raise broken("tree node has other fields", "l and e")
        if len(body["e"]) > _MAX_ENTRIES:
            raise broken("tree node has too many keys", f"≤ {_MAX_ENTRIES:,}")
        self.left = _link(body["l"])
        self.entries: list[tuple[bytes, bytes, bytes | None]] = []
        before = b""
        for entry in body["e"]:
            before = _full_key(entry, before)
            value = _link(entry["v"])
            if value is None:
                raise broken("tree node has a key without a record", got=repr(before))
            self.entries.append((before, value, _link(entry["t"])))

    def check(self, low: bytes, high: bytes, above: int | None) -> int:
        """Raises for keys out of their place between `low` and `high`; the node's height."""
        keys = [low, *(key for key, _, _ in self.entries), high]
        if any(key >= following for key, following in itertools.pairwise(keys)):
            raise broken("keys of the tree are not in order", got=repr(keys[1:-1])[:200])
        heights = {key_height(key) for key, _, _ in self.entries}
        if above is None:
            if not heights and self.left is None:
                return 0  # an empty tree
            expected = next(iter(heights), None)
        else:
            expected = above - 1
        children = [self.left, *(child for _, _, child in self.entries)]
        bare = not heights and (above is None or self.left is None)
        if expected is None or heights - {expected} or bare or expected < 0:
            raise broken("tree node is at another height than its keys", str(expected))
        if expected == 0 and any(children):
            raise broken("tree goes on below its lowest height")
        return expected


def _full_key(entry: Any, before: bytes) -> bytes:
    if not isinstance(entry, dict) or set(entry) != _ENTRY_KEYS:
        raise broken("entry of a tree node has other fields", "p, k, v and t")
    shared, rest = entry["p"], entry["k"]
    if type(shared) is not int or not isinstance(rest, bytes) or not 0 <= shared <= len(before):
        raise broken("entry of a tree node has no key")
    key = before[:shared] + rest
    if len(key) > _MAX_KEY_BYTES or not _KEY.fullmatch(key):
        raise broken("key of the tree is malformed", "collection/rkey", repr(key)[:120])
    if shared != common_prefix(before, key):
        raise broken("key of the tree is not written as short as can be", got=repr(key)[:120])
    return key


def _link(value: Any) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, cbrrr.CID) or not value.is_cidv1_dag_cbor_sha256_32():
        raise broken("tree node has something else in place of a link", got=repr(value)[:80])
    return bytes(value)
