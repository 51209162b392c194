"""Servers that lie about who wrote a record: whatever isn't signed is not opened.

The liar is the PLC directory and the PDS at once, but it has no key other than its own.
"""

import threading

import cbrrr
import pytest
from cbrrr import CID

import atdata_core as atdata
from atdata_core import Schema, Shard, StrongRef
from atdata_core.atmosphere import AtmosphereClient, AtmosphereIndex, DatasetLoader
from atdata_core.atproto.records import (
    ATTESTATION_TYPES,
    DATASET_TYPES,
    LABEL_TYPES,
    SCHEMA_TYPES,
    attestation_key,
    blob_storage,
    dataset_record,
    external_storage,
    names_of,
    schema_record,
)
from atdata_core.atproto.revisions import RevStore
from atdata_core.cid import dag_cbor_cid, raw_cid
from atdata_core.entry import DatasetEntry
from atdata_core.errors import (
    AbsentError,
    ConfigurationError,
    IntegrityError,
    InvalidRecordError,
    InvalidUriError,
    NotFoundError,
    ServiceError,
    UnreachableError,
    VerificationError,
)
from atdata_core.verification import VerificationLevel
from tests.support.liar import DID, HANDLE, Liar
from tests.support.repo import Key, Repo, car, cid_of, split_car, tid
from tests.support.samples import Item, Other, items, shard_file

DATASET_TYPE, SCHEMA_TYPE, LABEL_TYPE = DATASET_TYPES[0], SCHEMA_TYPES[0], LABEL_TYPES[0]
PROOF = "com.atproto.sync.getRecord"
GET = "com.atproto.repo.getRecord"
LEVELS = list(VerificationLevel)


@pytest.fixture
def data(tmp_path):
    return shard_file(tmp_path / "a.tar", items(3)).read_bytes()


@pytest.fixture
def uri(liar, data):
    """The address of an honest dataset of three items."""
    return publish(liar, data)


def publish(liar, data, rkey="d", name="digits", names=None, **changes):
    names = names or names_of()
    schema = schema_record(Schema.of(Item), namespace=names.namespace)
    schema_uri = liar.add_record(names.schema, "s", schema)
    shard = Shard("x", liar.add_blob(data), len(data), 3)
    entry = DatasetEntry(name, schema_uri, (shard,), schema_cid=Schema.of(Item).cid)
    storage = blob_storage([shard], "application/x-tar", names)
    record = dataset_record(entry, storage, dag_cbor_cid(schema), names) | changes
    record = {key: value for key, value in record.items() if value is not ...}
    return liar.add_record(names.dataset, rkey, record)


def refused(uri, code, **options):
    with pytest.raises(VerificationError) as caught:
        atdata.load_dataset(uri, Item, **options)
    assert caught.value.code == code, caught.value
    return str(caught.value)


def forged(records):
    """A repository of these records, quite in order, but signed by another key."""
    start = f"at://{DID}/"
    return Repo({uri.removeprefix(start): v for uri, v in records.items()}, Key(), DID).car()


# --- what an honest server reaches


def test_a_dataset_tells_what_is_proven_of_it(liar, uri):
    dataset = atdata.load_dataset(uri, Item)
    found = dataset.verification
    assert found.level is VerificationLevel.BYTES
    assert (found.uri, found.did) == (uri, DID)
    assert found.record_cid == dag_cbor_cid(liar.records[uri]) == dataset.entry.record_cid
    assert found.signing_key == liar.key.did
    assert not found.pinned
    assert found.checked_at.endswith("Z")
    words = " ".join(found.evidence)
    for fact in (liar.key.did, found.rev, found.record_cid, "each of 1 shards", "schema record"):
        assert fact in words
    assert list(dataset) == items(3)
    for other in (dataset.map(lambda item: item), dataset.shard_for(0, 2)):
        assert other.verification is found


