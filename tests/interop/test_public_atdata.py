"""The public package ``atdata`` 0.7.0b1 reads what we write, and we read what it writes."""

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.atmosphere import (
    AtmosphereIndex,
    DatasetLoader,
    DatasetPublisher,
    LabelLoader,
    LabelPublisher,
    PDSBlobStore,
    SchemaLoader,
)
from atdata_core.indexes import LocalIndex
from atdata_core.publishing import resolve_name
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
    more: NDArray | None = None

def plain(s):
    more = None if s.more is None else [str(s.more.dtype), s.more.tolist()]
    return [str(s.data.dtype), s.data.tolist(), s.text, s.count, s.score, s.good,
            s.raw.hex(), list(s.words), more]

def things(n):
    return [Thing(data=np.arange(i, dtype=np.float32).reshape(1, i), text=f"t{i}", count=i,
                  score=i / 4, good=bool(i % 2), raw=bytes([i]), words=["a"] * i,
                  more=np.array([[i]], np.int16) if i % 2 else None) for i in range(n)]
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
    more: NDArray | None = None


def plain(s):
    more = None if s.more is None else [str(s.more.dtype), s.more.tolist()]
    return [
        *(str(s.data.dtype), s.data.tolist(), s.text, s.count, s.score, s.good),
        *(s.raw.hex(), list(s.words), more),
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
            more=np.array([[i]], np.int16) if i % 2 else None,
        )
        for i in range(count)
    ]


@pytest.fixture
def ours(tmp_path):
    """A shard that we wrote."""
    [shard] = write_shards(things(5), tmp_path)
    return shard.url


def test_it_reads_our_shards(peer, ours):
    found = peer(
        TYPE + "answer([plain(s) for s in atdata.Dataset[Thing](args['path']).ordered()])",
        path=ours,
    )
    assert found == [plain(thing) for thing in things(5)]


def test_we_read_its_shards(peer, tmp_path):
    path = str(tmp_path / "theirs.tar")
    peer(TYPE + "atdata.write_samples(things(5), args['path']); answer(0)", path=path)
    dataset = atdata.Dataset[Thing](path)
    assert [plain(thing) for thing in dataset] == [plain(thing) for thing in things(5)]
    assert dataset.shards[0].rows == 5
    assert plain(dataset[3]) == plain(things(4)[3])


def test_it_reads_our_team_index(peer, redis_url, ours):
    with LocalIndex(redis_url) as index:
        entry = index.insert_dataset(
            atdata.Dataset[Thing](ours), name="ours", metadata={"note": "x"}
        )
        index.label("best", entry, version="1.0.0")
    script = """
from redis import Redis
index = atdata.Index(redis=Redis.from_url(args['redis']), atmosphere=None)
entry = index.get_entry_by_name("ours")
cls = index.decode_schema(entry.schema_ref)
assert [f.name for f in __import__("dataclasses").fields(cls)][0] == "data"
assert [s.count for s in atdata.Dataset[cls](entry.data_urls[0]).ordered()] == [0, 1, 2, 3, 4]
# Its built types leave optional arrays as bytes, so the samples are read into a written one.
ds = atdata.Dataset[Thing](entry.data_urls[0])
answer([entry.name, entry.metadata["note"], [plain(s) for s in ds.ordered()],
        index.get_label("best", "1.0.0").cid == entry.cid,
        [e.name for e in index.list_datasets()]])
"""
    name, note, samples, labelled, names = peer(TYPE + script, redis=redis_url)
    assert (name, note, labelled, names) == ("ours", "x", True, ["ours"])
    assert samples == [plain(thing) for thing in things(5)]


