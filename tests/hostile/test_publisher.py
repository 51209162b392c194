"""A publisher that does its worst: the others are read all the same, and nothing fills up."""

import json
import time

import dagster as dg
import pytest

from atdata_core.cid import dag_cbor_cid
from atdata_core.discovery import FileCatalogue
from atdata_core.following import Subscription, follow
from atdata_dagster import CatalogueResource, build_inbox_definitions
from atdata_dagster.partitions import record_partition, record_partitions
from tests.support.jetstream import Jetstream
from tests.support.liar import DID
from tests.support.publisher import TYPE, dataset

EVIL = "did:plc:" + "2" * 24  # before all others in the alphabet
HONEST = [DID, "did:plc:" + "b" * 24]
QUOTA = 20
REV = "3kbcdefghijkl"


class World:
    """A server with an account that floods, and two honest ones behind it."""

    def __init__(self, liar):
        self.liar = liar
        self.fetched = 0
        self.flood = self.endless
        for did in (EVIL, HONEST[1]):
            liar.answer(did, liar.document(id=did))
        liar.answer("com.atproto.sync.getRepoStatus", self.status)
        liar.answer("com.atproto.repo.listRecords", self.records)
        liar.answer("com.atproto.repo.getRecord", self.record)
        self.rev = REV

    def status(self, query):
        return {"did": query["did"], "active": True, "rev": self.rev}

    def records(self, query):
        if query["repo"] == EVIL:
            return self.flood(int(query.get("cursor", 0)))
        return {"records": [item(query["repo"], f"r{n}") for n in range(3)]}

    def endless(self, page):
        """Pages without end, each of a hundred records that nobody saw before."""
        start = time.time_ns()
        found = [item(EVIL, f"r{start}-{n}") for n in range(100)]
        return {"records": found, "cursor": str(page + 1)}

    def record(self, query):
        self.fetched += query["repo"] == EVIL
        return item(query["repo"], query["rkey"])


def item(did, rkey, **changes):
    value = dataset(rkey) | changes
    uri = f"at://{did}/{TYPE}/{rkey}"
    return {"uri": uri, "cid": dag_cbor_cid(value), "value": value}


@pytest.fixture
def world(liar):
    return World(liar)


@pytest.fixture
def catalogue():
    with FileCatalogue() as catalogue:
        yield catalogue


def said(**changes):
    known = {"dids": [EVIL, *HONEST], "collections": [TYPE], "level": "transport", "quota": QUOTA}
    return Subscription(**known | changes)


def listed(catalogue):
    found = {}
    for record in catalogue.records():
        found.setdefault(record.did, set()).add(record.rkey)
    return found


HONEST_RECORDS = {"r0", "r1", "r2"}


def test_a_list_without_end_keeps_nobody_waiting_and_the_quota_is_obeyed(world, catalogue):
    for _ in range(6):
        started = time.monotonic()
        report = follow(said(), catalogue, budget_s=3, max_events=40)
        assert time.monotonic() - started < 4.5
        assert not report.caught_up
        world.rev = REV[:-1] + "m"  # it writes all the time
        found = listed(catalogue)
        assert all(found[did] == HONEST_RECORDS for did in HONEST)
    assert len(found[EVIL]) <= QUOTA
    # What is known of it, and what it was asked for, has an end as well.
    assert len(catalogue.rows(EVIL)) <= 2 * QUOTA + 40
    assert world.fetched <= 2 * QUOTA


def test_ten_thousand_events_in_a_stream_hide_nothing(world, catalogue):
    world.flood = lambda _: {"records": []}
    with Jetstream() as stream:
        place = f"jetstream:{stream.former}"
        follow(said(source=place), catalogue, budget_s=6, max_events=40)
        for number in range(10_000):
            stream.commit(EVIL, TYPE, f"x{number}", REV, dag_cbor_cid({"n": number}))
        for did in HONEST:
            stream.commit(did, TYPE, "late", REV, item(did, "late")["cid"])
        ticks = 0
        while not all("late" in listed(catalogue).get(did, ()) for did in HONEST):
            follow(said(source=place), catalogue, budget_s=6, max_events=40)
            ticks += 1
            assert ticks < 4
    assert len(listed(catalogue).get(EVIL, ())) <= QUOTA


def test_records_of_others_in_its_list_are_nobodys(world, catalogue):
    theirs = [item(did, "planted") for did in HONEST]
    world.flood = lambda _: {"records": [*theirs, item(EVIL, "own")]}
    report = follow(said(), catalogue)
    assert report.dropped == len(theirs)
    assert listed(catalogue) == {EVIL: {"own"}} | dict.fromkeys(HONEST, HONEST_RECORDS)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 5},
        {"storage": None},
        {"schemaRef": ["x"]},
        {"createdAt": []},
        {"tags": "red"},
        {"$type": "org.example.other"},
    ],
)
def test_a_record_that_is_not_what_its_type_says_is_refused_alone(world, catalogue, changes):
    world.flood = lambda _: {"records": [item(EVIL, "bad", **changes), item(EVIL, "good")]}
    world.liar.answer(
        "com.atproto.repo.getRecord",
        lambda query: item(
            query["repo"], query["rkey"], **changes if query["rkey"] == "bad" else {}
        ),
    )
    report = follow(said(), catalogue)
    assert report.refused == 1
    assert listed(catalogue) == {EVIL: {"good"}} | dict.fromkeys(HONEST, HONEST_RECORDS)
    [row] = [row for row in catalogue.rows(EVIL) if row.key.rkey == "bad"]
    assert (row.state, row.visible) == ("refused", False)
    assert row.note


def test_the_sensor_goes_on_through_a_flood(world, tmp_path):
    path = tmp_path / "subscription.json"
    path.write_text(json.dumps(said().model_dump(mode="json")))
    place = {"catalogue": CatalogueResource(place=str(tmp_path / "catalogue.db"))}
    defs = build_inbox_definitions(
        str(path), collections=[TYPE], resources=place, max_events=40, budget_s=3
    )
    sensor = defs.get_repository_def().get_sensor_def("atmosphere_records")
    cursor = None
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(4):
            started = time.monotonic()
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, resources=place
            ) as context:
                done = sensor.evaluate_tick(context)
            assert time.monotonic() - started < 5
            assert len(done.asset_events) <= 40
            assert done.skip_message
            cursor = done.cursor
        there = set(instance.get_dynamic_partitions(str(record_partitions(TYPE).name)))
    assert {record_partition(did, rkey) for did in HONEST for rkey in HONEST_RECORDS} <= there
    assert len([each for each in there if each.startswith(EVIL)]) <= QUOTA