def test_levels_are_in_order():
    assert [str(level) for level in LEVELS] == [
        "transport",
        "signed",
        "pinned",
        "bytes",
        "attested",
    ]
    assert sorted(LEVELS) == LEVELS
    assert VerificationLevel.of("Bytes") is VerificationLevel.BYTES
    for junk in ("", "none", 5, True):
        with pytest.raises(ConfigurationError, match="no such level"):
            VerificationLevel.of(junk)


def test_the_least_level_comes_from_the_call_the_client_or_the_environment(liar, uri, monkeypatch):
    liar.answer(PROOF, b"nonsense")
    assert AtmosphereClient().verify is VerificationLevel.SIGNED
    monkeypatch.setenv("ATDATA_VERIFY", "transport")
    found = atdata.load_dataset(uri, Item).verification
    assert found.level is VerificationLevel.TRANSPORT
    assert found.rev is found.signing_key is None
    refused(uri, "structure", verify="signed")
    with pytest.raises(VerificationError):
        DatasetLoader(AtmosphereClient(), verify="bytes").to_dataset(uri)
    with pytest.raises(VerificationError):
        AtmosphereIndex(AtmosphereClient(verify="signed")).open_dataset(uri)
    assert AtmosphereIndex(AtmosphereClient()).open_dataset(uri).verification.level == 1
    monkeypatch.setenv("ATDATA_VERIFY", "whatever")
    with pytest.raises(ConfigurationError, match="ATDATA_VERIFY"):
        atdata.load_dataset(uri, Item)


def test_a_level_can_only_be_asked_of_records(tmp_path):
    shard_file(tmp_path / "a.tar", items(3))
    for options in ({"verify": "bytes"}, {"pin": raw_cid(b"")}, {"trusted": [DID]}):
        with pytest.raises(ConfigurationError, match="can only be asked of records"):
            atdata.load_dataset(tmp_path / "a.tar", Item, **options)
    assert atdata.load_dataset(tmp_path / "a.tar", Item).verification is None
    with pytest.raises(ConfigurationError, match="can only be asked of records"):
        atdata.load_splits(tmp_path, Item, verify="bytes")
    for path, pin in (("at://x", raw_cid(b"")), (StrongRef("at://x", raw_cid(b"")), None)):
        with pytest.raises(ConfigurationError, match="no splits"):
            atdata.load_dataset(path, Item, split="train", pin=pin)


def test_splits_are_proven_each(liar, data):
    uri = publish(liar, data, rkey="train", name="digits-train")
    splits = atdata.load_splits({"train": uri}, Item, verify="signed")
    assert splits["train"].verification.level is VerificationLevel.BYTES
    other = publish(liar, data, rkey="test", name="digits-test")
    splits = atdata.load_splits(f"@{HANDLE}/digits-{{train,test}}", Item)
    assert [splits[name].verification.uri for name in ("train", "test")] == [uri, other]


def test_a_pinned_record_is_that_record(liar, uri):
    cid = dag_cbor_cid(liar.records[uri])
    for path, pin in ((uri, cid), (StrongRef(uri, cid), None), (f"@{HANDLE}/digits", cid)):
        found = atdata.load_dataset(path, Item, pin=pin).verification
        assert (found.level, found.pinned) == (VerificationLevel.BYTES, True)
    assert DatasetLoader(AtmosphereClient()).to_dataset(uri, pin=StrongRef(uri, cid))
    other = dag_cbor_cid({"a": 1})
    assert other in refused(uri, "changed", pin=other)
    refused(StrongRef(uri, other), "changed")
    refused(f"@{HANDLE}/digits", "changed", pin=other)
    refused(uri, "changed", pin=other, verify="transport")
    with pytest.raises(InvalidUriError):
        atdata.load_dataset(uri, Item, pin="not a cid")
    with pytest.raises(InvalidUriError, match="another record"):
        DatasetLoader(AtmosphereClient()).to_dataset(uri, pin=StrongRef(uri + "x", cid))
    assert "signed: no link" in refused(uri, "level", verify="pinned")
    assert atdata.load_dataset(uri, Item, verify="pinned", pin=cid)


