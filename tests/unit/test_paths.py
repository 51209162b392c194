"""Samples are the same whichever way they are read: all at once, one by one, from a file, late.

What is fast looks at many samples together and leaves to the plain way what isn't regular; here
both meet shards of every kind, and Python's own ``tarfile`` with msgpack says what is right.
"""

import io
import tarfile
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core import Dataset, files, known
from atdata_core.columns import decode
from atdata_core.cursor import Cursor, Irregular
from atdata_core.errors import SampleError, ShardError
from atdata_core.fields import fields_of
from atdata_core.members import Members
from atdata_core.sample import pack, unpack
from atdata_core.shard import read_samples, write_shards
from atdata_core.sources import BaseSource
from tests.support.samples import tar_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@atdata.packable
class Plain:
    data: NDArray[np.float32]
    number: int


@atdata.packable
class Inner:
    a: int
    b: str


@atdata.packable
class Wide:
    number: int
    ratio: float
    flag: bool
    text: str
    raw: bytes
    data: NDArray[np.uint8]
    maybe: NDArray[np.int16] | None
    note: str | None
    colour: Colour
    time: datetime
    inner: Inner


@atdata.packable
class Listed:
    text: str
    words: list[str]
    data: NDArray


WIDTHS = (0, 1, 7, 300, 9000, 40_000)
"""Values of an array: none, a few, and so many that they are read in other ways."""

whole = st.integers(-(2**63), 2**63 - 1)
numbers = st.sampled_from([0, 1, 127, 128, -1, -32, -33, 255, 256, 65536, 2**32, 2**53]) | whole


def arrays(draw, dtype, count):
    """Arrays of one shape, or of several."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    widths = [draw(st.sampled_from(WIDTHS))] * count
    if draw(st.booleans()):
        widths = [draw(st.sampled_from(WIDTHS[:4])) for _ in range(count)]
    tall = draw(st.sampled_from([1, 2]))
    return [rng.integers(0, 100, (tall, width)).astype(dtype) for width in widths]


@st.composite
def samples(draw):
    """Samples of one type."""
    count = draw(st.integers(1, 12))
    some = draw(st.sampled_from([Plain, Wide, Listed]))
    made = []
    for data in arrays(draw, np.float32 if some is Plain else np.uint8, count):
        if some is Plain:
            made.append(Plain(data=data, number=draw(numbers)))
        elif some is Listed:
            words = draw(st.lists(st.text(max_size=3), max_size=3))
            made.append(Listed(text=draw(st.text(max_size=40)), words=words, data=data))
        else:
            made.append(
                Wide(
                    number=draw(numbers),
                    ratio=draw(st.floats(width=64)),
                    flag=draw(st.booleans()),
                    text=draw(st.text(max_size=300)),
                    raw=draw(st.binary(max_size=300)),
                    data=data,
                    maybe=draw(st.sampled_from([None, np.arange(3, dtype=np.int16)])),
                    note=draw(st.none() | st.text(max_size=5)),
                    colour=draw(st.sampled_from(Colour)),
                    time=datetime(2026, 1, 1, tzinfo=UTC),
                    inner=Inner(a=draw(numbers), b=draw(st.text(max_size=3))),
                )
            )
    return made


def reversed_fields(body):
    """The same sample, its fields in another order, as others may write it."""
    return msgpack.packb(dict(reversed(msgpack.unpackb(body).items())))


def with_arrays(body, encode):
    """The same sample, its arrays encoded in another way."""
    found = msgpack.unpackb(body)
    for name, value in found.items():
        if isinstance(value, bytes) and value.startswith(b"\x93NUMPY\x01\x00"):
            found[name] = encode(np.load(io.BytesIO(value)))
    return msgpack.packb(found)


def fortran(array):
    buffer = io.BytesIO()
    npy.write_array(buffer, np.asfortranarray(array), version=(2, 0))
    return buffer.getvalue()


def compact(array):
    kind = array.dtype.str.encode()
    shape = np.array(array.shape, "<i8").tobytes()
    return bytes([len(kind)]) + kind + bytes([array.ndim]) + shape + array.tobytes()


FORMS = (
    lambda body: body,
    reversed_fields,
    lambda body: with_arrays(body, fortran),
    lambda body: with_arrays(body, compact),
)
NAMES = (
    "{:06d}",
    "{:09d}",
    "{}",
    "a/b/sample_{:04d}",
    "sample {:03d} é",
    "n" * 90 + "{:05d}",
    "d" * 120 + "/{:05d}",
)


@st.composite
def large_shards(draw):
    """Samples with large arrays that are all alike, and their shard: read in ways of its own."""
    count, width = draw(st.integers(2, 12)), draw(st.sampled_from(WIDTHS[4:]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    made = [
        Plain(data=rng.random((2, width), np.float32), number=number)
        for number in draw(st.lists(numbers, min_size=count, max_size=count))
    ]
    odd = draw(st.none() | st.integers(0, count - 1))
    if odd is not None:
        made[odd] = Plain(data=rng.random((1, 3), np.float32), number=0)
    members = [(f"{number:06d}.msgpack", pack(sample)) for number, sample in enumerate(made)]
    return made, tar_of(members, format=tarfile.USTAR_FORMAT)


@st.composite
def varied_shards(draw):
    """Samples, and a shard that holds them in one of many forms."""
    made = draw(samples())
    forms = [draw(st.sampled_from(FORMS))] * len(made)
    if draw(st.booleans()):
        forms = [draw(st.sampled_from(FORMS)) for _ in made]
    name = draw(st.sampled_from(NAMES))
    style = draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    if style == tarfile.USTAR_FORMAT and name == NAMES[5]:
        name = NAMES[6]  # what ustar has a form for
    start = draw(st.sampled_from([0, 5, 98]))
    beside = draw(st.sampled_from([(), (".json",), (".jpg", ".json")]))
    mtime = draw(st.sampled_from([0, 1.5, 1_700_000_000]))
    members = []
    for number, (sample, form) in enumerate(zip(made, forms, strict=True), start):
        for extension in (*beside, ".msgpack"):
            body = form(pack(sample)) if extension == ".msgpack" else b"{}" * number
            info = tarfile.TarInfo(name.format(number) + extension)
            info.size, info.mtime = len(body), mtime if style == tarfile.PAX_FORMAT else 0
            members.append((info, body))
    return made, tar_of(members, format=style)


@pytest.fixture(params=[2, 0], ids=["just written", "long there"])
def age(request, monkeypatch):
    """Whether files were touched so recently that nothing is remembered of them."""
    monkeypatch.setattr(known, "_RECENT_S", request.param)


shards = st.one_of(varied_shards(), varied_shards(), large_shards())


class Slow(io.RawIOBase):
    """A stream that gives few bytes at a time, and can't be sought."""

    def __init__(self, data, most):
        self._rest = io.BytesIO(data)
        self._most = most

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._rest.readinto(memoryview(buffer)[: self._most])


