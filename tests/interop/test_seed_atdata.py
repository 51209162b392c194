"""Version 0.2.3b1 of public ``atdata``, of the tutorial's time, reads what we write, and we it."""

import msgpack
import numpy as np
import pytest
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.atmosphere import (
    AtmosphereIndex,
    DatasetLoader,
    DatasetPublisher,
    PDSBlobStore,
    SchemaLoader,
)
from atdata_core.indexes import LocalIndex
from atdata_core.schema import Schema
from atdata_core.shard import write_shards

pytestmark = pytest.mark.timeout(600)

TYPE = """
import numpy as np
from numpy.typing import NDArray
import atdata

@atdata.packable
class Thing:
    data: NDArray
    text: str
    count: int
    score: float
    good: bool
    raw: bytes
    words: list[str]

def plain(s):
    return [str(s.data.dtype), s.data.tolist(), s.text, s.count, s.score, s.good,
            s.raw.hex(), list(s.words)]

def write(path, n):
    import webdataset as wds
    with wds.writer.TarWriter(path) as sink:
        for i in range(n):
            data = np.arange(i, dtype=np.float32).reshape(1, i)
            sample = Thing(data=data, text=f"t{i}", count=i, score=i / 4, good=bool(i % 2),
                           raw=bytes([i]), words=["a"] * i)
            sink.write({**sample.as_wds, "__key__": f"{i:06d}"})
    return atdata.Dataset[Thing](path)
"""


@atdata.packable
class Thing:
    data: NDArray
    text: str
    count: int
    score: float
    good: bool
    raw: bytes
    words: list[str]


def plain(s):
    return [
        *(str(s.data.dtype), s.data.tolist(), s.text, s.count, s.score, s.good),
        *(s.raw.hex(), list(s.words)),
    ]


def things(count):
    return [
        Thing(
            data=np.arange(i, dtype=np.float32).reshape(1, i),
            text=f"t{i}",
            count=i,
            score=i / 4,
            good=bool(i % 2),
            raw=bytes([i]),
            words=["a"] * i,
        )
        for i in range(count)
    ]


@pytest.fixture
def ours(tmp_path):
    """A shard that we wrote."""
    [shard] = write_shards(things(5), tmp_path)
    return shard.url


def test_it_reads_our_shards(seed_peer, ours):
    found = seed_peer(
        TYPE + "answer([plain(s) for s in atdata.Dataset[Thing](args['path']).ordered()])",
        path=ours,
    )
    assert found == [plain(thing) for thing in things(5)]


def test_we_read_its_shards(seed_peer, tmp_path):
    path = str(tmp_path / "theirs.tar")
    seed_peer(TYPE + "write(args['path'], 5); answer(0)", path=path)
    dataset = atdata.Dataset[Thing](path)
    assert [plain(thing) for thing in dataset] == [plain(thing) for thing in things(5)]
    assert dataset.shards[0].rows == 5


def test_it_reads_our_team_index(seed_peer, redis_url, ours):
    with LocalIndex(redis_url) as index:
        index.insert_dataset(atdata.Dataset[Thing](ours), name="ours", metadata={"note": "x"})
    script = """
from redis import Redis
from atdata.local import LocalIndex
index = LocalIndex(redis=Redis.from_url(args['redis']))
entry = index.get_entry_by_name("ours")
samples = atdata.Dataset[Thing](entry.data_urls[0]).ordered()
answer([entry.name, entry.metadata["note"], [plain(s) for s in samples],
        [e.name for e in index.list_datasets()]])
"""
    name, note, samples, names = seed_peer(TYPE + script, redis=redis_url)
    assert (name, note, names) == ("ours", "x", ["ours"])
    assert samples == [plain(thing) for thing in things(5)]


@pytest.mark.parametrize("reference", ["sampleSchema", "schemas"])
def test_we_read_its_team_index(seed_peer, redis_url, redis, tmp_path, reference):
    script = """
from redis import Redis
from atdata.local import LocalIndex
ds = write(args['path'], 4)
index = LocalIndex(redis=Redis.from_url(args['redis']))
ref = index.publish_schema(Thing, version="1.0.0")
chosen = ref if args['reference'] == "sampleSchema" else None
entry = index.insert_dataset(ds, name="theirs", schema_ref=chosen, metadata={"note": "y"})
answer(entry.schema_ref)
"""
    path = str(tmp_path / "theirs.tar")
    ref = seed_peer(TYPE + script, redis=redis_url, path=path, reference=reference)
    assert reference in ref
    assert len(redis.keys("LocalDatasetEntry:*")) == len(redis.keys("LocalSchema:*")) == 1
    with LocalIndex(redis_url) as index:
        assert index.load_schema(ref).same_fields(Schema.of(Thing))
        entry = index.get_dataset("theirs")
        assert (entry.metadata["note"], entry.data_urls) == ("y", [path])
        for sample_type in (Thing, None):
            found = index.open_dataset(entry, sample_type)
            assert [plain(s) for s in found] == [plain(s) for s in things(4)]
        assert index.adopt() == 1
        assert [e.name for e in index.list_datasets()] == ["theirs"]
        assert [s.version for s in index.versions_of("Thing")] == ["1.0.0"]


LOGIN = """
import types
import atproto
# It asks for the profile that Bluesky's app keeps, which a PDS alone doesn't serve.
sdk_login = atproto.Client.login
def login(self, *args, **kwargs):
    sdk_login(self, *args, **kwargs, fetch_bsky_profile=False)
    return types.SimpleNamespace(did=self._session.did, handle=self._session.handle)
atproto.Client.login = login
from atdata.atmosphere import *
client = AtmosphereClient(args['pds'])
client.login(args['handle'], args['password'])
"""


