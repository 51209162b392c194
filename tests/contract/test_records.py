"""Records and blobs of an account on a real PDS, checked by plain HTTP."""

import secrets
from pathlib import Path

import pytest

import atdata_core as atdata
from atdata_core import Dataset, S3DataStore, Schema
from atdata_core.atmosphere import (
    AtmosphereClient,
    AtUri,
    DatasetLoader,
    DatasetPublisher,
    SchemaLoader,
    SchemaPublisher,
)
from atdata_core.atproto.records import DATASET_TYPES, NAMESPACES, SCHEMA_TYPES
from atdata_core.cid import dag_cbor_cid
from atdata_core.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    InvalidRecordError,
    InvalidUriError,
    NotFoundError,
    ServiceError,
)
from tests.support import web
from tests.support.samples import Item, Other, cid_of, items, shard_file

DATASET_TYPE, SCHEMA_TYPE = DATASET_TYPES[0], SCHEMA_TYPES[0]

NOTE = "com.example.note"


@pytest.fixture
def collection():
    """A type of records that no other test writes."""
    return f"com.example.n{secrets.token_hex(4)}"


@pytest.fixture
def pds(client):
    return client.base_url


def test_a_record_is_written_read_replaced_and_deleted(client, pds, collection):
    uri = client.create_record(collection, {"text": "é", "n": 1}, rkey="a")
    assert str(uri) == f"at://{client.did}/{collection}/a"
    there = web.record(pds, str(uri))
    assert there["value"] == {"$type": collection, "text": "é", "n": 1}
    found = AtmosphereClient().get_record(uri)
    assert (dict(found), found.uri, found.cid) == (there["value"], str(uri), there["cid"])
    assert found.strong_ref() == {"uri": str(uri), "cid": dag_cbor_cid(there["value"])}
    client.put_record(collection, "a", {"text": "b"}, swap_record=found.cid)
    assert web.record(pds, str(uri))["value"]["text"] == "b"
    client.delete_record(uri)
    client.delete_record(str(uri))
    assert web.records(pds, client.did, collection) == []
    with pytest.raises(NotFoundError):
        client.get_record(uri)


def test_two_writers_of_one_record_don_t_overwrite_each_other(client, pds, collection):
    uri = client.create_record(collection, {"n": 1}, rkey="a")
    first = client.get_record(uri).cid
    with pytest.raises(ConflictError, match="another writer was first"):
        client.create_record(collection, {"n": 2}, rkey="a")
    client.put_record(collection, "a", {"n": 3}, swap_record=first)
    with pytest.raises(ConflictError):
        client.put_record(collection, "a", {"n": 4}, swap_record=first)
    assert web.record(pds, str(uri))["value"]["n"] == 3


def test_records_are_listed_page_by_page(client, pds, collection):
    for n in range(5):
        client.create_record(collection, {"n": n}, rkey=f"k{n}")
    there = web.records(pds, client.did, collection)
    stranger = AtmosphereClient()
    for repo in (client.did, client.handle):
        found = list(stranger.iter_records(collection, repo=repo))
        assert [(r.uri, r.cid) for r in found] == [(r["uri"], r["cid"]) for r in there]
    assert [r["n"] for r in client.iter_records(collection, limit=2)] == [4, 3]
    page, cursor = client.list_records(collection, limit=2)
    following, _ = client.list_records(collection, limit=2, cursor=cursor)
    assert [r["n"] for r in (*page, *following)] == [4, 3, 2, 1]
    assert list(client.iter_records(f"{collection}x")) == []


@pytest.mark.parametrize(
    "value", [{"x": float("nan")}, {"x": b"bytes"}, {"x": object()}, {"x": "\ud800"}]
)
def test_what_no_record_can_hold_is_refused_before_it_is_sent(client, collection, value):
    with pytest.raises(InvalidRecordError):
        client.create_record(collection, value)


@pytest.mark.parametrize(("nsid", "rkey"), [("note", "a"), (NOTE, "a/b"), (NOTE, ".."), (NOTE, "")])
def test_impossible_addresses_are_refused_before_anything_is_sent(client, nsid, rkey):
    with pytest.raises(InvalidUriError):
        client.create_record(nsid, {}, rkey=rkey)


