"""Tars in WebDataset's own layout, read by `Dataset.from_webdataset`."""

import gzip
import io
import json
import pickle
import tarfile
import warnings

import numpy as np
import pytest
import webdataset as wds
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core import Dataset
from atdata_core.errors import ConfigurationError, SampleError, ShardError
from atdata_core.sources import FileSource
from tests.support.samples import tar_of


@atdata.packable
class Photo:
    image: NDArray[np.uint8]
    label: int
    caption: str


@atdata.packable
class Named:
    name: str
    x: NDArray[np.float32]
    info: list[float]
    raw: bytes = b""


@atdata.packable
class Vector:
    x: NDArray


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def tar_file(folder, members, name="a.tar", **options):
    path = folder / name
    path.write_bytes(tar_of(members, **options))
    return str(path)


def picture(number):
    return np.full((4, 6, 3), number, np.uint8)


def decode(data):
    """An image of a format of our own: its shape, then its values."""
    shape = tuple(data[:3])
    return np.frombuffer(data[3:], np.uint8).reshape(shape)


def encode(array):
    return bytes(array.shape) + array.tobytes()


PHOTOS = {"members": {"image": "jpg;png", "label": "cls", "caption": "json"}}
DECODERS = {"jpg": decode, ".PNG": decode, "json": lambda data: json.loads(data)["caption"]}


def photos(count, start=0):
    return [
        (f"photos/{i:04d}.{extension}", body)
        for i in range(start, start + count)
        for extension, body in (
            ("png" if i % 2 else "jpg", encode(picture(i))),
            ("cls", str(i).encode()),
            ("json", json.dumps({"caption": f"n° {i}"}).encode()),
        )
    ]


def test_members_become_fields_through_their_decoders(tmp_path):
    paths = [tar_file(tmp_path, photos(3, 3 * n), f"{n}.tar") for n in range(2)]
    dataset = Dataset.from_webdataset(paths, Photo, decoders=DECODERS, **PHOTOS)
    expected = [Photo(image=picture(i), label=i, caption=f"n° {i}") for i in range(6)]
    assert list(dataset) == expected
    assert [b.label for b in dataset.ordered(4)] == [[0, 1, 2, 3], [4, 5]]
    assert dataset[4] == expected[4]
    assert sorted(s.label for s in dataset.shuffled(seed=1)) == list(range(6))
    folder = Dataset.from_webdataset(tmp_path, Photo, decoders=DECODERS, **PHOTOS)
    assert folder.count() == 6
    source = FileSource(paths[:1])
    again = Dataset.from_webdataset(source, Photo, decoders=DECODERS, **PHOTOS)
    assert list(again) == expected[:3]


