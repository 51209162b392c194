"""A server that lies about the list of a dataset's shards: it is noticed before a shard is read."""

import pytest

import atdata_core as atdata
from atdata_core import AtmosphereIndex, Schema, Shard
from atdata_core.atmosphere import AtmosphereClient, DatasetLoader
from atdata_core.atproto.records import (
    DATASET_TYPES,
    SCHEMA_TYPES,
    blob_manifest,
    dataset_record,
    names_of,
    schema_record,
)
from atdata_core.cid import dag_cbor, dag_cbor_cid
from atdata_core.entry import DatasetEntry
from atdata_core.errors import IntegrityError, InvalidRecordError
from tests.support.liar import DID
from tests.support.samples import Item, items, shard_file

BLOB = "com.atproto.sync.getBlob"


@pytest.fixture
def published(liar, tmp_path):
    """The address of an honest dataset, its manifest, and its record."""
    data = [shard_file(tmp_path / f"{i}.tar", items(1, i)).read_bytes() for i in range(3)]
    schema = schema_record(Schema.of(Item))
    schema_uri = liar.add_record(SCHEMA_TYPES[0], "s", schema)
    shards = tuple(Shard("x", liar.add_blob(each), len(each), 1) for each in data)
    entry = DatasetEntry("digits", schema_uri, shards, schema_cid=Schema.of(Item).cid)
    manifest = blob_manifest(shards, "application/x-tar", DID, names_of())
    record = dataset_record(entry, manifest.storage, dag_cbor_cid(schema), names_of())
    liar.add_blob(manifest.body)
    return liar.add_record(DATASET_TYPES[0], "d", record), manifest, record


def test_an_honest_manifest_is_believed(published):
    assert list(atdata.load_dataset(published[0], Item)) == items(3)


def test_a_manifest_of_other_bytes_is_refused(liar, published):
    uri, manifest, _ = published
    last = manifest.body[:-1] + bytes([manifest.body[-1] ^ 1])
    for wrong in (b"", manifest.body[:-1], manifest.body + b"\0", last, bytes(100_000)):
        liar.answer(BLOB, wrong)
        for read in (DatasetLoader(AtmosphereClient()).entry, atdata.load_dataset):
            with pytest.raises(IntegrityError, match=manifest.cid):
                read(uri)
    assert AtmosphereIndex(AtmosphereClient()).list_datasets(DID) == []


def test_a_manifest_of_another_dataset_is_refused(liar, published):
    _, manifest, record = published
    body = dag_cbor({"version": 1, "shards": [{"url": "https://x.org/a.tar"}]})
    blob = {
        **manifest.storage["manifest"],
        "size": len(body),
        "ref": {"$link": liar.add_blob(body)},
    }
    storage = {**manifest.storage, "manifest": blob, "count": 1}
    uri = liar.add_record(DATASET_TYPES[0], "e", {**record, "storage": storage})
    with pytest.raises(InvalidRecordError, match="contradicts itself"):
        DatasetLoader(AtmosphereClient()).entry(uri)


@pytest.mark.parametrize("size", [-1, 2**25 + 1, 2**40, "1"])
def test_a_manifest_that_claims_an_impossible_size_is_not_asked_for(liar, published, size):
    _, manifest, record = published
    storage = {**manifest.storage, "manifest": {**manifest.storage["manifest"], "size": size}}
    uri = liar.add_record(DATASET_TYPES[0], "e", {**record, "storage": storage})
    with pytest.raises(InvalidRecordError, match="names no manifest"):
        DatasetLoader(AtmosphereClient()).entry(uri)
    assert liar.asked(BLOB) == []
