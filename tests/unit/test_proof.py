"""Proofs of records: genuine ones are taken, and nothing else is."""

import base64
import json
import os
import time
from pathlib import Path

import cbrrr
import pytest
from cbrrr import CID
from hypothesis import given
from hypothesis import strategies as st

from atdata_core.atproto.car import MAX_CAR_BYTES, read_car
from atdata_core.atproto.cbor import decode_block, decode_json
from atdata_core.atproto.keys import is_signed, signing_key
from atdata_core.atproto.mst import common_prefix, find, key_height
from atdata_core.atproto.proof import verify_proof
from atdata_core.errors import AtdataError, NotFoundError, VerificationError
from tests.support import repo
from tests.support.repo import DID, Key, Repo, Tree, car, cid_of, document, split_car, text_of, tid

VECTORS = os.environ.get("ATDATA_INTEROP_VECTORS")
needs_vectors = pytest.mark.skipif(
    not VECTORS, reason="ATDATA_INTEROP_VECTORS names no folder of official test vectors"
)
NOTE = "com.example.note"
CURVES = ("K-256", "P-256")

REAL = json.loads((Path(__file__).parents[1] / "data" / "real_proof.json").read_text())
REAL_CAR = base64.b64decode(REAL["car"])


def uri(rkey, did=DID):
    return f"at://{did}/{NOTE}/{rkey}"


def notes(count):
    return {f"{NOTE}/k{n}": {"$type": NOTE, "n": n, "text": "é"} for n in range(count)}


@pytest.fixture(scope="module", params=CURVES)
def made(request):
    """A repository of some records, by a key on each curve."""
    return Repo(notes(40), Key(request.param))


@pytest.fixture(scope="module")
def small():
    return Repo(notes(12))


def code(data, doc, where, **options):
    """The kind of failure."""
    with pytest.raises(VerificationError) as caught:
        verify_proof(data, doc, where, **options)
    assert caught.value.where
    return caught.value.code


# --- genuine ones


def test_a_proof_that_a_real_pds_gave():
    proven = verify_proof(REAL_CAR, REAL["did_document"], REAL["uri"])
    assert (proven.uri, proven.cid, proven.value) == (REAL["uri"], REAL["cid"], REAL["value"])
    assert proven.signing_key.startswith("did:key:zQ3s")
    assert proven.did == REAL["did_document"]["id"]
    assert (proven.car, proven.did_document) == (REAL_CAR, REAL["did_document"])
    assert proven.commit == text_of(split_car(REAL_CAR)[0])


def test_a_real_pds_proves_that_a_record_isn_t_there():
    with pytest.raises(NotFoundError, match="holds no such record"):
        verify_proof(base64.b64decode(REAL["absent"]), REAL["did_document"], REAL["absent_uri"])


def test_every_record_of_a_repository_is_proven_by_it(made):
    for n in range(40):
        proven = verify_proof(made.car(), made.document(), uri(f"k{n}"))
        assert proven.value == {"$type": NOTE, "n": n, "text": "é"}
        assert proven.cid == text_of(made.cids[f"{NOTE}/k{n}"])
        assert proven.signing_key == made.key.did
    for rkey in ("k", "k40", "a", "z", "k1x"):
        with pytest.raises(NotFoundError, match="holds no such record"):
            verify_proof(made.car(), made.document(), uri(rkey))


def test_an_empty_repository_proves_that_nothing_is_there():
    empty = Repo({})
    with pytest.raises(NotFoundError):
        verify_proof(empty.car(), empty.document(), uri("a"))


def test_links_and_bytes_come_as_json():
    link = text_of(cid_of(b"x", 0x55))
    value = {"$type": NOTE, "ref": {"$link": link}, "data": {"$bytes": "YWI"}}
    made = Repo({f"{NOTE}/a": value})
    assert verify_proof(made.car(), made.document(), uri("a")).value == value


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("short", [False, True])
def test_keys_of_the_older_forms_are_known(curve, short):
    made = Repo(notes(3), Key(curve))
    kind = {"P-256": "EcdsaSecp256r1VerificationKey2019"}.get(
        curve, "EcdsaSecp256k1VerificationKey2019"
    )
    text = "z" + repo.base58(made.key.public(compressed=short))
    doc = made.document(type=kind, publicKeyMultibase=text, id="#atproto")
    assert verify_proof(made.car(), doc, uri("k1")).signing_key == made.key.did


