"""Samples become tar files and come back; a shard that isn't whole is never a shorter one."""

import gc
import gzip
import io
import itertools
import os
import struct
import tarfile
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_core.cid import raw_cid
from atdata_core.errors import IntegrityError, SampleError, ShardError, TooLargeError
from atdata_core.members import Members
from atdata_core.memory import keep_freed_memory
from atdata_core.sample import pack
from atdata_core.shard import (
    copy_verified,
    inspect_shard,
    read_samples,
    verified,
    write_shard,
    write_shards,
)
from atdata_core.tar import blank, fill_in, make_header, shard_bytes
from tests.support.samples import Item, Loose, Other, cid_of, items, tar_of


def written(samples, folder, **options):
    """The shards of some samples, and their bytes."""
    folder.mkdir(exist_ok=True)
    shards = list(write_shards(samples, folder, **options))
    return shards, [Path(shard.url).read_bytes() for shard in shards]


def read(data, sample_type=Item):
    """The samples in a shard's bytes."""
    return list(read_samples(io.BytesIO(data), sample_type, "here"))


@pytest.fixture
def shard(tmp_path):
    """The bytes of a shard of three samples."""
    return written(items(3), tmp_path / "shard")[1][0]


sizes = st.lists(st.integers(0, 700), max_size=12)


@given(sizes, st.integers(1, 5), st.integers(0, 4000))
def test_samples_come_back_and_no_shard_is_over_a_limit(tmp_path_factory, widths, rows, more):
    samples = [Item(id=i, text="x" * w, data=np.zeros(0, np.float32)) for i, w in enumerate(widths)]
    smallest = max([shard_bytes([len(pack(s))]) for s in samples], default=1024)
    options = {"max_samples": rows, "max_bytes": smallest + more, "sample_type": Item}
    shards, bodies = written(samples, tmp_path_factory.mktemp("s"), **options)
    assert [s for body in bodies for s in read(body)] == samples
    for shard, body in zip(shards, bodies, strict=True):
        assert shard.cid == cid_of(body)
        assert shard.size == len(body) <= smallest + more
        assert shard.rows == len(read(body)) <= rows
    assert sum(shard.rows for shard in shards) == len(samples)
    if samples:
        assert all(shard.rows for shard in shards)
        # As few as the limits allow, taken in order: the next sample wouldn't have fitted.
        for one, two in itertools.pairwise(bodies):
            first = shard_bytes([len(pack(read(two)[0]))]) - 1024
            assert len(read(one)) == rows or len(one) + first > smallest + more


@given(sizes, st.integers(1, 4))
def test_equal_samples_make_equal_files(tmp_path_factory, widths, rows):
    def make():
        samples = (
            Item(id=i, text="é" * w, data=np.full(w, i, np.float32)) for i, w in enumerate(widths)
        )
        return written(samples, tmp_path_factory.mktemp("s"), max_samples=rows, sample_type=Item)

    (one, first), (two, second) = make(), make()
    assert first == second
    assert [s.cid for s in one] == [s.cid for s in two]


def test_the_bytes_of_a_known_shard_never_change(shard):
    # They are the identity of published datasets.
    assert raw_cid(shard) == "bafkreibqcs7qrwiseygfkyo5puzy6lvk7c3mlz2ugdz5w2paoinr57hh44"


def test_a_dataset_without_samples_is_one_shard_without_any(tmp_path):
    shards, bodies = written([], tmp_path, sample_type=Item)
    assert [(s.rows, s.size) for s in shards] == [(0, 1024)]
    assert read(bodies[0]) == []
    assert tarfile.open(fileobj=io.BytesIO(bodies[0])).getnames() == []


def test_samples_are_taken_one_by_one(tmp_path):
    taken = []

    def source():
        for sample in items(10):
            taken.append(sample.id)
            yield sample

    shards = write_shards(source(), tmp_path, max_samples=2)
    next(shards)
    assert taken == [0, 1, 2]


