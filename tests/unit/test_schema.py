import dataclasses
import json
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core import Schema, Shape
from atdata_core.errors import SampleError, SchemaError
from atdata_core.fields import NO_DEFAULT, Field
from atdata_core.fieldtypes import (
    ListType,
    NDArrayType,
)
from atdata_core.primitives import Primitive
from tests.support.samples import Item, items

primitives = st.sampled_from(["str", "int", "float", "bool", "bytes"]).map(Primitive)
ndarrays = st.builds(
    NDArrayType,
    st.none() | st.sampled_from(["uint8", "int64", "float16", "float32", "complex64", "bool"]),
    st.none() | st.lists(st.none() | st.integers(1, 9), max_size=3).map(tuple),
)
kinds = st.recursive(primitives | ndarrays, lambda inner: inner.map(ListType), max_leaves=3)
DEFAULTS = {"str": "é", "int": -3, "float": 0.1, "bool": True, "bytes": b"\0\xff"}


@st.composite
def fields(draw):
    kind, optional = draw(kinds), draw(st.booleans())
    choices = [NO_DEFAULT]
    if optional:
        choices.append(None)
    if isinstance(kind, Primitive):
        choices.append(DEFAULTS[kind.name])
    elif isinstance(kind, ListType):
        choices.append([])
    else:
        shape = [dim or 2 for dim in kind.shape or ()]
        choices.append(np.ones(shape, kind.dtype or "int16"))
    name = draw(st.from_regex(r"[a-z][a-z0-9_]{0,8}x", fullmatch=True))
    return Field(name, kind, optional, draw(st.sampled_from(choices)))


schemas = st.lists(fields(), min_size=1, max_size=6, unique_by=lambda f: f.name).map(
    lambda found: Schema("Thing", tuple(found))
)


@given(schemas)
def test_a_schema_becomes_json_and_a_type_and_stays_the_same(schema):
    body = json.loads(json.dumps(schema.to_json()))
    back = Schema.from_json(body)
    assert back == schema
    assert back.cid == schema.cid
    assert hash(back) == hash(schema)
    built = schema.to_type()
    again = Schema.of(built)
    assert again.cid == schema.cid
    assert again.same_fields(schema)
    assert back.to_type() is built


@atdata.packable
class Wide:
    """Has a bit
    of everything."""

    image: Annotated[NDArray[np.uint8], Shape(8, None)]
    any: NDArray
    labels: list[str]
    arrays: list[NDArray[np.float32]]
    note: str | None
    score: float = 0.5
    tags: list[str] = dataclasses.field(default_factory=list)
    mask: NDArray[np.bool_] = dataclasses.field(default_factory=lambda: np.ones(2, bool))


def test_a_schema_as_json_is_what_public_atdata_keeps():
    schema = Schema.of(Wide, version="1.2.0")
    assert schema.to_json() == {
        "contentCid": schema.cid,
        "name": "Wide",
        "version": "1.2.0",
        "description": "Has a bit of everything.",
        "fields": [
            {
                "name": "image",
                "fieldType": {"$type": "local#ndarray", "dtype": "uint8", "shape": [8, 0]},
                "optional": False,
            },
            {"name": "any", "fieldType": {"$type": "local#ndarray"}, "optional": False},
            {
                "name": "labels",
                "fieldType": {
                    "$type": "local#array",
                    "items": {"$type": "local#primitive", "primitive": "str"},
                },
                "optional": False,
            },
            {
                "name": "arrays",
                "fieldType": {
                    "$type": "local#array",
                    "items": {"$type": "local#ndarray", "dtype": "float32"},
                },
                "optional": False,
            },
            {
                "name": "note",
                "fieldType": {"$type": "local#primitive", "primitive": "str"},
                "optional": True,
            },
            {
                "name": "score",
                "fieldType": {"$type": "local#primitive", "primitive": "float"},
                "optional": False,
                "default": {"$bytes": "yz/gAAAAAAAA"},
            },
            {
                "name": "tags",
                "fieldType": {
                    "$type": "local#array",
                    "items": {"$type": "local#primitive", "primitive": "str"},
                },
                "optional": False,
                "default": {"$bytes": "kA"},
            },
            {
                "name": "mask",
                "fieldType": {"$type": "local#ndarray", "dtype": "bool"},
                "optional": False,
                "default": Schema.of(Wide).to_json()["fields"][7]["default"],
            },
        ],
    }