def test_blocks_in_another_order_or_twice_or_too_many_are_no_matter(made):
    blocks = list(made.blocks.items())
    extra = (cid_of(b"more", 0x55), b"more")
    for other in (blocks[::-1], blocks * 2, [extra, *blocks]):
        proven = verify_proof(car(made.root, other), made.document(), uri("k7"))
        assert proven.value["n"] == 7


# --- others


def test_every_block_of_a_real_proof_is_needed_and_checked():
    root, blocks = split_car(REAL_CAR)
    doc, where = REAL["did_document"], REAL["uri"]
    for index, (cid, block) in enumerate(blocks):
        rest = blocks[:index] + blocks[index + 1 :]
        assert code(car(root, rest), doc, where) == "missing-block"
        altered = block[:-1] + bytes([block[-1] ^ 1])
        swapped = [*rest, (cid, altered)]
        assert code(car(root, swapped), doc, where) == "block-hash"
        renamed = [*rest, (cid_of(altered), altered)]
        assert code(car(root, renamed), doc, where) == "missing-block"


def test_a_real_proof_cut_anywhere_is_no_proof():
    for length in range(len(REAL_CAR)):
        assert code(REAL_CAR[:length], REAL["did_document"], REAL["uri"]) in (
            "structure",
            "missing-block",
        )


def test_no_bit_of_a_real_proof_can_be_another():
    for position in range(len(REAL_CAR)):
        for bit in range(8):
            data = bytearray(REAL_CAR)
            data[position] ^= 1 << bit
            with pytest.raises(AtdataError):
                verify_proof(bytes(data), REAL["did_document"], REAL["uri"])


@given(st.data())
def test_no_damage_to_a_real_proof_makes_it_one_of_something_else(draws):
    data = bytearray(REAL_CAR)
    for _ in range(draws.draw(st.integers(1, 6))):
        start = draws.draw(st.integers(0, len(data)))
        end = draws.draw(st.integers(start, min(len(data), start + 50)))
        data[start:end] = draws.draw(st.binary(max_size=50))
    try:
        proven = verify_proof(bytes(data), REAL["did_document"], REAL["uri"])
    except AtdataError:
        return
    assert (proven.cid, proven.value) == (REAL["cid"], REAL["value"])


@given(st.binary(max_size=300))
def test_bytes_at_random_are_no_proof(data):
    assert code(data, REAL["did_document"], REAL["uri"])


def test_a_proof_of_something_else(made):
    doc = made.document()
    other = "did:plc:" + "c" * 24
    assert code(made.car(), document(made.key, other), uri("k1", other)) == "other-did"
    assert code(made.car(), document(made.key, other), uri("k1")) == "other-did"
    assert code(made.car(), document(Key(made.key.curve)), uri("k1")) == "signature"
    # The proof of another record shows neither that this one is there nor that it isn't.
    where = REAL["uri"].replace("/k5", "/k50")
    assert code(REAL_CAR, REAL["did_document"], where) == "missing-block"
    assert code(made.car(), {**doc, "verificationMethod": []}, uri("k1")) == "key"


def test_signatures_of_other_forms(made):
    doc = made.document()
    root = Tree(made.cids).root

    def signed(sign):
        made_so = Repo(notes(40), made.key)
        made_so.commit(root, sign=sign)
        return made_so.car()

    key = made.key
    assert code(signed(lambda data: key.sign(data, high=True)), doc, uri("k1")) == "signature"
    assert code(signed(key.sign_der), doc, uri("k1")) == "signature"
    assert code(signed(lambda data: key.sign(data)[:63]), doc, uri("k1")) == "signature"
    assert code(signed(lambda data: key.sign(data) + b"\0"), doc, uri("k1")) == "signature"
    assert code(signed(lambda data: bytes(64)), doc, uri("k1")) == "signature"
    assert code(signed(lambda data: b"\xff" * 64), doc, uri("k1")) == "signature"
    assert code(signed(lambda data: b""), doc, uri("k1")) == "signature"
    assert code(signed(lambda data: "x" * 64), doc, uri("k1")) == "structure"
    verify_proof(signed(key.sign), doc, uri("k1"))


