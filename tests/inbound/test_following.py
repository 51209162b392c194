"""What is followed is in the catalogue as it is on the PDS: nothing lost, nothing left over."""

import json

import pytest

from atdata_core.discovery import FileCatalogue, FoundRecord
from atdata_core.discovery.catalogue import Put
from atdata_core.errors import ConfigurationError, ServiceError, UnreachableError
from atdata_core.following import FirehoseSource, Interest, JetstreamSource, Subscription, follow
from atdata_core.following.grace import LEAVING
from atdata_core.verification import VerificationLevel
from tests.support.jetstream import Jetstream
from tests.support.liar import DID
from tests.support.publisher import TYPE, dataset

STREAMS = ("firehose", "former", "numbered")


def shown(catalogue, did):
    return {r.rkey: r.cid for r in catalogue.records() if r.did == did}


@pytest.fixture
def jetstream():
    with Jetstream() as server:
        yield server


@pytest.fixture(params=("poll", *STREAMS))
def world(request, services, publish, jetstream, catalogue):
    """A publisher, and a follower by each kind of source."""
    return World(request.param, services, publish(), jetstream, catalogue)


class World:
    def __init__(self, kind, services, alice, jetstream, catalogue):
        self.kind, self.alice, self.jetstream, self.catalogue = kind, alice, jetstream, catalogue
        self.streams = {
            "firehose": services.env["ATDATA_PDS_URL"].replace("http", "ws"),
            "former": jetstream.former,
            "numbered": jetstream.numbered,
        }

    def follow(self, **said):
        options = {name: said.pop(name) for name in ("budget_s", "max_events") if name in said}
        said = Subscription(**{"dids": [self.alice.did], "collections": [TYPE], **said})
        return follow(said, self.catalogue, self.source(said), **options)

    def source(self, said):
        interest = Interest(frozenset(said.dids), said.collections, frozenset(said.blocked))
        if self.kind == "poll":
            return None
        kind = FirehoseSource if self.kind == "firehose" else JetstreamSource
        return kind(self.streams[self.kind], interest, idle_s=0.2)

    def settle(self, **said):
        for _ in range(20):
            report = self.follow(**said)
            if report.caught_up:
                return report
        raise AssertionError(str(report))

    def _rev(self):
        from atdata_core.discovery import repo_state

        return repo_state(self.alice.did).rev

    def put(self, rkey, name=None, **said):
        self.alice.put(rkey, name, **said)
        self.jetstream.commit(self.alice.did, TYPE, rkey, self._rev(), self.alice.held()[rkey])

    def delete(self, rkey):
        self.alice.delete(rkey)
        self.jetstream.commit(self.alice.did, TYPE, rkey, self._rev())

    def account(self, active, status=None):
        body = {"active": active, "did": self.alice.did, "seq": 1, "time": "2026-01-01T00:00:00Z"}
        self.jetstream.tell(
            "account", self.alice.did, **body, **({"status": status} if status else {})
        )

    def agrees(self):
        return shown(self.catalogue, self.alice.did) == self.alice.held()


def test_records_are_followed_from_the_first_to_the_last(world):
    world.put("before")
    report = world.settle()
    assert world.agrees()
    assert report.source != "poll" or report.gap is None
    world.put("one")
    world.put("two")
    world.put("before", "changed")
    report = world.follow()
    assert (report.written, report.removed, report.gap, report.caught_up) == (3, 0, None, True)
    assert world.agrees()
    assert world.catalogue.search(name="changed")[0].rkey == "before"
    world.delete("one")
    world.put("two", "again")
    world.delete("two")
    report = world.follow()
    assert (report.written, report.removed) == (0, 2)
    assert world.agrees()
    number = world.catalogue.number
    assert world.follow().written == 0
    assert world.catalogue.number == number
    assert set(shown(world.catalogue, world.alice.did)) == {"before"}


