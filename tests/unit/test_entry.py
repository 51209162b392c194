import dataclasses
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_core import DatasetEntry, Schema, Shard, StrongRef
from atdata_core.cid import dataset_cid, raw_cid
from atdata_core.errors import InvalidRecordError, NotFoundError
from atdata_core.indexes.codec import (
    entries_from_json,
    entry_from_json,
    entry_to_json,
    parse_schema_ref,
    read_json,
    schema_ref,
    version_key,
)
from atdata_core.indexes.hashes import entry_id
from tests.support.samples import Item

SHARDS = tuple(Shard(f"{i}.tar", raw_cid(bytes([i])), 10 + i, i) for i in range(3))
SCHEMA = Schema.of(Item).cid
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def entry(**changes):
    found = DatasetEntry(
        name="digits",
        schema_ref="atdata://local/schema/Item@1.0.0",
        shards=SHARDS,
        schema_cid=SCHEMA,
        description="Some digits",
        tags=("a", "b"),
        license="MIT",
        metadata={"source": "x", "n": 1, "list": [1, "a"]},
        previous=raw_cid(b"p"),
        created_at="2024-01-01T00:00:00.000Z",
    )
    return found.replace(**changes)


def test_an_entry_tells_urls_rows_size_and_cid():
    found = entry()
    assert found.data_urls == ["0.tar", "1.tar", "2.tar"]
    assert (found.rows, found.size) == (3, 33)
    assert found.cid == dataset_cid(SCHEMA, [shard.cid for shard in SHARDS])


LINK = StrongRef(
    "at://did:plc:abc/ac.foundation.dataset.record/3a",
    "bafyreifese74rnjxkqfwogn36oaompkxfdvombrwosakfwrtbr42zb6ly4",
)


def test_what_a_dataset_was_made_from_comes_back_from_json_in_order():
    other = StrongRef(LINK.uri + "b", LINK.cid)
    said = entry(derived_from=(other, LINK))
    body = json.loads(json.dumps(entry_to_json(said)))
    assert body["derived_from"] == [other.to_json(), LINK.to_json()]
    assert entry_from_json(body, "x") == said
    assert not said.says_the_same(entry())
    assert not said.says_the_same(entry(derived_from=(LINK, other)))
    assert said.cid == entry().cid


def test_entries_from_before_there_was_lineage_are_what_they_were():
    body = entry_to_json(entry())
    assert "derived_from" not in body
    assert entry_from_json(body, "x") == entry()
    assert entry_id(entry()) == "bafyreid65r2cmlp3dk3ujlxmwgtzys4rpy33xg6slnavdimzkhbk4atoem"


@pytest.mark.parametrize(
    "links",
    [
        None,
        "x",
        ["x"],
        [{}],
        [{"uri": LINK.uri}],
        [{"uri": 1, "cid": LINK.cid}],
        [{"uri": "https://x.org", "cid": LINK.cid}],
        [{"uri": LINK.uri, "cid": "x"}],
        [{"uri": LINK.uri, "cid": None}],
    ],
)
def test_lineage_that_is_no_links_is_refused(links):
    with pytest.raises(InvalidRecordError):
        entry_from_json({**entry_to_json(entry()), "derived_from": links}, "x")


def test_a_published_entry_gives_the_link_to_its_record():
    assert entry().strong_ref is None
    published = entry(uri=LINK.uri, record_cid=LINK.cid)
    assert published.strong_ref == LINK
    assert pickle.loads(pickle.dumps(LINK)) == LINK


def test_what_is_not_known_of_one_shard_is_not_known_of_the_dataset():
    bare = entry(shards=(*SHARDS, Shard("3.tar")))
    assert (bare.rows, bare.size, bare.cid) == (None, None, None)
    assert entry(schema_cid=None).cid is None


def test_the_cid_is_of_schema_and_shards_alone():
    elsewhere = tuple(Shard(f"s3://b/{s.url}", s.cid, s.size, s.rows) for s in SHARDS)
    same = entry(name="other", description=None, tags=(), metadata={}, shards=elsewhere)
    assert same.cid == entry().cid
    assert entry(shards=SHARDS[::-1]).cid != entry().cid


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"uri": "at://x", "created_at": None, "previous": None}, True),
        ({"shards": tuple(Shard("x", s.cid, s.size, s.rows) for s in SHARDS)}, True),
        ({"name": "b"}, False),
        ({"description": "b"}, False),
        ({"tags": ("a",)}, False),
        ({"license": None}, False),
        ({"metadata": {}}, False),
        ({"shards": SHARDS[:1]}, False),
        ({"schema_cid": None}, False),
    ],
)
def test_entries_say_the_same_if_content_and_words_are_equal(changes, same):
    assert entry().says_the_same(entry(**changes)) is same


