"""Values of fields become bytes and come back equal; what can't is refused with its name."""

import datetime
import struct
import tracemalloc
from typing import Annotated, Any, Optional, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from typing_extensions import TypeAliasType

import atdata_core as atdata
from atdata_core.arrays import array_from_bytes, npy_bytes
from atdata_core.errors import SampleError, SchemaError
from atdata_core.fields import type_of
from atdata_core.fieldtypes import (
    ListType,
    NDArrayType,
    Shape,
)
from atdata_core.primitives import Primitive

NUMERIC = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "F", "D"]

SCALAR = TypeVar("SCALAR", bound=np.generic)
IMAGE = TypeAliasType("IMAGE", NDArray[np.uint8])
# As NumPy's own NDArray is one since 2.5, on Python 3.12 or newer.
ARRAY = TypeAliasType("ARRAY", np.ndarray[Any, np.dtype[SCALAR]], type_params=(SCALAR,))


def same(left, right):
    """Whether two arrays hold the same values of the same dtype in the same shape."""
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()
    )


def there_and_back(array):
    return array_from_bytes(npy_bytes(array, "x"), "x")


def latin(dtype):
    """Whether the names of a structure's fields have a form in the .npy format."""
    return str(dtype).isascii()


dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(endianness="?"),
    hnp.timedelta64_dtypes(endianness="?"),
    hnp.byte_string_dtypes(endianness="?", min_len=1),
    hnp.unicode_string_dtypes(endianness="?", min_len=1),
    hnp.array_dtypes(allow_subarrays=True).filter(latin),
)
shapes = hnp.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4)


@given(dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes)))
def test_arrays_of_every_dtype_and_shape_come_back_equal(array):
    back = there_and_back(array)
    assert same(array, back)
    assert back.flags.writeable
    assert back.flags.owndata or back.base is not None