def test_an_account_is_hidden_and_shown_with_its_status(world):
    world.put("one")
    world.settle()
    held = world.alice.held()
    for hide, show, status in (
        (world.alice.deactivate, world.alice.activate, "deactivated"),
        (world.alice.take_down, lambda: world.alice.take_down(applied=False), "takendown"),
    ):
        hide()
        world.account(False, status)
        assert world.follow().statuses == 1
        assert shown(world.catalogue, world.alice.did) == {}
        assert world.catalogue.status(world.alice.did) == status
        show()
        world.account(True)
        world.settle()
        assert shown(world.catalogue, world.alice.did) == held
    world.alice.remove()
    world.account(False, "deleted")
    # At first it is only hidden, since it may come back.
    world.follow()
    assert world.catalogue.status(world.alice.did) == LEAVING
    assert shown(world.catalogue, world.alice.did) == {}
    assert len(list(world.catalogue.records(hidden=True))) == 1
    world.follow()
    assert world.catalogue.status(world.alice.did) == LEAVING
    world.follow(grace_hours=0)
    assert world.catalogue.status(world.alice.did) == "deleted"
    assert list(world.catalogue.records(hidden=True)) == []


def test_an_account_that_is_back_within_its_grace_is_as_it_was(liar, catalogue):
    status = "com.atproto.sync.getRepoStatus"
    here = {"did": DID, "active": True, "rev": "3kbcdefghijkl"}
    said = Subscription(dids=[DID], collections=[TYPE], level="transport")
    liar.answer(status, here)
    liar.add_record(TYPE, "one", dataset("one"))
    follow(said, catalogue)
    liar.answer(status, {"error": "RepoNotFound", "message": "who is that?"}, status=400)
    follow(said, catalogue)
    assert (catalogue.status(DID), shown(catalogue, DID)) == (LEAVING, {})
    liar.answer(status, here)
    follow(said, catalogue)
    assert set(shown(catalogue, DID)) == {"one"}
    # The next time its grace begins anew.
    liar.answer(status, {"error": "RepoNotFound", "message": "who is that?"}, status=400)
    follow(said.model_copy(update={"grace_hours": 1e-9}), catalogue)
    follow(said.model_copy(update={"grace_hours": 1e-9}), catalogue)
    assert catalogue.status(DID) == "deleted"
    # What is purged isn't given another grace whenever it is looked at.
    follow(said.model_copy(update={"quota": 7}), catalogue)
    assert catalogue.status(DID) == "deleted"


def test_tombstones_are_pruned_with_a_sweep_once_their_deletion_was_taken_up(liar, catalogue):
    liar.answer(
        "com.atproto.sync.getRepoStatus", {"did": DID, "active": True, "rev": "3kbcdefghijkl"}
    )
    said = {"dids": [DID], "collections": [TYPE], "level": "transport", "sweep_hours": 1e-9}
    uri = liar.add_record(TYPE, "one", dataset("one"))
    follow(Subscription(**said), catalogue)
    before = catalogue.number
    del liar.records[uri]
    follow(Subscription(**said), catalogue, seen=before)
    [row] = catalogue.rows(DID)
    assert row.state == "deleted"
    for seen in (None, before):
        assert follow(Subscription(**said), catalogue, seen=seen).pruned == 0
    # Its revision is years old, but not for somebody who remembers for longer.
    kept = Subscription(**said, tombstone_days=10_000)
    assert follow(kept, catalogue, seen=row.number).pruned == 0
    report = follow(Subscription(**said), catalogue, seen=row.number)
    assert report.pruned == 1
    assert "1 that went long ago are forgotten" in str(report)
    assert catalogue.rows(DID) == []
    assert catalogue.pruned == row.number


def test_few_events_at_a_time_come_to_the_same(world):
    world.settle()
    for number in range(7):
        world.put(f"r{number}")
    for number in range(3):
        world.delete(f"r{number}")
    world.settle(max_events=2)
    assert world.agrees()


def test_whoever_is_killed_before_writing_has_lost_nothing(world, monkeypatch):
    world.settle()
    world.put("one")
    with monkeypatch.context() as patch:

        def killed(*args):
            raise KeyboardInterrupt

        patch.setattr(FileCatalogue, "apply", killed)
        with pytest.raises(KeyboardInterrupt):
            world.follow()
    assert not world.agrees()
    world.follow()
    assert world.agrees()