def test_shards_without_a_checksum_reach_what_the_record_reached(liar, data, caplog):
    liar.answer("a.tar", data)
    schema = schema_record(Schema.of(Item))
    schema_uri = liar.add_record(SCHEMA_TYPE, "s", schema)
    entry = DatasetEntry("x", schema_uri, ())
    storage = external_storage(["https://example.org/a.tar"], (), names_of())
    record = dataset_record(entry, storage, dag_cbor_cid(schema), names_of())
    uri = liar.add_record(DATASET_TYPE, "x", record)
    message = refused(uri, "level", verify="bytes")
    assert "signed: 1 of 1 shards have no checksum: https://example.org/a.tar" in message
    assert 'verify="signed"' in message
    cid = dag_cbor_cid(record)
    assert 'verify="pinned"' in refused(uri, "level", verify="bytes", pin=cid)
    assert "can't be checked" not in caplog.text
    assert atdata.load_dataset(uri).verification.level == 2
    assert "can't be checked" in caplog.text
    assert atdata.load_dataset(uri, verify="signed", pin=cid).verification.level == 3


def test_shards_are_still_checked_when_they_are_read(liar, uri, data):
    dataset = atdata.load_dataset(uri, Item)
    liar.answer("com.atproto.sync.getBlob", data[:-1] + b"\x01")
    with pytest.raises(IntegrityError):
        next(iter(dataset))


# --- servers that lie


def test_a_record_that_nobody_signed_is_not_opened(liar, uri):
    """The very lie that JSON can't show: another record under its own, honest CID."""
    liar.answer(PROOF, forged(liar.records))
    assert liar.key.did in refused(uri, "signature")
    assert atdata.load_dataset(uri, Item, verify="transport")
    # The document was asked for once more, in case the key had changed.
    assert len(liar.asked(DID)) == 2


def test_a_key_that_was_changed_meanwhile_is_found(liar, uri):
    assert atdata.load_dataset(uri, Item)
    liar.key = Key("P-256")
    assert atdata.load_dataset(uri, Item).verification.signing_key == liar.key.did


def test_an_account_that_moved_is_found(liar, uri):
    assert atdata.load_dataset(uri, Item)
    with Liar() as new:
        new.key, new.records, new.blobs = liar.key, liar.records, liar.blobs
        liar.answer(PROOF, {"error": "RepoDeactivated", "message": "gone"}, 400)
        with pytest.raises(NotFoundError, match="gone"):
            atdata.load_dataset(uri, Item)
        liar.answer(DID, new.document())
        liar.answer(GET, {"error": "RepoDeactivated", "message": "gone"}, 400)
        assert list(atdata.load_dataset(uri, Item)) == items(3)


def test_a_server_that_goes_back_is_noticed(liar, uri, data):
    revs = RevStore()
    client = AtmosphereClient(revs=revs)
    old = liar.repo().car()
    old_record = liar.records[uri]
    publish(liar, data, description="corrected")
    assert DatasetLoader(client).to_dataset(uri).entry.description == "corrected"
    liar.answer(PROOF, old)
    with pytest.raises(VerificationError, match="older state") as caught:
        DatasetLoader(client).to_dataset(uri)
    assert caught.value.code == "rollback"
    proven = client.prove_record(uri, allow_rollback=True)
    assert proven.value == old_record
    assert DatasetLoader(client).to_dataset(uri).entry.description is None


def test_a_server_can_t_hide_what_is_new_by_going_back(liar, uri, data):
    """An old state proves, signed and all, that a newer record isn't there."""
    client = AtmosphereClient(revs=RevStore())
    before = liar.repo().car()
    newer = publish(liar, data, rkey="newer", name="newer")
    assert client.prove_record(newer)
    liar.answer(PROOF, before)
    with pytest.raises(VerificationError, match="older state"):
        client.prove_record(newer)
    with pytest.raises(AbsentError):
        AtmosphereClient(revs=RevStore()).prove_record(newer)


