import dataclasses
import sys

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.arrays import npy_bytes
from atdata_core.errors import SampleError, SchemaError
from atdata_core.fields import fields_of
from atdata_core.fieldtypes import encode_fields
from atdata_core.sample import pack, unpack
from tests.support.samples import Item, Loose, items


@atdata.packable
class Everything:
    """Every kind of field at once."""

    text: str
    number: int
    real: float
    flag: bool
    raw: bytes
    array: NDArray
    floats: NDArray[np.float32]
    words: list[str]
    arrays: list[NDArray]
    nested: list[list[int]]
    maybe_text: str | None
    maybe_array: NDArray | None = None
    extra: int = 7


texts = st.text(st.characters(codec="utf-8"))
arrays = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(),
    hnp.unicode_string_dtypes(min_len=1),
).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=3)))
everything = st.builds(
    Everything,
    text=texts,
    number=st.integers(-(2**63), 2**64 - 1),
    real=st.floats(),
    flag=st.booleans(),
    raw=st.binary(),
    array=arrays,
    floats=hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, min_side=0)),
    words=st.lists(texts, max_size=4),
    arrays=st.lists(arrays, max_size=3),
    nested=st.lists(st.lists(st.integers(-(2**63), 2**63), max_size=3), max_size=3),
    maybe_text=st.none() | texts,
    maybe_array=st.none() | arrays,
    extra=st.integers(0, 9),
)


@given(everything)
def test_a_sample_comes_back_equal_field_by_field(sample):
    back = Everything.from_bytes(sample.packed)
    assert back == sample
    for field in dataclasses.fields(Everything):
        was, now = getattr(sample, field.name), getattr(back, field.name)
        assert type(now) is type(was)
        if isinstance(was, np.ndarray):
            np.testing.assert_array_equal(was, now, strict=True)
        elif isinstance(was, float):
            assert was == now or was != was
        elif field.name != "arrays":
            assert was == now
    for was, now in zip(sample.arrays, back.arrays, strict=True):
        np.testing.assert_array_equal(was, now, strict=True)


@given(everything)
def test_equal_samples_have_equal_bytes(sample):
    copy = Everything(**{f.name: getattr(sample, f.name) for f in dataclasses.fields(sample)})
    assert copy.packed == sample.packed
    assert copy.as_wds == {"msgpack": sample.packed}


def test_a_sample_s_bytes_are_one_plain_msgpack_map_in_the_order_of_its_fields():
    found = msgpack.unpackb(items(1)[0].packed)
    assert list(found) == ["id", "text", "data"]
    assert found["data"] == npy_bytes(np.arange(4, dtype=np.float32), "x")


def test_samples_compare_by_content_and_have_no_hash():
    one, same, other = *items(1), *items(1), items(2)[1]
    assert one == same
    assert one != other
    assert one != 5
    nan = Loose(id=1, data=np.array([np.nan]))
    assert nan == Loose(id=1, data=np.array([np.nan]))
    with pytest.raises(TypeError):
        hash(one)


def test_a_packable_type_is_a_plain_dataclass_and_a_packable_sample():
    assert dataclasses.is_dataclass(Item)
    assert [f.name for f in dataclasses.fields(Item)] == ["id", "text", "data"]
    assert issubclass(Item, atdata.PackableSample)
    assert isinstance(items(1)[0], atdata.PackableSample)
    assert "Item(id=0" in repr(items(1)[0])


