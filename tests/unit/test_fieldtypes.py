"""Every annotation that a person would write becomes bytes, and comes back equal."""

import enum
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.codegen import python_source
from atdata_core.errors import SampleError, SchemaError
from atdata_core.fields import type_of
from atdata_core.sample import pack, unpack
from atdata_core.schema import Schema


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


@atdata.packable
class Box:
    """A nested sample."""

    corner: NDArray[np.float32]
    name: str = "box"


@atdata.packable
class Rich:
    """One of everything."""

    bare: NDArray
    plain: np.ndarray
    typed: NDArray[np.float32]
    maybe: NDArray[np.int64] | None
    other: NDArray | None
    noted: Annotated[NDArray[np.uint8] | None, atdata.Shape(2, None)]
    arrays: list[NDArray]
    named: dict[str, NDArray[np.float64]]
    box: Box
    boxes: list[Box]
    when: datetime
    color: Color
    size: Literal["s", "m", 1, True]
    pair: tuple[int, str]
    many: tuple[float, ...]
    gaps: list[int | None]
    deep: dict[str, list[tuple[int, bytes]]]


texts = st.text(max_size=5)
arrays = st.lists(st.floats(width=32, allow_nan=False), max_size=4).map(
    lambda xs: np.array(xs, np.float32)
)
boxes = st.builds(Box, arrays, texts)
zones = st.sampled_from([None, timezone.utc, timezone(timedelta(hours=5, minutes=30))])  # noqa: UP017
rich = st.builds(
    Rich,
    bare=arrays,
    plain=arrays,
    typed=arrays,
    maybe=st.none() | arrays.map(lambda a: a.size * np.arange(3)),
    other=st.none() | arrays,
    noted=st.none() | st.integers(0, 3).map(lambda n: np.zeros((2, n), np.uint8)),
    arrays=st.lists(arrays, max_size=3),
    named=st.dictionaries(texts, arrays.map(lambda a: a.astype(np.float64)), max_size=3),
    box=boxes,
    boxes=st.lists(boxes, max_size=2),
    when=st.datetimes(timezones=zones),
    color=st.sampled_from(Color),
    size=st.sampled_from(["s", "m", 1, True]),
    pair=st.tuples(st.integers(-(2**63), 2**63), texts),
    many=st.lists(st.floats(allow_nan=False), max_size=3).map(tuple),
    gaps=st.lists(st.none() | st.integers(0, 9), max_size=3),
    deep=st.dictionaries(texts, st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=3)))),
)


@given(rich)
def test_a_rich_sample_comes_back_equal(sample):
    again = Rich.from_bytes(sample.packed)
    assert again == sample
    assert type(again.size) is type(sample.size)
    assert again.when.utcoffset() == sample.when.utcoffset()
    assert isinstance(again.box, Box)
    assert isinstance(again.bare, np.ndarray)


@given(rich)
def test_a_type_built_from_the_schema_reads_the_same_bytes(sample):
    schema = Schema.of(Rich)
    built = Schema.from_json(schema.to_json()).to_type()
    assert Schema.of(built).cid == schema.cid
    assert unpack(built, sample.packed).packed == sample.packed


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("arrays", [np.zeros(2), 3], ["'arrays'[1]", "ndarray", "int"]),
        ("arrays", (np.zeros(2),), ["'arrays'", "list[", "tuple"]),
        ("named", {"a": np.zeros(1, np.float32)}, ["'named'['a']", "float64", "float32"]),
        ("named", {1: np.zeros(1)}, ["'named', key 1", "str", "int"]),
        ("box", {"corner": 1}, ["'box'", "Box", "dict"]),
        ("box", Box(np.zeros(1), "x"), ["'box', field 'corner'", "float32", "float64"]),
        ("when", "2026-01-01", ["'when'", "datetime", "str"]),
        ("color", "RED", ["'color'", "Color", "str"]),
        ("size", "xl", ["'size'", "'s', 'm', 1, True", "'xl'"]),
        ("size", 1.0, ["'size'", "1.0"]),
        ("pair", (1,), ["'pair'", "tuple[int, str]", "tuple of 1"]),
        ("pair", (1, 2), ["'pair'[1]", "str", "int"]),
        ("many", [1.0], ["'many'", "tuple[float, ...]", "list"]),
        ("gaps", [1, "x"], ["'gaps'[1]", "int", "str"]),
    ],
)
def test_a_value_that_does_not_fit_is_named(field, value, words):
    box = Box(np.zeros(1, np.float32))
    zero = np.zeros(1, np.float32)
    given = {
        "bare": zero,
        "plain": zero,
        "typed": zero,
        "maybe": None,
        "other": None,
        "noted": None,
        "arrays": [],
        "named": {},
        "box": box,
        "boxes": [],
        "when": datetime(2026, 1, 1),  # noqa: DTZ001
        "color": Color.RED,
        "size": "s",
        "pair": (1, ""),
        "many": (),
        "gaps": [],
        "deep": {},
    }
    with pytest.raises(SampleError) as caught:
        pack(Rich(**{**given, field: value}), "shard 7, sample 3")
    for word in ["shard 7, sample 3", *words]:
        assert word in str(caught.value)


@atdata.packable
class Base:
    id: int
    note: str = "none"


@atdata.packable
class Derived(Base):
    extra: list[float] = None  # type: ignore[assignment]