@pytest.mark.parametrize("width", [4, 10_000, 100_000])
def test_an_array_may_be_used_again_once_its_sample_was_taken(tmp_path, width):
    def filled():
        memory = np.empty(width, np.float32)
        for number in range(20):
            memory[:] = number
            yield Item(id=number, text="", data=memory)

    [shard] = write_shards(filled(), tmp_path)
    with Path(shard.url).open("rb") as stream:
        found = list(read_samples(stream, Item, "shard"))
    assert [set(item.data.tolist()) for item in found] == [{number} for number in range(20)]


def test_a_shard_may_be_moved_away_before_the_next_is_made(tmp_path):
    found = []
    for shard in write_shards(items(6), tmp_path, max_samples=2):
        found += read(Path(shard.url).read_bytes())
        Path(shard.url).unlink()
    assert found == items(6)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Other(id=1), "sample has another type.*expected Item, got Other"),
        (Item(id=1, text="a", data=np.zeros(1)), "field 'data'.*expected float32, got float64"),
        (Item(id="1", text="a", data=np.zeros(1, np.float32)), "field 'id'.*expected int"),
    ],
    ids=["type", "dtype", "value"],
)
def test_a_sample_that_doesn_t_fit_is_named_with_its_shard_and_key(tmp_path, bad, message):
    for rows in (2, 3):  # within its shard, and first in it
        samples = [*items(3), bad]
        with pytest.raises(SampleError, match=f"digits, shard 1, sample 000000003.*{message}"):
            written(samples, tmp_path, max_samples=rows, where="digits")


def test_a_sample_larger_than_a_shard_may_be_is_refused(tmp_path):
    with pytest.raises(TooLargeError, match=r"digits, shard 0, sample 000000000.*10,000") as caught:
        written(items(1, width=5000), tmp_path, max_bytes=10_000, where="digits")
    assert caught.value.limit == 10_000
    assert caught.value.size > 20_000