def test_a_signature_whose_s_begins_with_zero_has_64_bytes_all_the_same():
    key = Key("P-256", private=7)
    for n in range(100_000):
        data = n.to_bytes(4, "big")
        signature = key.sign(data)
        if signature[32] == 0:
            break
    assert is_signed(key.did, data, signature)
    assert not is_signed(key.did, data, signature[:32] + signature[33:])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"version": 2}, "structure"),
        ({"version": True}, "structure"),
        ({"did": 5}, "structure"),
        ({"did": "did:plc:" + "c" * 24}, "other-did"),
        ({"rev": "x"}, "structure"),
        ({"rev": "zzzzzzzzzzzzz"}, "structure"),
        ({"rev": 5}, "structure"),
        ({"data": None}, "structure"),
        ({"data": CID(cid_of(b"", 0x55))}, "structure"),
        ({"rev": tid(4e9)}, "rev"),
    ],
    ids=str,
)
def test_commits_that_say_something_else(small, fields, expected):
    made = Repo(notes(3), small.key)
    made.commit(Tree(made.cids).root, **fields)
    assert code(made.car(), made.document(), uri("k1")) == expected


def test_a_clock_that_is_a_little_behind_is_no_matter(small):
    made = Repo(notes(3), rev=tid(time.time() + 200))
    assert verify_proof(made.car(), made.document(), uri("k1")).value["n"] == 1
    assert code(made.car(), made.document(), uri("k1"), now=time.time() - 1000) == "rev"


def test_a_commit_that_lacks_a_field(small):
    for name in ("did", "version", "data", "rev", "sig"):
        body = cbrrr.decode_dag_cbor(small.blocks[small.root])
        del body[name]
        block = cbrrr.encode_dag_cbor(body)
        blocks = [*small.blocks.items(), (cid_of(block), block)]
        assert code(car(cid_of(block), blocks), small.document(), uri("k1")) == "structure"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"controller": "did:plc:" + "c" * 24}, "key"),
        ({"controller": None}, "key"),
        ({"id": "#other"}, "key"),
        ({"id": f"did:plc:{'c' * 24}#atproto"}, "key"),
        ({"type": "Ed25519VerificationKey2020"}, "key"),
        ({"type": None}, "key"),
        ({"publicKeyMultibase": None}, "key"),
        ({"publicKeyMultibase": "z"}, "key"),
        ({"publicKeyMultibase": "z0OIl"}, "key"),
        ({"publicKeyMultibase": "f" + "00" * 35}, "key"),
        ({"publicKeyMultibase": "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"}, "key"),
        ({"type": "EcdsaSecp256k1VerificationKey2019", "publicKeyMultibase": "zzzz"}, "key"),
        ({"publicKeyMultibase": "z" + "1" * 300}, "key"),
    ],
    ids=str,
)
def test_documents_that_name_no_key_to_use(small, method, expected):
    assert code(small.car(), small.document(**method), uri("k1")) == expected


@pytest.mark.parametrize("methods", [None, {}, "x", [5], [{}], [None]], ids=str)
def test_documents_without_keys(small, methods):
    doc = {**small.document(), "verificationMethod": methods}
    assert code(small.car(), doc, uri("k1")) == "key"


_names = st.text("abcdefgh0123456789", min_size=1, max_size=4).map(lambda rkey: f"{NOTE}/{rkey}")


@given(st.sets(_names, max_size=60), st.sets(_names, max_size=10))
def test_what_a_tree_holds_is_found_and_nothing_else(there, asked):
    tree = Tree({name: cid_of(name.encode()) for name in there})
    for name in there | asked:
        expected = cid_of(name.encode()) if name in there else None
        assert walk(tree, tree.root, name) == expected


# --- trees that break a rule


def broken_tree(change, count=40, wanted="k1"):
    """The failure that a tree gives in which one node was changed, well signed."""
    made = Repo(notes(count))
    tree = Tree(made.cids)
    node = cbrrr.decode_dag_cbor(tree.blocks[tree.root])
    changed = change(node)
    made.commit(tree.add(node if changed is None else changed))
    made.blocks |= tree.blocks
    return code(made.car(), made.document(), uri(wanted))


