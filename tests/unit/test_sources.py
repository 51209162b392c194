import os
import time
import tracemalloc

import pytest

from atdata_core import DataSource, FileSource, Shard, known, shard
from atdata_core.cid import raw_cid
from atdata_core.errors import ConfigurationError, IntegrityError, NotFoundError
from atdata_core.sources import VerifiedSource, expand
from atdata_core.stores import open_source


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with some files, where the test runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.tar", "a.tar", "c.txt", "data-000000.tar", "data-000001.tar"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "z.tar").touch()
    return tmp_path


def test_braces_count_and_choose_in_order(folder):
    assert expand("data-{000000..000003}.tar") == [f"data-{i:06d}.tar" for i in range(4)]
    assert expand("{b,a}-{0..1}.tar") == ["b-0.tar", "b-1.tar", "a-0.tar", "a-1.tar"]
    assert expand("s3://bucket/x-{8..10}.tar") == [f"s3://bucket/x-{i}.tar" for i in (8, 9, 10)]
    assert expand("x-{10..8..2}.tar") == ["x-10.tar", "x-8.tar"]


def test_wildcards_and_folders_look_at_the_disk_in_order(folder):
    assert expand("data-*.tar") == ["data-000000.tar", "data-000001.tar"]
    assert expand("[ab].tar") == ["a.tar", "b.tar"]
    assert expand("sub") == ["sub/z.tar"]
    assert expand(str(folder / "?.tar")) == [str(folder / "a.tar"), str(folder / "b.tar")]
    assert expand("{sub,data-*.tar}") == ["sub/z.tar", "data-000000.tar", "data-000001.tar"]


def test_plain_names_stay_as_they_are(folder):
    assert expand("nothing.tar") == ["nothing.tar"]
    assert expand("https://example.org/a*b?.tar") == ["https://example.org/a*b?.tar"]
    (folder / "odd[1].tar").touch()
    assert expand("odd[1].tar") == ["odd[1].tar"]


def test_what_matches_nothing_is_an_error(folder):
    with pytest.raises(NotFoundError, match=r"nope-\*\.tar"):
        expand("nope-*.tar")
    (folder / "empty").mkdir()
    with pytest.raises(NotFoundError):
        expand("empty")


@pytest.mark.parametrize(
    "text",
    [
        "s3://b/{0..999999999}.tar",
        "s3://b/{0..999999999..1}.tar",
        "s3://b/{-5..999999999}.tar",
        "s3://b/{999999999..0}.tar",
        "s3://b/{0..1" + "0" * 30 + "}.tar",
        "s3://b/{0..٩٩٩٩٩٩٩٩٩}.tar",
        "s3://b/{a,{0..999999999}}.tar",
        "s3://b/{0..9999}{0..9999}.tar",
        "s3://b/" + "{0..90000}" * 400,
    ],
    ids=["up", "step", "negative", "down", "30 digits", "digits", "nested", "product", "many"],
)
def test_braces_without_bound_are_refused_at_once(text):
    tracemalloc.start()
    start = time.thread_time()
    with pytest.raises(ConfigurationError, match="too many shards"):
        expand(text)
    assert time.thread_time() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("text", ["a{b.tar", "a{b}}.tar", "{"])
def test_braces_that_don_t_pair_are_refused(text):
    with pytest.raises(ConfigurationError, match="braces"):
        expand(text)


def test_a_file_source_opens_paths(folder):
    source = FileSource(["a.tar", "b.tar"])
    assert isinstance(source, DataSource)
    assert source.list_shards() == ["a.tar", "b.tar"]
    assert [(name, stream.read()) for name, stream in source.shards] == [
        ("a.tar", b"a.tar"),
        ("b.tar", b"b.tar"),
    ]
    with source.open_shard(f"file://{folder}/a.tar") as stream:
        assert stream.read() == b"a.tar"
    assert repr(source) == "FileSource(2 shards)"


def test_a_file_that_is_missing_says_so_with_its_path(folder):
    with pytest.raises(NotFoundError, match=r"gone\.tar.*promote"):
        FileSource(["gone.tar"]).open_shard("gone.tar")
    with pytest.raises(NotFoundError):
        FileSource(["sub"]).open_shard("sub")


