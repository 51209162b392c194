"""Proofs, levels and evidence with a real PDS and a real PLC directory."""

import json
import secrets
import time
import urllib.request
from pathlib import Path

import pytest

import atdata_core as atdata
from atdata_core import FileIndex, StrongRef
from atdata_core.atmosphere import (
    AtmosphereClient,
    AtmosphereIndex,
    AttestationPublisher,
    DatasetPublisher,
    LabelPublisher,
    PDSBlobStore,
    SchemaPublisher,
)
from atdata_core.atproto import identity
from atdata_core.atproto.plc import fetch_log, verify_log
from atdata_core.atproto.proof import prove_record
from atdata_core.atproto.records import NAMESPACES
from atdata_core.errors import ConfigurationError, NotFoundError, VerificationError
from atdata_core.publishing.evidence_files import evidence, verify_evidence
from atdata_core.verification import VerificationLevel
from tests.support import web
from tests.support.plc import operation, signed
from tests.support.repo import Key
from tests.support.samples import Item, items, shard_file

NOTE = "com.example.note"


@pytest.fixture(scope="module")
def published(client, tmp_path_factory):
    """A dataset of two shards as blobs: its entry and its shards' files."""
    return publish(client, tmp_path_factory.mktemp("local"))


def publish(client, folder, name="digits", namespace=None, count=6):
    local = FileIndex(folder)
    local.write_samples(items(count), name=name, sample_type=Item, max_samples=3)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client), namespace=namespace)
    dataset = local.open_dataset(name)
    return index.insert_dataset(dataset, name=name), dataset.list_shards()


def test_every_record_of_a_repository_is_proven_or_proven_absent(client):
    values = {f"k{n}": {"text": "é", "n": n, "data": {"$bytes": "YWI"}} for n in range(60)}
    for rkey, value in values.items():
        client.create_record(NOTE, value, rkey=rkey)
    for rkey, value in values.items():
        uri = f"at://{client.did}/{NOTE}/{rkey}"
        proven = prove_record(uri)
        there = web.record(client.base_url, uri)
        assert proven.value == there["value"] == value | {"$type": NOTE}
        assert proven.cid == there["cid"]
        assert proven.value == dict(client.get_record(uri))
    assert proven.signing_key == verify_log(client.did, fetch_log(client.did))[-1].key
    assert prove_record(f"at://{client.handle}/{NOTE}/k1").uri == f"at://{client.did}/{NOTE}/k1"
    for rkey in ("a", "k", "k60", "zzz"):
        with pytest.raises(NotFoundError, match="as its signature proves"):
            prove_record(f"at://{client.did}/{NOTE}/{rkey}")
    client.delete_record(f"at://{client.did}/{NOTE}/k1")
    with pytest.raises(NotFoundError, match="as its signature proves"):
        prove_record(f"at://{client.did}/{NOTE}/k1")


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_dataset_is_proven_down_to_its_bytes(client, tmp_path, namespace):
    entry, _ = publish(client, tmp_path, f"bytes-{secrets.token_hex(4)}", namespace)
    for dataset in (
        atdata.load_dataset(entry.uri, Item),
        atdata.load_dataset(f"@{client.handle}/{entry.name}", Item),
        AtmosphereIndex(client).open_dataset(entry.name, Item),
        AtmosphereIndex(client).open_dataset(entry),
    ):
        found = dataset.verification
        assert (found.level, found.pinned) == (VerificationLevel.BYTES, False)
        assert (found.did, found.record_cid) == (client.did, entry.record_cid)
        assert dataset.count() == 6
    assert atdata.load_dataset(entry.strong_ref, Item).verification.pinned
    LabelPublisher(client, namespace=namespace).publish(f"l-{entry.name}", entry.uri)
    labelled = atdata.load_dataset(f"@{client.handle}/l-{entry.name}", Item)
    assert labelled.verification.pinned
    assert labelled.entry.uri == entry.uri
    with pytest.raises(VerificationError, match="changed since"):
        atdata.load_dataset(StrongRef(entry.uri, prove_record(entry.schema_ref).cid))


