"""The newest revision seen: no server goes back behind it."""

import multiprocessing

import pytest

from atdata_core.atproto.revisions import RevStore, default_revs
from atdata_core.errors import ConfigurationError, VerificationError

DID = "did:plc:" + "b" * 24
OLD, NEW = "3n3ap26ppes23", "3n3ap26ppes24"


@pytest.fixture(params=["memory", "file"])
def revs(request, tmp_path):
    return RevStore(tmp_path / "state" / "revs.sqlite" if request.param == "file" else None)


def test_revisions_go_forward_only(revs):
    assert revs.get(DID) is None
    revs.note(DID, OLD, "c1")
    revs.note(DID, OLD, "c1")
    revs.note(DID, NEW, "c2")
    assert revs.get(DID) == NEW
    with pytest.raises(VerificationError, match="older state") as caught:
        revs.note(DID, OLD, "c1")
    assert caught.value.code == "rollback"
    assert NEW in str(caught.value)
    assert OLD in str(caught.value)
    assert revs.get(DID) == NEW
    revs.note("did:web:example.org", OLD, "c1")


def test_two_states_of_one_revision_are_told(revs):
    revs.note(DID, OLD, "c1")
    with pytest.raises(VerificationError, match="two states") as caught:
        revs.note(DID, OLD, "c2")
    assert caught.value.code == "fork"


def test_going_back_is_possible_if_asked_for(revs):
    revs.note(DID, NEW, "c2")
    revs.note(DID, OLD, "c1", allow_rollback=True)
    assert revs.get(DID) == OLD


def test_a_file_is_read_by_others(tmp_path, monkeypatch):
    monkeypatch.setenv("ATDATA_STATE", str(tmp_path / "state"))
    default_revs().note(DID, NEW, "c2")
    assert RevStore(tmp_path / "state" / "revisions.sqlite").get(DID) == NEW
    with pytest.raises(VerificationError):
        default_revs().note(DID, OLD, "c1")
    monkeypatch.delenv("ATDATA_STATE")
    assert default_revs().path is None
    assert default_revs() is default_revs()


@pytest.mark.parametrize("body", ["[]", "x" * 5000, "SQLite format 3"], ids=len)
def test_a_file_that_is_damaged_is_not_taken_for_an_empty_one(tmp_path, body):
    path = tmp_path / "revs.sqlite"
    path.write_text(body)
    with pytest.raises(ConfigurationError, match=r"revs\.sqlite"):
        RevStore(path).note(DID, OLD, "c1")


def test_a_folder_that_can_t_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"):
        RevStore(tmp_path / "file" / "revs.sqlite").note(DID, OLD, "c1")


def _note(path, first):
    for n in range(20):
        RevStore(path).note(f"did:plc:{first}{n:023d}", OLD, "c")


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "revs.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_note, args=(path, letter)) for letter in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    found = RevStore(path)
    assert all(found.get(f"did:plc:{letter}{n:023d}") == OLD for letter in "ab" for n in range(20))