def plain(data, sample_type):
    """Keys and samples, as Python's own library finds them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [
            (info.name.removesuffix(".msgpack"), unpack(sample_type, tar.extractfile(info).read()))
            for info in tar
            if info.name.endswith(".msgpack")
        ]


def packed(some):
    return [pack(sample) for sample in some]


@pytest.mark.usefixtures("age")
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(shards, st.data())
def test_all_ways_of_reading_give_the_same_samples(tmp_path_factory, shard, data):
    made, body = shard
    kind = type(made[0])
    keys, expected = zip(*plain(body, kind), strict=True)
    wanted = packed(expected)
    assert wanted == packed(made)

    assert packed(read_samples(io.BytesIO(body), kind, "here")) == wanted
    few = data.draw(st.sampled_from([100, 5000, 300_000]))
    if few > 100 or len(body) < 1 << 18:
        assert packed(read_samples(Slow(body, few), kind, "here")) == wanted
    runs = Members(io.BytesIO(body), "here").runs()
    assert [key for run in runs for key in run.keys] == list(keys)

    path = tmp_path_factory.mktemp("paths") / "shard.tar"
    path.write_bytes(body)
    dataset = Dataset(str(path), kind)
    assert packed(dataset) == wanted
    size = data.draw(st.integers(1, 5))
    batches = list(dataset.ordered(size, ragged="list"))
    assert packed(s for batch in batches for s in batch.samples) == wanted
    for name in ("data", "text") if kind is not Plain else ("data",):
        column = [value for batch in batches for value in getattr(batch, name)]
        for value, sample in zip(column, expected, strict=True):
            assert np.array_equal(value, getattr(sample, name))
            assert type(value) is type(getattr(sample, name))
    assert sorted(packed(dataset.shuffled(buffer_samples=3))) == sorted(wanted)
    assert packed(dataset[i] for i in range(len(made))) == wanted
    assert packed(map(dataset.get, keys)) == wanted
    skip = data.draw(st.integers(0, len(made)))
    going = iter(dataset.ordered())
    for _ in range(skip):
        next(going)
    again = dataset.ordered()
    again.load_state_dict(going.state_dict())
    assert packed(again) == wanted[skip:]


@pytest.mark.usefixtures("age")
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(st.lists(shards, min_size=2, max_size=4), st.data())
def test_shards_of_every_kind_one_after_another(tmp_path_factory, several, data):
    kind = type(several[0][0][0])
    folder = tmp_path_factory.mktemp("paths")
    wanted = []
    for number, (made, body) in enumerate(several):
        if type(made[0]) is kind:
            (folder / f"{number}.tar").write_bytes(body)
            wanted += packed(made)
    dataset = Dataset(str(folder / "*.tar"), kind)
    assert packed(dataset) == wanted
    size = data.draw(st.integers(1, 5))
    batches = list(dataset.ordered(size, ragged="list"))
    assert packed(s for batch in batches for s in batch.samples) == wanted

    kept = data.draw(st.integers(1, 8))
    mixed = packed(dataset.shuffled(buffer_samples=kept, seed=1))
    assert sorted(mixed) == sorted(wanted)
    going = iter(dataset.shuffled(buffer_samples=kept, seed=1))
    skip = data.draw(st.integers(0, len(wanted)))
    held = [next(going) for _ in range(skip)]
    again = dataset.shuffled(buffer_samples=kept, seed=1)
    again.load_state_dict(going.state_dict())
    assert packed(held) == mixed[:skip]
    assert packed(again) == mixed[skip:]

    def batches():
        return dataset.shuffled(buffer_samples=kept, batch_size=size, seed=1, ragged="list")

    whole = list(batches())
    assert packed(s for batch in whole for s in batch.samples) == mixed
    assert [len(batch) for batch in whole[:-1]] == [size] * (len(whole) - 1)
    going = iter(batches())
    skip = data.draw(st.integers(0, len(whole)))
    held = [next(going) for _ in range(skip)]
    again = batches()
    again.load_state_dict(going.state_dict())
    assert packed(s for batch in held for s in batch.samples) == mixed[: skip * size]
    assert packed(s for batch in again for s in batch.samples) == mixed[skip * size :]


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(samples(), st.integers(1, 12))
def test_what_is_written_is_what_tarfile_and_msgpack_find(tmp_path_factory, made, rows):
    folder = tmp_path_factory.mktemp("paths")
    kind = type(made[0])
    found = []
    for shard in write_shards(made, folder, max_samples=rows):
        body = Path(shard.url).read_bytes()
        found += plain(body, kind)
        assert packed(s for _, s in found[-shard.rows :]) == packed(
            read_samples(io.BytesIO(body), kind, "here")
        )
    assert [key for key, _ in found] == [f"{number:09d}" for number in range(len(made))]
    assert packed(sample for _, sample in found) == packed(made)


@atdata.packable
class Frame:
    pixels: NDArray[np.float32]
    label: str


@atdata.packable
class Clip:
    name: str
    frame: Frame


@pytest.mark.parametrize("count", [3, 40, 300])
def test_large_arrays_of_nested_samples_are_read_like_others(tmp_path, count):
    rng = np.random.default_rng(1)
    made = [
        Clip(name=f"{number}", frame=Frame(pixels=rng.random((3, 3000), np.float32), label="é" * 5))
        for number in range(count)
    ]
    shards = list(write_shards(made, tmp_path, max_samples=1 + count // 2))
    dataset = Dataset(str(tmp_path / "*.tar"), Clip)
    assert len(shards) == 2
    assert packed(dataset) == packed(made)
    assert packed(s for batch in dataset.ordered(8) for s in batch.samples) == packed(made)
    assert sorted(packed(dataset.shuffled(buffer_samples=9))) == sorted(packed(made))


def test_large_samples_of_several_shards_take_two_batches_and_are_read_once(tmp_path):
    class Counting(io.FileIO):
        """Counts what isn't read straight to where it shall be."""

        read_here = 0

        def readinto(self, buffer):
            count = super().readinto(buffer)
            self.read_here += count
            return count

    opened = []

    class Source(BaseSource):
        def list_shards(self):
            return sorted(map(str, tmp_path.glob("*.tar")))

        def open_shard(self, shard_id):
            opened.append(Counting(shard_id))
            return opened[-1]

    made = [Plain(data=np.full(50_000, n, np.float32), number=n) for n in range(240)]
    list(write_shards(made, tmp_path, max_samples=100))
    places, numbers = set(), []
    for batch in Dataset(Source(), Plain).ordered(batch_size=80):
        assert (batch.data[:, 0] == batch.number).all()
        numbers += batch.number
        places.add(batch.data.ctypes.data)
    assert numbers == list(range(240))
    assert len(places) == 2
    first, *others = [stream.read_here for stream in opened]
    assert first > 200_000
    assert len(others) == 2
    assert max(others) < 20_000


