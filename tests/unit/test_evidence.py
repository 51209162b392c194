"""Evidence: it proves what it says with no server, and nothing else does."""

import copy
import json
from datetime import timedelta

import pytest

from atdata_core import Schema, Shard
from atdata_core.atproto.plc import verify_log
from atdata_core.atproto.proof import verify_proof
from atdata_core.atproto.records import (
    blob_storage,
    dataset_record,
    names_of,
    schema_record,
)
from atdata_core.cid import dag_cbor_cid
from atdata_core.entry import DatasetEntry
from atdata_core.errors import (
    AtdataError,
    ConfigurationError,
    IntegrityError,
    InvalidRecordError,
    NotFoundError,
    VerificationError,
)
from atdata_core.publishing import evidence_files
from atdata_core.publishing.evidence_files import evidence, verify_evidence
from tests.support.plc import START, History, operation, signed
from tests.support.repo import Key, Repo, document, tid
from tests.support.samples import Item, cid_of, items, shard_file

NOTE = "com.example.note"
A, B, C, SIGN, SIGN2, SIGN3 = (Key(curve) for curve in ("K-256", "P-256") * 3)
DAY = 86400


@pytest.fixture
def history():
    return History([A, B], SIGN)


def broken(history, match):
    with pytest.raises(VerificationError, match=match) as caught:
        verify_log(history.did, history.log)
    assert caught.value.code == "log"


# --- histories


def test_a_history_tells_which_key_was_whose_when(history):
    (only,) = verify_log(history.did, history.log)
    assert (only.key, only.since, only.until) == (SIGN.did, START, None)
    history.then(operation([A, B], SIGN, history.head, "https://new.example.org"), B)
    assert verify_log(history.did, history.log) == (only,)
    history.then(operation([B, C], SIGN2, history.head), A, days=2)
    first, second = verify_log(history.did, history.log)
    assert first.until == second.since == START + timedelta(days=3)
    assert (second.key, second.until) == (SIGN2.did, None)
    history.then(operation([C], SIGN, history.head), C)
    assert [p.key for p in verify_log(history.did, history.log)] == [SIGN.did, SIGN2.did, SIGN.did]
    history.then({"type": "plc_tombstone", "prev": history.head}, C)
    assert verify_log(history.did, history.log)[-1].until is not None
    history.then(operation([C], SIGN, history.head), C)
    broken(history, "rotation key")


def test_the_oldest_form_of_a_first_operation_is_known():
    genesis = {
        "type": "create",
        "signingKey": SIGN.did,
        "recoveryKey": A.did,
        "handle": "someone.example.org",
        "service": "https://pds.example.org",
        "prev": None,
    }
    for key in (A, SIGN):
        history = History([], SIGN, key, genesis)
        assert verify_log(history.did, history.log)[0].key == SIGN.did
        history.then(operation([B], SIGN2, history.head), A)
        assert verify_log(history.did, history.log)[1].key == SIGN2.did
    broken(History([], SIGN, B, genesis), "rotation key")


def test_a_key_of_higher_rank_makes_void_what_lower_ones_did(history):
    genesis = history.head
    history.then(operation([C], SIGN2, genesis), B)
    history.then(operation([C], SIGN3, history.head), C)
    stolen = copy.deepcopy(history.log)
    history.then(operation([A], SIGN, genesis), A, void=(1, 2))
    (only,) = verify_log(history.did, history.log)
    assert only.key == SIGN.did
    history.log[1]["nullified"] = False
    broken(history, "void")
    history.log = stolen
    assert len(verify_log(history.did, history.log)) == 3
    history.log[1]["nullified"] = True
    broken(history, "void")


def test_what_is_made_void_by_no_right(history):
    genesis = history.head
    theirs = copy.deepcopy(history.then(operation([A, B], SIGN2, genesis), A).log)
    broken(history.then(operation([B], SIGN3, genesis), B, void=(1,)), "rank")
    history.log = copy.deepcopy(theirs)
    broken(history.then(operation([A], SIGN3, genesis), A, void=(1,)), "rank")
    history.log = copy.deepcopy(theirs[:1])
    history.then(operation([A, B], SIGN2, genesis), B)
    broken(history.then(operation([A], SIGN3, genesis), A, days=3.1, void=(1,)), "72 hours")