def test_python_s_tarfile_reads_ours(shard):
    with tarfile.open(fileobj=io.BytesIO(shard), mode="r:") as tar:
        members = tar.getmembers()
        bodies = [tar.extractfile(member).read() for member in members]
    assert [m.name for m in members] == [f"{i:09d}.msgpack" for i in range(3)]
    assert [Item.from_bytes(body) for body in bodies] == items(3)
    facts = {(m.type, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members}
    assert facts == {(tarfile.REGTYPE, 0o644, 0, 0, "", "", 0)}


def test_webdataset_reads_ours(tmp_path, shard):
    (tmp_path / "a.tar").write_bytes(shard)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves the file to Python
        found = list(wds.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
        gc.collect()
    assert [sample["__key__"] for sample in found] == [f"{i:09d}" for i in range(3)]
    assert [Item.from_bytes(sample["msgpack"]) for sample in found] == items(3)


def test_ours_reads_what_webdataset_writes(tmp_path):
    path = tmp_path / "a.tar"
    with wds.writer.TarWriter(str(path)) as sink:
        for i, sample in enumerate(items(3)):
            sink.write({**sample.as_wds, "__key__": f"{i:06d}"})
    assert read(path.read_bytes()) == items(3)


LONG = "d" * 60 + "/" + "n" * 120 + "/" + "é" * 70


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    "name", ["000000", "a/b/000000", "x" * 92, "p" * 80 + "/" + "n" * 80, LONG]
)
def test_ours_reads_what_tarfile_writes(format, name):
    if format == tarfile.USTAR_FORMAT and name in (LONG, "x" * 92):
        name = "p" * 50 + "/" + "n" * 80  # what ustar has a form for
    bodies = [(f"{name}-{i}.msgpack", pack(s)) for i, s in enumerate(items(3))]
    data = tar_of(bodies, format=format)
    assert read(data) == items(3)
    runs = Members(io.BytesIO(data), "here").runs()
    assert [f"{key}.msgpack" for run in runs for key in run.keys] == [name for name, _ in bodies]


def test_pax_headers_with_other_facts_and_sizes_are_read():
    info = tarfile.TarInfo("0.msgpack")
    body = pack(items(1)[0])
    info.size = len(body)
    info.pax_headers = {"comment": "é" * 50, "mtime": "1.5", "size": str(len(body))}
    data = tar_of(
        [(info, body)], format=tarfile.PAX_FORMAT, pax_headers={"comment": "for all members"}
    )
    assert read(data) == items(1)


def test_directories_and_other_files_are_passed_over():
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    data = tar_of([(folder, b""), ("a.json", b"{}"), ("a.msgpack", pack(items(1)[0])), ("b", b"")])
    assert read(data) == items(1)


def test_a_shard_without_samples_of_ours_is_not_an_empty_one():
    with pytest.raises(ShardError, match="no samples of ours"):
        read(tar_of([("a.json", b"{}"), ("a.jpg", b"x")]))


def test_a_stream_that_gives_few_bytes_at_a_time_is_read_whole(shard):
    class Slow(io.RawIOBase):
        def __init__(self):
            self.rest = io.BytesIO(shard)

        def read(self, size=-1):
            return self.rest.read(min(size, 100))

    assert list(read_samples(Slow(), Item, "here")) == items(3)
    assert inspect_shard(Slow(), "here").cid == raw_cid(shard)


def test_a_shard_cut_short_at_any_byte_is_an_error(shard):
    for end in range(len(shard)):
        with pytest.raises(ShardError, match="here"):
            read(shard[:end])


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_shard_of_tarfile_s_cut_short_is_an_error(format):
    data = tar_of(
        [("l" * 200 + f"{i}.msgpack", pack(s)) for i, s in enumerate(items(2))], format=format
    )
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512 + 1024
    assert read(data[:end]) == items(2)
    for cut in range(0, end, 3):
        with pytest.raises(ShardError):
            read(data[:cut])


def test_a_source_that_ends_early_gives_no_whole_dataset(shard):
    found = []
    with pytest.raises(ShardError, match="cut short"):
        found.extend(read_samples(io.BytesIO(shard[: len(shard) // 2]), Item, "here"))
    assert len(found) < 3


def header(name="a.msgpack", size=0, kind=b"0", **changes):
    """A ustar header with something else in it, its checksum right."""
    block = bytearray(512)
    fields = {
        "name": (0, name.encode() if isinstance(name, str) else name),
        "mode": (100, b"0000644\0"),
        "size": (124, size if isinstance(size, bytes) else b"%011o\0" % size),
        "kind": (156, kind),
        "magic": (257, b"ustar\00000"),
    }
    for key, (start, value) in (fields | changes).items():
        assert key in {*fields, "link", "sparse"}
        block[start : start + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def pax(records, kind=b"x"):
    """An extended header."""
    body = b""
    for key, value in records.items():
        line = f" {key}={value}\n".encode()
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length = len(str(length)) + len(line)
        body += str(length).encode() + line
    return header("pax", len(body), kind) + padded(body)


BODY = pack(Other(id=1))
END = bytes(1024)
FILE = header(size=len(BODY)) + padded(BODY)

HOSTILE = {
    "nothing": b"",
    "a web page": b"<!DOCTYPE html><html><body>Not found</body></html>" * 30,
    "random bytes": np.random.default_rng(1).bytes(4096),
    "gzip": gzip.compress(FILE + END),
    "zlib": zlib.compress(os.urandom(2000)),
    "zip": b"PK\x03\x04" + bytes(3000),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(3000),
    "symlink": header(kind=b"2", link=(157, b"/etc/passwd")) + FILE + END,
    "hard link": header(kind=b"1", link=(157, b"a")) + END,
    "character device": header(kind=b"3") + END,
    "block device": header(kind=b"4") + END,
    "fifo": header(kind=b"6") + END,
    "contiguous": header(kind=b"7", size=len(BODY)) + padded(BODY) + END,
    "sparse": header(kind=b"S", size=0, sparse=(386, b"0" * 24)) + END,
    "long link": header("././@LongLink", 5, b"K") + padded(b"link\0") + header(kind=b"2") + END,
    "multi-volume": header(kind=b"M") + END,
    "pax sparse": pax({"GNU.sparse.map": "0,2147483648", "GNU.sparse.size": "2147483648"})
    + FILE
    + END,
    "pax sparse, global": pax({"GNU.sparse.major": "1"}, b"g") + FILE + END,
    "absolute name": header("/etc/a.msgpack", len(BODY)) + padded(BODY) + END,
    "name that climbs": header("../a.msgpack", len(BODY)) + padded(BODY) + END,
    "name that climbs later": header("a/../../b.msgpack", len(BODY)) + padded(BODY) + END,
    "pax name that climbs": pax({"path": "../../a.msgpack"}) + FILE + END,
    "pax name, absolute": pax({"path": "/a.msgpack"}) + FILE + END,
    "pax name with NUL": pax({"path": "a\0b.msgpack"}) + FILE + END,
    "long name that climbs": header("././@LongLink", 13, b"L")
    + padded(b"../a.msgpack\0")
    + FILE
    + END,
    "long name that is not UTF-8": header("././@LongLink", 3, b"L")
    + padded(b"\xff\xfe\0")
    + FILE
    + END,
    "name that is not UTF-8": header(b"\xff.msgpack", len(BODY)) + padded(BODY) + END,
    "no name": header("", len(BODY)) + padded(BODY) + END,
    "key twice": FILE + FILE + END,
    "key twice, other case": FILE + header("a.MSGPACK", len(BODY)) + padded(BODY) + END,
    "bad checksum": FILE[:1] + b"X" + FILE[2:] + END,
    "negative size": header(size=b"-0000001000\0") + padded(BODY) + END,
    "small negative size": header(size=b"-0000000001\0") + END,
    "size with underscores": header(size=b"0000_000016\0") + padded(BODY) + END,
    "size is text": header(size=b"lots of it!\0") + END,
    "size in base 256, vast": header(size=b"\x80" + b"\0" * 3 + b"\xff" * 8) + FILE + END,
    "size in base 256, negative": header(size=b"\xff" * 12) + FILE + END,
    "8 GB": header(size=8**11 - 1) + FILE + END,
    "pax size, vast": pax({"size": "99999999999999"}) + FILE + END,
    "pax size, negative": pax({"size": "-1"}) + FILE + END,
    "pax size, text": pax({"size": "big"}) + FILE + END,
    "pax without length": header("pax", 10, b"x") + padded(b"path=a\n") + FILE + END,
    "pax with a long length": header("pax", 12, b"x") + padded(b"99 path=a.b\n") + FILE + END,
    "pax with a negative length": header("pax", 9, b"x") + padded(b"-5 path=\n") + FILE + END,
    "vast pax header": header("pax", 10**9, b"x") + FILE + END,
    "one zero block": FILE + bytes(512),
    "no end": FILE,
    "data after the end": FILE + END + b"x",
    "another archive after the end": FILE + END + FILE + END,
    "member between the zero blocks": FILE + bytes(512) + FILE + END,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_shard_is_refused_without_taking_memory(name):
    keep_freed_memory()  # once a process, a moment's much
    tracemalloc.start()
    with pytest.raises(ShardError, match="here"):
        read(HOSTILE[name], Other)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


def test_the_frame_of_the_hostile_cases_is_itself_a_good_shard():
    assert read(FILE + END, Other) == [Other(id=1)]
    assert read(pax({"path": "b.msgpack"}) + FILE + END, Other) == [Other(id=1)]
    assert read(FILE + END + bytes(10_240), Other) == [Other(id=1)]


def test_a_body_that_is_no_sample_is_named_with_shard_and_key():
    with pytest.raises(SampleError, match="here, sample x/7"):
        read(tar_of([("x/7.msgpack", b"\xc1")]), Other)


@settings(max_examples=300)
@given(st.data())
@pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning")  # NumPy's, of a damaged header
def test_a_flipped_bit_is_an_error_or_another_sample_but_never_fewer(data):
    body = tar_of([(f"{i}.msgpack", pack(s)) for i, s in enumerate(items(2))])
    body = bytearray(body[: 4 * 1024])
    spot = data.draw(st.integers(0, len(body) * 8 - 1))
    body[spot // 8] ^= 1 << spot % 8
    try:
        found = read(bytes(body))
    except (ShardError, SampleError):
        return
    assert len(found) == 2


def test_bytes_that_are_not_those_of_their_cid_are_never_handed_out(shard):
    cid = raw_cid(shard)
    for size in (None, len(shard)):
        with verified(io.BytesIO(shard), cid, "here", size) as stream:
            assert stream.read() == shard
    for spot in range(0, len(shard) * 8, 1009):
        body = bytearray(shard)
        body[spot // 8] ^= 1 << spot % 8
        with pytest.raises(IntegrityError, match=f"here.*expected {cid}"):
            verified(io.BytesIO(bytes(body)), cid, "here")
    for wrong in (shard[:-1], shard + b"\0", b""):
        with pytest.raises(IntegrityError):
            verified(io.BytesIO(wrong), cid, "here")
        with pytest.raises(IntegrityError, match="another length"):
            verified(io.BytesIO(wrong), cid, "here", len(shard))


def test_a_stream_without_end_is_cut_where_it_passes_its_size():
    class Endless(io.RawIOBase):
        taken = 0

        def read(self, size=-1):
            self.taken += size
            return bytes(size)

    stream = Endless()
    with pytest.raises(IntegrityError, match="more"):
        copy_verified(stream, lambda data: None, raw_cid(b""), "here", 5000)
    assert stream.taken < 3_000_000


def test_inspecting_tells_cid_size_and_rows(shard):
    found = inspect_shard(io.BytesIO(shard), "here")
    assert (found.url, found.cid, found.size, found.rows) == ("here", cid_of(shard), len(shard), 3)
    with pytest.raises(ShardError):
        inspect_shard(io.BytesIO(shard[:-1]), "here")


def test_names_that_have_no_form_in_a_header_are_refused():
    with pytest.raises(ShardError, match="too long"):
        make_header("k" * 93 + ".msgpack", 0)
    assert len(make_header("k" * 92 + ".msgpack", 0)) == 512


@given(
    st.sampled_from([0, 990, 999_990, 123_456_789, 999_999_990]),
    st.lists(
        st.integers(0, 33).flatmap(lambda bits: st.integers(0, 2**bits - 1)),
        min_size=1,
        max_size=30,
    ),
)
def test_headers_made_together_are_those_made_one_by_one(first, sizes):
    blocks = bytearray(blank(".msgpack") * len(sizes))
    places = 512 * np.arange(len(sizes))
    fill_in(memoryview(blocks), places, first, np.array(sizes, np.int64), ".msgpack")
    names = (f"{number:09d}.msgpack" for number in itertools.count(first))
    assert bytes(blocks) == b"".join(map(make_header, names, sizes))


def test_keys_are_numbers_of_nine_digits_or_as_many_as_it_takes():
    file = io.BytesIO()
    write_shard(items(30), file, first=999_999_990)
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        names = tar.getnames()
    assert names == [f"{number}.msgpack" for number in range(999_999_990, 1_000_000_020)]
    file.seek(0)
    assert list(read_samples(file, Item, "big")) == items(30)


def test_a_sample_may_be_changed_as_soon_as_it_is_taken(tmp_path):
    def source():
        array = np.zeros(1000)
        for number in range(300):
            array[:] = number
            yield Loose(id=number, data=array)

    _, bodies = written(source(), tmp_path, max_samples=100)
    found = [sample for body in bodies for sample in read(body, Loose)]
    assert [int(sample.data[-1]) for sample in found] == list(range(300))


def test_large_members_are_read_whole(tmp_path):
    sample = Loose(id=1, data=np.arange(600_000))
    shards, bodies = written([sample], tmp_path)
    assert read(bodies[0], Loose) == [sample]
    assert struct.calcsize("<q") * 600_000 < shards[0].size


def test_a_stream_of_unknown_length_without_end_is_cut(monkeypatch):
    class Endless(io.RawIOBase):
        def readinto(self, buffer):
            buffer[:] = bytes(len(buffer))
            return len(buffer)

        def readable(self):
            return True

    monkeypatch.setattr("atdata_core.shard._MAX_UNSIZED", 40_000_000)
    with pytest.raises(IntegrityError, match="doesn't end"):
        verified(Endless(), cid_of(b""), "here")