def test_a_type_built_from_a_schema_reads_and_writes_the_same_bytes():
    sample = Wide(
        image=np.zeros((8, 3), np.uint8),
        any=np.arange(3),
        labels=["a"],
        arrays=[np.zeros(2, np.float32)],
        note=None,
    )
    built = Schema.from_json(Schema.of(Wide).to_json()).to_type()
    back = built.from_bytes(sample.packed)
    assert back.packed == sample.packed
    assert built.__name__ == "Wide"
    with pytest.raises(SampleError, match="shape"):
        _ = dataclasses.replace(back, image=np.zeros((7, 3), np.uint8)).packed


def test_defaults_come_back_and_are_not_shared():
    built = Schema.of(Wide).to_type()
    given = {"image": np.zeros((8, 1), np.uint8), "any": np.zeros(1), "labels": [], "arrays": []}
    one, two = (built(**given, note=None) for _ in range(2))
    assert (one.score, one.tags, one.mask.tolist()) == (0.5, [], [True, True])
    one.tags.append("x")
    one.mask[0] = False
    assert (two.tags, two.mask.tolist()) == ([], [True, True])


def test_a_field_with_a_default_may_stand_before_one_without():
    schema = Schema(
        "Mixed",
        (
            Field("first", Primitive("int"), True, None),
            Field("second", Primitive("str")),
        ),
    )
    built = schema.to_type()
    assert built(second="a").first is None
    assert built.from_bytes(built(second="a").packed) == built(second="a", first=None)
    assert Schema.of(built).cid == schema.cid


def test_the_cid_is_of_the_content_and_not_of_its_labels():
    schema = Schema.of(Item)
    assert schema.cid.startswith("bafyrei")
    assert Schema.of(Item, version="2.0.0", description="else").cid == schema.cid
    assert Schema.of(Item, version="2.0.0") != schema
    assert Schema.of(Item, name="Other").cid != schema.cid
    assert schema.at_version("3.0.0").version == "3.0.0"

    @atdata.packable
    class Item2:
        id: int
        text: str
        data: NDArray[np.float64]

    changed = Schema.of(Item2, name="Item")
    assert changed.cid != schema.cid
    assert not changed.same_fields(schema)


def test_the_cid_of_a_known_type_never_changes():
    # It is the identity of published datasets: a change here breaks all of them.
    assert Schema.of(Item).cid == "bafyreieb2benaodwg5hc2r3xrqkvb5wvsaenb6miq5jbu5ynbp3cdcgebm"


def test_a_dataclass_s_signature_is_no_description():
    @atdata.packable
    class Plain:
        a: int

    assert Schema.of(Plain).description is None
    assert Schema.of(Plain, description="mine").description == "mine"
    assert str(Schema.of(Plain)) == "Plain(a: int)"


@pytest.mark.parametrize(
    "version", ["1", "1.0", "01.0.0", "1.0.0-a", "v1.0.0", "1.0.0\n", "", None]
)
def test_versions_are_major_minor_patch(version):
    with pytest.raises(SchemaError, match=r"MAJOR\.MINOR\.PATCH"):
        Schema.of(Item).at_version(version)


def body(**changes):
    """A schema's JSON with something else in it."""
    found = Schema.of(Item).to_json()
    return {**found, **changes}


def field(**changes):
    """A schema of one field with something else in it."""
    kind = {"$type": "local#primitive", "primitive": "int"}
    found = body(fields=[{"name": "a", "fieldType": kind, "optional": False, **changes}])
    return {key: value for key, value in found.items() if key != "contentCid"}