def entry(key, cid=None, shared=0, right=None):
    cid = cid or cid_of(b"")
    return {"p": shared, "k": key, "v": CID(cid), "t": right}


BREAKS = [
    lambda node: node["e"].reverse(),
    lambda node: node["e"].append(node["e"][-1]),
    lambda node: node["e"][0].update(p=1),
    lambda node: node["e"][0].update(p=-1),
    lambda node: node["e"][0].update(p=None),
    lambda node: node["e"][0].update(p=True),
    lambda node: node["e"][0].update(k="text"),
    lambda node: node["e"][0].update(k=b"no slash"),
    lambda node: node["e"][0].update(k=b"com.example.note/k1\n"),
    lambda node: node["e"][0].update(k=b"a/b/c"),
    lambda node: node["e"][0].update(k=b"a/" + b"k" * 2000),
    lambda node: node["e"][0].update(v=None),
    lambda node: node["e"][0].update(v=CID(cid_of(b"", 0x55))),
    lambda node: node["e"][0].update(t=5),
    lambda node: node["e"][0].update(x=5),
    lambda node: node["e"][0].pop("t"),
    lambda node: node.update(e=5),
    lambda node: node.update(e=[5]),
    lambda node: node.update(l="x"),
    lambda node: node.update(x=1),
    lambda node: node.pop("l"),
    lambda node: node.update(e=[]),
    lambda node: [],
    lambda node: node.update(e=[entry(b"a/%06d" % n) for n in range(1001)]),
    lambda node: node.update(e=[entry(b"a/%06d" % n) for n in range(20)]),  # at any height
]


@pytest.mark.parametrize("change", BREAKS, ids=map(str, range(len(BREAKS))))
def test_a_root_that_breaks_a_rule(change):
    def changed(node):
        result = change(node)
        return result if isinstance(result, list) else None

    assert broken_tree(changed) == "structure"


def test_a_key_that_is_written_longer_than_need_be():
    low, high = sorted([b"a/aaaa0", b"a/aaaa1"])
    names = [b"a/aaaa%d" % n for n in range(200)]
    zero = [name for name in names if key_height(name) == 0]
    low, high = zero[:2]
    good = len(os.path.commonprefix([low, high]))  # noqa: RUF071
    for shared, expected in ((good, None), (good - 1, "structure"), (0, "structure")):
        tree = Tree({})
        root = tree.add({"l": None, "e": [entry(low), entry(high[shared:], shared=shared)]})
        data = read_car(car(root, list(tree.blocks.items())))
        if expected is None:
            assert find(data, root, high.decode()) == cid_of(b"")
        else:
            with pytest.raises(VerificationError, match="short"):
                find(data, root, high.decode())


def levels(prefix, level, count):
    """Keys at a height."""
    found, n = [], 0
    while len(found) < count:
        key = b"%s/%06d" % (prefix, n)
        if key_height(key) == level:
            found.append(key)
        n += 1
    return found


def walk(tree, root, key):
    return find(read_car(car(root, list(tree.blocks.items()))), root, key)


def test_keys_outside_of_those_above_them_are_refused():
    (top,) = levels(b"m", 1, 1)
    for side, name in (("l", b"z"), ("t", b"a")):
        (key,) = levels(name, 0, 1)
        tree = Tree({})
        child = CID(tree.add({"l": None, "e": [entry(key)]}))
        links = {"l": None, "t": None} | {side: child}
        root = tree.add({"l": links["l"], "e": [entry(top, right=links["t"])]})
        with pytest.raises(VerificationError, match="not in order"):
            walk(tree, root, "a/b" if side == "l" else "z/z")


def test_keys_at_another_height_are_refused():
    (high,), (low,) = levels(b"m", 2, 1), levels(b"a", 0, 1)
    tree = Tree({})
    leaf = CID(tree.add({"l": None, "e": [entry(low)]}))
    root = tree.add({"l": leaf, "e": [entry(high)]})
    with pytest.raises(VerificationError, match="height"):
        walk(tree, root, low.decode())
    bridge = CID(tree.add({"l": leaf, "e": []}))
    root = tree.add({"l": bridge, "e": [entry(high)]})
    assert walk(tree, root, low.decode()) == cid_of(b"")
    deeper = tree.add({"l": CID(root), "e": []})
    with pytest.raises(VerificationError, match="height"):
        walk(tree, deeper, low.decode())
    empty = CID(tree.add({"l": None, "e": []}))
    root = tree.add({"l": empty, "e": [entry(high)]})
    with pytest.raises(VerificationError, match="height"):
        walk(tree, root, low.decode())