def test_it_reads_our_records(seed_peer, client, login, ours):
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    entry = index.insert_dataset(
        atdata.Dataset[Thing](ours), name="ours", description="words", tags=["a"], license="MIT"
    )
    outside = DatasetPublisher(client).publish_with_urls(
        ["https://example.org/d-{0..2}.tar"], entry.schema_ref, name="outside"
    )
    script = """
from atdata import schema_to_type
loader = DatasetLoader(client)
record = loader.get(args['uri'])
schema = SchemaLoader(client).get(args['schema'])
built = schema_to_type(schema)
answer({
    "fields": [f.name for f in __import__("dataclasses").fields(built)],
    "type": loader.get_storage_type(args['uri']),
    "blobs": [b["ref"]["$link"] for b in record["storage"]["blobs"]],
    "words": [record["name"], record["description"], record["tags"], record["license"]],
    "urls": loader.get_urls(args['outside']),
    "listed": sorted(d["name"] for d in loader.list_all()),
    "entry": AtmosphereIndex(client).get_dataset(args['uri']).name,
})
"""
    found = seed_peer(
        TYPE + LOGIN + script, **login, uri=entry.uri, schema=entry.schema_ref, outside=str(outside)
    )
    assert found["fields"] == [field.name for field in Schema.of(Thing).fields]
    assert found["type"] == "blobs"
    assert found["blobs"] == [shard.cid for shard in entry.shards]
    assert found["words"] == ["ours", "words", ["a"], "MIT"]
    assert found["urls"] == ["https://example.org/d-{0..2}.tar"]
    assert {"ours", "outside"} <= set(found["listed"])
    assert found["entry"] == "ours"


def test_we_read_its_records(seed_peer, client, account, login, tmp_path):
    script = """
write(args['path'], 4)
schema = SchemaPublisher(client).publish(Thing, version="1.2.0", description="A thing")
publisher = DatasetPublisher(client)
blobs = publisher.publish_with_blobs(
    [open(args['path'], 'rb').read()], str(schema), name="theirs", tags=["t"], license="MIT")
urls = publisher.publish_with_urls(
    ["s3://bucket/d-{0..1}.tar"], str(schema), name="outside", description="elsewhere")
answer([str(schema), str(blobs), str(urls)])
"""
    path = str(tmp_path / "theirs.tar")
    schema, blobs, urls = seed_peer(TYPE + LOGIN + script, **login, path=path)
    assert "/ac.foundation.dataset.sampleSchema/" in schema
    loaded = SchemaLoader(client).load(schema)
    assert (loaded.name, loaded.version, loaded.description) == ("Thing", "1.2.0", "A thing")
    assert loaded.same_fields(Schema.of(Thing))
    for sample_type in (Thing, None):
        dataset = atdata.load_dataset(blobs, sample_type)
        assert [plain(s) for s in dataset] == [plain(s) for s in things(4)]
    entry = dataset.entry
    assert (entry.name, entry.tags, entry.license) == ("theirs", ("t",), "MIT")
    assert DatasetLoader(client).get_storage_type(urls) == "external"
    assert DatasetLoader(client).get_urls(urls) == [f"s3://bucket/d-{n}.tar" for n in (0, 1)]
    listed = {e.name: e for e in AtmosphereIndex(client).list_datasets()}
    assert listed["outside"].description == "elsewhere"
    assert atdata.load_dataset(f"@{account.handle}/theirs").entry.uri == blobs


RECORDS = """
from atdata.atmosphere._types import (
    DatasetRecord, FieldDef, FieldType, SchemaRecord, StorageLocation)
number = FieldType(kind="primitive", primitive="int")
fields = [
    FieldDef("image", FieldType(kind="ndarray", dtype="uint8", shape=[2, None]), True, "Pixels"),
    FieldDef("rows", FieldType(kind="array", items=FieldType(kind="array", items=number))),
]
schema = SchemaRecord("Deep", "2.0.0", fields, "A deep thing").to_record()
storage = StorageLocation(kind="external", urls=["https://example.org/a.tar", "s3://b/c.tar"])
dataset = DatasetRecord(
    "deep", "at://did:plc:none/ac.foundation.dataset.sampleSchema/x", storage, "words", ["a"],
    "MIT").to_record()
answer([schema, dataset])
"""


def test_we_read_every_record_that_its_classes_make(seed_peer, client):
    schema, dataset = seed_peer(RECORDS)
    ref = client.create_record(schema["$type"], schema)
    loaded = SchemaLoader(client).load(ref)
    assert [(f.name, str(f.type), f.optional) for f in loaded.fields] == [
        ("image", "ndarray[uint8, (2, any)]", True),
        ("rows", "list[list[int]]", False),
    ]
    dataset["schemaRef"] = str(ref)
    # It packs metadata by msgpack, and its client couldn't send them.
    dataset["metadata"] = {
        "$bytes": __import__("base64").b64encode(msgpack.packb({"n": 1})).decode()
    }
    uri = client.create_record(dataset["$type"], dataset)
    entry = DatasetLoader(client).entry(uri)
    assert entry.data_urls == ["https://example.org/a.tar", "s3://b/c.tar"]
    assert (entry.description, entry.tags, entry.license) == ("words", ("a",), "MIT")
    assert entry.metadata == {"n": 1}
