"""Lexicons follow the rules for lexicons, and records are held to them before they are sent."""

import json
import os
from importlib import resources
from pathlib import Path

import pytest

from atdata_core.atproto.lexicon import Catalog, count_graphemes, lexicons
from atdata_core.errors import InvalidRecordError

VECTORS = os.environ.get("ATDATA_INTEROP_VECTORS")
needs_vectors = pytest.mark.skipif(
    not VECTORS, reason="ATDATA_INTEROP_VECTORS names no folder of official test vectors"
)


def vectors(name):
    if not VECTORS:
        return []
    cases = json.loads((Path(VECTORS) / "lexicon" / name).read_text())
    return [pytest.param(case, id=f"{i} {case['name']}") for i, case in enumerate(cases)]


def official():
    return Catalog(
        json.loads(path.read_text())
        for path in sorted((Path(VECTORS) / "lexicon" / "catalog").glob("*.json"))
    )


@needs_vectors
@pytest.mark.parametrize("case", vectors("lexicon-valid.json"))
def test_official_lexicons_are_taken(case):
    Catalog([case["lexicon"]])


@needs_vectors
@pytest.mark.parametrize("case", vectors("lexicon-invalid.json"))
def test_official_bad_lexicons_are_refused(case):
    with pytest.raises(InvalidRecordError):
        Catalog([case["lexicon"]])


@needs_vectors
@pytest.mark.parametrize("case", vectors("record-data-valid.json"))
def test_official_records_are_taken(case):
    official().validate_record(case["data"], case["data"]["$type"])


@needs_vectors
@pytest.mark.parametrize("case", vectors("record-data-invalid.json"))
def test_official_bad_records_are_refused(case):
    nsid = case["data"].get("$type", "example.lexicon.record")
    with pytest.raises(InvalidRecordError):
        official().validate_record(case["data"], nsid)


def test_our_own_lexicons_follow_the_rules():
    files = resources.files("atdata_core.atproto").joinpath("lexicons").iterdir()
    names = {file.name.removesuffix(".json") for file in files if file.name.endswith(".json")}
    assert names == set(lexicons())
    assert "ac.foundation.dataset.record" in names


def lexicon(**properties):
    return {
        "lexicon": 1,
        "id": "com.example.thing",
        "defs": {
            "main": {
                "type": "record",
                "key": "tid",
                "record": {
                    "type": "object",
                    "required": ["must"],
                    "nullable": [name for name in properties if name == "null"],
                    "properties": {"must": {"type": "integer"}, **properties},
                },
            },
            "box": {
                "type": "object",
                "required": ["w"],
                "properties": {"w": {"type": "integer", "minimum": 1}},
            },
        },
    }