def test_a_subscription_that_changes_is_obeyed(world):
    world.put("red", tags=["Red"])
    world.put("blue", tags=["blue"])
    world.settle(tags=["red"])
    assert set(shown(world.catalogue, world.alice.did)) == {"red"}
    world.settle(tags=["blue"])
    assert set(shown(world.catalogue, world.alice.did)) == {"blue"}
    world.settle()
    assert world.agrees()
    other = "did:plc:" + "z" * 24
    world.settle(blocked=[world.alice.did], dids=[world.alice.did, DID])
    assert shown(world.catalogue, world.alice.did) == {}
    assert world.catalogue.status(world.alice.did) == "unfollowed"
    assert other not in world.catalogue.accounts()
    world.settle()
    assert world.agrees()


def test_one_publisher_cant_flood_the_others(world):
    for number in range(4):
        world.put(f"r{number}")
    report = world.settle(quota=3)
    assert len(shown(world.catalogue, world.alice.did)) == 3
    refused = [r for r in world.catalogue.rows(world.alice.did) if r.state == "refused"]
    assert [row.note for row in refused] == ["its account has 3 records already"]
    assert report.caught_up
    world.settle(quota=4)
    assert world.agrees()


def test_the_size_and_the_level_are_limits(world):
    sized = {"shards": [{"size": 1000}]}
    world.put("sized", **sized)
    world.put("unsized")
    world.settle(max_bytes=1000)
    assert set(shown(world.catalogue, world.alice.did)) == {"sized"}
    world.settle(max_bytes=999)
    assert shown(world.catalogue, world.alice.did) == {}
    notes = {row.note for row in world.catalogue.rows(world.alice.did)}
    assert notes == {"it has 1,000 bytes", "it doesn't tell its size"}
    world.settle(level="transport")
    assert {r.level for r in world.catalogue.records()} == {VerificationLevel.TRANSPORT}
    assert world.agrees()
    world.settle(level="signed")
    assert {r.level for r in world.catalogue.records()} == {VerificationLevel.SIGNED}
    assert world.agrees()


def test_what_is_no_dataset_is_not_listed(world):
    world.put("good")
    world.put("bad", storage={"$type": "ac.foundation.dataset.storageExternal", "urls": 7})
    world.settle()
    assert set(shown(world.catalogue, world.alice.did)) == {"good"}
    world.put("bad")
    world.settle()
    assert world.agrees()


@pytest.mark.parametrize("world", STREAMS, indirect=True)
def test_a_stream_that_forgot_is_noticed_and_made_good(world):
    world.put("one")
    world.settle()
    world.put("two")
    world.delete("one")
    name = world.follow().source
    world.jetstream.events.clear()
    world.jetstream.oldest = 10
    future = {"seq": 10**9} if world.kind == "firehose" else {"time_us": 1, "seq": 1}
    world.alice.put("three")
    world.catalogue.apply([], {name: json.dumps({"v": 1, "host": name, **future})})
    report = world.follow()
    assert report.gap is not None
    world.settle()
    assert world.agrees()
    world.put("four")
    report = world.follow()
    assert report.gap is None
    assert world.agrees()


def test_a_cursor_of_another_version_means_to_begin_anew(world):
    world.put("one")
    world.settle()
    name = world.follow().source
    world.put("two")
    world.catalogue.apply([], {name: json.dumps({"v": 99, "host": name, "seq": 5})})
    world.settle()
    assert world.agrees()
    world.catalogue.apply([], {name: "nonsense"})
    world.put("three")
    world.settle()
    assert world.agrees()


@pytest.mark.parametrize("kind", STREAMS)
def test_the_subscription_says_where_to_listen(kind, services, publish, jetstream, catalogue):
    world = World(kind, services, publish(), jetstream, catalogue)
    prefix = "firehose" if kind == "firehose" else "jetstream"
    said = {"dids": [world.alice.did], "source": f"{prefix}:{world.streams[kind]}"}
    follow(Subscription(**said), catalogue)
    world.put("one")
    report = follow(Subscription(**said), catalogue)
    assert (report.events, report.written, report.gap) == (1, 1, None)
    assert report.source.startswith(world.streams[kind])
    if kind != "firehose":
        _, query = jetstream.requests[-1]
        assert [world.alice.did] in query.values()


