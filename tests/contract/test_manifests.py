"""Datasets with more shards than a record can list, on a real PDS."""

from pathlib import Path

import pytest

import atdata_core as atdata
from atdata_core import AtmosphereIndex, PDSBlobStore, Schema
from atdata_core.atmosphere import (
    AtmosphereClient,
    DatasetLoader,
    DatasetPublisher,
    SchemaPublisher,
)
from atdata_core.atproto.records import MAX_RECORD_BYTES, NAMESPACES, names_of
from atdata_core.cid import dag_cbor, raw_cid
from atdata_core.entry import DatasetEntry
from atdata_core.errors import InvalidRecordError, NotFoundError
from atdata_core.shard import Shard
from atdata_core.sources import FileSource
from tests.support import web
from tests.support.samples import Item, items, shard_file

MANY = 3000
MIME = "application/vnd.ipld.dag-cbor"


@pytest.fixture(scope="module")
def schema(client):
    """The address of a schema."""
    return str(SchemaPublisher(client).publish(Item))


@pytest.fixture
def entry(request, schema):
    """A dataset of very many shards elsewhere, the test's own."""
    name = request.node.name[:100]
    shards = tuple(
        Shard(f"https://x.example.org/d/{i:06d}.tar", raw_cid(f"{name} {i}".encode()), i, 1)
        for i in range(1, MANY + 1)
    )
    words = {"description": "é", "tags": ("a",), "license": "MIT", "metadata": {"n": 1}}
    cid = Schema.of(Item).cid
    return DatasetEntry(name, schema, shards, schema_cid=cid, **words)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, schema):
    """Datasets of some tiny shards on disk, a sample each, and where they are read."""
    folder = tmp_path_factory.mktemp("tiny")

    def make(name, count):
        paths = [shard_file(folder / f"{i:06d}.tar", items(1, i)) for i in range(count)]
        bodies = [path.read_bytes() for path in paths]
        shards = tuple(
            Shard(str(path), raw_cid(body), len(body), 1)
            for path, body in zip(paths, bodies, strict=True)
        )
        cid = Schema.of(Item).cid
        return DatasetEntry(name, schema, shards, schema_cid=cid), FileSource(paths)

    return make


def records(client, names):
    return [web.records(client.base_url, client.did, kind) for kind in (names.dataset, names.part)]


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_thousands_of_shards_elsewhere_are_listed_in_a_blob(client, entry, namespace):
    names = names_of(namespace)
    publisher = DatasetPublisher(client, namespace=namespace)
    done = publisher.publish_external(entry)
    there = web.record(client.base_url, done.uri)
    storage = there["value"]["storage"]
    assert storage["$type"] == f"{namespace}.storageManifest"
    assert (storage["count"], storage.get("parts")) == (MANY, None)
    assert "shards" not in there["value"]
    assert there["value"]["contentCid"] == entry.cid
    assert len(dag_cbor(there["value"])) < MAX_RECORD_BYTES // 50
    body = web.blob(client.base_url, client.did, storage["manifest"]["ref"]["$link"])
    assert raw_cid(body) == storage["manifest"]["ref"]["$link"]
    assert len(body) == storage["manifest"]["size"]
    for found in (
        done,
        DatasetLoader(AtmosphereClient()).entry(done.uri),
        AtmosphereIndex(client).get_dataset(entry.name),
        AtmosphereIndex(client).get_dataset(entry.cid),
    ):
        assert found.says_the_same(entry)
        assert found.shards == entry.shards
        assert (found.rows, found.size, found.unreadable) == (entry.rows, entry.size, None)
    before = records(client, names)
    assert publisher.publish_external(entry) == done
    assert publisher.find_external(entry) == done
    assert records(client, names) == before
    loader = DatasetLoader(AtmosphereClient())
    assert loader.get_storage_type(done.uri) == "external"
    assert loader.get_urls(done.uri) == entry.data_urls
    assert list(loader.to_dataset(done.uri, Item).shards) == list(entry.shards)