def test_entries_survive_json_and_pickling():
    assert entry_from_json(json.loads(json.dumps(entry_to_json(entry()))), "x") == entry()
    bare = DatasetEntry("a", "b", ())
    assert entry_from_json(entry_to_json(bare), "x") == bare
    assert pickle.loads(pickle.dumps(entry())) == entry()


@pytest.mark.parametrize(
    "body", [{}, {"name": "a"}, {"name": "a", "schema_ref": "b", "shards": [1]}]
)
def test_json_that_holds_no_entry_is_refused(body):
    with pytest.raises(InvalidRecordError, match="here"):
        entry_from_json(body, "here")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({"schema_ref": ["x"]}, "schema_ref"),
        ({"schema_cid": "x"}, "schema_cid"),
        ({"schema_cid": SCHEMA + "\n"}, "schema_cid"),
        ({"description": 1}, "description"),
        ({"license": {}}, "license"),
        ({"created_at": 1}, "created_at"),
        ({"tags": "abc"}, "tags"),
        ({"tags": ["a", 1]}, r"tags\[1\]"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": [["a", 1]]}, "metadata"),
        ({"shards": "abc"}, "shards"),
        ({"shards": [{}]}, "url"),
        ({"shards": [{"url": 5}]}, "url"),
        ({"shards": [{"url": "x", "cid": "../x"}]}, "cid"),
        ({"shards": [{"url": "x", "size": "1"}]}, "size"),
        ({"shards": [{"url": "x", "size": -1}]}, "size"),
        ({"shards": [{"url": "x", "rows": True}]}, "rows"),
    ],
)
def test_an_entry_whose_fields_are_of_another_kind_is_refused_by_its_place(changes, place):
    with pytest.raises(InvalidRecordError, match=f"^here: entry is malformed: .*{place}"):
        entry_from_json({**entry_to_json(entry()), **changes}, "here")
    text = json.dumps([entry_to_json(entry()), {**entry_to_json(entry()), **changes}])
    with pytest.raises(InvalidRecordError, match=f"^here: entries are malformed: .*{place}"):
        entries_from_json(text, "here")


def test_an_index_can_t_say_that_a_dataset_is_published():
    body = {**entry_to_json(entry()), "uri": LINK.uri, "record_cid": LINK.cid, "unreadable": "x"}
    assert entry_from_json(body, "x") == entry()
    assert entries_from_json(json.dumps([body]), "x") == [entry()]


def test_words_of_a_later_version_are_passed_over():
    body = {**entry_to_json(entry()), "later": {"a": [1]}}
    assert entry_from_json(body, "x") == entry()


@pytest.mark.parametrize("text", ["", "{", "nope", "[1,]", "[" * 100_000, b"\xff", "\ufeff{}"])
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(InvalidRecordError, match=r"^here: entry is not JSON"):
        read_json(text, "entry", "here")


@given(json_values)
def test_what_python_writes_as_json_is_read_as_python_reads_it(value):
    text = json.dumps(value)
    assert repr(read_json(text, "x", "x")) == repr(json.loads(text))


def test_an_entry_has_no_other_fields_than_its_own():
    with pytest.raises(TypeError, match="no colour"):
        entry().replace(colour="red")
    changed = entry().replace(name="b", shards=SHARDS[:1])
    assert (changed.name, changed.tags, changed.rows) == ("b", ("a", "b"), 0)
    assert changed.cid == dataset_cid(SCHEMA, [SHARDS[0].cid])
    assert changed == dataclasses.replace(entry(), name="b", shards=SHARDS[:1])


def test_references_of_schemas_come_back():
    assert schema_ref("Item", "1.0.0") == "atdata://local/schema/Item@1.0.0"
    assert parse_schema_ref(schema_ref("Item", "1.0.0")) == "Item@1.0.0"
    for wrong in ("Item@1.0.0", "atdata://local/schema/Item", "atdata://local/schema/../x@1", ""):
        with pytest.raises(NotFoundError):
            parse_schema_ref(wrong)


def test_versions_are_ordered_as_numbers():
    assert max(["", "x.y", "1.0.0", "1.x"], key=version_key) == "1.0.0"
    assert sorted(["10.0.0", "9.0.0", "9.10.0", "9.9.0"], key=version_key) == [
        "9.0.0",
        "9.9.0",
        "9.10.0",
        "10.0.0",
    ]


@pytest.mark.parametrize("version", ["../../x", "1.0.0/../../y", "1"])
def test_a_reference_never_leads_out_of_the_folder(tmp_path, version):
    from atdata_core import FileIndex

    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(NotFoundError):
        FileIndex(tmp_path / "a" / "b").load_schema(f"atdata://local/schema/Item@{version}")