def test_histories_that_break_a_rule(history):
    broken(History([A], SIGN, B), "rotation key")
    head = history.head
    for body, key, match in (
        (operation([A], SIGN2, head), C, "rotation key"),
        (operation([A], SIGN2, None), A, "follows none"),
        (operation([A], SIGN2, "bafyother"), A, "follows none"),
        ({**operation([A], SIGN2, head), "type": "other"}, A, "no operation"),
    ):
        grown = copy.deepcopy(history)
        broken(grown.then(body, key), match)
    high = copy.deepcopy(history)
    body = operation([A], SIGN2, head)
    broken(high.then(body, A, sign=lambda data: A.sign(data, high=True)), "rotation key")
    broken(copy.deepcopy(history).then(body, A, sign=A.sign_der), "rotation key")
    broken(copy.deepcopy(history).then(body, A, days=-1), "order of time")
    other = History([C], SIGN)
    history.did = other.did
    broken(history, "another account")
    for entry in history.log:
        entry["did"] = other.did
    broken(history, "another account")


@pytest.mark.parametrize(
    "change",
    [
        {"did": "did:plc:" + "c" * 24},
        {"operation": None},
        {"operation": {"x": 1}},
        {"cid": "bafy"},
        {"createdAt": "yesterday"},
        {"createdAt": None},
        {"nullified": True},
    ],
    ids=str,
)
def test_entries_that_say_something_else(history, change):
    history.log[0] |= change
    broken(history, ".")


@pytest.mark.parametrize("field", ["rotationKeys", "verificationMethods", "prev", "sig", "type"])
@pytest.mark.parametrize("value", [None, 5, "x", [], {}, ["did:key:zzz"], float("inf")], ids=str)
def test_operations_that_were_changed(history, field, value):
    history.then(operation([A], SIGN2, history.head), A)
    for index, body in enumerate(entry["operation"] for entry in history.log):
        changed = copy.deepcopy(history)
        if body[field] == value:
            continue
        changed.log[index]["operation"][field] = value
        broken(changed, ".")


def test_a_history_that_is_none(history):
    for log in ([], [5], [None], [[]], [{}]):
        history.log = log
        broken(history, ".")


# --- files of evidence


@pytest.fixture
def shards(tmp_path):
    return [shard_file(tmp_path / f"{n}.tar", items(2, 2 * n)) for n in range(2)]


@pytest.fixture
def made(history, shards):
    """A dataset's record, proven, and the log of its account."""
    schema = schema_record(Schema.of(Item))
    datas = [path.read_bytes() for path in shards]
    told = tuple(Shard("x", cid_of(data), len(data), 2) for data in datas)
    uri = f"at://{history.did}/{schema['$type']}/s"
    entry = DatasetEntry("digits", uri, told, schema_cid=Schema.of(Item).cid)
    storage = blob_storage(told, "application/x-tar", names_of())
    record = dataset_record(entry, storage, dag_cbor_cid(schema), names_of())
    return prove(history, record)


def prove(history, record, key=SIGN, rev=None):
    nsid = record["$type"]
    rev = rev or tid(START.timestamp() + DAY / 2)
    repo = Repo({f"{nsid}/d": record}, key, history.did, rev)
    return verify_proof(repo.car(), repo.document(), f"at://{history.did}/{nsid}/d")


@pytest.fixture
def directory(history, monkeypatch):
    """The log comes from `history`, as the directory would give it."""
    monkeypatch.setattr(evidence_files, "fetch_log", lambda did: history.log)


def test_evidence_proves_a_dataset_and_its_shards(made, history, directory, shards, tmp_path):
    data = evidence(made, tmp_path / "d.evidence")
    assert (tmp_path / "d.evidence").read_bytes() == data
    for file in (data, tmp_path / "d.evidence", str(tmp_path / "d.evidence")):
        found = verify_evidence(file)
        assert found.record == made
        assert found.entry.name == "digits"
        assert found.shards == 0
        assert (found.key_period.key, found.key_period.until) == (SIGN.did, None)
    found = verify_evidence(data, shards)
    assert found.shards == 2
    assert found.facts[-1].startswith("2 of 2 shards")
    assert verify_evidence(data, shards[0]).shards == 1
    assert verify_evidence(data, shards[1:]).facts[-1].startswith("1 of 2 shards")
    shards[0].write_bytes(shards[0].read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match=r"0\.tar"):
        verify_evidence(data, shards)
    with pytest.raises(NotFoundError):
        verify_evidence(data, [tmp_path / "none.tar"])
    with pytest.raises(NotFoundError):
        verify_evidence(tmp_path / "none")