def test_an_existing_dataclass_can_be_made_packable():
    @atdata.packable
    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int

    assert Point.from_bytes(Point(3).packed) == Point(3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Point(3).x = 4


def test_fields_are_inherited():
    @atdata.packable
    class Wider(Item):
        more: int

    sample = Wider(id=1, text="a", data=np.zeros(1, np.float32), more=2)
    back = Wider.from_bytes(sample.packed)
    assert (back, back.more) == (sample, 2)
    assert sample != Item(id=1, text="a", data=np.zeros(1, np.float32))


def test_from_data_checks_what_it_is_given():
    assert Item.from_data({"id": 1, "text": "a", "data": np.zeros(1, np.float32)}).id == 1
    with pytest.raises(SampleError, match="Item"):
        Item.from_data({"id": 1})
    with pytest.raises(SampleError, match="field 'id'"):
        Item.from_data({"id": "1", "text": "a", "data": np.zeros(1, np.float32)})


def test_a_missing_field_takes_its_default_or_is_an_error():
    body = msgpack.unpackb(items(1)[0].packed)
    del body["text"]
    with pytest.raises(SampleError, match="field 'text' is missing"):
        Item.from_bytes(msgpack.packb(body))

    @atdata.packable
    class Short:
        id: int
        note: str = "none"

    assert Short.from_bytes(msgpack.packb({"id": 1})) == Short(1, "none")


def raw(pairs):
    """A msgpack map in which a key may stand twice."""
    body = b"".join(msgpack.packb(key) + value for key, value in pairs)
    return bytes([0x80 | len(pairs)]) + body


GOOD = msgpack.packb(1)
HOSTILE = {
    "nothing": b"",
    "garbage": b"\xc1\xff\x00",
    "an array": msgpack.packb([1, 2]),
    "a number": GOOD,
    "cut short": msgpack.packb({"id": 1})[:-1],
    "data after the map": msgpack.packb({"id": 1}) + b"\0",
    "key twice": raw([("id", GOOD), ("id", GOOD)]),
    "unknown field": msgpack.packb({"id": 1, "other": 2}),
    "number for a key": msgpack.packb({1: 1, "id": 1}),
    "bytes for a key": msgpack.packb({b"id": 1}),
    "ext": raw([("id", msgpack.packb(msgpack.ExtType(5, b"x")))]),
    "timestamp": raw([("id", msgpack.packb(msgpack.Timestamp(1, 2)))]),
    "depth bomb": raw([("id", b"\x91" * 100_000 + b"\x01")]),
    "map in a field": msgpack.packb({"id": {"a": 1}}),
    "claims 4e9 items": raw([("id", b"\xdd\xff\xff\xff\xff")]),
    "claims 4 GB": raw([("id", b"\xc6\xff\xff\xff\xff")]),
    "not UTF-8": raw([("id", b"\xa1\xff")]),
    "none": msgpack.packb({"id": None}),
    "text for a number": msgpack.packb({"id": "1"}),
    "flag for a number": msgpack.packb({"id": True}),
    "float for a number": msgpack.packb({"id": 1.0}),
}


@atdata.packable
class One:
    """A sample of one number."""

    id: int


@pytest.mark.parametrize("name", HOSTILE)
def test_bytes_that_are_no_sample_of_the_type_are_refused(name):
    with pytest.raises(SampleError):
        One.from_bytes(HOSTILE[name])


@given(st.binary(max_size=100))
def test_garbage_is_a_sample_or_a_sample_error(data):
    try:
        Everything.from_bytes(data)
    except SampleError:
        pass


@pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning")  # NumPy's, of a damaged header
@settings(max_examples=400)
@given(st.data())
def test_a_flipped_byte_is_a_sample_or_a_sample_error(data):
    packed = bytearray(items(1)[0].packed)
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        Item.from_bytes(bytes(packed))
    except SampleError:
        pass


def test_errors_name_the_field_and_what_was_expected():
    with pytest.raises(SampleError, match=r"field 'data'.*expected float32, got float64"):
        _ = Item(id=1, text="a", data=np.zeros(1)).packed
    with pytest.raises(SampleError, match=r"field 'data'.*Python objects"):
        _ = Loose(id=1, data=np.array([object()])).packed
    with pytest.raises(SampleError, match=r"field 'id'.*expected int, got str"):
        _ = Loose(id="1", data=np.zeros(1)).packed


def test_what_is_not_packable_is_told_so():
    from atdata_core.sample import pack

    with pytest.raises(SchemaError, match="@packable"):
        pack(object())


@pytest.mark.parametrize("name", ["packed", "as_wds", "from_bytes", "from_data"])
def test_a_field_that_takes_the_name_of_a_method_is_refused(name):
    with pytest.raises(SchemaError, match=name):
        atdata.packable(dataclasses.make_dataclass("Bad", [(name, int), ("other", int)]))


def test_names_defined_later_in_the_module_work():
    source = """
import atdata_core as atdata
@atdata.packable
class Later:
    data: "Array"
from numpy.typing import NDArray as Array
"""
    module = type(sys)("later")
    sys.modules["later"] = module
    try:
        exec(source, module.__dict__)
        sample = module.Later(np.zeros(2))
        assert module.Later.from_bytes(sample.packed) == sample
    finally:
        del sys.modules["later"]


def test_a_batch_stacks_arrays_and_lists_the_rest():
    batch = atdata.SampleBatch(items(3), Item)
    assert len(batch) == 3
    assert batch.data.shape == (3, 4)
    np.testing.assert_array_equal(batch.data[2], np.arange(4, dtype=np.float32) + 2)
    assert batch.id == [0, 1, 2]
    assert batch.data is batch.data
    assert repr(batch) == "SampleBatch[Item](3 samples)"
    with pytest.raises(AttributeError, match="Item has no field 'nothing'"):
        _ = batch.nothing


def test_a_batch_of_arrays_of_different_shapes_says_how_to_get_at_them():
    batch = atdata.SampleBatch([*items(1, width=2), *items(1, width=3)], Item)
    with pytest.raises(SampleError, match=r"'data'.*\(2\), float32 \(3\).*ragged"):
        _ = batch.data
    assert [s.data.shape for s in batch.samples] == [(2,), (3,)]


def test_a_batch_lists_arrays_of_which_some_are_none():
    @atdata.packable
    class Maybe:
        data: NDArray | None

    batch = atdata.SampleBatch([Maybe(np.zeros(1)), Maybe(None)], Maybe)
    assert batch.data[1] is None


def test_arrays_come_back_as_arrays_however_they_are_annotated():
    source = """
from __future__ import annotations
from typing import Annotated, Optional
import numpy as np
from numpy.typing import NDArray
import atdata_core as atdata
@atdata.packable
class Spelled:
    bare: NDArray
    typed: NDArray[np.float32]
    plain: np.ndarray
    maybe: NDArray | None
    former: Optional[NDArray]
    quoted: "NDArray"
    noted: Annotated[NDArray, "a note"]
"""
    module = type(sys)("spelled")
    sys.modules["spelled"] = module
    try:
        exec(source, module.__dict__)
        sample = module.Spelled(*[np.arange(3, dtype=np.float32)] * 7)
        back = module.Spelled.from_bytes(sample.packed)
        assert all(isinstance(value, np.ndarray) for value in vars(back).values())
        assert back == sample
    finally:
        del sys.modules["spelled"]


@atdata.packable
class Named:
    """Fields called like what the function that packs them uses itself."""

    join: NDArray
    value0: NDArray[np.float64] | None
    known2: int
    lead3: int | None
    other: str
    ndarray: str | None
    pack: float
    double: float | None
    values: bool
    missing: list[int] | None
    sample: bytes


ARRAYS = {
    "plain": np.arange(6.0).reshape(2, 3),
    "other order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other": np.arange(12.0).reshape(2, 6)[:, ::2],
    "backwards": np.arange(6.0)[::-1],
    "big-endian": np.arange(6, dtype=">f8"),
    "without axes": np.array(1.5),
    "empty": np.empty((0, 3)),
    "repeated": np.broadcast_to(np.arange(3.0), (2, 3)),
}
VALUES = [
    *(
        (0, None, "", None, 0.0, None, False, None, b""),
        (-1, 1, "a", "b", 1.5, -0.0, True, [], b"c"),
    ),
    *((127, 128, "é", "é" * 20, float("inf"), float("nan"), True, [1], b"\0"),),
    *((2**63 - 1, -(2**63), "ab" * 200, "a\n", 1e-300, 2.0, False, [2**40], b"d" * 300),),
]


@pytest.mark.parametrize("name", ARRAYS)
def test_packed_again_and_again_a_sample_has_the_bytes_that_msgpack_gives(name):
    array = ARRAYS[name]
    for maybe in (None, np.asarray(array, np.float64)):
        for values in VALUES * 2:  # the second time, what is before a value is known
            sample = Named(array, maybe, *values)
            encoded = encode_fields(fields_of(Named), sample, "sample")
            assert pack(sample) == msgpack.packb(encoded, use_bin_type=True)
            back = unpack(Named, pack(sample))
            assert np.array_equal(back.join, array)
            assert back == sample


def test_a_value_that_only_looks_like_the_last_one_is_checked_all_the_same():
    good = [np.zeros(2), np.zeros(2), 1, 1, "a", "a", 1.0, 1.0, True, [1], b""]
    assert pack(Named(*good)) == pack(Named(*good))
    for place, bad in {1: np.zeros(2, np.float32), 2: True, 3: 1.0, 4: b"a", 6: 1j, 8: 1}.items():
        values = [*good[:place], bad, *good[place + 1 :]]
        with pytest.raises(SampleError, match=f"field '{fields_of(Named)[place].name}'"):
            pack(Named(*values))
    incomplete = Named(*good)
    del incomplete.values
    with pytest.raises(SampleError, match="values"):
        pack(incomplete)