def test_thousands_of_addresses_alone_are_published_once(client, schema):
    urls = [f"s3://bucket/d/{i:06d}-with-a-name-of-some-length.tar" for i in range(MANY)]
    publisher = DatasetPublisher(client)
    uri = publisher.publish_with_urls([*urls, "s3://bucket/e-{0..9}.tar"], schema, name="addresses")
    again = publisher.publish_with_urls(
        [*urls, "s3://bucket/e-{0..9}.tar"], schema, name="addresses"
    )
    assert again == uri
    found = DatasetLoader(AtmosphereClient()).entry(uri)
    assert found.data_urls == [*urls, *(f"s3://bucket/e-{i}.tar" for i in range(10))]
    assert found.cid is None


def test_a_short_list_stays_in_the_record(client, entry):
    few = entry.replace(shards=entry.shards[:500])
    done = DatasetPublisher(client).publish_external(few)
    value = web.record(client.base_url, done.uri)["value"]
    assert value["storage"]["$type"].endswith("storageExternal")
    assert done.shards == few.shards


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_blobs_of_a_long_list_are_kept_and_read(client, tiny, namespace):
    entry, source = tiny(f"tiny {namespace}", 40)
    publisher = DatasetPublisher(client, namespace=namespace, max_record_bytes=2_000)
    told = []
    done = publisher.publish_blobs(entry, source, lambda shard, moved: told.append(moved))
    assert told == [True] * 40
    value = web.record(client.base_url, done.uri)["value"]
    (part,) = value["storage"]["parts"]
    kept = web.record(client.base_url, part["uri"])
    assert kept["cid"] == part["cid"]
    cids = [blob["ref"]["$link"] for blob in kept["value"]["blobs"]]
    assert cids == [shard.cid for shard in entry.shards]
    for shard in entry.shards:
        assert raw_cid(web.blob(client.base_url, client.did, shard.cid)) == shard.cid
    place = PDSBlobStore(client).placed
    assert done.shards == tuple(map(place, entry.shards))
    assert done.says_the_same(entry)
    before = records(client, names_of(namespace))
    assert publisher.find_blobs(entry) == done
    assert publisher.publish_blobs(entry, source).uri == done.uri
    assert records(client, names_of(namespace)) == before
    loader = DatasetLoader(AtmosphereClient())
    assert loader.get_storage_type(done.uri) == "blobs"
    assert loader.get_blobs(done.uri) == kept["value"]["blobs"]
    path = Path(source.list_shards()[7])
    assert web.fetch(loader.get_blob_urls(done.uri)[7]) == path.read_bytes()
    assert list(atdata.load_dataset(done.uri, Item)) == items(40)


def test_blobs_given_as_bytes_spill_too(client, schema, tiny):
    entry, source = tiny("bytes", 30)
    blobs = [body.read() for _, body in source.shards]
    publisher = DatasetPublisher(client, max_record_bytes=2_000)
    uri = publisher.publish_with_blobs(blobs, schema, name="bytes")
    assert publisher.publish_with_blobs(blobs, schema, name="bytes") == uri
    assert list(atdata.load_dataset(str(uri), Item)) == items(30)
    assert DatasetLoader(client).entry(uri).cid == entry.cid


class Breaking(FileSource):
    """Files of which one can't be read until it is mended."""

    broken = None

    def open_shard(self, shard_id):
        if self.broken is not None and shard_id.endswith(self.broken):
            raise NotFoundError("gone", where=shard_id)
        return super().open_shard(shard_id)


