"""Passwords and tokens: whose they are, where they go, and where they must not be seen."""

import warnings

import pytest

from atdata_core import DatasetEntry, S3DataStore, Schema, Shard, load_dataset
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.atproto.records import (
    DATASET_TYPES,
    SCHEMA_TYPES,
    dataset_record,
    external_storage,
    names_of,
    schema_record,
)
from atdata_core.errors import AuthenticationError
from atdata_core.sample import pack
from tests.support.liar import HANDLE, Liar, session
from tests.support.samples import Other, cid_of, tar_of


@pytest.mark.parametrize(
    ("scope", "warned"),
    [
        ("com.atproto.access", True),
        ("com.atproto.appPass", False),
        ("com.atproto.appPassPrivileged", False),
    ],
)
def test_a_main_password_is_pointed_out_and_never_shown(monkeypatch, scope, warned):
    with Liar() as server, AtmosphereClient(server.url) as client:
        monkeypatch.setenv("ATDATA_PDS_URL", server.url)
        monkeypatch.setenv("ATDATA_PLC_URL", server.url)
        answer = session(scope) | {"didDoc": server.document()}
        server.answer("com.atproto.server.createSession", answer)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client.login(HANDLE, "the main password")
        texts = [str(warning.message) for warning in caught if warning.category is UserWarning]
        assert [("app password" in text) for text in texts] == ([True] if warned else [])
        assert all("the main password" not in text for text in [*texts, repr(client)])
        assert client.is_authenticated


@pytest.fixture
def bucket_of_a_stranger(monkeypatch):
    """An S3 server that keeps the headers of what it is asked, and the record that names it."""
    with Liar() as server, Liar() as s3:
        monkeypatch.setenv("ATDATA_PLC_URL", server.url)
        monkeypatch.setenv("ATDATA_PDS_URL", server.url)
        monkeypatch.setenv("ATDATA_S3_ENDPOINT", s3.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREADER")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "reader-s-secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        data = tar_of([("000000000.msgpack", pack(Other(id=7)))])
        s3.answer("a.tar", data)
        schema = schema_record(Schema.of(Other))
        schema_uri = server.add_record(SCHEMA_TYPES[0], "s", schema)
        shard = Shard("s3://guessed/a.tar", cid_of(data), len(data), 1)
        entry = DatasetEntry("d", schema_uri, (shard,), schema_cid=Schema.of(Other).cid)
        record = dataset_record(
            entry, external_storage([shard.url], [shard], names_of()), None, names_of()
        )
        yield server.add_record(DATASET_TYPES[0], "d", record), s3


def test_a_stranger_s_record_is_read_without_the_reader_s_keys(bucket_of_a_stranger):
    uri, s3 = bucket_of_a_stranger
    assert list(load_dataset(uri, Other)) == [Other(id=7)]
    [headers] = s3.asked("a.tar")
    assert not any("authorization" in name.lower() for name in headers)
    assert "AKIAREADER" not in str(headers)


def test_the_reader_s_keys_are_used_where_he_says_so(bucket_of_a_stranger):
    uri, s3 = bucket_of_a_stranger
    assert list(load_dataset(uri, Other, store=S3DataStore(bucket="mine"))) == [Other(id=7)]
    [headers] = s3.asked("a.tar")
    assert "AKIAREADER" in headers["Authorization"]
    assert "reader-s-secret" not in str(s3.requests)


@pytest.mark.parametrize("stream", [False, True], ids=["bytes", "file"])
def test_a_session_that_expires_in_mid_upload_is_renewed_once(monkeypatch, tmp_path, stream):
    path = tmp_path / "blob"
    path.write_bytes(b"x" * 300_000)
    with Liar() as server, AtmosphereClient(server.url) as client:
        monkeypatch.setenv("ATDATA_PDS_URL", server.url)
        monkeypatch.setenv("ATDATA_PLC_URL", server.url)
        client.login(HANDLE, "aaaa-bbbb-cccc-dddd")
        expired = {"error": "ExpiredToken", "message": "Token has expired"}
        upload, refresh = "com.atproto.repo.uploadBlob", "com.atproto.server.refreshSession"

        def renew(query):
            del server._answers[upload]
            return session("com.atproto.appPass")

        server.answer(upload, expired, 400)
        server.answer(refresh, renew)
        with path.open("rb") as file:
            blob = client.upload_blob(file if stream else file.read(), size=300_000)
        assert blob["ref"]["$link"] == cid_of(path.read_bytes())
        assert (len(server.asked(upload)), len(server.asked(refresh))) == (2, 1)

        server.answer(upload, expired, 400)
        server.answer(refresh, expired, 400)
        with pytest.raises(AuthenticationError, match="expired"):
            client.upload_blob(b"x")
        assert len(server.asked(upload)) == 3