def test_a_record_that_names_a_blob_that_isn_t_there_is_refused(client, collection):
    blob = {
        "$type": "blob",
        "ref": {"$link": cid_of(b"nobody has it")},
        "mimeType": "application/x-tar",
        "size": 13,
    }
    with pytest.raises(NotFoundError):
        client.create_record(collection, {"blob": blob})


def test_a_blob_is_uploaded_from_bytes_or_a_file(client, pds, collection, tmp_path):
    (tmp_path / "b").write_bytes(b"from a file " * 200_000)
    whole = client.upload_blob(b"as bytes", "text/plain", cid=cid_of(b"as bytes"))
    with (tmp_path / "b").open("rb") as file:
        streamed = client.upload_blob(file, size=2_400_000)
        with pytest.raises(ConfigurationError, match="size"):
            client.upload_blob(file)
    assert [b["mimeType"] for b in (whole, streamed)] == ["text/plain", "application/octet-stream"]
    client.create_record(collection, {"blobs": [whole, streamed]})
    for blob, data in ((whole, b"as bytes"), (streamed, (tmp_path / "b").read_bytes())):
        cid = blob["ref"]["$link"]
        assert cid == cid_of(data)
        assert web.blob(pds, client.did, cid) == data
        assert AtmosphereClient().get_blob(client.did, cid) == data


def test_a_schema_is_published_once_and_another_one_not_over_it(client, pds):
    publisher = SchemaPublisher(client)
    name = f"Item{secrets.token_hex(4)}"
    uri = publisher.publish(Item, name=name, version="1.0.0", metadata={"n": 1, "x": 0.5})
    assert publisher.publish(Item, name=name, version="1.0.0", metadata={"n": 1, "x": 0.5}) == uri
    named = publisher.publish(Item, name=name, rkey="mine")
    assert named.rkey == "mine"
    assert publisher.publish(Item, name=name, rkey="mine") == named
    with pytest.raises(ConflictError, match="another record has this key"):
        publisher.publish(Other, rkey="mine")
    loader = SchemaLoader(AtmosphereClient())
    assert loader.get(uri)["name"] == name
    assert loader.load(str(uri)).same_fields(Schema.of(Item))
    uris = {record["uri"] for record in web.records(pds, client.did, SCHEMA_TYPE)}
    assert {str(uri), str(named)} <= uris
    assert {r.uri for r in loader.list_all(client.did)} == uris
    assert len(loader.list_all(client.handle, limit=1)) == 1


def test_a_dataset_is_published_from_bytes(client, pds, tmp_path):
    data = shard_file(tmp_path / "a.tar", items(3)).read_bytes()
    schema = SchemaPublisher(client).publish(Item)
    publisher = DatasetPublisher(client)
    words = {"name": "bytes", "description": "d", "tags": ["t"], "license": "MIT"}
    uri = publisher.publish_with_blobs([data], str(schema), metadata={"x": 0.5}, **words)
    assert publisher.publish_with_blobs([data], str(schema), metadata={"x": 0.5}, **words) == uri
    value = web.record(pds, str(uri))["value"]
    assert value["storage"]["blobs"][0]["ref"]["$link"] == cid_of(data)
    loader = DatasetLoader(AtmosphereClient())
    assert loader.get_storage_type(uri) == "blobs"
    assert loader.get_blobs(uri) == value["storage"]["blobs"]
    assert loader.get_urls(uri) == [f"at://{client.did}/blob/{cid_of(data)}"]
    assert [web.fetch(url) for url in loader.get_blob_urls(uri)] == [data]
    assert loader.get_metadata(uri) == {"x": 0.5}
    assert loader.get(uri)["license"] == "MIT"
    assert str(uri) in {record.uri for record in loader.list_all(client.did)}
    assert list(loader.to_dataset(uri, Item)) == items(3)
    assert [s.packed for s in loader.to_dataset(uri)] == [s.packed for s in items(3)]


