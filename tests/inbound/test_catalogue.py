"""A catalogue keeps the newest that was seen, in whatever order it is told."""

import itertools
import random
import threading
import time

import pytest

from atdata_core.discovery import FileCatalogue, FoundRecord, RedisCatalogue, open_catalogue
from atdata_core.discovery.catalogue import Await, Delete, Done, Key, Put, Refuse, SetStatus
from atdata_core.errors import ConfigurationError, UnreachableError
from atdata_core.verification import VerificationLevel

ALICE, BOB = "did:plc:" + "a" * 24, "did:plc:" + "b" * 24
TYPE = "ac.foundation.dataset.record"


REVS = sorted(f"3labc{a}{b}222222" for a in "234567abc" for b in "234567")


class TID:
    """Revisions by time (https://atproto.com/specs/tid)."""

    @staticmethod
    def of(seconds):
        letters, number = "234567abcdefghijklmnopqrstuvwxyz", int(seconds * 1e6) << 10
        return "".join(letters[(number >> 5 * place) % 32] for place in range(12, -1, -1))


def put(key, at, cid="c1", value=None):
    return Put(FoundRecord(*key, cid, value or {"n": cid, "empty": [], "big": 2**53}, REVS[at]))


def key(name="one", did=ALICE):
    return Key(did, TYPE, name)


@pytest.fixture(params=["memory", "file", "redis"])
def catalogue(request, tmp_path):
    if request.param == "redis":
        made = RedisCatalogue(request.getfixturevalue("redis_url"), name=tmp_path.name)
    else:
        made = FileCatalogue(tmp_path / "catalogue.db" if request.param == "file" else None)
    with made:
        yield made


def shown(catalogue):
    return {(r.did, r.rkey): r.cid for r in catalogue.records()}


def test_a_record_comes_back_as_it_went_in(catalogue):
    value = {"text": "é\u2028\x00 'quoted'", "empty": [], "none": None, "big": 2**53, "map": {}}
    assert catalogue.apply([put(key(), 3, value=value)]) == [True]
    found = catalogue.get(key())
    assert found.value == value
    assert (found.uri, found.cid, found.rev, found.level) == (
        f"at://{ALICE}/{TYPE}/one",
        "c1",
        REVS[3],
        VerificationLevel.TRANSPORT,
    )
    assert list(catalogue.records()) == [found]
    assert catalogue.get(key("other")) is None


def test_what_is_older_doesnt_take_the_place_of_what_is_newer(catalogue):
    assert catalogue.apply([put(key(), 5, "new"), put(key(), 4, "old")]) == [True, False]
    assert catalogue.get(key()).cid == "new"
    assert catalogue.apply([put(key(), 6, "newest")]) == [True]
    assert catalogue.get(key()).cid == "newest"


def test_the_same_again_is_no_change(catalogue):
    catalogue.apply([put(key(), 5)])
    number = catalogue.number
    assert catalogue.apply([put(key(), 5), put(key(), 7)]) == [False, False]
    assert catalogue.number == number
    assert catalogue.get(key()).rev == REVS[7]  # what is older than this is older still


def test_a_tombstone_wins_over_an_older_page(catalogue):
    assert catalogue.apply([Delete(key(), REVS[5])]) == [True]  # never seen before
    assert catalogue.apply([put(key(), 4)]) == [False]
    assert shown(catalogue) == {}
    assert catalogue.apply([put(key(), 6, "again")]) == [True]
    assert shown(catalogue) == {(ALICE, "one"): "again"}


def test_an_older_delete_doesnt_take_a_newer_record(catalogue):
    catalogue.apply([put(key(), 5)])
    assert catalogue.apply([Delete(key(), REVS[4])]) == [False]
    assert shown(catalogue) == {(ALICE, "one"): "c1"}


