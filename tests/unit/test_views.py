import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from atdata_core.errors import SampleError
from atdata_core.sample import pack, unpack
from atdata_core.views import Viewer
from tests.support.samples import Loose

any_array = arrays.arrays(
    st.sampled_from([np.dtype("u1"), np.dtype("<f4"), np.dtype(">i2"), np.dtype("?")]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)


@given(st.lists(st.tuples(any_array, st.booleans())))
def test_one_sample_after_another_is_what_each_is_by_itself(rows):
    viewer = Viewer(Loose)
    for number, (array, turned) in enumerate(rows):
        body = pack(Loose(id=number, data=np.asfortranarray(array) if turned else array), "x")
        found, alone = viewer.view(memoryview(body), str), unpack(Loose, body, "x")
        assert found.id == alone.id == number
        assert (found.data.dtype, found.data.shape) == (alone.data.dtype, alone.data.shape)
        assert found.data.tobytes() == alone.data.tobytes() == array.tobytes()
        assert found.data.flags.f_contiguous == alone.data.flags.f_contiguous
        assert not found.data.flags.writeable


def test_a_sample_that_begins_as_the_one_before_and_is_cut_short_is_refused():
    viewer = Viewer(Loose)
    body = pack(Loose(id=1, data=np.arange(6.0)), "x")
    assert viewer.view(memoryview(body), str).data.tolist() == [0, 1, 2, 3, 4, 5]
    for length in range(len(body)):
        with pytest.raises(SampleError, match="here"):
            viewer.view(memoryview(body)[:length], lambda: "here")
    with pytest.raises(SampleError, match="here"):
        viewer.view(memoryview(body + b"\xc0"), lambda: "here")


@pytest.mark.parametrize("data", [0, None, "x", [1.0], b"", b"\0" * 8])
@pytest.mark.parametrize("first", [False, True])
def test_what_is_no_array_is_refused_whether_it_comes_first_or_not(data, first):
    viewer = Viewer(Loose)
    if not first:
        viewer.view(memoryview(pack(Loose(id=1, data=np.arange(6.0)), "x")), str)
    body = msgpack.packb({"id": 1, "data": data})
    with pytest.raises(SampleError, match="here"):
        viewer.view(memoryview(body), lambda: "here")