def test_a_verified_source_refuses_other_bytes_before_it_hands_out_any(folder):
    right = Shard("a.tar", raw_cid(b"a.tar"), 5)
    wrong = Shard("b.tar", raw_cid(b"a.tar"), 5)
    short = Shard("data-000000.tar", raw_cid(b"data-000000.tar"), 4)
    free = Shard("c.txt")
    source = VerifiedSource(FileSource([]), [right, wrong, short, free])
    assert source.list_shards() == ["a.tar", "b.tar", "data-000000.tar", "c.txt"]
    with source.open_shard("a.tar") as stream:
        assert stream.read() == b"a.tar"
    with pytest.raises(IntegrityError, match=r"b\.tar.*not those of its CID"):
        source.open_shard("b.tar")
    with pytest.raises(IntegrityError, match="another length"):
        source.open_shard("data-000000.tar")
    with source.open_shard("c.txt") as stream:
        assert stream.read() == b"c.txt"
    with pytest.raises(NotFoundError):
        source.open_shard("sub/z.tar")


def swapped(path, data):
    """Other bytes in a file's place, as many, with the time of change that it had."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("old", [False, True], ids=["just written", "long there"])
def test_a_file_is_hashed_again_when_somebody_touched_it(folder, monkeypatch, old):
    if old:  # the time of change can't be set; what counts as recent can
        monkeypatch.setattr(known, "_RECENT_S", 0)
        time.sleep(0.02)
    source = VerifiedSource(FileSource([]), [Shard("a.tar", raw_cid(b"a.tar"), 5)])
    for _ in range(2):
        with source.open_shard("a.tar") as stream:
            assert stream.read() == b"a.tar"
    time.sleep(0.02 if old else 0)
    swapped(folder / "a.tar", b"A.tar")
    with pytest.raises(IntegrityError, match="not those of its CID"):
        source.open_shard("a.tar")
    swapped(folder / "a.tar", b"a.tar")
    with source.open_shard("a.tar") as stream:
        assert stream.read() == b"a.tar"


def test_a_file_nobody_touched_is_hashed_once(folder, monkeypatch):
    monkeypatch.setattr(known, "_RECENT_S", 0)
    time.sleep(0.02)
    hashed = []
    copy = shard.copy_verified
    monkeypatch.setattr(shard, "copy_verified", lambda *a: hashed.append(a[3]) or copy(*a))
    for _ in range(2):
        source = VerifiedSource(FileSource([]), [Shard("b.tar", raw_cid(b"b.tar"), 5)])
        with source.open_shard("b.tar") as stream:
            assert stream.read() == b"b.tar"
    assert hashed == ["b.tar"]
    claim = VerifiedSource(FileSource([]), [Shard("b.tar", raw_cid(b"b.tar"), 4)])
    with pytest.raises(IntegrityError, match="another length"):
        claim.open_shard("b.tar")
    other = VerifiedSource(FileSource([]), [Shard("b.tar", raw_cid(b"a.tar"), 5)])
    with pytest.raises(IntegrityError, match="not those of its CID"):
        other.open_shard("b.tar")


def test_sources_are_chosen_by_the_scheme_of_the_addresses():
    assert type(open_source(["a.tar", "/b.tar"])).__name__ == "FileSource"
    assert type(open_source(["file:///a.tar"])).__name__ == "FileSource"
    assert type(open_source(["https://example.org/a.tar"])).__name__ == "HttpSource"
    blob = f"at://did:plc:{'a' * 24}/blob/{raw_cid(b'')}"
    assert type(open_source([blob])).__name__ == "BlobSource"
    assert type(open_source(["s3://bucket/a.tar"])).__name__ == "S3Source"
    for wrong in (["gopher://x/a"], ["pipe:cat /etc/passwd", "s3://b/a"], ["a.tar", "s3://b/a"]):
        with pytest.raises(ConfigurationError, match="schemes"):
            open_source(wrong)