CASES = [
    ({"type": "string", "maxLength": 4}, ["abcd", "éé"], ["abcde", "ééé", 3, None]),
    ({"type": "string", "maxGraphemes": 1}, ["a", "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"], ["ab"]),
    ({"type": "string", "minLength": 2}, ["ab"], ["a", ""]),
    ({"type": "string", "enum": ["a", "b"]}, ["a"], ["c"]),
    ({"type": "string", "knownValues": ["a"]}, ["a", "c"], [1]),
    (
        {"type": "string", "format": "at-uri"},
        ["at://did:plc:abc/com.example.a/b", "at://a.co"],
        ["at://a.co/", "http://a.co", "at://a.co/b/c\n"],
    ),
    ({"type": "string", "format": "did"}, ["did:web:a.co"], ["did:web:", "a.co"]),
    (
        {"type": "string", "format": "datetime"},
        ["2026-11-23T10:00:00Z", "2026-11-23T10:00:00.123+01:00"],
        ["2026-11-23", "2026-11-23T10:00:00", "2026-13-23T10:00:00Z"],
    ),
    (
        {"type": "string", "format": "cid"},
        ["bafyreifese74rnjxkqfwogn36oaompkxfdvombrwosakfwrtbr42zb6ly4"],
        ["Qmb123", ""],
    ),
    ({"type": "integer", "minimum": 0, "maximum": 9}, [0, 9], [-1, 10, 1.5, True, "1"]),
    ({"type": "boolean"}, [True, False], [0, "true"]),
    ({"type": "bytes", "maxLength": 3}, [{"$bytes": "YWJj"}], [{"$bytes": "YWJjZA"}, "YWJj"]),
    (
        {"type": "blob", "accept": ["application/x-tar"], "maxSize": 10},
        [
            {
                "$type": "blob",
                "ref": {"$link": "bafkreiepihqt7c67popyrw724fxiqhf3t433yb2gdfcedw2nbpwdhajv2y"},
                "mimeType": "application/x-tar",
                "size": 10,
            }
        ],
        [{"$type": "blob"}, {}, "blob"],
    ),
    (
        {"type": "array", "items": {"type": "integer"}, "maxLength": 2},
        [[], [1, 2]],
        [[1, 2, 3], ["a"]],
    ),
    ({"type": "ref", "ref": "#box"}, [{"w": 1}], [{"w": 0}, {}, []]),
    (
        {"type": "union", "refs": ["#box"], "closed": True},
        [{"$type": "com.example.thing#box", "w": 2}],
        [{"w": 2}, {"$type": "com.example.other"}, {"$type": "com.example.thing#box"}],
    ),
    (
        {"type": "union", "refs": ["#box"]},
        [{"$type": "com.example.other", "x": 1}],
        [{"$type": "com.example.thing#box", "w": 0}],
    ),
    ({"type": "unknown"}, [{"a": [1, "b", None]}], [{"a": 1.5}, {"$weird": 1}, 3]),
]


@pytest.mark.parametrize(("definition", "good", "bad"), CASES, ids=lambda c: str(c)[:60])
def test_values_are_held_to_their_definition(definition, good, bad):
    catalog = Catalog([lexicon(value=definition)])
    for value in good:
        record = {"$type": "com.example.thing", "must": 1, "value": value}
        catalog.validate_record(record, "com.example.thing")
    for value in bad:
        record = {"$type": "com.example.thing", "must": 1, "value": value}
        with pytest.raises(InvalidRecordError) as caught:
            catalog.validate_record(record, "com.example.thing")
        assert "value" in str(caught.value)


@pytest.mark.parametrize(
    "record",
    [
        {"$type": "com.example.thing"},
        {"$type": "com.example.other", "must": 1},
        {"must": 1},
        {"$type": "com.example.thing", "must": None},
        {"$type": "com.example.thing", "must": 2**60},
        {"$type": "com.example.thing", "must": 1, "extra": 1.5},
        {"$type": "com.example.thing", "must": 1, "extra": float("nan")},
        {"$type": "com.example.thing", "must": 1, "extra": b"x"},
        {"$type": "com.example.thing", "must": 1, "extra": "\ud800"},
    ],
    ids=str,
)
def test_what_no_record_may_hold_is_refused(record):
    with pytest.raises(InvalidRecordError):
        Catalog([lexicon()]).validate_record(record, "com.example.thing")


def test_fields_that_a_lexicon_does_not_know_are_left_alone():
    record = {"$type": "com.example.thing", "must": 1, "newer": {"a": 1}, "null": None}
    Catalog([lexicon(null={"type": "string"})]).validate_record(record, "com.example.thing")


def test_depth_is_limited():
    deep = 1
    for _ in range(2000):
        deep = [deep]
    record = {"$type": "com.example.thing", "must": 1, "deep": deep}
    with pytest.raises(InvalidRecordError):
        Catalog([lexicon()]).validate_record(record, "com.example.thing")


def test_characters_are_counted_as_readers_see_them():
    assert count_graphemes("abc") == 3
    assert count_graphemes("\r\n") == 1
    assert count_graphemes("e\u0301") == 1
    assert count_graphemes("👩‍👩‍👧‍👦") == 1
