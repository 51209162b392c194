"""The team layer's own promises: labels, writers at once, large shards, credentials of S3."""

import io
import json
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest

import atdata_core as atdata
from atdata_core.cid import raw_cid
from atdata_core.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidRecordError,
    NotFoundError,
    SchemaError,
)
from atdata_core.indexes import LocalIndex
from atdata_core.schema import Schema
from atdata_core.shard import Shard
from atdata_core.stores.multipart import THRESHOLD_BYTES, part_bytes
from atdata_core.stores.s3 import S3DataStore
from tests.support.samples import Item, items

ROOT = Path(__file__).parents[2]


@pytest.fixture
def index(redis_url, bucket):
    with LocalIndex(redis_url, S3DataStore(bucket=bucket)) as index:
        yield index


@pytest.fixture
def two(index):
    """Two entries of different content."""
    return [
        index.write_samples(items(count), name=f"d{count}", sample_type=Item).entry
        for count in (1, 2)
    ]


def test_a_label_stands_for_an_entry(index, two, redis):
    index.label("best", two[0], version="1.0.0", description="the first")
    assert index.get_label("best", "1.0.0").cid == two[0].cid
    assert index.get_dataset("best@1.0.0").name == "d1"
    raw = redis.hgetall("Label:best@1.0.0")
    assert raw[b"name"] == b"best"
    assert raw[b"description"] == b"the first"
    assert redis.exists(b"LocalDatasetEntry:" + raw[b"cid"])


def test_a_label_without_a_version_moves(index, two):
    index.label("latest", two[0])
    index.label("latest", two[1])
    assert index.get_label("latest").name == "d2"
    assert len(index.list_labels("latest")) == 1


def test_a_label_with_a_version_does_not_move(index, two):
    index.label("best", two[0], version="1.0.0")
    index.label("best", two[0], version="1.0.0")
    with pytest.raises(ConflictError, match=r"best@1\.0\.0"):
        index.label("best", two[1], version="1.0.0")
    assert index.get_label("best", "1.0.0").name == "d1"


def test_the_newest_version_is_the_largest_not_the_last(index, two):
    for version, entry in (("1.10.0", two[1]), ("1.9.0", two[0]), ("0.1.0", two[0])):
        index.label("best", entry, version=version)
    assert index.get_label("best").name == "d2"
    assert [label.version for label in index.list_labels()] == ["0.1.0", "1.9.0", "1.10.0"]


def test_a_label_that_is_not_there_names_those_that_are(index, two):
    index.label("best", two[0], version="1.0.0")
    with pytest.raises(NotFoundError, match=r"1\.0\.0"):
        index.get_label("best", "2.0.0")
    with pytest.raises(NotFoundError):
        index.get_dataset("other@1.0.0")


def test_labels_that_could_be_misread_are_refused(index, two):
    with pytest.raises(InvalidRecordError):
        index.label("a@b", two[0])
    with pytest.raises(SchemaError):
        index.label("a", two[0], version="1")
    with pytest.raises(NotFoundError):
        index.label("a", "no-such-dataset")


def test_names_and_patterns_of_redis_are_not_mixed_up(index):
    for name in ("a*", "ab", "a?", "[ab]"):
        index.write_samples(items(1), name=name, sample_type=Item)
    assert [entry.name for entry in index.list_datasets()] == ["[ab]", "a*", "a?", "ab"]
    assert index.get_dataset("a*").name == "a*"


def test_a_name_is_found_without_searching(index, redis):
    for number in range(20):
        index.write_samples(items(1), name=f"n{number}", sample_type=Item)
    redis.config_resetstat()
    index.get_dataset("n7")
    commands = redis.info("commandstats")
    assert "cmdstat_scan" not in commands
    assert commands["cmdstat_hget"]["calls"] == 1
    assert commands["cmdstat_hgetall"]["calls"] == 1