@pytest.mark.parametrize("code", NUMERIC)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_numeric_arrays_come_back_equal(code, order, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(order + code)
    assert same(array, there_and_back(array))


@pytest.mark.parametrize(
    "array",
    [
        np.array([np.nan, -np.nan, np.inf, -0.0]),
        np.array(["", "é", "日本"]),
        np.array([b"", b"\x00a", b"abc"]),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([1, 2], "m8[25us]"),
        np.array(
            [(1, 2.5, "x", [1, 2])], [("a", "<i4"), ("b", ">f8"), ("c", "U3"), ("d", "u1", 2)]
        ),
        np.zeros(2, np.dtype([("a", "u1"), ("b", "f8")], align=True)),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(10)[::-2],
        np.broadcast_to(np.float32(1), (3, 2)),
        np.array(5),
        np.array([1 + 2j], np.complex128),
    ],
    ids=lambda array: f"{array.dtype.str}-{array.shape}",
)
def test_arrays_with_something_special_come_back_equal(array):
    assert same(array, there_and_back(array))


def test_layout_in_memory_doesn_t_change_the_bytes():
    array = np.arange(24).reshape(2, 3, 4)
    plain = npy_bytes(array, "x")
    assert npy_bytes(np.asfortranarray(array), "x") == plain
    assert npy_bytes(np.arange(48).reshape(2, 3, 8)[:, :, ::2] // 2, "x") == plain


def test_arrays_are_written_as_numpy_writes_them_and_read_as_numpy_wrote_them(tmp_path):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    np.save(tmp_path / "a.npy", array)
    assert npy_bytes(array, "x") == (tmp_path / "a.npy").read_bytes()
    np.save(tmp_path / "f.npy", np.asfortranarray(array))
    assert same(array, array_from_bytes((tmp_path / "f.npy").read_bytes(), "x"))
    with (tmp_path / "v2.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version=(2, 0))
    assert same(array, array_from_bytes((tmp_path / "v2.npy").read_bytes(), "x"))


def test_the_compact_form_of_public_atdata_is_read():
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    data = bytes([7]) + b"float32" + bytes([2]) + struct.pack("<qq", 2, 3) + array.tobytes()
    assert same(array, array_from_bytes(data, "x"))
    for end in range(len(data)):
        with pytest.raises(SampleError):
            array_from_bytes(data[:end], "x")


def test_memory_of_an_array_is_its_own():
    data = npy_bytes(np.arange(3), "x")
    one, two = array_from_bytes(data, "x"), array_from_bytes(data, "x")
    one[0] = 99
    assert two[0] == 0


@pytest.mark.parametrize("array", [np.array([object()]), np.array([{}, 1]), np.array(None)])
def test_arrays_of_objects_are_not_written(array):
    with pytest.raises(SampleError, match=r"here.*Python objects.*np\.asarray"):
        npy_bytes(array, "here")


def test_structures_that_hide_an_object_are_not_written():
    with pytest.raises(SampleError, match="Python objects"):
        npy_bytes(np.zeros(1, [("a", "i4"), ("b", [("c", "O")])]), "x")


def test_dtypes_that_npy_would_degrade_are_not_written():
    # A dtype from outside of NumPy, as bfloat16 of ml_dtypes is one.
    from numpy._core._rational_tests import rational

    foreign = np.dtype(rational)
    for dtype in (foreign, np.dtype([("a", foreign)]), np.dtype([("a", foreign, 2)])):
        with pytest.raises(SampleError, match=r"\.npy.*astype"):
            npy_bytes(np.zeros(2, dtype), "x")
    with pytest.raises(SampleError, match="stored"):
        npy_bytes(np.array(["a"], np.dtypes.StringDType()), "x")


@pytest.mark.parametrize(
    "dtype",
    [np.dtype([("é" * 3 + "日", "i4")]), np.dtype([(f"f{i:05d}", "i4") for i in range(900)])],
)
def test_structures_whose_header_npy_can_t_hold_are_not_written(dtype):
    with pytest.raises(SampleError, match="here"):
        npy_bytes(np.zeros(1, dtype), "here")


def npy_with(header, body=b"", version=b"\x01\x00"):
    text = header.encode("latin1")
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + body


HOSTILE = {
    "object": npy_with("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04N."),
    "hidden object": npy_with(
        "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", b"\x80\x04N."
    ),
    "80 TB": npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}"),
    "overflow": npy_with(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4)}"
    ),
    "empty but vast": npy_with(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4611686018427387904, 9)}"
    ),
    "no width": npy_with("{'descr': '|V0', 'fortran_order': False, 'shape': (3,)}"),
    "no width but large": npy_with(
        "{'descr': '|S0', 'fortran_order': False, 'shape': (10000000000,)}"
    ),
    "no width but vast": npy_with(
        "{'descr': '|S0', 'fortran_order': False, 'shape': (4611686018427387904, 9)}"
    ),
    "negative": npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8)}", b"\0" * 64),
    "too few bytes": npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", b"\0" * 8),
    "too many bytes": npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", b"\0" * 9),
    "bool for a length": npy_with(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", b"\0" * 16
    ),
    "order is junk": npy_with("{'descr': '<f8', 'fortran_order': 7, 'shape': ()}", b"\0" * 8),
    "extra key": npy_with(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'x': 1}", b"\0" * 8
    ),
    "unknown dtype": npy_with("{'descr': '<q77', 'fortran_order': False, 'shape': ()}"),
    "call": npy_with("__import__('os').system('true')"),
    "deep": npy_with("(" * 9000 + ")" * 9000),
    "version 9": npy_with(
        "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", version=b"\x09\0"
    ),
    "pickle": b"\x80\x04N.",
    "nothing": b"",
    "magic alone": b"\x93NUMPY",
    "compact object": b"\x01O\x01" + struct.pack("<q", 1) + b"\0" * 8,
    "compact vast": b"\x03<f8\x01" + struct.pack("<q", 2**62),
    "compact negative": b"\x03<f8\x01" + struct.pack("<q", -1),
    "compact with 200 axes": b"\x03<f8\xc8" + struct.pack("<q", 1) * 200 + b"\0" * 8,
    "npy with 200 axes": npy_with(
        f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({'1,' * 200})}}", b"\0" * 8
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_bytes_that_lie_about_an_array_are_refused_before_memory_is_taken(name):
    tracemalloc.start()
    with pytest.raises(SampleError, match="here"):
        array_from_bytes(HOSTILE[name], "here")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_values_without_width_are_not_written():
    with pytest.raises(SampleError, match=r"\.npy"):
        npy_bytes(np.zeros(3, []), "x")


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_an_array_or_a_sample_error(data, magic):
    try:
        array_from_bytes(b"\x93NUMPY\x01\x00" + data if magic else data, "x")
    except SampleError:
        pass


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, Primitive("str")),
        (int, Primitive("int")),
        (float, Primitive("float")),
        (bool, Primitive("bool")),
        (bytes, Primitive("bytes")),
        (NDArray, NDArrayType()),
        (np.ndarray, NDArrayType()),
        (NDArray[np.uint8], NDArrayType("uint8")),
        (NDArray[np.float32], NDArrayType("float32")),
        (NDArray[np.complex128], NDArrayType("complex128")),
        (NDArray[np.bool_], NDArrayType("bool")),
        (NDArray[np.floating], NDArrayType()),
        (NDArray[np.integer], NDArrayType()),
        (NDArray[np.number], NDArrayType()),
        (NDArray[np.generic], NDArrayType()),
        (NDArray[np.str_], NDArrayType()),
        (NDArray[np.bytes_], NDArrayType()),
        (NDArray[np.void], NDArrayType()),
        (NDArray[np.datetime64], NDArrayType()),
        (NDArray[np.timedelta64], NDArrayType()),
        (np.ndarray[tuple[int, ...], np.dtype[np.int16]], NDArrayType("int16")),
        (Annotated[NDArray[np.uint8], Shape(8, None)], NDArrayType("uint8", (8, None))),
        (Annotated[NDArray, Shape()], NDArrayType(None, ())),
        (Annotated[str, "a note"], Primitive("str")),
        (list[int], ListType(Primitive("int"))),
        (list[NDArray[np.int8]], ListType(NDArrayType("int8"))),
        (list[list[str]], ListType(ListType(Primitive("str")))),
        (IMAGE, NDArrayType("uint8")),
        (TypeAliasType("Images", list[IMAGE]), ListType(NDArrayType("uint8"))),
        (ARRAY, NDArrayType()),
        (ARRAY[np.int8], NDArrayType("int8")),
    ],
    ids=str,
)
def test_annotations_stand_for_field_types(annotation, kind):
    assert type_of(annotation, "x") == kind


