"""What goes wrong between here and a service: closed ports, wrong passwords, small limits."""

import secrets
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from atdata_core import (
    AtmosphereIndex,
    FileIndex,
    FileSource,
    LocalIndex,
    PDSBlobStore,
    S3DataStore,
    Shard,
    promote_to_atmosphere,
)
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.atproto.records import DATASET_TYPES
from atdata_core.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRecordError,
    NotFoundError,
    ServiceError,
    TooLargeError,
    UnreachableError,
)
from tests.support import web
from tests.support.samples import Item, Loose, items, shard_file

pytestmark = pytest.mark.usefixtures("services")


@pytest.fixture
def closed_port():
    """A port of this machine where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def test_redis_that_isn_t_there(closed_port, bucket):
    url = f"redis://:hunter2@127.0.0.1:{closed_port}/0"
    with LocalIndex(url, S3DataStore(bucket=bucket)) as index:
        for use in (
            lambda: index.get_dataset("digits"),
            index.list_datasets,
            lambda: index.publish_schema(Item),
            lambda: index.write_samples(items(1), name="digits", sample_type=Item),
        ):
            with pytest.raises(
                UnreachableError, match=f"{closed_port}.*ATDATA_REDIS_URL"
            ) as caught:
                use()
            assert "hunter2" not in str(caught.value)
        assert "hunter2" not in repr(index)


def test_a_text_that_is_no_redis_url():
    with pytest.raises(ConfigurationError, match="ATDATA_REDIS_URL"):
        LocalIndex("localhost:6379").list_datasets()


def test_s3_that_isn_t_there(closed_port, redis_url, monkeypatch):
    store = S3DataStore(bucket="b", endpoint_url=f"http://127.0.0.1:{closed_port}")
    with LocalIndex(redis_url, store) as index:
        with pytest.raises(UnreachableError, match=r"s3://b/digits.*S3"):
            index.write_samples(items(1), name="digits", sample_type=Item)
        assert index.list_datasets() == []
    with pytest.raises(UnreachableError, match=r"s3://b/gone\.tar"):
        store.create_source(["s3://b/gone.tar"]).open_shard("s3://b/gone.tar")
    store.close()


def test_a_bucket_that_isn_t_there_is_named_and_nothing_is_listed(redis_url):
    with LocalIndex(redis_url, S3DataStore(bucket="no-such-bucket-here")) as index:
        with pytest.raises(ServiceError, match=r"no such bucket.*ATDATA_S3_BUCKET") as caught:
            index.write_samples(items(1), name="digits", sample_type=Item)
        assert "no-such-bucket-here" in str(caught.value)
        assert index.list_datasets() == []


def test_a_wrong_secret_of_s3_is_told_without_being_shown(redis_url, bucket, services, boto):
    wrong = {
        "AWS_ACCESS_KEY_ID": services.env["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": "not-the-secret",
    }
    with LocalIndex(redis_url, S3DataStore(wrong, bucket=bucket)) as index:
        with pytest.raises(AuthenticationError, match="AWS_") as caught:
            index.write_samples(items(1), name="digits", sample_type=Item)
        assert "not-the-secret" not in str(caught.value) + repr(index)
        assert index.list_datasets() == []
    assert boto.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_s3_that_is_busy_is_asked_again():
    answers = [503, 500, 200]
    asked = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status = answers[len(asked) - 1]
            body = b"a shard" if status == 200 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "c"}
        given["AWS_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        with (
            S3DataStore(given, bucket="b") as store,
            store.create_source(["s3://b/a.tar"]).open_shard("s3://b/a.tar") as stream,
        ):
            assert stream.read() == b"a shard"
        server.shutdown()
        thread.join()
    assert asked == ["/b/a.tar"] * 3


def test_no_credentials_for_s3(bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    store = S3DataStore(bucket=bucket)
    with pytest.raises(AuthenticationError, match="AWS_ACCESS_KEY_ID"):
        store.write_samples(items(1), prefix="digits")
    store.close()


def test_a_pds_that_isn_t_there(closed_port):
    with AtmosphereClient(f"http://localhost:{closed_port}") as client:
        with pytest.raises(UnreachableError, match=f"localhost:{closed_port}"):
            client.login("alice.test", "aaaa-bbbb-cccc-dddd")
        assert not client.is_authenticated


def test_a_wrong_app_password_is_told_without_being_shown(services):
    with AtmosphereClient() as client:
        with pytest.raises(AuthenticationError, match=r"alice\.test.*app password") as caught:
            client.login(services.handle, "aaaa-bbbb-cccc-dddd")
        assert "aaaa-bbbb" not in str(caught.value)
        assert not client.is_authenticated
        with pytest.raises(AuthenticationError):
            client.login("nobody-at-all.test", "aaaa-bbbb-cccc-dddd")


def test_a_session_s_text_that_was_cut_short():
    with AtmosphereClient() as client:
        for text in ("", "nonsense", "a:::b"):
            with pytest.raises(AuthenticationError, match="session"):
                client.login_with_session(text)


def test_a_session_goes_on_where_it_was_left(client, account):
    with AtmosphereClient() as other:
        other.login_with_session(client.export_session())
        assert (other.did, other.handle) == (account.did, account.handle)
        assert account.handle in repr(other)
    for secret in (account.app_password, client.export_session()):
        assert secret not in repr(client)


def test_a_directory_that_isn_t_there(closed_port, monkeypatch, account):
    monkeypatch.setenv("ATDATA_PLC_URL", f"http://localhost:{closed_port}")
    with pytest.raises(UnreachableError, match=f"localhost:{closed_port}"):
        AtmosphereClient().get_record(f"at://{account.did}/com.example.note/a")


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("at://{did}/com.example.note/nothing", NotFoundError),
        ("at://did:plc:" + "a" * 24 + "/com.example.note/a", NotFoundError),
        ("at://nobody-at-all.test/com.example.note/a", NotFoundError),
    ],
    ids=["record", "account", "handle"],
)
def test_what_isn_t_there_is_not_found(account, uri, error):
    with pytest.raises(error):
        AtmosphereClient().get_record(uri.format(did=account.did))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "é" * 101}, "name: too long.*200"),
        ({"description": "x" * 5001}, "description: too long.*5,000"),
        ({"tags": ["t"] * 31}, "tags: too long.*30 items"),
        ({"tags": ["t" * 151]}, r"tags\[0\]: too long.*150"),
        ({"license": "l" * 201}, "license: too long.*200"),
    ],
    ids=["name", "description", "tags", "tag", "license"],
)
def test_words_too_long_for_a_record_are_refused_before_anything_is_sent(
    client, account, tmp_path, changes, message
):
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    commit = f"{client.base_url}/xrpc/com.atproto.sync.getLatestCommit"
    index.publish_schema(Item)
    before = web.fetch_json(commit, did=account.did)
    words = {"name": "words", **changes}
    with pytest.raises(InvalidRecordError, match=message):
        index.write_samples(items(1), sample_type=Item, **words)
    assert web.fetch_json(commit, did=account.did) == before


LIMIT = 100_000


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A PDS of its own that takes blobs of 100 kB at most."""
    from atdata_dagster.devnet import Devnet

    folder = tmp_path_factory.mktemp("small") / "net"
    with Devnet(folder, blob_limit=LIMIT, services=("pds",)).running() as net:
        yield net