def test_evidence_of_any_record_is_kept(history, directory, shards):
    note = prove(history, {"$type": NOTE, "text": "x"})
    found = verify_evidence(evidence(note))
    assert found.entry is None
    assert found.record.value["text"] == "x"
    with pytest.raises(ConfigurationError, match="no shards"):
        verify_evidence(evidence(note), shards)


def test_evidence_lasts_after_the_key_was_changed(made, history, directory):
    old = evidence(made)
    history.then(operation([A, B], SIGN2, history.head), A)
    assert verify_evidence(old).key_period.until is None  # as far as the file knows
    for found in (verify_evidence(old, log=history.log), verify_evidence(evidence(made))):
        assert found.key_period.key == SIGN.did
        assert found.key_period.since == START
        assert found.key_period.until == START + timedelta(days=1)
        assert "2026-01-02" in found.facts[2]
    new = prove(history, {"$type": NOTE}, SIGN2, tid(START.timestamp() + 2 * DAY))
    assert verify_evidence(evidence(new)).key_period.key == SIGN2.did


def test_what_was_signed_with_a_key_that_was_replaced_is_no_evidence(history, directory):
    history.then(operation([A, B], SIGN2, history.head), A)
    late = prove(history, {"$type": NOTE}, SIGN, tid(START.timestamp() + 2 * DAY))
    with pytest.raises(VerificationError, match="had been replaced"):
        evidence(late)
    thief = prove(history, {"$type": NOTE}, SIGN3)
    with pytest.raises(VerificationError, match="never was"):
        evidence(thief)


def test_evidence_of_an_account_on_the_web_rests_on_its_document():
    did = "did:web:example.org"
    repo = Repo({f"{NOTE}/a": {"$type": NOTE}}, SIGN, did)
    proven = verify_proof(repo.car(), document(SIGN, did), f"at://{did}/{NOTE}/a")
    data = evidence(proven)
    found = verify_evidence(data)
    assert found.key_period is None
    assert "host said" in found.facts[-1]
    assert "plcLog" not in json.loads(data)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "other"},
        {"version": 2},
        {"uri": "x"},
        {"uri": None},
        {"uri": f"at://did:plc:{'c' * 24}/{NOTE}/a"},
        {"car": None},
        {"car": "x"},
        {"car": ""},
        {"car": 5},
        {"didDocument": None},
        {"didDocument": {}},
        {"madeAt": "x"},
        {"madeAt": "2100-01-01T00:00:00Z"},
        {"madeAt": "2020-01-01T00:00:00Z"},
        {"plcLog": None},
        {"plcLog": []},
        {"plcLog": [5]},
        {"plcLog": ...},
        {"manifest": "!"},
    ],
    ids=str,
)
def test_files_that_were_changed_are_no_evidence(made, directory, change):
    body = json.loads(evidence(made)) | change
    body = {key: value for key, value in body.items() if value is not ...}
    with pytest.raises(AtdataError):
        verify_evidence(json.dumps(body).encode())


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"5", b"<html>", b"[" * 100_000], ids=lambda data: f"{data[:9]!r}"
)
def test_files_that_are_none(data):
    with pytest.raises(VerificationError) as caught:
        verify_evidence(data)
    assert caught.value.code == "evidence"


def test_no_letter_of_a_file_can_be_another_and_prove_something_else(made, directory, rng):
    data = evidence(made)
    for position in rng.integers(0, len(data), 400):
        changed = bytearray(data)
        changed[position] ^= 1 << int(rng.integers(0, 7))
        try:
            found = verify_evidence(bytes(changed))
        except AtdataError:
            continue
        assert (found.record.cid, found.record.value) == (made.cid, made.value)
        # Times are the directory's own word, which nobody signs.
        assert found.key_period.key == SIGN.did


def test_a_manifest_that_is_another_is_no_evidence(made, directory):
    body = json.loads(evidence(made)) | {"manifest": "eHg="}
    with pytest.raises((InvalidRecordError, IntegrityError)):
        verify_evidence(json.dumps(body).encode())


def test_the_helpers_sign_as_the_specification_says(history):
    body = operation([A], SIGN)
    assert set(signed(body, A)) - set(body) == {"sig"}
    assert history.did.startswith("did:plc:")