def test_a_listing_is_two_round_trips_however_many_there_are(index, redis):
    for number in range(20):
        index.write_samples(items(1), name=f"n{number}", sample_type=Item)
    redis.config_resetstat()
    assert len(index.list_datasets()) == 20
    stats = redis.info("stats")
    # What the client sent: HGETALL of the names, the pipeline, and CONFIG and INFO from here.
    assert stats["total_reads_processed"] <= 5


WRITER = """
import sys, numpy as np
sys.path.append(sys.argv[4])
import atdata_core as atdata
from atdata_core.indexes import LocalIndex
from tests.support.samples import Item, items
number, redis, root = sys.argv[1:4]
source = atdata.FileIndex(root).open_dataset("d" + number, Item)
with LocalIndex(redis) as index:
    for i in range(500):
        entry = index.insert_dataset(source, name=f"w{number}-{i}")
        index.label(f"l{number}", entry, version=f"1.{i}.0")
        index.label("shared", entry)
    index.publish_schema(atdata.packable(type("Same", (), {"__annotations__": {"a": int}})))
    kind = int if number == "1" else str
    for field in ("x", "y", "z"):
        index.publish_schema(atdata.packable(type("Both", (), {"__annotations__": {field: kind}})))
"""


@pytest.mark.timeout(180)
def test_two_processes_write_500_datasets_each_and_none_is_lost(index, redis_url, redis, tmp_path):
    files = atdata.FileIndex(tmp_path)
    for number in (1, 2):
        files.write_samples(items(number), name=f"d{number}", sample_type=Item)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(number), redis_url, str(tmp_path), str(ROOT)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    for writer in writers:
        _, error = writer.communicate()
        assert writer.returncode == 0, error
    entries = index.list_datasets()
    assert len(entries) == 1000
    assert {entry.name for entry in entries} == {f"w{n}-{i}" for n in (1, 2) for i in range(500)}
    for number in (1, 2):
        labels = index.list_labels(f"l{number}")
        assert [label.version for label in labels] == [f"1.{i}.0" for i in range(500)]
    assert len(index.list_labels("shared")) == 1
    assert [schema.version for schema in index.versions_of("Same")] == ["1.0.0"]
    both = index.versions_of("Both")
    assert len({schema.version for schema in both}) == len({schema.cid for schema in both}) == 6
    assert index.publish_schema(Item) == "atdata://local/schema/Item@1.0.0"


def test_entries_that_the_public_package_wrote_are_read(index, redis):
    schema = {
        "name": "Item",
        "version": "2.0.0",
        "fields": Schema.of(Item).fields_json("local#"),
        "createdAt": "2026-01-01T00:00:00+00:00",
    }
    redis.set("LocalSchema:Item@2.0.0", json.dumps(schema))
    url = "s3://bucket/data--00000000--000000.tar"
    redis.hset(
        "LocalDatasetEntry:bafyreifoo",
        mapping={
            "name": "theirs",
            "schema_ref": "atdata://local/schema/Item@2.0.0",
            "data_urls": msgpack.packb([url]),
            "cid": "bafyreifoo",
            "metadata": msgpack.packb({"checksums": {url: "00" * 32}, "note": "x"}),
        },
    )
    redis.hset(
        "Label:best@1.0.0", mapping={"cid": "bafyreifoo", "name": "best", "version": "1.0.0"}
    )
    entry = index.get_dataset("theirs")
    assert entry.data_urls == [url]
    assert entry.shards[0].cid == raw_cid_of_zeros()
    assert entry.metadata == {"note": "x"}
    assert index.decode_schema(entry.schema_ref).__name__ == "Item"
    assert index.get_label("best", "1.0.0").name == "theirs"
    assert index.list_datasets() == []
    assert index.adopt() == 1
    assert [entry.name for entry in index.list_datasets()] == ["theirs"]
    assert [schema.version for schema in index.versions_of("Item")] == ["2.0.0"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data_urls", "s3://bucket/a.tar"),
        ("data_urls", {"s3://bucket/a.tar": 1}),
        ("data_urls", [["s3://bucket/a.tar"]]),
        ("data_urls", 7),
        ("metadata", ["checksums"]),
        ("metadata", {"checksums": ["00"]}),
    ],
)
def test_a_damaged_entry_of_the_public_package_is_refused_by_its_name(index, redis, field, value):
    said = {"data_urls": ["s3://bucket/a.tar"], "metadata": {}, field: value}
    redis.hset(
        "LocalDatasetEntry:bafyreifoo",
        mapping={
            "name": "theirs",
            "schema_ref": "atdata://local/schema/Item@2.0.0",
            **{name: msgpack.packb(each) for name, each in said.items()},
        },
    )
    with pytest.raises(InvalidRecordError, match="theirs"):
        index.get_dataset("theirs")