@pytest.fixture
def narrow(small, monkeypatch):
    """An account there, logged in."""
    for name in ("ATDATA_PDS_URL", "ATDATA_PLC_URL"):
        monkeypatch.setenv(name, small.env[name])
    account = small.create_account(f"t{secrets.token_hex(5)}")
    with AtmosphereClient() as client:
        client.login(account.handle, account.app_password)
        yield client


def blobs_of(client):
    url = f"{client.base_url}/xrpc/com.atproto.sync.listBlobs"
    return web.fetch_json(url, did=client.did)["cids"]


def test_shards_are_written_within_what_the_pds_takes(narrow):
    assert narrow.max_blob_bytes == LIMIT
    index = AtmosphereIndex(narrow, data_store=PDSBlobStore(narrow))
    samples = [Loose(id=i, data=np.zeros(10_000, np.float32)) for i in range(6)]
    done = index.write_samples(samples, name="digits", sample_type=Loose)
    assert len(done.entry.shards) == 3
    assert all(shard.size <= LIMIT for shard in done.entry.shards)
    assert sorted(blobs_of(narrow)) == sorted({shard.cid for shard in done.entry.shards})
    assert list(index.open_dataset("digits", Loose)) == samples


def test_a_shard_larger_than_the_pds_takes_is_refused_before_any_upload(narrow, tmp_path):
    local = FileIndex(tmp_path)
    samples = [Loose(id=i, data=np.zeros(1000 if i == 0 else 50_000)) for i in range(2)]
    entry = local.write_samples(samples, name="digits", sample_type=Loose, max_samples=1).entry
    with pytest.raises(TooLargeError, match=r"digits.*100,000.*max_bytes") as caught:
        promote_to_atmosphere(entry, local, narrow, data_store=PDSBlobStore(narrow))
    assert caught.value.limit == LIMIT
    assert caught.value.size == entry.shards[1].size
    assert blobs_of(narrow) == []
    assert web.records(narrow.base_url, narrow.did, DATASET_TYPES[0]) == []


def test_a_sample_larger_than_the_pds_takes_is_named(narrow):
    index = AtmosphereIndex(narrow, data_store=PDSBlobStore(narrow))
    sample = Loose(id=1, data=np.zeros(50_000))
    with pytest.raises(TooLargeError, match="digits, shard 0, sample 000000000"):
        index.write_samples([sample], name="digits", sample_type=Loose)
    assert web.records(narrow.base_url, narrow.did, DATASET_TYPES[0]) == []


def test_a_shard_whose_size_is_unknown_is_counted_before_it_is_sent(narrow, tmp_path):
    path = tmp_path / "big.tar"
    shard_file(path, [Loose(id=1, data=np.zeros(50_000))])
    store = PDSBlobStore(narrow)
    with pytest.raises(TooLargeError):
        store.copy_shards(FileSource([str(path)]), [Shard(str(path))], prefix="x")


def test_a_session_s_text_that_names_another_account_writes_nothing(client, services):
    other = services.create_account(f"t{secrets.token_hex(5)}")
    text = client.export_session().replace(client.did, other.did)
    with AtmosphereClient() as mixed:
        with pytest.raises(AuthenticationError, match="session"):
            mixed.login_with_session(text)
        assert not mixed.is_authenticated


def test_a_session_that_has_ended_is_no_session(account):
    with AtmosphereClient() as first:
        first.login(account.handle, account.app_password)
        text = first.export_session()
        handle, did, access, refresh, host = text.split(":::")
        with AtmosphereClient() as other:
            for ended in (
                [handle, did, access, refresh],  # no host: it is nobody else's by default
                [handle, did, access + "x", refresh, host],
                [handle, did, refresh, access, host],
            ):
                with pytest.raises(AuthenticationError, match="session"):
                    other.login_with_session(":::".join(ended))
                assert not other.is_authenticated