def test_we_read_its_team_index(peer, redis_url, tmp_path):
    script = """
from redis import Redis
ds = atdata.write_samples(things(4), args['path'])
index = atdata.Index(redis=Redis.from_url(args['redis']), atmosphere=None)
entry = index.insert_dataset(ds, name="theirs", metadata={"note": "y"})
index.label("best", entry.cid, version="1.0.0")
answer(entry.schema_ref)
"""
    path = str(tmp_path / "theirs.tar")
    ref = peer(TYPE + script, redis=redis_url, path=path)
    with LocalIndex(redis_url) as index:
        assert index.load_schema(ref).name == "Thing"
        entry = index.get_dataset("theirs")
        assert entry.metadata["note"] == "y"
        samples = list(index.open_dataset(entry, Thing))
        assert [plain(s) for s in samples] == [plain(s) for s in things(4)]
        built = index.open_dataset(entry)
        assert [plain(s) for s in built] == [plain(s) for s in things(4)]
        assert index.get_label("best", "1.0.0").name == "theirs"
        assert index.adopt() == 1
        assert [e.name for e in index.list_datasets()] == ["theirs"]


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
from atdata.atmosphere import Atmosphere
client = Atmosphere.login(args['handle'], args['password'], base_url=args['pds'])
"""


def test_it_reads_our_records(peer, client, login, ours):
    namespace = "science.alt.dataset"
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client), namespace=namespace)
    entry = index.insert_dataset(
        atdata.Dataset[Thing](ours),
        name="ours",
        description="words",
        tags=["a"],
        license="CC0-1.0",
        metadata={"note": "x", "ratio": 0.5},
    )
    LabelPublisher(client, namespace=namespace).publish("best", entry.uri, version="1.0.0")
    external = DatasetPublisher(client, namespace=namespace).publish_with_urls(
        ["https://example.org/d-{0..2}.tar"], entry.schema_ref, name="outside"
    )
    script = """
schema = SchemaLoader(client).get_typed(args['schema'])
loader = DatasetLoader(client)
entry = loader.get_typed(args['uri'])
answer({
    "name": schema.name,
    "fields": sorted(schema.schema.schema_body["properties"]),
    "type": loader.get_storage_type(args['uri']),
    "blobs": [b["blob"]["ref"]["$link"] for b in loader.get_blobs(args['uri'])],
    "metadata": loader.get_metadata(args['uri']),
    "words": [entry.name, entry.description, entry.tags, entry.license],
    "urls": loader.get_urls(args['external']),
    "label": str(LabelLoader(client).resolve(args['handle'], "best", "1.0.0")),
})
"""
    found = peer(
        TYPE + LOGIN + script,
        **login,
        schema=entry.schema_ref,
        uri=entry.uri,
        external=str(external),
    )
    assert found["name"] == "Thing"
    assert found["fields"] == sorted(field.name for field in Schema.of(Thing).fields)
    assert found["type"] == "blobs"
    assert found["blobs"] == [shard.cid for shard in entry.shards]
    assert found["metadata"] == {"note": "x", "ratio": 0.5}
    assert found["words"] == ["ours", "words", ["a"], "CC0-1.0"]
    assert found["urls"] == [f"https://example.org/d-{i}.tar" for i in range(3)]
    assert entry.uri in found["label"]


def test_we_read_its_records(peer, client, account, login, tmp_path):
    script = """
atdata.write_samples(things(4), args['path'])
schema = SchemaPublisher(client).publish(Thing, version="1.2.0")
blobs = DatasetPublisher(client).publish_with_blobs(
    [open(args['path'], 'rb').read()], str(schema), name="theirs", tags=["t"], license="MIT",
    metadata={"note": "y"})
urls = DatasetPublisher(client).publish_with_urls(
    ["https://example.org/a.tar"], str(schema), name="outside")
label = LabelPublisher(client).publish(name="good", dataset_uri=str(blobs), version="2.0.0")
answer([str(schema), str(blobs), str(urls)])
"""
    path = str(tmp_path / "theirs.tar")
    schema, blobs, urls = peer(TYPE + LOGIN + script, **login, path=path)
    assert SchemaLoader(client).load(schema).version == "1.2.0"
    for sample_type in (Thing, None):
        dataset = atdata.load_dataset(blobs, sample_type)
        assert [plain(s) for s in dataset] == [plain(s) for s in things(4)]
    entry = dataset.entry
    assert (entry.name, entry.tags, entry.license) == ("theirs", ("t",), "MIT")
    assert entry.metadata == {"custom": {"note": "y"}}
    assert DatasetLoader(client).get_urls(urls) == ["https://example.org/a.tar"]
    assert str(LabelLoader(client).resolve(account.did, "good", "2.0.0")) == blobs
    assert resolve_name(client, account.handle, "good") == blobs
    assert {"theirs", "outside"} <= {e.name for e in AtmosphereIndex(client).list_datasets()}