@pytest.mark.parametrize("cores", [1, 2])
def test_batches_of_large_samples_are_read_together_but_not_the_first(tmp_path, monkeypatch, cores):
    read = []
    monkeypatch.setattr(files, "_cores", lambda: cores)
    find = files.TwoHalves.read_at
    monkeypatch.setattr(
        files.TwoHalves, "read_at", lambda *a: read.append(found := find(*a)) or found
    )
    made = [Plain(data=np.full(50_000, n, np.float32), number=n) for n in range(250)]
    list(write_shards(made, tmp_path, max_samples=130))
    batches = iter(Dataset(str(tmp_path / "*.tar"), Plain).ordered(batch_size=8))
    assert next(batches).number == list(range(8))
    assert sum(read) < 5e6
    numbers = [number for batch in batches for number in batch.number]
    assert numbers == list(range(8, 250))
    assert (max(read) > 14e6) == (cores == 2)
    assert max(read) < 17e6


def test_a_file_that_changes_between_two_batches_gives_what_it_holds_or_an_error(tmp_path):
    made = [Plain(data=np.full((2, 9000), number, "f4"), number=number) for number in range(96)]
    [shard] = write_shards(made, tmp_path)
    path, dataset = Path(shard.url), Dataset(shard.url, Plain)
    body, stride = path.read_bytes(), (shard.size - 1024) // 96
    number = body.index(b"\xa6number\x28", 40 * stride) + 7
    for place, byte in ((number, 77), (40 * stride + 200, 255)):  # a field, and within a header
        path.write_bytes(body)
        batches = iter(dataset.ordered(32))
        assert next(batches).number == list(range(32))
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([byte]))
        if byte == 77:
            found = next(batches)
            assert found.number == [*range(32, 40), 77, *range(41, 64)]
            assert (found.data == np.arange(32, 64)[:, None, None]).all()
        else:
            with pytest.raises(ShardError):
                list(batches)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_large_samples_that_lie_are_named_in_a_shuffled_pass_too(tmp_path, batch_size):
    made = [Plain(data=np.full((2, 9000), number, "f4"), number=number) for number in range(40)]
    [shard] = write_shards(made, tmp_path)
    path = Path(shard.url)
    body, stride = path.read_bytes(), (shard.size - 1024) // 40
    header = bytearray(body[30 * stride : 30 * stride + 512])
    size = int(header[124:135], 8)
    header[124:135] = b"%011o" % (size - 400)  # as many blocks, but less than the array
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    name = body.index(b"\xa6number", 30 * stride)
    for place, lie in ((30 * stride, header), (name, b"\xa6nombre")):
        damaged = bytearray(body)
        damaged[place : place + len(lie)] = lie
        path.write_bytes(damaged)
        with pytest.raises(SampleError, match="sample 000000030"):
            list(Dataset(shard.url, Plain).shuffled(buffer_samples=9, batch_size=batch_size))


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_file_that_is_replaced_in_a_shuffled_pass_is_an_error(tmp_path, batch_size):
    made = [Plain(data=np.full((2, 9000), number, "f4"), number=number) for number in range(40)]
    [shard] = write_shards(made, tmp_path)
    going = iter(Dataset(shard.url, Plain).shuffled(buffer_samples=9, batch_size=batch_size))
    next(going)
    path = Path(shard.url)
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.rename(path)
    with pytest.raises(ShardError, match="changed or removed"):
        list(going)