def test_whatever_the_order_the_newest_stays(catalogue):
    seen = [put(key(), 1, "c1"), Delete(key(), REVS[2]), put(key(), 3, "c3"), put(key(), 4, "c4")]
    for number, order in enumerate(itertools.permutations(seen)):
        name = key(f"r{number}")
        for change in order:
            if isinstance(change, Delete):
                catalogue.apply([Delete(name, change.rev)])
            else:
                record = change.record
                catalogue.apply([Put(FoundRecord(*name, record.cid, {}, record.rev))])
        assert catalogue.get(name).cid == "c4"


def test_a_hidden_account_is_shown_again_as_it_was(catalogue):
    catalogue.apply([put(key(), 1), put(key("b", BOB), 1)])
    for status in ("takendown", "deactivated", "suspended"):
        assert catalogue.apply([SetStatus(ALICE, status)]) == [True]
        assert shown(catalogue) == {(BOB, "b"): "c1"}
        assert catalogue.status(ALICE) == status
        assert len(list(catalogue.records(hidden=True))) == 2
        [row] = catalogue.rows(ALICE)
        assert (row.visible, row.status, row.state) == (False, status, "live")
    assert catalogue.apply([SetStatus(ALICE, "active")]) == [True]
    assert shown(catalogue) == {(ALICE, "one"): "c1", (BOB, "b"): "c1"}


def test_a_deleted_account_is_purged(catalogue):
    catalogue.apply([put(key(), 1), put(key("two"), 1)])
    catalogue.apply([SetStatus(ALICE, "deleted")])
    assert list(catalogue.records(hidden=True)) == []
    assert [row.state for row in catalogue.rows(ALICE)] == ["deleted", "deleted"]
    catalogue.apply([SetStatus(ALICE, "active"), put(key(), 1, "back")])
    assert shown(catalogue) == {(ALICE, "one"): "back"}


def test_only_old_tombstones_that_were_taken_up_are_pruned(catalogue):
    now = TID.of(time.time())
    catalogue.apply([put(key(), 1), put(key("live"), 1), put(key("b", BOB), 1)])
    catalogue.apply([Delete(key(), REVS[2])])
    taken_up = catalogue.number
    catalogue.apply([Delete(key("b", BOB), REVS[2]), Delete(key("new"), now)])
    assert catalogue.prune(taken_up - 1) == 0
    assert (catalogue.pruned, len(catalogue.rows(ALICE))) == (0, 3)
    assert catalogue.prune(taken_up) == 1
    assert catalogue.pruned == taken_up
    assert {row.key.rkey for row in catalogue.rows(ALICE)} == {"live", "new"}
    assert [row.state for row in catalogue.rows(BOB)] == ["deleted"]
    assert catalogue.prune(catalogue.number) == 1  # the one that is new stays
    assert catalogue.rows(BOB) == []
    assert BOB not in catalogue.accounts()
    assert catalogue.prune(catalogue.number, days=0) == 1
    assert shown(catalogue) == {(ALICE, "live"): "c1"}
    assert [row.key.rkey for row in catalogue.changes(0, 10)] == ["live"]


@pytest.mark.parametrize("rev", ["", "zzzzzzzzzzzzz", "nonsense"])
def test_a_tombstone_of_an_impossible_revision_isnt_kept_for_ever(catalogue, rev):
    catalogue.apply([Delete(key(), rev)])
    assert catalogue.prune(catalogue.number) == 1


def test_many_tombstones_are_pruned(catalogue):
    catalogue.apply([put(key(f"r{n}"), 1) for n in range(1200)])
    catalogue.apply([Delete(key(f"r{n}"), REVS[2]) for n in range(0, 1200, 2)])
    assert catalogue.prune(catalogue.number) == 600
    assert len(catalogue.rows(ALICE)) == 600
    assert len(list(catalogue.records())) == 600