@pytest.mark.parametrize(
    "annotation",
    [
        object,
        dict,
        dict[int, str],
        list,
        tuple,
        set[int],
        int | str,
        datetime.date,
        complex,
        np.float32,
        NDArray[np.object_],
        None,
    ],
    ids=str,
)
def test_annotations_without_a_place_in_a_sample_are_refused(annotation):
    with pytest.raises(SchemaError, match="here"):
        type_of(annotation, "here")


def test_optional_fields_take_none_and_others_don_t():
    @atdata.packable
    class Maybe:
        a: Optional[int]  # noqa: UP045 - the old way of writing it
        b: NDArray | None
        c: int

    sample = Maybe(a=None, b=None, c=1)
    assert Maybe.from_bytes(sample.packed) == sample
    with pytest.raises(SampleError, match="field 'c'"):
        _ = Maybe(a=1, b=None, c=None).packed


@pytest.mark.parametrize(
    ("kind", "value", "back"),
    [
        ("int", np.int8(-3), -3),
        ("int", -(2**63), -(2**63)),
        ("int", 2**64 - 1, 2**64 - 1),
        ("float", 3, 3.0),
        ("float", np.float32(0.5), 0.5),
        ("bool", np.True_, True),
        ("bytes", bytearray(b"ab"), b"ab"),
        ("bytes", memoryview(b"ab"), b"ab"),
        ("str", np.str_("é"), "é"),
    ],
)
def test_numpy_s_scalars_are_taken_for_python_s(kind, value, back):
    field = Primitive(kind)
    encoded = field.encode(value, "x")
    assert type(encoded) is type(back)
    assert field.decode(encoded, "x") == back


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", True),
        ("int", 1.0),
        ("int", "1"),
        ("int", 2**64),
        ("int", -(2**63) - 1),
        ("float", True),
        ("float", "1"),
        ("float", 10**400),
        ("float", 1j),
        ("bool", 1),
        ("bool", "x"),
        ("str", b"x"),
        ("str", "\ud800"),
        ("bytes", "x"),
        ("int", None),
    ],
)
def test_values_of_another_type_are_refused(kind, value):
    with pytest.raises(SampleError, match="here"):
        Primitive(kind).encode(value, "here")


def test_dtype_and_shape_are_checked_both_ways():
    strict = NDArrayType("float32", (2, None))
    loose = NDArrayType()
    right = np.zeros((2, 5), np.float32)
    assert same(right, strict.decode(strict.encode(right, "x"), "x"))
    wrong = {
        r"dtype.*expected float32, got float64": np.zeros((2, 5)),
        r"dtype.*expected float32, got >f4": np.zeros((2, 5), ">f4"),
        r"shape.*expected \(2, any\), got \(3, 5\)": np.zeros((3, 5), np.float32),
        r"shape.*expected \(2, any\), got \(2\)": np.zeros(2, np.float32),
    }
    for message, array in wrong.items():
        with pytest.raises(SampleError, match=message):
            strict.encode(array, "x")
        with pytest.raises(SampleError, match=message):
            strict.decode(loose.encode(array, "x"), "x")
    with pytest.raises(SampleError, match=r"expected ndarray.*got list.*np\.asarray"):
        strict.encode([1.0], "x")


def test_an_item_of_a_list_that_doesn_t_fit_is_named():
    kind = ListType(ListType(Primitive("int")))
    with pytest.raises(SampleError, match=r"x\[1\]\[0\]"):
        kind.encode([[1], ["a"]], "x")
    with pytest.raises(SampleError, match=r"x\[1\]\[0\]"):
        kind.decode([[1], ["a"]], "x")
    with pytest.raises(SampleError, match="got tuple"):
        kind.encode((1,), "x")


def test_lengths_as_python_2_wrote_them_are_read_without_a_warning():
    data = npy_bytes(np.arange(6, dtype=np.int16).reshape(2, 3), "x")
    old = data.replace(b"(2, 3), }  ", b"(2L, 3L), }")
    assert old != data
    assert array_from_bytes(old, "x").tolist() == [[0, 1, 2], [3, 4, 5]]