def raw_cid_of_zeros():
    from atdata_core.cid import digest_to_cid

    return digest_to_cid(bytes(32))


@pytest.mark.parametrize(
    "ref",
    [
        "atdata://local/schema/Item@1.0.0",
        "atdata://local/sampleSchema/Item@1.0.0",
        "local://schemas/Item@1.0.0",
        "local://schemas/package.module.Item@1.0.0",
    ],
)
def test_former_references_of_schemas_are_understood(index, ref):
    index.publish_schema(Item, version="1.0.0")
    assert index.load_schema(ref).name == "Item"


@pytest.fixture
def large():
    """A file above the threshold of multipart uploads, and its shard."""
    data = np.random.default_rng(0).bytes(THRESHOLD_BYTES + 5)
    return data, Shard("", raw_cid(data), len(data))


def test_a_large_shard_goes_in_parts_and_comes_back(bucket, boto, large):
    data, shard = large
    with S3DataStore(bucket=bucket) as store:
        placed = store.put_shard(io.BytesIO(data), shard, "big")
        with store.open_object(placed.url) as stream:
            assert stream.read() == data
        head = boto.head_object(Bucket=bucket, Key=f"big/{shard.cid}.tar")
        assert head["ContentLength"] == len(data)
        assert "-5" in head["ETag"]  # five parts


