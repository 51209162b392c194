"""Which addresses of shards may stand in a public record."""

import pytest

from atdata_core.errors import ConfigurationError
from atdata_core.publishing.addresses import check_public, endpoint_of
from atdata_core.sources import FileSource, VerifiedSource
from atdata_core.stores import S3DataStore, S3Source

S3 = ["s3://bucket/a.tar"]
PRIVATE = [
    "http://10.1.2.3:9000",
    "https://192.168.0.7",
    "http://172.16.0.1:9000",
    "http://169.254.169.254",
    "http://100.64.0.1",
    "http://0.0.0.0:9000",
    "http://[fd00::1]:9000",
    "http://[fe80::1]:9000",
    "http://[::ffff:10.0.0.1]",
    "http://224.0.0.1",
    "http://minio:9000",
    "http://minio.internal",
    "https://s3.lab.local/",
    "https://s3.lan.",
    "http://s3.localhost",
    "http://2130706433",
    "http://127.1",
    "http://0x7f.0.0.0x1",
    "http://",
    "http://[bad",
]
LOOPBACK = ["http://localhost:9000", "http://127.0.0.1:9000", "http://127.8.8.8", "http://[::1]:90"]


@pytest.mark.parametrize("endpoint", [*PRIVATE, *LOOPBACK])
def test_a_server_that_others_do_not_reach_is_refused_with_a_remedy(endpoint):
    with pytest.raises(ConfigurationError, match=r"S3 server.*PDSBlobStore.*allow_private=True"):
        check_public(S3, endpoint)
    check_public(S3, endpoint, allow_private=True)
    # No shard lies there.
    check_public(["https://data.example.org/a.tar"], endpoint)


@pytest.mark.parametrize("origin", [*PRIVATE, *LOOPBACK])
def test_so_is_a_web_server(origin):
    url = "https://" + origin.partition("://")[2].rstrip("/") + "/a.tar"
    with pytest.raises(ConfigurationError, match="web server"):
        check_public(["https://data.example.org/b.tar", url])


def test_a_server_whose_name_nobody_knows_is_refused():
    with pytest.raises(ConfigurationError, match="can't be resolved"):
        check_public(S3, "https://nothing-here.example.com")


@pytest.mark.parametrize(
    "endpoint",
    [None, "https://s3.amazonaws.com", "https://s3.eu-west-1.amazonaws.com", "https://1.1.1.1"],
)
def test_a_public_server_is_fine(endpoint):
    check_public(S3, endpoint)


@pytest.mark.parametrize("endpoint", LOOPBACK)
def test_this_machine_is_fine_where_the_pds_is_on_it_too(endpoint):
    for pds in ("http://localhost:2583", "http://127.0.0.1:2583"):
        check_public(S3, endpoint, pds=pds)
    with pytest.raises(ConfigurationError):
        check_public(S3, endpoint, pds="https://pds.example.org")
    with pytest.raises(ConfigurationError):
        check_public(S3, "http://10.1.2.3", pds="http://localhost:2583")


def test_the_server_is_found_behind_sources_and_stores(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    store = S3DataStore(bucket="b", endpoint_url="http://10.1.2.3:9000")
    for place in (store, S3Source(S3, store), VerifiedSource(S3Source(S3, store), ())):
        assert endpoint_of(place) == "http://10.1.2.3:9000"
    assert endpoint_of(FileSource(["a.tar"])) is None
    assert endpoint_of(S3DataStore(bucket="b")).endswith(".amazonaws.com")
    # boto3's own setting leads elsewhere too.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    assert endpoint_of(S3DataStore(bucket="b")) == "http://minio:9000"
