"""Publishers on several PDSes with one directory: one catalogue holds what all of them hold."""

import os
import secrets
import signal
import time

import pytest

from atdata_core.atproto.identity import forget_identities
from atdata_core.atproto.web import get_json
from atdata_core.discovery import find_holders, list_repo_datasets
from atdata_core.errors import AtdataError, ServiceError, UnreachableError
from atdata_core.following import (
    CombinedSource,
    FirehoseSource,
    Interest,
    PollingSource,
    Subscription,
    follow,
)
from tests.support.publisher import TYPE, Publisher


@pytest.fixture(scope="module")
def net(own_environment, tmp_path_factory):
    from atdata_dagster.devnet import Devnet

    folder = tmp_path_factory.mktemp("several")
    with Devnet(folder, services=["pds"], pds=3, restart=True).running() as net:
        yield net


@pytest.fixture(autouse=True)
def settings(net, monkeypatch):
    forget_identities()
    for name in ("ATDATA_PDS_URL", "ATDATA_PLC_URL"):
        monkeypatch.setenv(name, net.env[name])


@pytest.fixture
def people(net):
    made = [Publisher(net, f"m{secrets.token_hex(4)}", pds) for pds in (1, 2, 3)]
    yield made
    for each in made:
        each.close()


def held(people):
    return {(each.did, rkey): cid for each in people for rkey, cid in each.held().items()}


def listed(catalogue):
    return {(record.did, record.rkey): record.cid for record in catalogue.records()}


def settle(said, catalogue, **options):
    for _ in range(20):
        report = follow(said, catalogue, **options)
        if report.caught_up:
            return report
    raise AssertionError(str(report))


def firehoses(net):
    return [f"firehose:{url.replace('http', 'ws')}" for url in net.pds_urls]


def test_holders_and_lists_are_found_wherever_they_live(people):
    people[1].put("two", tags=["red"])
    people[2].put("three")
    # A PDS answers no `listReposByCollection`: its user says whom to look at, by handle or DID.
    with pytest.raises(ServiceError):
        find_holders(people[0].pds, collections=[TYPE])
    found = find_holders(dids=[each.account.handle for each in people], collections=[TYPE])
    assert found.dids == sorted(each.did for each in people)
    records = [r for did in found.dids for r in list_repo_datasets(did, collections=[TYPE]).records]
    assert {(record.did, record.rkey): record.cid for record in records} == held(people)
    for each in people:
        hosted = get_json(f"{each.pds}/xrpc/com.atproto.sync.listRepos")["repos"]
        assert [d for d in found.dids if d in {r["did"] for r in hosted}] == [each.did]


@pytest.mark.parametrize("source", ["poll", "firehose"])
def test_one_catalogue_holds_what_all_hold(net, people, catalogue, source):
    said = Subscription(
        dids=[each.did for each in people],
        collections=[TYPE],
        source="poll" if source == "poll" else firehoses(net),
    )
    for each in people:
        each.put("one")
        each.put("two")
    settle(said, catalogue)
    assert listed(catalogue) == held(people)
    people[0].delete("one")
    people[1].put("one", "changed")
    people[2].put("three")
    report = settle(said, catalogue)
    assert (report.written, report.removed, report.gap) == (2, 1, None)
    assert listed(catalogue) == held(people)
    people[2].deactivate()
    settle(said, catalogue)
    assert listed(catalogue) == held(people[:2])
    people[2].activate()
    settle(said, catalogue)
    assert listed(catalogue) == held(people)


def test_few_events_a_call_come_to_the_same(net, people, catalogue):
    said = Subscription(
        dids=[each.did for each in people], collections=[TYPE], source=firehoses(net)
    )
    settle(said, catalogue)
    for each in people:
        for number in range(3):
            each.put(f"r{number}")
    settle(said, catalogue, max_events=2)
    assert listed(catalogue) == held(people)


@pytest.mark.parametrize("source", ["poll", "firehose"])
def test_one_that_is_down_keeps_nobody_waiting(net, people, catalogue, source):
    said = Subscription(
        dids=[each.did for each in people],
        collections=[TYPE],
        source="poll" if source == "poll" else firehoses(net),
    )
    settle(said, catalogue)
    pid = net.pid("pds-3")
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    people[0].put("one")
    people[1].put("two")
    report = follow(said, catalogue)
    assert not report.caught_up
    assert listed(catalogue) == held(people[:2])
    end = time.monotonic() + 60
    while True:
        try:
            people[2].put("three")
            break
        except AtdataError:
            assert time.monotonic() < end
            time.sleep(0.2)
    settle(said, catalogue)
    assert listed(catalogue) == held(people)


def test_places_to_listen_to_that_are_all_down_are_a_failure(catalogue, net, people):
    interest = Interest(frozenset({people[0].did}), [TYPE])
    sources = [FirehoseSource(f"ws://localhost:{port}", interest) for port in (1, 2)]
    with pytest.raises(UnreachableError):
        CombinedSource(sources).drain(None, 5, 10)
    up = FirehoseSource(net.pds_urls[0].replace("http", "ws"), interest)
    batch = CombinedSource([*sources, up]).drain(None, 5, 10)
    assert not batch.caught_up
    assert len(batch.problems) == 2
    assert PollingSource.NAME == "poll"


@pytest.mark.parametrize("source", [[], ["poll", "firehose:wss://a.example"], ["wss://a.example"]])
def test_a_list_of_places_that_cannot_be_is_refused(source):
    with pytest.raises(ValueError, match="or a list of the latter two"):
        Subscription(dids=["did:plc:" + "a" * 24], source=source)


def test_a_place_that_is_said_twice_is_one():
    said = Subscription(
        handles=["a.example.org"], source=["firehose:wss://a.b", "firehose:wss://a.b"]
    )
    assert said.sources == ("firehose:wss://a.b",)