def test_a_schema_that_is_not_of_the_cid_it_states_is_refused():
    stated = Schema.of(Wide).to_json()
    with pytest.raises(SchemaError, match="not that of the CID"):
        Schema.from_json({**stated, "fields": stated["fields"][1:]})
    assert Schema.from_json(stated) == Schema.of(Wide)


def kind(**found):
    """A schema of one field of this type."""
    return field(fieldType=found)


DEEP = {"$type": "local#primitive", "primitive": "int"}
for _ in range(50):
    DEEP = {"$type": "local#array", "items": DEEP}

BAD = {
    "nothing": {},
    "no name": {"fields": body()["fields"]},
    "no fields": body(fields=[]),
    "fields are no list": body(fields={"a": 1}),
    "fields are text": body(fields=["a"]),
    "10,000 fields": body(fields=field()["fields"] * 10_000),
    "a field twice": body(fields=field()["fields"] * 2),
    "a keyword": field(name="import"),
    "a dunder": field(name="__class__"),
    "not an identifier": field(name="a b"),
    "code": field(name="x=__import__('os').system('true')"),
    "no name of a field": field(name=None),
    "a long name": field(name="a" * 101),
    "a type's name is code": body(name="X(object): pass"),
    "a method's name": field(name="packed"),
    "another method's name": field(name="from_bytes"),
    "unknown type": kind(**{"$type": "local#ref", "ref": "at://did:plc:x/a.b.c/d"}),
    "unknown primitive": kind(**{"$type": "local#primitive", "primitive": "object"}),
    "no type": kind(),
    "a number for a type": kind(**{"$type": 5}),
    "a list of nothing": kind(**{"$type": "local#array"}),
    "deep": field(fieldType=DEEP),
    "object dtype": kind(**{"$type": "local#ndarray", "dtype": "O"}),
    "structured dtype": kind(**{"$type": "local#ndarray", "dtype": "i4,f8"}),
    "unknown dtype": kind(**{"$type": "local#ndarray", "dtype": "nope"}),
    "dtype is code": kind(**{"$type": "local#ndarray", "dtype": "__import__('os')"}),
    "dtype is a number": kind(**{"$type": "local#ndarray", "dtype": 5}),
    "negative length": kind(**{"$type": "local#ndarray", "shape": [-1]}),
    "length is text": kind(**{"$type": "local#ndarray", "shape": ["8"]}),
    "shape is a number": kind(**{"$type": "local#ndarray", "shape": 8}),
    "optional is text": field(optional="yes"),
    "default of another type": field(default={"$bytes": "oWE"}),
    "default is no base64": field(default={"$bytes": "!!"}),
    "default is plain": field(default=5),
    "default is a number": field(default={"$bytes": 5}),
    "default is garbage": field(default={"$bytes": "wQ"}),
    "version": body(version="latest"),
    "version is a number": body(version=1),
}


@pytest.mark.parametrize("name", BAD)
def test_json_that_describes_no_schema_is_refused(name):
    with pytest.raises(SchemaError):
        Schema.from_json(BAD[name], "here")


@pytest.mark.parametrize("dtype", ["<U5", "S5", "V8", "datetime64[s]", "<M8[ns]", "str", ">f4"])
def test_dtypes_without_a_name_of_their_own_still_make_a_type(dtype):
    schema = Schema.from_json(kind(**{"$type": "local#ndarray", "dtype": dtype}))
    built = schema.to_type()
    assert Schema.of(built).cid == schema.cid
    if dtype != ">f4":
        sample = built(np.zeros(2, dtype))
        assert built.from_bytes(sample.packed) == sample


def test_types_of_the_same_name_and_other_content_are_different_types():
    one = Schema("Same", (Field("a", Primitive("int")),)).to_type()
    two = Schema("Same", (Field("a", Primitive("str")),)).to_type()
    assert one is not two
    assert one(1) != two("1")


def test_samples_of_a_built_type_can_be_read():
    built = Schema.of(Item).to_type()
    sample = items(1)[0]
    assert built.from_bytes(sample.packed).packed == sample.packed