def test_a_proof_of_absence_is_remembered_too(liar, uri):
    revs = RevStore()
    before = liar.repo().car()
    with pytest.raises(AbsentError):
        AtmosphereClient(revs=revs).prove_record(uri + "x")
    liar.answer(PROOF, before)
    with pytest.raises(VerificationError, match="older state"):
        AtmosphereClient(revs=revs).prove_record(uri)


def test_revisions_are_remembered_from_one_run_to_the_next(liar, uri, tmp_path, monkeypatch):
    monkeypatch.setenv("ATDATA_STATE", str(tmp_path))
    old = liar.repo().car()
    atdata.load_dataset(uri, Item)
    liar.answer(PROOF, old)
    refused(uri, "rollback")


def test_a_newer_state_that_comes_first_is_no_rollback(liar, uri):
    """Two readers at once: the one whose answer is older was asked before the other's came."""
    revs = RevStore()
    ready, go = threading.Event(), threading.Event()
    old = liar.repo().car()

    def slow(query):
        ready.set()
        go.wait(20)
        return old

    found = []
    liar.answer(PROOF, slow)
    client = AtmosphereClient(revs=revs)
    reader = threading.Thread(target=lambda: found.append(client.prove_record(uri)))
    reader.start()
    assert ready.wait(20)
    liar._answers.clear()
    newer = client.prove_record(uri)
    go.set()
    reader.join()
    assert found[0].rev < newer.rev == revs.get(DID)


def test_a_commit_of_the_future_is_not_believed(liar, uri):
    liar.answer(PROOF, liar.repo(rev=tid(4e9)).car())
    assert "clock" in refused(uri, "rev")


def test_the_repository_of_another_account_is_not_believed(liar, uri):
    other = "did:plc:" + "c" * 24
    liar.records |= {u.replace(DID, other): v for u, v in liar.records.items()}
    liar.answer(PROOF, liar.repo(other).car())
    refused(uri, "other-did")


def test_a_record_that_isn_t_there_is_proven_not_to_be(liar, uri):
    with pytest.raises(AbsentError, match="holds no such record, as its signature proves"):
        atdata.load_dataset(uri + "x", Item)
    assert len(liar.asked(DID)) == 1  # there is nothing to ask for again
    liar.answer(PROOF, {"error": "RecordNotFound", "message": "not here"}, 400)
    with pytest.raises(NotFoundError, match="not here") as caught:
        atdata.load_dataset(uri, Item)
    assert not isinstance(caught.value, AbsentError)


def test_a_block_less_or_changed_is_noticed(liar, uri):
    root, blocks = split_car(liar.repo().car())
    record = cbrrr.encode_dag_cbor(liar.records[uri], True)
    rest = [(c, b) for c, b in blocks if b != record]
    assert len(rest) == len(blocks) - 1
    liar.answer(PROOF, car(root, rest))
    refused(uri, "missing-block")
    liar.answer(PROOF, car(root, [*rest, (cid_of(record), record + b"\0")]))
    refused(uri, "block-hash")
    liar.answer(PROOF, car(root, [*rest, (cid_of(record + b"\0"), record + b"\0")]))
    refused(uri, "missing-block")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", {"error": "x"}, b"\xff" * 100, [5, 5], b"\x00" * 6_000_000], ids=len
)
def test_what_is_no_car_is_refused(liar, uri, body):
    liar.answer(PROOF, body)
    with pytest.raises((VerificationError, ServiceError)):
        atdata.load_dataset(uri, Item)


@pytest.mark.parametrize("status", [301, 404, 500, 501])
def test_a_server_that_proves_nothing_is_refused(liar, uri, status):
    liar.answer(PROOF, {"error": "MethodNotImplemented", "message": "no"}, status)
    with pytest.raises((ServiceError, NotFoundError)):
        atdata.load_dataset(uri, Item)
    assert atdata.load_dataset(uri, Item, verify="transport")