def test_the_order_depends_on_the_numbers_of_the_samples_alone(tmp_path):
    orders = []
    for width in (3, 100, 3000, 20_000):
        folder = tmp_path / f"{width}"
        folder.mkdir()
        made = [
            Plain(data=np.full((2, width), number, "f4"), number=number) for number in range(70)
        ]
        list(write_shards(made, folder, max_samples=20))
        shuffled = Dataset(str(folder / "*.tar"), Plain).shuffled(buffer_samples=30, seed=5)
        mixed = list(shuffled)
        assert all((sample.data == sample.number).all() for sample in mixed)
        orders.append([sample.number for sample in mixed])
        shuffled = Dataset(str(folder / "*.tar"), Plain).shuffled(
            buffer_samples=30, batch_size=8, seed=5
        )
        batches = list(shuffled)
        assert all((b.data == np.array(b.number)[:, None, None]).all() for b in batches)
        assert [number for batch in batches for number in batch.number] == orders[-1]
    assert all(order == orders[0] for order in orders)
    assert sorted(orders[0]) == list(range(70)) != orders[0]


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(shards, st.data())
def test_a_damaged_shard_is_an_error_whichever_way_it_is_read(tmp_path_factory, shard, data):
    made, body = shard
    kind = type(made[0])
    cut = data.draw(st.integers(0, len(body.rstrip(b"\0")) // 512)) * 512
    path = tmp_path_factory.mktemp("paths") / "shard.tar"
    path.write_bytes(body[:cut])
    dataset = Dataset(str(path), kind)
    for read in (
        lambda: list(read_samples(io.BytesIO(body[:cut]), kind, "here")),
        lambda: list(dataset),
        lambda: list(dataset.ordered(3, ragged="list")),
        lambda: list(dataset.shuffled(buffer_samples=3)),
        lambda: dataset[0],
    ):
        with pytest.raises(ShardError):
            read()


@atdata.packable
class Line:
    text: str
    number: int


def number_of(row):
    return (-1) ** row * 7 ** (row % 23)


@pytest.mark.parametrize("alike", [True, False])
def test_whole_numbers_of_any_size_are_read(tmp_path, alike):
    most = [2**64 - 1 - row for row in range(8)]
    lines = [Line("", number) for number in (most if alike else [*most, 3, -(2**63), 70_000])]
    [shard] = write_shards(lines, tmp_path)
    assert list(Dataset[Line](shard.url)) == lines


@pytest.mark.parametrize("text", ["a" * 9, "é", "a" * 5000], ids=["ascii", "other", "uneven"])
def test_texts_and_numbers_are_decoded_together_up_to_the_end_of_memory(text):
    lines = [Line(text if row == 7 else "b" * (row % 11), number_of(row)) for row in range(60)]
    for last in range(1, 60):  # each number is the last one once
        bodies = [pack(line) for line in lines[: last + 1]]
        sizes = np.array([len(body) for body in bodies])
        ends = sizes.cumsum()
        found = decode(fields_of(Line), Cursor(bytearray(b"".join(bodies)), ends - sizes), ends)
        assert found["text"] == [line.text for line in lines[: last + 1]]
        assert found["number"] == [line.number for line in lines[: last + 1]]


def test_a_text_that_is_no_utf_8_is_irregular():
    bodies = [pack(Line("ab" * row, row)) for row in range(1, 9)]
    sizes = np.array([len(body) for body in bodies])
    ends = sizes.cumsum()
    memory = bytearray(b"".join(bodies))
    memory[memory.index(b"abab")] = 0xFF
    with pytest.raises(Irregular):
        decode(fields_of(Line), Cursor(memory, ends - sizes), ends)


@atdata.packable
class Tokens:
    data: NDArray
    number: int


def test_arrays_of_several_forms_are_decoded_together(tmp_path):
    rng = np.random.default_rng(2)
    arrays = [
        np.empty((0,), np.int32),
        np.empty((0, 3), np.float64),
        np.array(7, np.int16),
        np.array("2020-01-01", "M8[D]"),
        np.array([b"ab", b"c"]),
        *(rng.integers(0, 99, n, np.int32) for n in range(1, 90)),
        *(rng.random((n, 2, 3)) for n in range(1, 90)),
    ]
    bodies = [pack(Tokens(array, row)) for row, array in enumerate(arrays)]
    bodies.append(msgpack.packb({"data": fortran(rng.random((5, 7))), "number": 3}))
    sizes = np.array([len(body) for body in bodies])
    ends = sizes.cumsum()
    memory = bytearray(b"".join(bodies))
    found = decode(fields_of(Tokens), Cursor(memory, ends - sizes), ends)
    wanted = [unpack(Tokens, body) for body in bodies]
    memory[:] = bytes(len(memory))  # each array has memory of its own
    for array, sample in zip(found["data"], wanted, strict=True):
        assert array.dtype == sample.data.dtype
        assert array.shape == sample.data.shape
        assert array.flags.writeable
        assert array.base is None
        assert np.array_equal(array, sample.data)