def test_a_large_shard_of_other_bytes_leaves_nothing(bucket, boto, large):
    data, _ = large
    wrong = Shard("", raw_cid(b"other"), len(data))
    with S3DataStore(bucket=bucket) as store, pytest.raises(IntegrityError):
        store.put_shard(io.BytesIO(data), wrong, "big")
    assert "Contents" not in boto.list_objects_v2(Bucket=bucket)
    assert not boto.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_parts_stay_within_what_s3_takes():
    for size in (1, 70 << 20, 5 << 40):
        assert 5 << 20 <= part_bytes(size) <= 5 << 30
        assert -(-size // part_bytes(size)) <= 10_000


def test_credentials_come_from_a_profile(bucket, services, tmp_path, monkeypatch):
    config = tmp_path / "credentials"
    config.write_text(
        "[team]\n"
        f"aws_access_key_id = {services.env['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {services.env['AWS_SECRET_ACCESS_KEY']}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "team")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with S3DataStore(bucket=bucket) as store:
        assert len(store.write_samples(items(2), prefix="p", sample_type=Item)) == 1


def test_credentials_come_from_a_file_of_settings(bucket, services, tmp_path, monkeypatch):
    lines = [f"export {name}='{value}'" for name, value in services.env.items()]
    (tmp_path / ".env").write_text("# settings\n\n" + "\n".join(lines))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with S3DataStore(tmp_path / ".env", bucket=bucket) as store:
        assert len(store.write_samples(items(2), prefix="p", sample_type=Item)) == 1


def test_without_credentials_the_error_says_what_to_set(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with S3DataStore(bucket=bucket) as store, pytest.raises(AuthenticationError) as caught:
        store.write_samples(items(1), prefix="p", sample_type=Item)
    assert "AWS_ACCESS_KEY_ID" in str(caught.value)


def test_no_secret_is_shown(bucket, services):
    with S3DataStore(bucket=bucket) as store:
        index = LocalIndex("redis://:hunter2@127.0.0.1:1/0", store)
        shown = repr(store) + repr(index) + str(vars(store.create_source([])))
    assert services.env["AWS_SECRET_ACCESS_KEY"] not in shown
    assert "hunter2" not in shown


def test_every_shard_of_a_source_in_s3_is_listed(redis_url, bucket):
    with S3DataStore(bucket=bucket) as store, LocalIndex(redis_url) as index:
        urls = [s.url for s in store.write_samples(items(6), prefix="p", max_samples=2)]
        source = atdata.S3Source(urls, store)
        entry = index.insert_dataset(atdata.Dataset(source, Item), name="three")
        assert entry.data_urls == urls
        assert [shard.rows for shard in index.get_dataset("three").shards] == [2, 2, 2]


def test_a_client_that_decodes_answers_is_refused(redis_url):
    from redis import Redis

    with Redis.from_url(redis_url, decode_responses=True) as decoding:
        for use in (lambda i: i.list_datasets(), lambda i: i.publish_schema(Item)):
            with pytest.raises(ConfigurationError, match="decode_responses"):
                use(LocalIndex(decoding))


def test_many_entries_are_listed_as_one_after_another_would_be(redis_url, redis, two):
    changing = ("entry",)  # the time is in it

    def kept():
        return {
            key: dict(redis.hgetall(key).items())
            for key in redis.scan_iter(match="LocalDatasetEntry:*")
        }

    before, names = kept(), redis.hgetall("atdata:names")
    contents = redis.hgetall("atdata:contents")
    redis.delete(*before, "atdata:names", "atdata:contents")
    with LocalIndex(redis_url) as index:
        assert index.insert_entries(iter(two)) == 2
        assert redis.hgetall("atdata:names") == names
        assert redis.hgetall("atdata:contents") == contents
        after = kept()
        assert after.keys() == before.keys()
        for key, fields in after.items():
            was = before[key]
            assert {k: v for k, v in fields.items() if k.decode() not in changing} == {
                k: v for k, v in was.items() if k.decode() not in changing
            }
            said, had = json.loads(fields[b"entry"]), json.loads(was[b"entry"])
            assert {**said, "created_at": ""} == {**had, "created_at": ""}
        assert [entry.cid for entry in index.list_datasets()] == [entry.cid for entry in two]
        assert index.insert_entries(two) == 2
        assert kept() == after


def test_many_entries_of_one_name_note_what_they_replace(redis_url, two):
    with LocalIndex(redis_url) as index:
        index.insert_entries([entry.replace(name="same") for entry in two])
        found = index.get_dataset("same")
        assert (found.cid, found.previous) == (two[1].cid, two[0].cid)
        assert [e.previous for e in index.list_datasets() if e.name == "same"] == [two[0].cid]


@pytest.mark.parametrize("count", [199, 200, 201, 450])
def test_all_of_many_entries_are_there(redis_url, two, count):
    with LocalIndex(redis_url) as index:
        entries = [two[0].replace(name=f"n{number:04d}é") for number in range(count)]
        assert index.insert_entries(entries) == count
        found = index.list_datasets()
        assert [e.name for e in found] == sorted([e.name for e in entries] + ["d1", "d2"])
        assert {e.shards for e in found if e.name != "d2"} == {two[0].shards}


def test_entries_whose_schema_is_not_there_or_another_are_refused(redis_url, two):
    with LocalIndex(redis_url) as index:
        strange = two[0].replace(schema_ref="atdata://local/schema/Nobody@1.0.0", name="strange")
        with pytest.raises(NotFoundError, match="Nobody"):
            index.insert_entries([strange])
        other = two[0].replace(schema_cid=two[0].cid, name="other")
        with pytest.raises(SchemaError, match="other content"):
            index.insert_entries([other])
        assert [entry.name for entry in index.list_datasets()] == ["d1", "d2"]


@pytest.mark.parametrize("before", [0, 3, 200, 303])
def test_the_entries_before_one_that_is_refused_are_listed(redis_url, two, before):
    with LocalIndex(redis_url) as index:
        many = [two[0].replace(name=f"n{number:04d}") for number in range(before)]
        strange = two[0].replace(schema_ref="atdata://local/schema/Nobody@1.0.0", name="strange")
        with pytest.raises(NotFoundError, match="Nobody"):
            index.insert_entries([*many, strange, two[1].replace(name="after")])
        assert [e.name for e in index.list_datasets()] == ["d1", "d2"] + [e.name for e in many]


def test_a_list_that_is_not_read_to_its_end_leaves_the_connection_as_it_was(redis_url, redis, two):
    with LocalIndex(redis_url) as index:
        index.insert_entries([two[0].replace(name=f"n{number:04d}") for number in range(700)])
        damaged = [b"LocalDatasetEntry:" + redis.hget("atdata:names", n) for n in ("d2", "n0333")]
        for key in damaged:
            redis.hset(key, "entry", "{}")
        for _ in range(3):
            with pytest.raises(InvalidRecordError, match=r"d2|n0333"):
                index.list_datasets()
            assert index.redis.ping() is True
        redis.delete(*damaged)
        assert len(index.list_datasets()) == 700


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"{},{}",
        b"[",
        b"null",
        b"1",
        b"\xff",
        b"[" * 100_000,
        b'{"name": "d2", "schema_ref": "x"},{"name": "d3", "schema_ref": "x"}',
        b'{"name": 5, "schema_ref": "x"}',
        b'{"name": "d2", "schema_ref": "x", "metadata": "x"}',
    ],
)
def test_a_damaged_entry_among_many_is_told_by_its_name(redis_url, redis, two, text):
    with LocalIndex(redis_url) as index:
        index.insert_entries([two[0].replace(name="fine")])
        key = b"LocalDatasetEntry:" + redis.hget("atdata:names", "d2")
        redis.hset(key, "entry", text)
        with pytest.raises(InvalidRecordError, match="d2"):
            index.list_datasets()


def test_an_entry_that_says_nan_is_read_among_many(redis_url, two):
    with LocalIndex(redis_url) as index:
        index.insert_entries([two[0].replace(name="nan", metadata={"loss": float("nan")})])
        assert str([entry.metadata for entry in index.list_datasets()]) == "[{}, {}, {'loss': nan}]"
        assert str(index.get_dataset("nan").metadata) == "{'loss': nan}"


def test_numbers_of_numpy_and_infinite_ones_are_kept_as_they_are(redis_url, two):
    metadata = [{"rate": np.float64(0.1)}, {"rate": float("inf")}, {"note": "NaN", "é": [1, None]}]
    with LocalIndex(redis_url) as index:
        index.insert_entries(
            two[0].replace(name=f"n{number}", metadata=some) for number, some in enumerate(metadata)
        )
        assert [entry.metadata for entry in index.list_datasets()[2:]] == metadata


def test_what_others_write_into_the_list_of_changes_is_passed_over(redis_url, redis, two):
    with LocalIndex(redis_url) as index:
        start = index.changes(None).cursor
        redis.xadd("atdata:changes", {"kind": "dataset", "nobody": b"\xff"})
        index.insert_entries([two[0].replace(name="fine")])
        first = index.changes(start, limit=1)
        assert (first.changes, first.more) == ((), True)
        assert [change.name for change in index.changes(first.cursor).changes] == ["fine"]


def test_names_that_are_no_text_are_listed_nevertheless(redis_url, redis, two):
    with LocalIndex(redis_url) as index:
        redis.sadd("atdata:labels:best", "not a version", b"\xff")
        index.label("best", two[0], version="1.0.0")
        assert index.get_label("best").name == "d1"
        assert [label.version for label in index.list_labels("best")] == ["1.0.0"]