def test_an_answer_that_drips_is_cut_off(liar, uri, monkeypatch):
    monkeypatch.setattr("atdata_core.atproto.web._DEADLINE_S", 0.0)
    with pytest.raises(UnreachableError, match="takes too long"):
        atdata.load_dataset(uri, Item)


@pytest.mark.parametrize(
    "method",
    [
        {"verificationMethod": []},
        {"verificationMethod": [{"id": "#atproto", "type": "Multikey", "controller": "x"}]},
        {"verificationMethod": None},
    ],
    ids=str,
)
def test_an_account_without_a_key_proves_nothing(liar, uri, method):
    liar.answer(DID, liar.document(**method))
    refused(uri, "key")


# --- names and schemas


def label(liar, uri, cid=None, rkey="l", **changes):
    record = {
        "$type": LABEL_TYPE,
        "name": "best",
        "datasetUri": uri,
        "dataset": {"uri": uri, "cid": cid or dag_cbor_cid(liar.records[uri])},
        "createdAt": "2026-01-01T00:00:00Z",
    } | changes
    return liar.add_record(
        LABEL_TYPE, rkey, {key: value for key, value in record.items() if value is not ...}
    )


def test_a_label_pins_what_it_stands_for(liar, uri, data):
    label(liar, uri)
    found = atdata.load_dataset(f"@{HANDLE}/best", Item).verification
    assert found.pinned
    assert any("label" in fact for fact in found.evidence)
    assert not atdata.load_dataset(f"@{HANDLE}/digits", Item).verification.pinned
    assert len(liar.asked(PROOF)) == 3  # label, dataset; dataset
    publish(liar, data, description="another one")
    refused(f"@{HANDLE}/best", "changed")


def test_a_label_that_only_the_server_knows_is_refused(liar, uri, data):
    """It would lead to a dataset that somebody else signed quite properly."""
    label(liar, uri)
    evil = publish(liar, data, rkey="evil", name="evil")
    value = {**next(v for u, v in liar.records.items() if LABEL_TYPE in u), "datasetUri": evil}
    value["dataset"] = {"uri": evil, "cid": dag_cbor_cid(liar.records[evil])}
    there = {"uri": f"at://{DID}/{LABEL_TYPE}/l", "cid": dag_cbor_cid(value), "value": value}

    def listed(query):
        return {"records": [there] if query["collection"] == LABEL_TYPE else []}

    liar.answer("com.atproto.repo.listRecords", listed)
    refused(f"@{HANDLE}/best", "changed")
    there["uri"] += "x"
    with pytest.raises(NotFoundError, match="holds no such record"):
        atdata.load_dataset(f"@{HANDLE}/best", Item)
    assert atdata.load_dataset(f"@{HANDLE}/best", verify="transport").verification.uri == evil


def test_a_dataset_s_name_that_only_the_server_knows_is_refused(liar, uri):
    value = {**liar.records[uri], "name": "other"}
    there = {"uri": uri, "cid": dag_cbor_cid(value), "value": value}

    def listed(query):
        return {"records": [there] if query["collection"] == DATASET_TYPE else []}

    liar.answer("com.atproto.repo.listRecords", listed)
    refused(f"@{HANDLE}/other", "changed")


def test_a_label_that_contradicts_itself_is_refused(liar, uri, data):
    other = publish(liar, data, rkey="e")
    label(liar, uri, dataset={"uri": other, "cid": dag_cbor_cid(liar.records[other])})
    with pytest.raises(InvalidRecordError, match="two ways"):
        atdata.load_dataset(f"@{HANDLE}/best", Item)
    label(liar, uri, dataset=...)
    assert not atdata.load_dataset(f"@{HANDLE}/best", Item).verification.pinned