def test_a_tree_that_goes_on_below_its_leaves_is_refused():
    low, lower = levels(b"a", 0, 2)
    tree = Tree({})
    child = CID(tree.add({"l": None, "e": [entry(lower)]}))
    root = tree.add({"l": None, "e": [entry(low, right=child)]})
    with pytest.raises(VerificationError, match="lowest"):
        walk(tree, root, lower.decode())


# --- files that are no CAR, and blocks that are no DAG-CBOR


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x80" * 20,
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # 2^63 - 1
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",  # 2^63
        b"\x0a",
        b"\x01\xf6",
        b"<html>not here</html>",
        car(cid_of(b""), [(b"\x01\x71\x12\x20", b"")]),
        car(cid_of(b""), [(b"\x01\x71\x1e\x20" + bytes(32), b"")]),
        car(cid_of(b""), [(b"\x12\x20" + bytes(32), b"xxxxxxx")]),
        car(None, [], header=cbrrr.encode_dag_cbor({"version": 2, "roots": [CID(cid_of(b""))]})),
        car(None, [], header=cbrrr.encode_dag_cbor({"version": 1, "roots": []})),
        car(None, [], header=cbrrr.encode_dag_cbor({"version": 1, "roots": ["x"]})),
        car(None, [], header=cbrrr.encode_dag_cbor({"version": 1})),
        car(None, [], header=cbrrr.encode_dag_cbor([])),
        car(None, [], header=b"\xa0" * 5000),
        bytes(MAX_CAR_BYTES + 1),
    ],
    ids=lambda data: f"{data[:12]!r} {len(data)} {sum(data)}",
)
def test_what_is_no_car(data):
    with pytest.raises(VerificationError) as caught:
        read_car(data)
    assert caught.value.code == "structure"


def test_a_car_of_very_many_blocks_is_refused():
    block = (cid_of(b""), b"")
    assert len(read_car(car(block[0], [block] * 10_000)).blocks) == 1
    with pytest.raises(VerificationError, match="too many"):
        read_car(car(block[0], [block] * 10_001))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xfb\x3f\xf8" + bytes(6),  # a float
        b"\xf9\x3c\x00",
        b"\xfb\x7f\xf8" + bytes(6),  # not a number
        b"\x81\xfb\x3f\xf8" + bytes(6),
        b"\xf7",  # undefined
        b"\x18\x01",  # a number written too long
        b"\xa2\x61a\x01\x61a\x02",  # a key twice
        b"\xa2\x61b\x01\x61a\x02",  # keys out of order
        b"\xa2\x62aa\x01\x61b\x02",
        b"\xa1\x01\x01",
        b"\x9f\xff",  # of indefinite length
        b"\x7f\xff",
        b"\x1c",
        b"\xc1\x01",  # another tag
        b"\xd8\x2a\x42\x00\x01",  # links of other kinds
        b"\xd8\x2a\x42\x01\x01",
        b"\xd8\x2a\x58\x23\x00\x12\x20" + bytes(32),
        b"\xd8\x2a\x58\x25\x00\x01\x71\x1e\x20" + bytes(32),
        b"\xa1\x65$link\x61x",
        b"\x81\xa1\x66$bytes\x61x",
        b"\x62\xff\xff",  # not UTF-8
        b"\x63\xed\xa0\x80",
        b"\x01\x01",  # more than one
        b"\x1b\x00\x20" + bytes(6),  # 2^53
        b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x9a\xff\xff\xff\xff",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x81" * 100 + b"\x00",
        b"\x81" * 1_000_000 + b"\x00",
        b"\x9a\x00\x05\x00\x00" * 160_000 + bytes(400_000),
        bytes(2_000_001),
    ],
    ids=lambda block: f"{block[:10]!r} {len(block)}",
)
def test_blocks_that_are_not_canonical(block):
    with pytest.raises(VerificationError) as caught:
        decode_block(block, "block")
    assert caught.value.code == "structure"
    made = Repo({f"{NOTE}/a": block})
    if len(block) <= 1_000_000:
        assert code(made.car(), made.document(), uri("a")) == "structure"


