"""Accounts that move, and directories that are out of order."""

import pytest

from atdata_core import BlobSource
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.atproto import identity
from atdata_core.errors import NotFoundError, ServiceError, VerificationError
from tests.support.liar import DID, Liar

NOTE = "com.example.note"


@pytest.mark.parametrize("code", ["RepoNotFound", "RepoDeactivated"])
def test_an_account_that_has_moved_is_asked_at_its_new_host(liar, code):
    client = AtmosphereClient()
    with Liar() as other:
        gone = {"error": code, "message": "moved away"}
        uri = other.add_record(NOTE, "a", {"$type": NOTE, "text": "moved"})
        cid = other.add_blob(b"a shard")
        identity.resolve_did(DID)  # the old host is known
        for path in ("com.atproto.repo.getRecord", "com.atproto.sync.getBlob"):
            liar.answer(path, gone, 400)
        liar.answer(DID, other.document())
        assert client.get_record(uri)["text"] == "moved"
        identity._resolve_did.cache_clear()
        source = BlobSource.from_refs([{"did": DID, "cid": cid}])
        with source.open_shard(source.list_shards()[0]) as stream:
            assert stream.read() == b"a shard"


def test_an_account_that_has_not_moved_is_asked_once(liar):
    uri = f"at://{DID}/{NOTE}/gone"
    with pytest.raises(NotFoundError):
        AtmosphereClient().get_record(uri)
    assert len(liar.asked("com.atproto.repo.getRecord")) == 1
    assert len(liar.asked(DID)) == 2


@pytest.mark.parametrize("status", [404, 410])
def test_a_directory_that_knows_of_no_account_any_more_is_believed(liar, status):
    identity.resolve_did(DID)
    liar.answer(DID, {"message": "no"}, status)
    with pytest.raises(NotFoundError):
        identity.resolve_did(DID, fresh=True)


def test_a_directory_that_answers_another_s_document_is_not_believed(liar):
    identity.resolve_did(DID)
    liar.answer(DID, liar.document(id="did:plc:" + "b" * 24))
    with pytest.raises((ServiceError, VerificationError), match="another DID"):
        identity.resolve_did(DID, fresh=True)