def test_a_schema_that_the_record_doesn_t_pin_is_proven(liar, data):
    uri = publish(liar, data, schema=..., schemaContentCid=..., contentCid=...)
    dataset = atdata.load_dataset(uri, Item)
    assert any("schema record" in f and "not pinned" in f for f in dataset.verification.evidence)
    assert len(liar.asked(PROOF)) == 2
    assert liar.asked(GET) == []
    other = {f"at://{DID}/{SCHEMA_TYPE}/s": schema_record(Schema.of(Other))}

    def answer(query):
        mine = query["collection"] == SCHEMA_TYPE
        return forged(liar.records | other) if mine else liar.repo().car()

    liar.answer(PROOF, answer)
    refused(uri, "signature")


def test_a_record_that_names_two_schemas_is_refused(liar, data):
    other = liar.add_record(SCHEMA_TYPE, "t", schema_record(Schema.of(Other)))
    link = {"uri": other, "cid": dag_cbor_cid(liar.records[other])}
    uri = publish(liar, data, schema=link)
    with pytest.raises(InvalidRecordError, match="schema in two ways"):
        atdata.load_dataset(uri, Item)


def test_an_entry_that_was_listed_has_to_be_still_the_same(liar, uri, data):
    index = AtmosphereIndex(AtmosphereClient())
    (entry,) = index.list_datasets(DID)
    assert index.open_dataset(entry).verification.level is VerificationLevel.BYTES
    publish(liar, data, description="changed")
    with pytest.raises(VerificationError, match="changed since"):
        index.open_dataset(entry)


@pytest.mark.parametrize("verify", ["transport", "bytes"])
def test_a_record_under_the_address_of_another_type_is_refused(liar, uri, verify):
    moved = liar.add_record("com.example.other", "d", liar.records[uri])
    with pytest.raises(InvalidRecordError, match="than its address says"):
        atdata.load_dataset(moved, Item, verify=verify)


def test_the_public_namespace_is_proven_as_well(liar, data):
    uri = publish(liar, data, names=names_of("science.alt.dataset"))
    assert atdata.load_dataset(uri, Item).verification.level is VerificationLevel.BYTES


def test_a_tree_with_a_record_in_place_of_a_node_is_refused(liar, uri):
    made = liar.repo()
    made.commit(made.cids[uri.removeprefix(f"at://{DID}/")])
    liar.answer(PROOF, made.car())
    refused(uri, "structure")
    assert CID(made.root)


# --- attestations


@pytest.fixture
def witness(liar):
    """Another account on the same server, trusted or not."""
    did = "did:web:localhost%3A" + liar.url.rpartition(":")[2]
    liar.answer("did.json", liar.document(id=did))
    return did


def attest(liar, witness, uri, collection=ATTESTATION_TYPES[0], **changes):
    subject = StrongRef(uri, dag_cbor_cid(liar.records[uri]))
    record = {
        "$type": collection,
        "subject": subject.to_json(),
        "method": "shards-read",
        "createdAt": "2026-01-01T00:00:00Z",
    } | changes
    place = f"at://{witness}/{collection}/{attestation_key(subject)}"
    liar.records[place] = {key: value for key, value in record.items() if value is not ...}
    return place


@pytest.mark.parametrize("collection", ATTESTATION_TYPES)
def test_what_a_trusted_account_attests_is_the_highest_level(
    liar, uri, witness, collection, monkeypatch
):
    assert 'verify="bytes"' in refused(uri, "level", verify="attested", trusted=[witness])
    attest(liar, witness, uri, collection)
    found = atdata.load_dataset(uri, Item, verify="attested", trusted=[witness]).verification
    assert found.level is VerificationLevel.ATTESTED
    assert found.attested_by == (witness,)
    assert any(witness in fact and "shards-read" in fact for fact in found.evidence)
    refused(uri, "level", verify="attested")
    assert atdata.load_dataset(uri, Item).verification.attested_by == ()
    monkeypatch.setenv("ATDATA_TRUSTED_DIDS", f" {witness} , {DID},")
    assert atdata.load_dataset(uri, Item).verification.level is VerificationLevel.ATTESTED
    (attestation,) = atdata.attestations(uri)
    assert (attestation.did, attestation.method) == (witness, "shards-read")
    assert attestation.subject == StrongRef(uri, dag_cbor_cid(liar.records[uri]))