def test_an_event_is_a_hint_and_no_more(services, publish, jetstream, catalogue):
    world = World("former", services, publish(), jetstream, catalogue)
    world.put("one")
    world.settle()
    rev = world._rev()
    later = "zzzzzzzzzzzzz"
    jetstream.commit(world.alice.did, TYPE, "invented", rev, "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6")
    jetstream.commit(world.alice.did, TYPE, "one", rev)  # it isn't deleted
    jetstream.commit(world.alice.did, TYPE, "one", later, "bafy")
    jetstream.commit(world.alice.did, TYPE, "../one", rev, "bafy")
    jetstream.commit("did:plc:evil", TYPE, "one", rev, "bafy")
    jetstream.tell("account", world.alice.did, active=False, status="takendown")
    report = world.settle()
    assert report.dropped == 2
    assert world.agrees()
    world.put("one", "changed")
    world.follow()
    assert world.agrees()


def test_a_frame_that_cant_be_read_is_a_gap(services, publish, jetstream, catalogue):
    world = World("former", services, publish(), jetstream, catalogue)
    world.settle()
    for text in ("no json", "[]", '{"kind": "commit"}', b"\x00"):
        jetstream.raw = [text]
        report = world.follow()
        assert report.gap == "a frame of the stream could not be decoded"
        assert report.dropped == 1
    jetstream.raw = ["x" * 9_000_000]
    assert "larger than may be" in world.follow().gap
    jetstream.raw = []
    assert world.follow().gap is None


@pytest.mark.parametrize("world", STREAMS, indirect=True)
def test_a_source_that_is_down_is_an_error_and_nothing_is_lost(world, monkeypatch):
    world.put("one")
    world.settle()
    name = world.follow().source
    before = world.catalogue.cursor(name)
    up, world.streams[world.kind] = world.streams[world.kind], "ws://localhost:1"
    with pytest.raises(UnreachableError, match="no answer from the server"):
        world.follow()
    assert world.catalogue.cursor(name) == before
    world.streams[world.kind] = up
    world.put("two")
    world.follow()
    assert world.agrees()


def test_an_account_whose_server_is_down_is_told_and_read_later(liar, publish, services, catalogue):
    # `liar` is the PLC directory here, and knows one account.
    status = "com.atproto.sync.getRepoStatus"
    liar.answer(status, {"did": DID, "active": True, "rev": "3kbcdefghijkl"})
    liar.add_record(TYPE, "one", dataset("one"))
    said = Subscription(dids=[DID], collections=[TYPE], level="transport")
    assert follow(said, catalogue).caught_up
    assert set(shown(catalogue, DID)) == {"one"}
    liar.answer(status, {"did": DID, "active": True, "rev": "3lbcdefghijkl"})
    liar.add_record(TYPE, "two", dataset("two"))
    liar.answer("com.atproto.repo.getRecord", {"error": "Oops", "message": "busy"}, status=503)
    report = follow(said, catalogue)
    assert list(report.waiting) == [DID]
    assert "busy" in report.waiting[DID]
    assert not report.caught_up
    liar._answers.pop("com.atproto.repo.getRecord")
    follow(said, catalogue)
    assert set(shown(catalogue, DID)) == {"one", "two"}
    liar.answer(status, {"error": "Oops", "message": "down"}, status=500)
    with pytest.raises(ServiceError, match="down"):
        follow(said, catalogue)


def test_a_record_that_lies_about_its_cid_is_not_listed(liar, catalogue):
    status = "com.atproto.sync.getRepoStatus"
    liar.answer(status, {"did": DID, "active": True, "rev": "3kbcdefghijkl"})
    uri = liar.add_record(TYPE, "one", dataset("one"))
    honest = liar._record(uri)[1]
    liar.answer("com.atproto.repo.getRecord", honest | {"value": dataset("other")})
    report = follow(Subscription(dids=[DID], collections=[TYPE], level="transport"), catalogue)
    assert (report.written, report.refused) == (0, 1)
    [row] = catalogue.rows(DID)
    assert row.note.startswith("not verified: ")
    assert list(catalogue.records()) == []