def test_reading_costs_what_it_did(client, published, monkeypatch):
    """One proof in place of the record; nothing more."""
    from atdata_core.atproto import web as requests

    asked = []
    honest = requests._stream

    def counted(url, params):
        asked.append(url.rpartition("/")[2])
        return honest(url, params)

    monkeypatch.setattr(requests, "_stream", counted)
    identity._resolve_did.cache_clear()
    assert atdata.load_dataset(published[0].uri, Item).count() == 6
    assert sorted(asked) == sorted(
        [client.did, "com.atproto.sync.getRecord", "com.atproto.repo.getRecord"]
    )


def test_evidence_of_a_real_dataset_is_checked_without_a_server(published, tmp_path, monkeypatch):
    entry, shards = published
    evidence(entry.uri, tmp_path / "digits.evidence")
    for name in ("ATDATA_PLC_URL", "ATDATA_PDS_URL"):
        monkeypatch.setenv(name, "http://localhost:1")
    identity._resolve_did.cache_clear()
    found = verify_evidence(tmp_path / "digits.evidence", shards)
    assert found.entry == entry
    assert found.record.cid == entry.record_cid
    assert found.shards == len(shards) == 2
    assert found.key_period.until is None
    assert any("2 of 2 shards" in fact for fact in found.facts)
    identity._resolve_did.cache_clear()


def test_evidence_of_a_dataset_with_very_many_shards_holds_their_list(client, tmp_path):
    paths = [shard_file(tmp_path / f"{n}.tar", items(1, n)) for n in range(40)]
    schema = str(SchemaPublisher(client).publish(Item))
    publisher = DatasetPublisher(client, max_record_bytes=2_000)
    uri = publisher.publish_with_blobs([p.read_bytes() for p in paths], schema, name="many")
    data = evidence(uri)
    assert "manifest" in json.loads(data)
    found = verify_evidence(data, paths)
    assert found.shards == len(found.entry.shards) == 40
    assert atdata.load_dataset(str(uri), Item).verification.level is VerificationLevel.BYTES


@pytest.fixture
def own_key(services):
    """An account whose owner holds a rotation key, logged in, and that key."""
    key, name = Key("K-256"), f"r{secrets.token_hex(5)}"
    body = {
        "handle": f"{name}.test",
        "email": f"{name}@example.com",
        "password": secrets.token_urlsafe(12),
        "recoveryKey": key.did,
    }
    session = post(f"{services.env['ATDATA_PDS_URL']}/xrpc/com.atproto.server.createAccount", body)
    with AtmosphereClient() as client:
        with pytest.warns(UserWarning, match="main password"):
            client.login(session["handle"], body["password"])
        yield client, key


def post(url, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read() or b"null") if response.status == 200 else None


def test_evidence_outlives_the_key_that_signed_it(services, own_key, tmp_path):
    client, rotation = own_key
    entry, shards = publish(client, tmp_path)
    old = evidence(entry.uri)
    proven = prove_record(entry.uri)
    log = fetch_log(client.did)
    before = log[-1]["operation"]
    new = Key("P-256")
    body = {key: value for key, value in before.items() if key != "sig"}
    body |= {"prev": log[-1]["cid"], "verificationMethods": {"atproto": new.did}}
    plc = f"{services.env['ATDATA_PLC_URL']}/{client.did}"
    with urllib.request.urlopen(
        urllib.request.Request(
            plc,
            json.dumps(signed(body, rotation)).encode(),
            {"Content-Type": "application/json"},
        ),
        timeout=30,
    ) as response:
        assert response.status == 200
    log = fetch_log(client.did)
    first, second = verify_log(client.did, log)
    assert (first.key, second.key) == (proven.signing_key, new.did)
    assert first.until == second.since

    # The server still signs with the key that isn't the account's any more.
    identity._resolve_did.cache_clear()
    with pytest.raises(VerificationError, match="isn't signed by the account's key"):
        atdata.load_dataset(entry.uri, Item)

    # What it signed before is the account's all the same.
    for data, newer in ((old, None), (old, log), (evidence(proven), None)):
        found = verify_evidence(data, shards, log=newer)
        assert found.record.cid == entry.record_cid
        assert found.key_period.key == first.key
    assert found.key_period.until == first.until
    assert verify_evidence(old).key_period.until is None

    # And what it signs after that isn't.
    from dataclasses import replace

    document = {**proven.did_document}
    time.sleep(1)
    client.create_record(NOTE, {"text": "late"}, rkey="late")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atdata_core.publishing.evidence_files._TOLERANCE_S", 0)
        late = _prove_by(document, client.did, f"at://{client.did}/{NOTE}/late")
        with pytest.raises(VerificationError, match="had been replaced"):
            evidence(replace(late))