def test_changes_are_told_once_by_their_last(catalogue):
    catalogue.apply([put(key("a"), 1), put(key("b"), 1), put(key("a"), 2, "c2")])
    told = catalogue.changes(0, 10)
    assert [(row.key.rkey, row.cid) for row in told] == [("b", "c1"), ("a", "c2")]
    position = told[-1].number
    assert catalogue.changes(position, 10) == []
    catalogue.apply([Delete(key("b"), REVS[3]), Refuse(key("a"), REVS[3], "c3", "too large")])
    told = catalogue.changes(position, 10)
    assert [(row.key.rkey, row.state, row.note) for row in told] == [
        ("b", "deleted", ""),
        ("a", "refused", "too large"),
    ]
    assert catalogue.changes(position, 1) == told[:1]
    catalogue.apply([put(key("a"), 4)])
    catalogue.apply([SetStatus(ALICE, "suspended")])
    assert {row.key.rkey for row in catalogue.changes(told[-1].number, 10)} == {"a", "b"}


def test_cursors_stand_with_what_they_are_about(catalogue):
    assert catalogue.cursor("source") is None
    catalogue.apply([put(key(), 1)], {"source": "17", "other": "x"})
    assert (catalogue.cursor("source"), catalogue.cursor("other")) == ("17", "x")
    broken = FoundRecord(*key("two"), "c", {"x": object()}, REVS[1])
    with pytest.raises(TypeError):
        catalogue.apply([put(key("one"), 2, "c2"), Put(broken)], {"source": "18"})
    assert catalogue.cursor("source") == "17"
    assert catalogue.get(key()).cid == "c1"


def test_an_account_stays_awaited_if_it_was_asked_for_again(catalogue):
    catalogue.apply([Await(ALICE, "gap"), Await(BOB, "gap")])
    number, note = catalogue.awaited()[ALICE]
    assert note == "gap"
    catalogue.apply([Await(ALICE, "again")])
    catalogue.apply([Done(ALICE, number), Done(BOB, catalogue.awaited()[BOB][0])])
    assert {did: note for did, (_, note) in catalogue.awaited().items()} == {ALICE: "again"}


def test_the_epoch_stays(catalogue):
    before = catalogue.epoch
    catalogue.apply([put(key(), 1)])
    assert catalogue.epoch == before


def test_two_who_write_at_once_lose_nothing(redis_url, tmp_path):
    def places():
        yield lambda: FileCatalogue(tmp_path / "shared.db")
        yield lambda: RedisCatalogue(redis_url, name="shared")

    for make in places():
        make().apply([])  # the file is made by one

        def write(seed, make=make):
            order = random.Random(seed)
            seen = [put(key(f"r{n}"), at, f"c{at}") for n in range(5) for at in range(8)]
            order.shuffle(seen)
            with make() as mine:
                for change in seen:
                    mine.apply([change], {"source": str(seed)})

        threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with make() as catalogue:
            assert {r.cid for r in catalogue.records()} == {"c7"}
            numbers = [row.number for row in catalogue.changes(0, 100)]
            assert len(set(numbers)) == 5
            assert max(numbers) == catalogue.number


def test_a_catalogue_is_opened_by_its_place(tmp_path, monkeypatch, redis_url):
    assert isinstance(open_catalogue(str(tmp_path / "c.db")), FileCatalogue)
    assert isinstance(open_catalogue(redis_url), RedisCatalogue)
    monkeypatch.setenv("ATDATA_CATALOGUE", str(tmp_path / "d.db"))
    assert isinstance(open_catalogue(), FileCatalogue)
    monkeypatch.delenv("ATDATA_CATALOGUE")
    assert isinstance(open_catalogue(), RedisCatalogue)
    monkeypatch.delenv("ATDATA_REDIS_URL")
    with pytest.raises(ConfigurationError, match="nothing says where the catalogue is kept"):
        open_catalogue()


def test_a_redis_that_is_down_is_an_error():
    with pytest.raises(UnreachableError, match="no answer from Redis"):
        RedisCatalogue("redis://127.0.0.1:1/0").apply([put(key(), 1)])


def test_a_file_that_is_no_catalogue_is_an_error(tmp_path):
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(ConfigurationError, match="can't be used as a catalogue"):
        FileCatalogue(tmp_path / "text.db").apply([])
