import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_core import cid
from atdata_core.errors import InvalidUriError
from tests.support.samples import cid_of

EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def test_the_cid_of_no_bytes_is_the_well_known_one():
    assert cid.raw_cid(b"") == EMPTY


@given(st.binary(max_size=100))
def test_raw_cids_hold_the_digest_of_the_bytes(data):
    text = cid.raw_cid(data)
    assert text == cid_of(data)
    assert cid.cid_to_digest(text) == hashlib.sha256(data).digest()
    assert cid.digest_to_cid(hashlib.sha256(data).digest()) == text
    assert cid.check_cid(text) == text


def test_a_structure_s_cid_doesn_t_depend_on_the_order_of_its_keys():
    assert cid.dag_cbor_cid({"a": 1, "bb": [None, True, "x"]}) == cid.dag_cbor_cid(
        {"bb": [None, True, "x"], "a": 1}
    )


def test_the_cid_of_a_small_structure_is_the_one_that_other_libraries_compute():
    # a1 61 61 01: a map of one entry, "a": 1.
    assert cid.dag_cbor({"a": 1}) == bytes.fromhex("a1616101")
    assert cid.dag_cbor_cid({"a": 1}).startswith("bafyrei")


def test_a_dataset_s_cid_depends_on_schema_shards_and_their_order():
    schema = cid.dag_cbor_cid({"a": 1})
    one, two = cid.raw_cid(b"1"), cid.raw_cid(b"2")
    whole = cid.dataset_cid(schema, [one, two])
    assert whole == cid.dataset_cid(schema, iter([one, two]))
    others = {
        cid.dataset_cid(schema, [two, one]),
        cid.dataset_cid(schema, [one]),
        cid.dataset_cid(cid.dag_cbor_cid({"a": 2}), [one, two]),
    }
    assert len(others | {whole}) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        EMPTY.upper(),
        EMPTY[:-1],
        EMPTY + "a",
        EMPTY + "\n",
        " " + EMPTY[1:],
        EMPTY[:-1] + "v",  # bits beyond the last byte
        EMPTY[:-1] + "1",  # not in the alphabet
        "z" + EMPTY[1:],
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",  # dag-pb
        "bafkrei" + "é" * 52,
    ],
)
def test_what_is_no_cid_is_refused(text):
    with pytest.raises(InvalidUriError):
        cid.check_cid(text)
    with pytest.raises(InvalidUriError):
        cid.cid_to_digest(text)


def test_a_structure_s_cid_names_no_bytes():
    with pytest.raises(InvalidUriError, match="plain bytes"):
        cid.cid_to_digest(cid.dag_cbor_cid({"a": 1}))


def test_a_malformed_link_in_a_structure_is_refused():
    with pytest.raises(InvalidUriError):
        cid.dag_cbor({"a": {"$link": "nonsense"}})