def _prove_by(document, did, uri):
    """A record by the key of an old document."""
    from atdata_core.atproto.proof import _fetch
    from atdata_core.atproto.uri import AtUri

    return _fetch(identity._identity(did, document), AtUri.parse(uri)).record()


def test_histories_made_by_hand_are_taken_by_the_directory(services):
    """So what the tests without a server check is what a directory means by it."""
    from tests.support.plc import History

    first, second, signing, other = (Key(curve) for curve in ("K-256", "P-256") * 2)
    history = History([first, second], signing)
    genesis = history.head
    history.then(operation([second], other, genesis), second)
    history.then(operation([first], signing, genesis), first, void=(1,))
    plc = f"{services.env['ATDATA_PLC_URL']}/{history.did}"
    for entry in history.log:
        request = urllib.request.Request(
            plc,
            json.dumps(entry["operation"]).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.status == 200
    log = fetch_log(history.did)
    assert [e["nullified"] for e in log] == [e["nullified"] for e in history.log]
    assert [e["cid"] for e in log] == [e["cid"] for e in history.log]
    (only,) = verify_log(history.did, log)
    assert only.key == signing.did


# --- attestations


@pytest.fixture(scope="module")
def witness(services):
    """Another account, logged in."""
    account = services.create_account(f"w{secrets.token_hex(5)}")
    with AtmosphereClient() as other:
        other.login(account.handle, account.app_password)
        yield other


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_an_attestation_lifts_the_level_of_those_who_trust_it(client, witness, tmp_path, namespace):
    entry, shards = publish(client, tmp_path, f"a-{secrets.token_hex(4)}", namespace)
    publisher = AttestationPublisher(witness, namespace=namespace)
    assert atdata.attestations(entry.uri, [witness.did]) == []
    uri = publisher.publish(entry.uri, description="read on a Thursday")
    value = web.record(witness.base_url, str(uri))["value"]
    assert value["subject"] == {"uri": entry.uri, "cid": entry.record_cid}
    assert (value["shards"], value["level"]) == (2, "bytes")
    assert value["bytes"] == sum(Path(path).stat().st_size for path in shards)
    assert value["contentCid"] == entry.cid
    found = atdata.load_dataset(entry.uri, Item, verify="attested", trusted=[witness.did])
    assert found.verification.level is VerificationLevel.ATTESTED
    assert found.verification.attested_by == (witness.did,)
    assert found.count() == 6
    (attestation,) = atdata.attestations(entry.uri, [witness.did, client.did])
    assert attestation.description == "read on a Thursday"
    assert (attestation.did, attestation.uri) == (witness.did, str(uri))

    # The same again is the record that is there; another one takes its place.
    created = value["createdAt"]
    assert publisher.publish(entry.uri, description="read on a Thursday") == uri
    assert web.record(witness.base_url, str(uri))["value"]["createdAt"] == created
    again = publisher.publish(atdata.load_dataset(entry.uri, Item), method="trained on it")
    assert again == uri
    assert web.record(witness.base_url, str(uri))["value"]["method"] == "trained on it"
    witness.delete_record(uri)
    assert atdata.attestations(entry.uri, [witness.did]) == []


def test_what_isn_t_proven_is_not_attested(client, witness, published, tmp_path):
    publisher = AttestationPublisher(witness)
    local = FileIndex(tmp_path)
    local.write_samples(items(3), name="here", sample_type=Item)
    opened = atdata.load_dataset(published[0].uri, Item)
    for dataset in (local.open_dataset("here"), opened.map(lambda item: item)):
        with pytest.raises(ConfigurationError, match="opened by its record"):
            publisher.publish(dataset)
    loose = atdata.load_dataset(published[0].uri, Item, verify="transport")
    with pytest.raises(VerificationError, match="nothing to attest"):
        publisher.publish(loose)
    assert list(witness.iter_records(f"{NAMESPACES[0]}.attestation")) == []