def test_a_dataset_at_other_addresses_is_published_with_its_schema(
    client, pds, tmp_path, boto, bucket
):
    data = shard_file(tmp_path / "a.tar", items(3)).read_bytes()
    boto.put_object(Bucket=bucket, Key="a.tar", Body=data)
    url = f"s3://{bucket}/a.tar"
    dataset = atdata.load_dataset(url, Item)
    uri = DatasetPublisher(client).publish(dataset, name="elsewhere")
    value = web.record(pds, str(uri))["value"]
    assert value["storage"]["urls"] == [url]
    assert value["shards"] == [{"cid": cid_of(data), "size": len(data), "rows": 3}]
    loader = DatasetLoader(AtmosphereClient())
    assert loader.get_storage_type(uri) == "external"
    with pytest.raises(ConfigurationError, match="no blobs"):
        loader.get_blobs(uri)
    with pytest.raises(ServiceError, match=r"without credentials.*store=S3DataStore"):
        list(atdata.load_dataset(str(uri), Item))
    store = S3DataStore(bucket=bucket)
    assert list(atdata.load_dataset(str(uri), Item, store=store)) == items(3)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_way_to_publish_tells_what_a_dataset_was_made_from(
    client, pds, tmp_path, boto, bucket, namespace
):
    data = shard_file(tmp_path / "a.tar", items(3)).read_bytes()
    boto.put_object(Bucket=bucket, Key="a.tar", Body=data)
    publisher = DatasetPublisher(client, namespace=namespace)
    schema = str(SchemaPublisher(client).publish(Item))
    first = DatasetLoader(client).entry(
        publisher.publish_with_blobs([data], schema, name=f"lineage {namespace}")
    )
    links = [first.strong_ref]
    url = f"s3://{bucket}/a.tar"
    uris = [
        publisher.publish_with_blobs([data], schema, name="made", derived_from=links),
        publisher.publish_with_urls([url], schema, name="made", derived_from=links),
        publisher.publish(atdata.load_dataset(url, Item), name="made", derived_from=links),
    ]
    assert len(set(uris)) == 3
    source = web.record(pds, first.uri)
    for uri in uris:
        value = web.record(pds, str(uri))["value"]
        assert value["derivedFrom"] == [{"uri": source["uri"], "cid": source["cid"]}]
        assert DatasetLoader(AtmosphereClient()).entry(uri).derived_from == tuple(links)


def test_a_dataset_on_this_machine_is_not_published_by_its_path(client, tmp_path):
    path = shard_file(tmp_path / "a.tar", items(3))
    with pytest.raises(ConfigurationError, match="PDSBlobStore"):
        DatasetPublisher(client).publish(Dataset[Item](str(path)), name="here")


def test_a_record_of_another_type_is_no_dataset_and_no_schema(client, collection):
    note = client.create_record(collection, {"text": "x"})
    schema = SchemaPublisher(client).publish(Item)
    for read in (DatasetLoader(client).get, SchemaLoader(client).get, atdata.load_dataset):
        with pytest.raises(InvalidRecordError, match="another type"):
            read(str(note))
    with pytest.raises(InvalidRecordError, match=DATASET_TYPE):
        atdata.load_dataset(str(schema))
    with pytest.raises(InvalidUriError, match="BlobSource"):
        atdata.load_dataset(f"at://{client.did}/blob/{cid_of(b'')}")


def test_a_stranger_can_read_but_not_write(client, collection):
    stranger = AtmosphereClient()
    assert not stranger.is_authenticated
    with pytest.raises(AuthenticationError, match="not logged in"):
        stranger.create_record(collection, {})
    with pytest.raises(AuthenticationError):
        SchemaPublisher(stranger).publish(Item)
    assert "not logged in" in repr(stranger)


def test_a_closed_client_has_forgotten_its_session(account):
    with AtmosphereClient() as client:
        client.login(account.handle, account.app_password)
        assert client.did == account.did
    assert not client.is_authenticated
    with pytest.raises(AuthenticationError):
        _ = client.did


def test_the_page_of_an_account_s_own_schema_can_be_read_back_as_a_type(client, tmp_path):
    uri = SchemaPublisher(client).publish(Item)
    built = SchemaLoader(client).load(uri).to_type()
    path = shard_file(tmp_path / "a.tar", items(2))
    assert [s.packed for s in Dataset(Path(path), built)] == [s.packed for s in items(2)]
    assert AtUri.parse(str(uri)) == uri