def test_an_attestation_is_of_one_content_only(liar, uri, witness, data):
    attest(liar, witness, uri)
    link = StrongRef(uri, dag_cbor_cid(liar.records[uri]))
    publish(liar, data, description="changed since")
    assert atdata.attestations(uri, [witness]) == []
    assert len(atdata.attestations(link, [witness])) == 1
    refused(uri, "level", verify="attested", trusted=[witness])


def test_nobody_attests_their_own_dataset(liar, uri):
    attest(liar, DID, uri)
    refused(uri, "level", verify="attested", trusted=[DID])
    found = atdata.load_dataset(uri, Item, trusted=[DID]).verification
    assert found.level is VerificationLevel.BYTES
    assert any("can't attest it" in fact for fact in found.evidence)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": {"uri": f"at://{DID}/{DATASET_TYPE}/other", "cid": dag_cbor_cid({})}},
        {"subject": ...},
        {"subject": {"uri": "x", "cid": "y"}},
        {"method": ...},
        {"method": 5},
        {"$type": "com.example.other"},
        {"shards": -1},
    ],
    ids=str,
)
def test_attestations_of_something_else_count_for_nothing(liar, uri, witness, changes):
    attest(liar, witness, uri, **changes)
    with pytest.raises(InvalidRecordError):
        atdata.attestations(uri, [witness])
    found = atdata.load_dataset(uri, Item, trusted=[witness]).verification
    assert found.level is VerificationLevel.BYTES
    assert any("couldn't be asked" in fact for fact in found.evidence)
    refused(uri, "level", verify="attested", trusted=[witness])


def test_attestations_that_their_account_didn_t_sign_count_for_nothing(liar, uri, witness):
    attest(liar, witness, uri)
    liar.answer("did.json", liar.document(id=witness, verificationMethod=[]))
    with pytest.raises(VerificationError):
        atdata.attestations(uri, [witness])
    refused(uri, "level", verify="attested", trusted=[witness])
    assert atdata.load_dataset(uri, Item, trusted=[witness]).verification.attested_by == ()


def test_accounts_to_trust_are_told_by_did(liar, uri, monkeypatch):
    with pytest.raises(InvalidUriError):
        atdata.load_dataset(uri, Item, trusted=[HANDLE])
    monkeypatch.setenv("ATDATA_TRUSTED_DIDS", HANDLE)
    with pytest.raises(InvalidUriError):
        atdata.load_dataset(uri, Item)


# --- a directory that doesn't answer


@pytest.mark.parametrize("status", [429, 500, 503, None])
def test_a_directory_that_is_down_is_done_without_for_a_day(liar, uri, status, monkeypatch, caplog):
    from atdata_core.atproto import identity

    assert atdata.load_dataset(uri, Item)
    identity._resolve_did.cache_clear()
    if status is None:
        liar.answer(DID, b"", headers={"Content-Length": "7"})
    else:
        liar.answer(DID, {"message": "busy"}, status)
    assert atdata.load_dataset(uri, Item).verification.level is VerificationLevel.BYTES
    assert "going on with what it said" in caplog.text
    monkeypatch.setattr(identity, "_STALE_S", -1)
    with pytest.raises(ServiceError):
        atdata.load_dataset(uri, Item)


@pytest.mark.parametrize(("status", "body"), [(404, {}), (410, {}), (400, {}), (200, {"id": "x"})])
def test_a_directory_that_says_something_else_is_believed(liar, uri, status, body):
    from atdata_core.atproto import identity

    assert atdata.load_dataset(uri, Item)
    identity._resolve_did.cache_clear()
    liar.answer(DID, body, status)
    with pytest.raises((NotFoundError, ServiceError)):
        atdata.load_dataset(uri, Item)
