"""A public record names no server that only this network reaches, unless it is told to."""

import pytest

from atdata_core import (
    AtmosphereIndex,
    Dataset,
    LocalIndex,
    PDSBlobStore,
    S3DataStore,
    promote_to_atmosphere,
)
from atdata_core.atmosphere import (
    AtmosphereClient,
    DatasetLoader,
    DatasetPublisher,
    SchemaPublisher,
)
from atdata_core.atproto.records import DATASET_TYPES, SCHEMA_TYPES
from atdata_core.errors import ConfigurationError
from atdata_core.stores import S3Source
from tests.support import web
from tests.support.samples import Item, items, shard_file

PRIVATE = "http://10.1.2.3:9000"
REFUSED = r"S3 server is not one that others reach.*data_store=PDSBlobStore"


@pytest.fixture
def team(redis_url, bucket):
    with LocalIndex(redis_url, S3DataStore(bucket=bucket)) as index:
        yield index


@pytest.fixture
def entry(team, tmp_path):
    """A dataset in S3, listed in Redis."""
    path = shard_file(tmp_path / "a.tar", items(3))
    return team.insert_dataset(Dataset[Item](str(path)), name="digits")


@pytest.fixture
def elsewhere(redis_url, bucket):
    """The same index, its bucket on a server of a private network."""
    with LocalIndex(redis_url, S3DataStore(bucket=bucket, endpoint_url=PRIVATE)) as index:
        yield index


def everything(client):
    kinds = (DATASET_TYPES[0], SCHEMA_TYPES[0])
    return [web.records(client.base_url, client.did, kind) for kind in kinds]


def test_promotion_by_address_is_refused_before_anything_is_sent(client, entry, elsewhere):
    before = everything(client)
    with pytest.raises(ConfigurationError, match=REFUSED):
        promote_to_atmosphere(entry, elsewhere, client)
    dataset = elsewhere.open_dataset(entry)
    with pytest.raises(ConfigurationError, match=REFUSED):
        DatasetPublisher(client).publish(dataset, name="private")
    assert everything(client) == before


def test_a_private_server_is_no_store_of_an_index_of_public_records(client, team, entry, bucket):
    before = everything(client)
    store = S3DataStore(bucket=bucket, endpoint_url=PRIVATE)
    index = AtmosphereIndex(client, data_store=store)
    with pytest.raises(ConfigurationError, match=REFUSED):
        promote_to_atmosphere(entry, team, client, data_store=store)
    with pytest.raises(ConfigurationError, match=REFUSED):
        index.insert_dataset(team.open_dataset(entry), name="private")
    with pytest.raises(ConfigurationError, match=REFUSED):
        index.write_samples(iter(items(3)), name="private", sample_type=Item)
    assert everything(client) == before


def test_what_the_error_says_to_do_works(client, team, entry, elsewhere):
    store = PDSBlobStore(client)
    uri = promote_to_atmosphere(entry, team, client, data_store=store, name="as blobs")
    assert list(DatasetLoader(AtmosphereClient()).to_dataset(uri, Item)) == items(3)
    uri = promote_to_atmosphere(entry, elsewhere, client, name="told to", allow_private=True)
    value = web.record(client.base_url, uri)["value"]
    assert value["storage"]["urls"] == entry.data_urls
    dataset = elsewhere.open_dataset(entry)
    publisher = DatasetPublisher(client, allow_private=True)
    assert web.record(client.base_url, str(publisher.publish(dataset, name="told to, again")))


def test_this_machine_s_s3_is_named_only_on_this_machine_s_pds(client, team, entry):
    uri = promote_to_atmosphere(entry, team, client, name="devnet")
    assert list(DatasetLoader(client).to_dataset(uri, Item)) == items(3)
    public = AtmosphereClient("https://pds.example.org")
    with pytest.raises(ConfigurationError, match=REFUSED):
        promote_to_atmosphere(entry, team, public)
    plain = Dataset[Item](S3Source(entry.data_urls))
    with pytest.raises(ConfigurationError, match=REFUSED):
        DatasetPublisher(public).publish(plain, name="plain")


def test_addresses_on_private_web_servers_are_refused(client):
    schema = str(SchemaPublisher(client).publish(Item))
    publish = DatasetPublisher(client).publish_with_urls
    for url in ("https://10.1.2.3/a.tar", "https://files/a-{0..9}.tar", "https://nas.local/a.tar"):
        with pytest.raises(ConfigurationError, match="web server"):
            publish(["https://data.example.org/a.tar", url], schema, name="private")
    publish(["s3://example-bucket/a.tar", "https://data.example.org/a.tar"], schema, name="public")