def test_a_list_without_end_deletes_nothing(liar, catalogue):
    status = "com.atproto.sync.getRepoStatus"
    liar.answer(status, {"did": DID, "active": True, "rev": "3kbcdefghijkl"})
    liar.add_record(TYPE, "one", dataset("one"))
    said = Subscription(dids=[DID], collections=[TYPE], level="transport")
    follow(said, catalogue)
    liar.answer(status, {"did": DID, "active": True, "rev": "3lbcdefghijkl"})
    liar.answer("com.atproto.repo.listRecords", {"records": [], "cursor": "x"})
    report = follow(said, catalogue)
    assert report.problems == [f"{DID}: its list was not read to its end"]
    assert set(shown(catalogue, DID)) == {"one"}


def test_everybody_a_relay_knows_is_followed(liar, catalogue):
    other = "did:plc:" + "b" * 24
    liar.answer("com.atproto.sync.listReposByCollection", {"repos": [{"did": DID}]})
    status = "com.atproto.sync.getRepoStatus"
    liar.answer(status, {"did": DID, "active": True, "rev": "3kbcdefghijkl"})
    liar.add_record(TYPE, "one", dataset("one"))
    said = Subscription(relay=liar.url, collections=[TYPE], level="transport")
    assert follow(said, catalogue).written == 1
    blocked = Subscription(relay=liar.url, collections=[TYPE], level="transport", blocked=[DID])
    follow(blocked, catalogue)
    assert catalogue.accounts() == {DID: "unfollowed"}
    assert other not in catalogue.accounts()


def test_a_handle_that_doesnt_answer_is_remembered(services, publish, catalogue, monkeypatch):
    alice = publish()
    alice.put("one")
    said = Subscription(handles=[f"@{alice.account.handle}"], collections=[TYPE])
    follow(said, catalogue)
    assert set(shown(catalogue, alice.did)) == {"one"}
    alice.put("two")
    monkeypatch.setenv("ATDATA_PDS_URL", "http://localhost:1")
    report = follow(said, catalogue)
    assert alice.account.handle in report.problems[0]
    assert set(shown(catalogue, alice.did)) == {"one", "two"}


def test_the_stream_of_a_quiet_pds_has_a_place_to_begin(services, publish, catalogue):
    alice = publish()
    url = services.env["ATDATA_PDS_URL"].replace("http", "ws")
    source = FirehoseSource(url, Interest(frozenset({alice.did}), [TYPE]), idle_s=0.5)
    first = source.drain(None, 20, 100)
    assert first.gap == "the stream is read for the first time"
    assert (first.events, first.caught_up) == ([], True)
    alice.put("one")
    second = source.drain(first.cursor, 20, 100)
    assert [event.key.rkey for event in second.events] == ["one"]
    assert second.gap is None
    assert source.drain(second.cursor, 20, 100).events == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dids: [nobody]", "wrong at dids"),
        ("handles: ['no handle']", "wrong at handles"),
        ("collections: []", "wrong at collections"),
        ("quota: 0", "wrong at quota"),
        ("level: much", "wrong at level"),
        ("source: carrier-pigeon", "wrong at source"),
        ("source: jetstream:nowhere", "wrong at source"),
        ("colections: []", "wrong at colections"),
        ("- a list", "wrong at file"),
        ("a: b: c", "not YAML"),
    ],
)
def test_a_subscription_that_cant_be_is_one_clear_error(tmp_path, text, message):
    path = tmp_path / "subscription.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        Subscription.load(path)
    assert caught.value.where == str(path)


def test_a_subscription_is_read_from_yaml_or_json(tmp_path, catalogue):
    yaml, other = tmp_path / "s.yaml", tmp_path / "s.json"
    yaml.write_text(f"dids: [{DID}]\nmax_bytes: 10\n")
    other.write_text(json.dumps({"dids": [DID], "max_bytes": 10}))
    assert Subscription.load(yaml) == Subscription.load(str(other))
    other.write_text("{")
    with pytest.raises(ConfigurationError, match="not JSON"):
        Subscription.load(other)
    with pytest.raises(ConfigurationError, match="can't be read"):
        Subscription.load(tmp_path / "none.yaml")
    yaml.write_text("")
    with pytest.raises(ConfigurationError, match="follows nobody"):
        follow(yaml, catalogue)
    assert Put(FoundRecord(DID, TYPE, "x", "c", {})).record.level == VerificationLevel.TRANSPORT