def test_more_than_a_thousand_blobs_are_sent_part_by_part_and_go_on_where_they_stopped(
    client, tiny, caplog
):
    entry, source = tiny("thousand", 1010)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    publisher = DatasetPublisher(client)
    source = Breaking(source.list_shards())
    source.broken = "001005.tar"
    with pytest.raises(NotFoundError, match="gone"):
        publisher.publish_blobs(entry, source)
    with pytest.raises(NotFoundError):
        index.get_dataset("thousand")
    source.broken = None
    told = []
    done = publisher.publish_blobs(entry, source, lambda shard, moved: told.append(moved))
    assert told == [False] * 1000 + [True] * 10
    assert "1010 blobs" in caplog.text
    assert "2 days" in caplog.text
    parts = web.record(client.base_url, done.uri)["value"]["storage"]["parts"]
    sizes = [len(web.record(client.base_url, p["uri"])["value"]["blobs"]) for p in parts]
    assert sizes == [1000, 10]
    assert index.get_dataset("thousand") == done
    assert done.cid == entry.cid
    last = index.open_dataset("thousand", Item)
    assert last[1009] == items(1, 1009)[0]


def test_a_record_that_is_too_large_without_its_shards_is_refused(client, entry):
    large = entry.replace(metadata={"text": "x" * 140_000, "more": "y" * 20_000})
    with pytest.raises(InvalidRecordError, match=r"larger than.*metadata"):
        DatasetPublisher(client).publish_external(large)


def honest(shards):
    return {"version": 1, "shards": shards}


URL = {"url": "https://x.org/a.tar"}


@pytest.mark.parametrize(
    ("body", "changes", "message"),
    [
        (b"", {}, "DAG-CBOR"),
        (b'{"version": 1, "shards": []}', {}, "DAG-CBOR"),
        (b"\xa2\x67version\x01\x66shards\x80", {}, "canonical"),
        (b"\x81" * 5000 + b"\x80", {}, "map"),
        (dag_cbor({"version": 1}), {}, "shards"),
        (dag_cbor(honest([])), {}, "short"),
        (dag_cbor({"version": 2, "shards": [URL]}), {}, "version"),
        (dag_cbor(honest([[1]])), {}, "shards"),
        (dag_cbor(honest([{}])), {}, "neither"),
        (dag_cbor(honest([{"cid": {"$link": raw_cid(b"")}}])), {}, "neither"),
        (dag_cbor(honest([{"cid": "bafkrei", "size": 1}])), {}, "cid"),
        (dag_cbor(honest([{**URL, "size": -1}])), {}, "size"),
        (dag_cbor(honest([{"url": "file:///etc/passwd"}])), {}, "can't be opened"),
        (dag_cbor(honest([{"url": "pipe:id"}])), {}, "can't be opened"),
        (dag_cbor(honest([{"url": "/etc/passwd"}])), {}, "can't be opened"),
        (dag_cbor(honest([{"url": "https://x.org/" + "a" * 2048}])), {}, "long"),
        (dag_cbor(honest([URL])), {"count": 2}, "another number"),
        (dag_cbor(honest([URL])), {"count": "1"}, "count"),
        (dag_cbor(honest([URL])), {"manifest": "bafkrei"}, "manifest"),
        (dag_cbor(honest([URL])), {"parts": [{"uri": "x"}]}, "parts"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_manifest_of_another_form_is_refused(client, schema, body, changes, message):
    blob = client.upload_blob(body or b"\xf6", MIME)
    storage = {"$type": "ac.foundation.dataset.storageManifest", "manifest": blob, "count": 1}
    record = {
        "name": "lie",
        "schemaRef": schema,
        "storage": storage | changes,
        "createdAt": "2999-01-01T00:00:00Z",
        "kept": blob,
    }
    uri = client.create_record("ac.foundation.dataset.record", record)
    with pytest.raises(InvalidRecordError, match=message if body else "map") as caught:
        DatasetLoader(AtmosphereClient()).entry(uri)
    assert str(uri) in str(caught.value)
    assert "lie" not in [entry.name for entry in AtmosphereIndex(client).list_datasets()]
    client.delete_record(uri)