def test_a_subclass_has_the_fields_of_its_base():
    @atdata.packable
    class Child(Base):
        weight: float = 1.0

    sample = Child(3, weight=2.5)
    assert Child.from_bytes(sample.packed) == sample
    assert [f.name for f in Schema.of(Child).fields] == ["id", "note", "weight"]
    batch = atdata.SampleBatch([sample, sample], Child)
    assert batch.id == [3, 3]


def test_a_default_that_does_not_fit_its_field_is_refused():
    with pytest.raises(SampleError, match="extra"):
        Schema.of(Derived)


def test_missing_fields_take_their_defaults():
    assert Base.from_bytes(b"\x81\xa2id\x05") == Base(5, "none")


@atdata.packable
class Loop:
    inner: "list[Loop]"


class Odd(enum.Enum):
    A = object()


@pytest.mark.parametrize(
    "annotation",
    [set[int], int | str, dict[int, str], dict, list, tuple, Odd, Literal[1.5], complex, Any],
    ids=str,
)
def test_an_annotation_without_a_place_in_a_sample_is_refused(annotation):
    with pytest.raises(SchemaError, match=r"Sample\.field"):
        type_of(annotation, "Sample.field")


def test_a_type_that_contains_itself_is_refused():
    with pytest.raises(SchemaError, match="contains itself"):
        Schema.of(Loop)


def test_ml_dtypes_are_refused_by_name():
    import ml_dtypes

    sample = Box(np.zeros(2, ml_dtypes.bfloat16))
    with pytest.raises(SampleError, match="bfloat16"):
        pack(sample)


def test_types_of_one_name_are_never_confused():
    one = Schema.from_json(
        {
            "name": "T",
            "version": "1.0.0",
            "fields": [{"name": "x", "fieldType": {"$type": "#primitive", "primitive": "int"}}],
        }
    )
    other = Schema.from_json(
        {
            "name": "T",
            "version": "1.0.0",
            "fields": [{"name": "x", "fieldType": {"$type": "#primitive", "primitive": "str"}}],
        }
    )
    assert one.to_type() is not other.to_type()
    assert one.to_type() is one.to_type()
    assert other.to_type()(x="a").packed == b"\x81\xa1x\xa1a"


@atdata.packable
class Defaults:
    """What is left out; it's "quoted"."""

    array: NDArray[np.int16] = None  # type: ignore[assignment]


@atdata.packable
class Full:
    """It's a "type"\\n'''with''' quotes and a \\ in its text."""

    color: Color = Color.GREEN
    when: datetime = datetime(2026, 1, 2, tzinfo=timezone.utc)  # noqa: UP017
    shape: Annotated[NDArray[np.int16] | None, atdata.Shape(2, None)] = None
    nan: float = float("inf")
    text: str = "a'b\"c\\"
    size: Literal["s", 1] = 1
    pair: tuple[int, str] = (1, "x")


def test_a_schema_becomes_an_importable_module(tmp_path, monkeypatch):
    for sample_type in (Full, Rich):
        schema = Schema.of(sample_type)
        name = f"generated_{sample_type.__name__.lower()}"
        (tmp_path / f"{name}.py").write_text(python_source(schema))
        monkeypatch.syspath_prepend(tmp_path)
        module = __import__(name)
        again = Schema.of(getattr(module, sample_type.__name__))
        assert again.cid == schema.cid
        assert again.fields_json("") == schema.fields_json("")
    assert module.Rich.__module__ == "generated_rich"


def test_a_module_s_text_holds_no_code_of_a_stranger():
    body = Schema.of(Full).to_json()
    body["description"] = '"""\nimport os; os.abort()\n"""'
    text = python_source(Schema.from_json(body))
    compiled = compile(text, "generated", "exec")
    assert "os" not in compiled.co_names


@pytest.mark.parametrize(
    "kind",
    [
        {"$type": "#primitive", "primitive": "object"},
        {"$type": "#enum", "name": "E", "members": [{"name": "__class__", "integer": 1}]},
        {"$type": "#enum", "name": "E", "members": [{"name": "mro", "integer": 1}]},
        {"$type": "#enum", "name": "E", "members": []},
        {"$type": "#enum", "name": "import os", "members": [{"name": "A", "integer": 1}]},
        {"$type": "#literal", "values": [[1]]},
        {"$type": "#object", "name": "class", "fields": []},
        {"$type": "#object", "name": "A", "fields": []},
        {"$type": "#ndarray", "dtype": "O"},
        {"$type": "#ndarray", "dtype": "float32", "shape": [-1]},
        {"$type": "#ndarray", "dtype": "f4,f4"},
        {"$type": "#ref", "ref": "https://example.org/x"},
        {"$type": 3},
        {},
        [],
        None,
    ],
    ids=str,
)
def test_a_hostile_description_is_refused(kind):
    with pytest.raises(SchemaError):
        Schema.from_json({"name": "T", "fields": [{"name": "x", "fieldType": kind}]})


def test_deeply_nested_types_are_refused():
    kind = {"$type": "#primitive", "primitive": "int"}
    for _ in range(5000):
        kind = {"$type": "#array", "items": kind}
    with pytest.raises(SchemaError, match="nested too deeply"):
        Schema.from_json({"name": "T", "fields": [{"name": "x", "fieldType": kind}]})
