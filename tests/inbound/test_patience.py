"""Hosts that don't answer are asked later and later, and nobody waits for them."""

import contextlib
import json
import time

import pytest

from atdata_core.atproto import door
from atdata_core.atproto.web import get_json
from atdata_core.discovery import FileCatalogue
from atdata_core.errors import NotFoundError, ServiceError, UnreachableError
from atdata_core.following import Subscription, follow, patience
from atdata_core.following.patience import Patience, Room, ask_each
from tests.support.liar import DID
from tests.support.publisher import TYPE, dataset

STATUS = "com.atproto.sync.getRepoStatus"
BAD, OTHER = "did:plc:" + "2" * 24, "did:plc:" + "b" * 24
SILENT = UnreachableError("no answer")


def waits(catalogue, did):
    """The seconds until an account is asked for again, as the catalogue has it."""
    kept = json.loads(catalogue.cursor("patience") or "{}")
    return kept.get(did, (0, 0.0))[1] - time.time()


def test_each_failure_doubles_the_wait_and_an_answer_ends_it(catalogue):
    before = 0.0
    for times in range(1, 20):
        known = Patience(catalogue)
        known.note(DID, SILENT)
        known.save()
        wait = waits(catalogue, DID)
        expected = 0 if times < 2 else min(3600, 5 * 2 ** (times - 2))
        assert expected * 0.5 - 0.1 <= wait <= expected * 1.5
        before = max(before, wait)
        if expected:
            with pytest.raises(UnreachableError, match=f"did not answer {times} times"):
                Patience(catalogue).check(DID)
    assert before > 1800
    known = Patience(catalogue)
    known.note(DID, None)
    known.save()
    Patience(catalogue).check(DID)
    assert Patience(catalogue).failures(DID) == 0


def test_waits_differ_by_chance(catalogue):
    found = set()
    for number in range(20):
        known = Patience(catalogue)
        for _ in range(2):
            known = Patience(catalogue)
            known.note(f"did:web:h{number}.example", SILENT)
            known.save()
        found.add(round(waits(catalogue, f"did:web:h{number}.example"), 2))
    assert len(found) > 10


def test_what_an_account_is_to_blame_for_is_no_host_s_silence(catalogue):
    known = Patience(catalogue)
    for error in (NotFoundError("gone"), ServiceError("it says no", got="HTTP 400")):
        known.note(DID, error)
    known.check(DID)


@pytest.fixture
def two(liar):
    """Two accounts on one server, which can't tell of the first."""
    for did in (BAD, OTHER):
        liar.answer(did, liar.document(id=did))

    def status(query):
        if query["did"] == BAD:
            raise ConnectionError("the server breaks off")
        return {"did": query["did"], "active": True, "rev": "3kbcdefghijkl"}

    liar.answer(STATUS, status)
    item = {"uri": f"at://{OTHER}/{TYPE}/one", "value": dataset("one")}
    from atdata_core.cid import dag_cbor_cid

    item["cid"] = dag_cbor_cid(item["value"])
    liar.answer("com.atproto.repo.listRecords", {"records": [item]})
    liar.answer("com.atproto.repo.getRecord", item)
    return liar


def test_one_account_that_fails_keeps_no_other_of_its_server_waiting(two, catalogue):
    said = Subscription(dids=[BAD, OTHER], collections=[TYPE], level="transport")
    for _ in range(3):
        # In the first call the one that fails may be the first, and its server be left alone then.
        with contextlib.suppress(UnreachableError):
            report = follow(said, catalogue)
    assert set(report.failed) == {BAD}
    assert [record.did for record in catalogue.records()] == [OTHER]
    asked = len(two.asked(STATUS))
    report = follow(said, catalogue)
    assert "asked again in" in report.failed[BAD]
    assert len(two.asked(STATUS)) == asked + 1


def test_a_host_is_asked_by_four_at_once_at_the_most(liar, monkeypatch):
    import threading

    monkeypatch.setattr(door, "_TURN_S", 0.3)
    inside, most = 0, 0
    lock, go = threading.Lock(), threading.Event()

    def slow(_query):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        go.wait(5)
        with lock:
            inside -= 1
        return {}

    liar.answer("slow", slow)
    failures = []

    def ask():
        try:
            get_json(f"{liar.url}/xrpc/slow")
        except UnreachableError as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for each in threads:
        each.start()
    time.sleep(1)
    go.set()
    for each in threads:
        each.join()
    assert most == door.MAX_AT_ONCE == 4
    assert len(failures) == 6
    assert "doesn't get done with 4 other requests" in str(failures[0])
    assert get_json(f"{liar.url}/xrpc/slow") == {}


def test_hosts_are_asked_side_by_side_and_accounts_of_one_in_order(monkeypatch):
    monkeypatch.setattr(patience, "host_of", lambda did: did[0])
    order = []

    def ask(did):
        time.sleep(0.2)
        order.append(did)
        return did.upper()

    started = time.monotonic()
    found = ask_each(["a1", "b1", "a2", "c1", "b2"], ask)
    assert time.monotonic() - started < 0.8
    assert found == {did: did.upper() for did in ("a1", "a2", "b1", "b2", "c1")}
    assert order.index("a1") < order.index("a2")


def test_room_is_shared_and_each_gets_on():
    room = Room(5)
    assert [room.take(3), room.take(3), room.take(3), room.take(0)] == [3, 2, 1, 0]


def test_it_outlives_the_process(tmp_path):
    path = tmp_path / "catalogue.db"
    with FileCatalogue(path) as catalogue:
        for _ in range(2):
            known = Patience(catalogue)
            known.note(DID, SILENT)
            known.save()
    with FileCatalogue(path) as catalogue, pytest.raises(UnreachableError, match="asked again"):
        Patience(catalogue).check(DID)
