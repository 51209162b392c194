"""Datasets are found by every kind of name."""

import logging
from pathlib import Path

import pytest

import atdata_core as atdata
from atdata_core.atmosphere import (
    AtmosphereIndex,
    DatasetLoader,
    LabelLoader,
    LabelPublisher,
    PDSBlobStore,
    SchemaPublisher,
)
from atdata_core.errors import (
    ConfigurationError,
    InvalidRecordError,
    NotFoundError,
    SchemaError,
)
from atdata_core.indexes import LocalIndex
from atdata_core.schema import Schema
from atdata_core.stores.s3 import S3DataStore
from tests.support.samples import Item, Other, items


@pytest.fixture(scope="module", params=["ac.foundation.dataset", "science.alt.dataset"])
def published(request, client, tmp_path_factory):
    """Two versions of a dataset in one of the namespaces."""
    short = request.param.split(".")[0]
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client), namespace=request.param)
    files = atdata.FileIndex(tmp_path_factory.mktemp(short))
    entries = []
    for count in (2, 3):
        files.write_samples(items(count), name="d", sample_type=Item, max_samples=2)
        entries.append(index.insert_dataset(files.open_dataset("d", Item), name=f"{short}-set"))
    return request.param, f"{short}-set", entries


def test_what_is_published_in_either_namespace_comes_back(published, client):
    namespace, _, entries = published
    assert all(f"/{namespace}." in entry.uri for entry in entries)
    assert list(atdata.load_dataset(entries[1].uri, Item)) == items(3)
    assert list(atdata.load_dataset(entries[1].uri)) == list(
        atdata.load_dataset(entries[1].uri, atdata.load_dataset(entries[1].uri).sample_type)
    )
    assert DatasetLoader(client).get_storage_type(entries[0].uri) == "blobs"
    assert len(DatasetLoader(client).get_blobs(entries[1].uri)) == 2


def test_publishing_again_finds_the_record_that_is_there(published, client):
    namespace, name, entries = published
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client), namespace=namespace)
    again = index.insert(atdata.load_dataset(entries[1].uri, Item), name=name)
    assert not again.created
    assert again.entry.uri == entries[1].uri


def test_a_name_of_an_account_is_its_newest_dataset(published, account):
    _, name, entries = published
    for authority in (account.handle, account.did):
        found = atdata.load_dataset(f"@{authority}/{name}", Item)
        assert found.entry.uri == entries[1].uri
    with pytest.raises(NotFoundError, match="nothing-of-that-name"):
        atdata.load_dataset(f"@{account.handle}/nothing-of-that-name")
    with pytest.raises(ConfigurationError):
        atdata.load_dataset("@nothing")


def test_a_label_names_a_version_and_the_largest_is_the_newest(published, client, account):
    namespace, name, entries = published
    publisher = LabelPublisher(client, namespace=namespace)
    label = f"{name}-label"
    for version, entry in (("1.10.0", entries[1]), ("1.9.0", entries[0])):
        uri = publisher.publish(label, entry.uri, version=version)
        assert publisher.publish(label, entry.uri, version=version) == uri
    assert str(LabelLoader(client).resolve(account.did, label)) == entries[1].uri
    found = atdata.load_dataset(f"@{account.handle}/{label}@1.9.0", Item)
    assert list(found) == items(2)
    index = AtmosphereIndex(client)
    assert index.get_dataset(f"{label}@1.10.0").uri == entries[1].uri
    with pytest.raises(NotFoundError, match=r"1\.10\.0, 1\.9\.0"):
        atdata.load_dataset(f"@{account.handle}/{label}@3.0.0")


def test_a_label_of_nothing_is_refused(published, client, account):
    with pytest.raises(NotFoundError):
        LabelPublisher(client).publish("x", f"at://{account.did}/ac.foundation.dataset.record/no")


def test_a_label_is_found_behind_more_than_a_page_of_others(client, account, published):
    _, name, entries = published
    first = {"name": f"{name}-first", "datasetUri": entries[0].uri}
    first["createdAt"] = "2026-01-01T00:00:00Z"
    collection = "ac.foundation.dataset.label"
    client.create_record(collection, first, rkey=f"222222222222{name[0]}")
    if len(LabelLoader(client).list_all()) < 100:
        for number in range(105):
            client.create_record(collection, {**first, "name": "o", "version": f"0.0.{number}"})
    page, _ = client.list_records(collection)
    assert first["name"] not in [label["name"] for label in page]
    assert str(LabelLoader(client).resolve(account.did, first["name"])) == entries[0].uri


def test_another_schema_of_the_same_version_is_warned_of(client, caplog):
    first = SchemaPublisher(client).publish(Schema.of(Item, name="Twice"))
    with caplog.at_level(logging.WARNING):
        second = SchemaPublisher(client).publish(Schema.of(Other, name="Twice"))
    assert first != second
    assert str(first) in caplog.text
    assert str(second) in caplog.text
    assert SchemaPublisher(client).publish(Schema.of(Item, name="Twice")) == first


def test_a_storage_that_is_not_known_is_listed_but_not_opened(client, account, published):
    _, _, entries = published
    uri = client.create_record(
        "ac.foundation.dataset.record",
        {
            "name": "on-tape",
            "schemaRef": entries[0].schema_ref,
            "storage": {"$type": "com.example.storageTape"},
            "createdAt": "2026-01-01T00:00:00Z",
        },
    )
    assert "on-tape" in [entry.name for entry in AtmosphereIndex(client).list_datasets()]
    with pytest.raises(InvalidRecordError, match=r"com\.example\.storageTape"):
        atdata.load_dataset(str(uri))


def test_names_of_the_team_s_index(services, redis_url, bucket, monkeypatch):
    monkeypatch.setenv("ATDATA_REDIS_URL", redis_url)
    with LocalIndex(redis_url, S3DataStore(bucket=bucket)) as index:
        entry = index.write_samples(items(3), name="a/b", sample_type=Item).entry
        index.label("best", entry, version="1.0.0")
        for text in (
            "@local/a/b",
            "atdata://local/a/b",
            "@local/best@1.0.0",
            f"@local/{entry.cid}",
        ):
            assert list(atdata.load_dataset(text, Item, index=index)) == items(3)
        assert list(atdata.load_dataset("@local/a/b")) == list(index.open_dataset("a/b"))


def test_plain_addresses(services, bucket, tmp_path, monkeypatch):
    files = atdata.FileIndex(tmp_path)
    entry = files.write_samples(items(6), name="d", sample_type=Item, max_samples=2).entry
    with S3DataStore(bucket=bucket) as store:
        urls = store.write_shards(files.open_dataset("d", Item), prefix="p")
        assert list(atdata.load_dataset(urls[0], Item, store=store)) == items(6)
    assert list(atdata.load_dataset(entry.data_urls[0], Item)) == items(2)
    assert sum(1 for _ in atdata.load_dataset(tmp_path / "datasets" / "d", Item)) == 6
    assert sum(1 for _ in atdata.load_dataset(str(tmp_path / "datasets/*/*.tar"), Item)) == 6
    odd = tmp_path / "odd{0..3}[x].tar"
    odd.write_bytes(Path(entry.data_urls[0]).read_bytes())
    assert list(atdata.load_dataset(odd, Item)) == items(2)
    with pytest.raises(SchemaError, match="MySample"):
        atdata.load_dataset(odd)
