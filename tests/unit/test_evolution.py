"""What changed between two schemas, whether it breaks readers, and the version that follows."""

from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.errors import SampleError
from atdata_core.evolution import changes, is_compatible, next_version
from atdata_core.fields import Field
from atdata_core.fieldtypes import (
    ListType,
    NDArrayType,
    NullableType,
)
from atdata_core.primitives import Primitive
from atdata_core.sample import pack, unpack
from atdata_core.schema import Schema


def schema(**annotations):
    defaults = {k: v[1] for k, v in annotations.items() if isinstance(v, tuple)}
    hints = {k: v[0] if isinstance(v, tuple) else v for k, v in annotations.items()}
    return Schema.of(atdata.packable(type("T", (), {"__annotations__": hints, **defaults})))


@pytest.mark.parametrize(
    ("old", "new", "words", "breaking"),
    [
        ({"a": int}, {"a": int}, [], False),
        ({"a": int}, {"a": int, "b": (str, "")}, ["b: was added with a default"], False),
        ({"a": int}, {"a": int, "b": str}, ["b: was added without a default"], True),
        ({"a": int, "b": str}, {"a": int}, ["b: was removed"], True),
        ({"a": int}, {"a": str}, ["a: was int, is str"], True),
        ({"a": int}, {"a": float}, ["a: was int, is float"], False),
        ({"a": float}, {"a": int}, ["a: was float, is int"], True),
        ({"a": int}, {"a": int | None}, ["a: may be None now"], False),
        ({"a": int | None}, {"a": int}, ["a: may not be None any more"], True),
        ({"a": NDArray[np.int8]}, {"a": NDArray}, ["any dtype"], False),
        ({"a": NDArray}, {"a": NDArray[np.int8]}, ["int8"], True),
        (
            {"a": Annotated[NDArray[np.int8], atdata.Shape(8, 8)]},
            {"a": Annotated[NDArray[np.int8], atdata.Shape(8, None)]},
            ["(8, any)"],
            False,
        ),
        (
            {"a": Annotated[NDArray[np.int8], atdata.Shape(8, None)]},
            {"a": Annotated[NDArray[np.int8], atdata.Shape(8, 8)]},
            ["(8, 8)"],
            True,
        ),
        ({"a": list[int]}, {"a": list[float]}, ["a[]: was int, is float"], False),
        ({"a": Literal["x"]}, {"a": Literal["x", "y"]}, ["Literal"], False),
        ({"a": Literal["x", "y"]}, {"a": Literal["x"]}, ["Literal"], True),
        ({"a": Literal[1]}, {"a": Literal[True]}, ["Literal"], True),
        ({"a": Literal["x"]}, {"a": str}, ["is str"], False),
        ({"a": int, "b": str}, {"b": str, "a": int}, ["another order"], False),
        ({"a": (int, 1)}, {"a": (int, 2)}, ["another default"], False),
        ({"a": (int, 1)}, {"a": int}, ["another default"], True),
    ],
)
def test_changes_are_named_and_judged(old, new, words, breaking):
    before, after = schema(**old), schema(**new)
    found = changes(before, after)
    assert len(found) == len(words)
    for change, word in zip(found, words, strict=True):
        assert word in str(change)
    assert is_compatible(before, after) != breaking
    expected = "2.0.0" if breaking else "1.1.0" if found else "1.0.0"
    assert next_version(before, after) == expected


def test_other_words_about_the_same_content_are_a_patch():
    one = Schema("T", schema(a=int).fields, "1.2.3", "old words")
    other = Schema("T", one.fields, "1.2.3", "new words")
    assert next_version(one, other) == "1.2.4"
    assert is_compatible(one, other)


kinds = st.recursive(
    st.sampled_from([Primitive("int"), Primitive("float"), Primitive("str")])
    | st.builds(NDArrayType, st.sampled_from([None, "int8", "float32"])),
    lambda inner: st.builds(ListType, inner) | st.builds(NullableType, inner),
    max_leaves=3,
)
schemas = st.lists(
    st.builds(Field, st.sampled_from("abc"), kinds, st.booleans()),
    min_size=1,
    max_size=3,
    unique_by=lambda field: field.name,
).map(lambda fields: Schema("T", tuple(fields)))


def value_of(kind):
    match kind:
        case Primitive("int"):
            return st.integers(-5, 5)
        case Primitive("float"):
            return st.floats(allow_nan=False)
        case Primitive("str"):
            return st.text(max_size=3)
        case NDArrayType(dtype=dtype):
            return st.just(np.zeros(2, dtype or "int16"))
        case NullableType(item=item):
            return st.none() | value_of(item)
        case ListType(items=items):
            return st.lists(value_of(items), max_size=2)


@given(schemas, schemas, st.data())
def test_what_is_called_compatible_can_be_read(old, new, data):
    if not is_compatible(old, new):
        return
    values = {
        f.name: data.draw(st.none() | value_of(f.type) if f.optional else value_of(f.type))
        for f in old.fields
    }
    sample = old.to_type()(**values)
    try:
        unpack(new.to_type(), pack(sample))
    except SampleError as error:
        raise AssertionError(f"{old} -> {new}") from error