def test_what_webdataset_writes_is_read(tmp_path):
    path = str(tmp_path / "a.tar")
    with wds.writer.TarWriter(path) as sink:
        for i in range(4):
            sink.write(
                {
                    "__key__": f"{i:03d}",
                    "x.npy": np.full(3, i, np.float32),
                    "info.json": [0.5, i],
                    "raw": bytes([i]),
                }
            )
    dataset = Dataset.from_webdataset(path, Named, members={"name": "__key__"})
    assert list(dataset) == [
        Named(name=f"{i:03d}", x=np.full(3, i, np.float32), info=[0.5, float(i)], raw=bytes([i]))
        for i in range(4)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves the file to Python
        theirs = list(wds.WebDataset(path, shardshuffle=False).decode())
    assert [s["__key__"] for s in theirs] == [s.name for s in dataset]


@given(
    st.lists(st.text("abc/é", min_size=1, max_size=120), min_size=1, max_size=6, unique=True),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from(["<f4", ">i2", "?", "c16"]),
    st.sampled_from([(), (0,), (2, 3)]),
    st.booleans(),
)
def test_names_and_arrays_of_any_kind_are_read(tmp_path_factory, keys, style, kind, shape, fortran):
    keys = [f"{i}{key.strip('/').replace('//', '/')}" for i, key in enumerate(keys)]
    arrays = [np.full(shape, i).astype(kind) for i in range(len(keys))]
    arrays = [np.asfortranarray(a) if fortran else a for a in arrays]
    members = [
        member
        for key, array in zip(keys, arrays, strict=True)
        for member in ((f"{key}.X.NPY", npy(array)), (f"{key}.json", b"{}"), (f"{key}.jpg", b"?"))
    ]
    path = tar_file(tmp_path_factory.mktemp("wds"), members, format=style)
    found = list(Dataset.from_webdataset(path, Vector))
    for sample, array in zip(found, arrays, strict=True):
        assert sample.x.dtype == array.dtype
        assert np.array_equal(sample.x, array)


def test_hidden_files_and_files_about_the_shard_belong_to_no_sample(tmp_path):
    members = [("__about__.json", b"{"), (".x.npy", b"?"), ("README", b"?")]
    members += [("a.x.npy", npy(np.array([1])))]
    [found] = Dataset.from_webdataset(tar_file(tmp_path, members), Vector)
    assert found == Vector(x=np.array([1]))


class Trap:
    """Tells, when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.x.npy", npy(np.array([Trap()], object), allow_pickle=True))], "objects"),
        ([("a.x.pkl", pickle.dumps(Trap()))], "never read"),
        ([("a.x.pyd", pickle.dumps(Trap()))], "never read"),
        ([("a.x.pth", pickle.dumps(Trap()))], "never read"),
        ([("a.x.jpg", b"\xff\xd8")], "nothing decodes .jpg"),
        ([("a.x.npy", b"")], "hold an array"),
        ([("a.x.npy", npy(np.arange(9))[:-1])], "don't match"),
        ([("a.x.json", b"{")], "not JSON"),
        ([("a.x.json", b"[" * 100_000)], "not JSON"),
        ([("a.x.json", b'"text"')], "x"),
        ([("a.y.npy", npy(np.arange(9)))], "no column 'x'"),
        ([("a.x.txt", b"\xff")], "not UTF-8"),
        ([("a.x.cls", b"1_000")], "whole number"),
    ],
)
def test_members_that_are_no_values_are_told_by_shard_and_key(tmp_path, members, message):
    path = tar_file(tmp_path, members)
    with pytest.raises(SampleError, match=message) as caught:
        list(Dataset.from_webdataset(path, Vector))
    assert path in str(caught.value)
    assert "sample a" in str(caught.value)


def test_a_huge_claim_takes_no_memory(tmp_path):
    import tracemalloc

    plain = npy(np.zeros(1, np.uint8))
    for shape in (b"(9999999999,)}", b"(-1,), }      "):
        data = plain.replace(b"(1,), }       ", shape)
        assert data != plain
        path = tar_file(tmp_path, [("a.x.npy", data)])
        tracemalloc.start()
        with pytest.raises(SampleError):
            list(Dataset.from_webdataset(path, Vector))
        assert tracemalloc.get_traced_memory()[1] < 20e6
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.x.npy", b"1"), ("a.X.NPY", b"1")], "two members"),
        ([(f"{key}.x.npy", npy(np.arange(2))) for key in "aba"], "same key"),
        ([("../a.x.npy", npy(np.arange(2)))], "unsafe"),
    ],
)
def test_shards_that_contradict_themselves_are_refused(tmp_path, members, message):
    path = tar_file(tmp_path, members)
    with pytest.raises((ShardError, SampleError), match=message):
        list(Dataset.from_webdataset(path, Vector))


def test_a_shard_cut_short_is_never_a_shorter_dataset(tmp_path):
    body = tar_of([(f"{i}.x.npy", npy(np.arange(100))) for i in range(3)])
    end = len(body.rstrip(b"\0"))
    for cut in range(0, end, 256):
        path = tmp_path / "a.tar"
        path.write_bytes(body[:cut])
        with pytest.raises(ShardError):
            list(Dataset.from_webdataset(str(path), Vector))
    noise = npy(np.random.default_rng(1).random(1000))
    path.write_bytes(gzip.compress(tar_of([("a.x.npy", noise)])))
    with pytest.raises(ShardError, match="compressed"):
        list(Dataset.from_webdataset(str(path), Vector))


def test_a_decoder_that_fails_is_told_with_its_reason(tmp_path):
    path = tar_file(tmp_path, [("a.x.jpg", b"1")])
    with pytest.raises(SampleError, match=r"decoder for \.jpg failed: 1 is too few") as caught:
        list(Dataset.from_webdataset(path, Vector, decoders={"jpg": fails}))
    assert isinstance(caught.value.__cause__, ValueError)


def fails(data):
    raise ValueError(f"{len(data)} is too few")


def test_what_is_asked_for_wrongly_is_refused_at_once(tmp_path):
    path = tar_file(tmp_path, [("a.x.npy", npy(np.arange(2)))])
    with pytest.raises(ConfigurationError, match="no field 'y'"):
        Dataset.from_webdataset(path, Vector, members={"y": "npy"})
    with pytest.raises(ConfigurationError, match="pickled"):
        Dataset.from_webdataset(path, Vector, decoders={".PKL": pickle.loads})