@pytest.mark.parametrize("block", [b"\x80", b"\x61x", b"\xf6", b"\x05"])
def test_a_record_that_is_no_map(block):
    made = Repo({f"{NOTE}/a": block})
    assert code(made.car(), made.document(), uri("a")) == "structure"


_scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5)
_values = st.recursive(
    _scalars | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_values)
def test_what_is_canonical_is_read(value):
    assert decode_block(cbrrr.encode_dag_cbor(value), "block") == value


# --- official vectors


@needs_vectors
def test_signatures_of_the_official_vectors():
    vectors = json.loads(Path(VECTORS, "crypto/signature-fixtures.json").read_text())
    assert len(vectors) == 6

    def plain(text):
        return base64.b64decode(text + "=" * (-len(text) % 4))

    for each in vectors:
        did = "did:plc:" + "d" * 24
        method = {
            "id": "#atproto",
            "type": each["didDocSuite"],
            "controller": did,
            "publicKeyMultibase": each["publicKeyMultibase"],
        }
        key = signing_key({"id": did, "verificationMethod": [method]}, did)
        assert key == each["publicKeyDid"]
        data, signature = plain(each["messageBase64"]), plain(each["signatureBase64"])
        assert is_signed(key, data, signature) == each["validSignature"], each["comment"]


@needs_vectors
def test_keys_of_the_official_vectors():
    for curve, name in (("P-256", "w3c_didkey_P256"), ("K-256", "w3c_didkey_K256")):
        for each in json.loads(Path(VECTORS, f"crypto/{name}.json").read_text()):
            if "privateKeyBytesHex" in each:
                number = int(each["privateKeyBytesHex"], 16)
            else:
                number = 0
                for letter in each["privateKeyBytesBase58"]:
                    number = number * 58 + repo._B58.index(letter)
            key = Key(curve, number)
            assert key.did == each["publicDidKey"]
            assert is_signed(each["publicDidKey"], b"hello", key.sign(b"hello"))


@needs_vectors
def test_heights_and_prefixes_of_the_official_vectors():
    for each in json.loads(Path(VECTORS, "mst/key_heights.json").read_text()):
        assert key_height(each["key"].encode()) == each["height"]
    for each in json.loads(Path(VECTORS, "mst/common_prefix.json").read_text()):
        assert common_prefix(each["left"].encode(), each["right"].encode()) == each["len"]


@needs_vectors
def test_keys_of_the_official_example_are_all_found():
    names = Path(VECTORS, "mst/example_keys.txt").read_text().split()
    tree = Tree({name: cid_of(name.encode()) for name in names})
    for name in names:
        assert walk(tree, tree.root, name) == cid_of(name.encode())


@needs_vectors
def test_trees_of_the_official_vectors():
    vectors = json.loads(Path(VECTORS, "firehose/commit-proof-fixtures.json").read_text())
    assert len(vectors) == 6
    for each in vectors:
        leaf = base64.b32decode(each["leafValue"][1:].upper() + "=" * 6)
        before = dict.fromkeys(each["keys"], leaf)
        after = {k: v for k, v in before.items() if k not in each["dels"]}
        after |= dict.fromkeys(each["adds"], leaf)
        assert text_of(Tree(before).root) == each["rootBeforeCommit"]
        tree = Tree(after)
        assert text_of(tree.root) == each["rootAfterCommit"]
        # The blocks that the vector lists are enough to prove what was added, and what is gone.
        listed = [(c, b) for c, b in tree.blocks.items() if text_of(c) in each["blocksInProof"]]
        data = read_car(car(tree.root, listed))
        for key in each["adds"]:
            assert find(data, tree.root, key) == leaf
        for key in each["dels"]:
            assert find(data, tree.root, key) is None


@needs_vectors
def test_blocks_of_the_official_vectors():
    for each in json.loads(Path(VECTORS, "data-model/data-model-fixtures.json").read_text()):
        text = each["cbor_base64"]
        block = base64.b64decode(text + "=" * (-len(text) % 4))
        assert decode_json(block, "block") == each["json"]
        assert text_of(cid_of(block)) == each["cid"]
