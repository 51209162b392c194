"""Servers that lie: every lie is noticed, and nothing that came of it is handed out.

The liar is a real server on this machine that is the PLC directory and the PDS at once.
"""

import json
import threading
import time

import pytest

import atdata_core as atdata
from atdata_core import AtmosphereIndex, BlobSource, FileIndex, PDSBlobStore, Schema, Shard
from atdata_core.atmosphere import (
    AtmosphereClient,
    DatasetLoader,
    SchemaLoader,
    SchemaPublisher,
)
from atdata_core.atproto.identity import resolve_did
from atdata_core.atproto.records import (
    DATASET_TYPES,
    SCHEMA_TYPES,
    blob_storage,
    dataset_record,
    external_storage,
    names_of,
    schema_record,
)
from atdata_core.cid import dag_cbor_cid, raw_cid
from atdata_core.entry import DatasetEntry
from atdata_core.errors import (
    AtdataError,
    ConfigurationError,
    IntegrityError,
    InvalidRecordError,
    InvalidUriError,
    NotFoundError,
    RateLimitedError,
    SchemaError,
    ServiceError,
    ShardError,
    TooLargeError,
    UnreachableError,
    VerificationError,
)
from tests.support.liar import DID, HANDLE, Liar
from tests.support.samples import Item, items, shard_file

DATASET_TYPE, SCHEMA_TYPE = DATASET_TYPES[0], SCHEMA_TYPES[0]

NOTE = "com.example.note"
GET = "com.atproto.repo.getRecord"
PROOF = "com.atproto.sync.getRecord"
LIST = "com.atproto.repo.listRecords"
BLOB = "com.atproto.sync.getBlob"
UPLOAD = "com.atproto.repo.uploadBlob"


@pytest.fixture
def client(liar):
    with AtmosphereClient() as client:
        client.login(HANDLE, "aaaa-bbbb-cccc-dddd")
        yield client


@pytest.fixture
def note(liar):
    """The address of a record."""
    return liar.add_record(NOTE, "a", {"$type": NOTE, "text": "hello"})


@pytest.fixture
def published(liar, tmp_path):
    """The address of an honest dataset of three items, and its shard's bytes."""
    data = shard_file(tmp_path / "a.tar", items(3)).read_bytes()
    schema = schema_record(Schema.of(Item))
    schema_uri = liar.add_record(SCHEMA_TYPE, "s", schema)
    shard = Shard("x", liar.add_blob(data), len(data), 3)
    entry = DatasetEntry("digits", schema_uri, (shard,), schema_cid=Schema.of(Item).cid)
    storage = blob_storage([shard], "application/x-tar", names_of())
    record = dataset_record(entry, storage, dag_cbor_cid(schema), names_of())
    return liar.add_record(DATASET_TYPE, "d", record), data


def test_an_honest_server_is_believed(liar, note, published):
    assert AtmosphereClient().get_record(note)["text"] == "hello"
    assert AtmosphereClient().get_record(note.replace(DID, HANDLE)).uri == note
    assert list(atdata.load_dataset(published[0], Item)) == items(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "did:plc:" + "b" * 24}, "another DID"),
        ({"id": None}, "another DID"),
        ({"service": []}, "names no PDS"),
        ({"service": None}, "names no PDS"),
        ({"service": [None, "x", {"id": 5}]}, "names no PDS"),
        ({"service": [{"id": "#atproto_pds", "type": "Other", "serviceEndpoint": "x"}]}, "no PDS"),
    ],
    ids=["of another", "of nobody", "no service", "null", "junk", "other type"],
)
def test_a_did_document_that_is_another_s_or_empty_is_refused(liar, note, changes, message):
    liar.answer(DID, liar.document(**changes))
    with pytest.raises(ServiceError, match=f"{DID}.*{message}"):
        AtmosphereClient().get_record(note)
    assert liar.asked(GET) == []


@pytest.mark.parametrize("body", [[], "text", 5, None])
def test_a_did_document_that_is_no_document_is_refused(liar, note, body):
    liar.answer(DID, body)
    with pytest.raises(ServiceError):
        AtmosphereClient().get_record(note)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://example.com",
        "https://10.0.0.1",
        "ftp://example.com",
        "https://user:pass@example.com",
        "https://",
        "https://example.com:99999",
        "https://example.com:port",
        "https://[::1",
        "file:///etc/passwd",
        "gopher://example.com",
        "",
        "\x00",
    ],
)
def test_a_pds_at_an_address_that_may_not_be_asked_is_refused(liar, note, endpoint):
    service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer"}
    liar.answer(DID, liar.document(service=[{**service, "serviceEndpoint": endpoint}]))
    with pytest.raises(ServiceError, match=r"address|PDS"):
        AtmosphereClient().get_record(note)


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFoundError), (410, NotFoundError), (500, ServiceError), (503, ServiceError)],
)
def test_a_directory_that_doesn_t_know_or_fails(liar, note, status, error):
    liar.answer(DID, {"message": "no"}, status)
    with pytest.raises(error):
        AtmosphereClient().get_record(note)


def test_this_machine_is_not_asked_unless_a_setting_points_to_it(liar, note, monkeypatch):
    monkeypatch.delenv("ATDATA_PDS_URL")
    monkeypatch.delenv("ATDATA_PLC_URL")
    port = liar.url.rpartition(":")[2]
    for uri in (f"at://did:web:localhost%3A{port}/{NOTE}/a", f"at://did:web:localhost/{NOTE}/a"):
        with pytest.raises(ServiceError, match=r"may not be asked.*ATDATA_PLC_URL"):
            AtmosphereClient().get_record(uri)
    with pytest.raises(ServiceError, match="may not be asked"):
        atdata.load_dataset(f"http://localhost:{port}/a.tar", Item).shards  # noqa: B018
    assert liar.requests == []


def test_a_handle_that_the_account_doesn_t_claim_is_refused(liar, note):
    liar.answer(DID, liar.document(alsoKnownAs=["at://somebody.else.test"]))
    with pytest.raises(NotFoundError, match=f"{HANDLE}.*doesn't claim.*DID"):
        AtmosphereClient().get_record(note.replace(DID, HANDLE))
    assert liar.asked(GET) == []
    assert AtmosphereClient().get_record(note)["text"] == "hello"


def test_a_look_alike_handle_is_shown_as_it_is_sent_and_with_its_did(liar, note):
    lookalike = "xn--pple-43d.test"  # in a browser: like apple, with a Cyrillic first letter
    liar.answer(DID, liar.document(alsoKnownAs=[f"at://{lookalike}"]))
    liar.answer("com.atproto.identity.resolveHandle", {"did": DID})
    identity = resolve_did(DID)
    assert identity.handle == lookalike
    assert lookalike in repr(identity)
    assert DID in repr(identity)
    uri = note.replace(DID, lookalike).replace("/a", "/nothing")
    with pytest.raises(NotFoundError) as caught:
        AtmosphereClient().get_record(uri)
    assert str(caught.value).isascii()
    with pytest.raises(InvalidUriError):
        AtmosphereClient().get_record(note.replace(DID, lookalike.encode().decode("idna")))


def test_a_did_of_another_method_stays_text_until_somebody_has_to_be_asked(liar):
    key = "did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
    uri = liar.add_record(NOTE, "k", {"$type": NOTE, "text": "by", "author": key})
    assert AtmosphereClient().get_record(uri)["author"] == key
    asked = len(liar.requests)
    with pytest.raises(InvalidUriError, match="did:key"):
        AtmosphereClient().get_record(f"at://{key}/{NOTE}/k")
    assert len(liar.requests) == asked


@pytest.mark.parametrize("body", [{}, {"did": "nonsense"}, {"did": 5}, [], None, "did:plc:x"])
def test_a_handle_that_leads_to_no_did_is_refused(liar, note, body):
    liar.answer("com.atproto.identity.resolveHandle", body)
    with pytest.raises(AtdataError):
        AtmosphereClient().get_record(note.replace(DID, HANDLE))


def answers(liar, value, cid=None, uri=None):
    uri = uri or f"at://{DID}/{NOTE}/a"
    return {"uri": uri, "value": value, "cid": cid or dag_cbor_cid(value)}


def test_a_record_whose_content_is_not_that_of_its_cid_is_refused(liar, note):
    value = liar.records[note]
    liar.answer(GET, answers(liar, {**value, "text": "bye"}, dag_cbor_cid(value)))
    with pytest.raises(IntegrityError, match="not that of its CID"):
        AtmosphereClient().get_record(note)


@pytest.mark.parametrize(
    "uri",
    [
        f"at://did:plc:{'b' * 24}/{NOTE}/a",
        f"at://{DID}/com.example.other/a",
        f"at://{DID}/{NOTE}/b",
        "nonsense",
    ],
)
def test_another_record_than_the_one_asked_for_is_refused(liar, note, uri):
    liar.answer(GET, answers(liar, liar.records[note], uri=uri))
    with pytest.raises((IntegrityError, InvalidUriError)):
        AtmosphereClient().get_record(note)


JUNK = {
    "html": b"<html>welcome</html>",
    "nothing": b"",
    "a list": [],
    "null": None,
    "no value": {"uri": f"at://{DID}/{NOTE}/a", "cid": raw_cid(b"")},
    "value is text": {"uri": f"at://{DID}/{NOTE}/a", "cid": raw_cid(b""), "value": "x"},
    "a float": {"uri": f"at://{DID}/{NOTE}/a", "cid": raw_cid(b""), "value": {"x": 1.5}},
    "a vast number": {"uri": f"at://{DID}/{NOTE}/a", "cid": raw_cid(b""), "value": {"x": 2**70}},
    "a bad link": {
        "uri": f"at://{DID}/{NOTE}/a",
        "cid": raw_cid(b""),
        "value": {"x": {"$link": 5}},
    },
    "bad bytes": {
        "uri": f"at://{DID}/{NOTE}/a",
        "cid": raw_cid(b""),
        "value": {"x": {"$bytes": "!"}},
    },
    "a surrogate": b'{"uri": "at://%s/%s/a", "cid": "x", "value": {"x": "\\ud800"}}'
    % (DID.encode(), NOTE.encode()),
    "depth": b"[" * 200_000,
    "NaN": b'{"uri": "at://%s/%s/a", "cid": "x", "value": {"x": NaN}}'
    % (DID.encode(), NOTE.encode()),
}


@pytest.mark.parametrize("name", JUNK)
def test_an_answer_that_is_no_record_is_refused(liar, note, name):
    liar.answer(GET, JUNK[name])
    with pytest.raises(AtdataError):
        AtmosphereClient().get_record(note)


def test_an_answer_without_end_is_cut(liar, note):
    liar.answer(GET, b'{"value": "' + b"x" * 6_000_000 + b'"}')
    with pytest.raises(ServiceError, match=r"too long.*5,000,000"):
        AtmosphereClient().get_record(note)


def test_a_listing_leaves_out_what_is_no_record_of_the_account(liar, note):
    good = answers(liar, liar.records[note])
    bad = [
        answers(liar, {"$type": NOTE, "n": 1}, raw_cid(b"")),
        answers(liar, {"$type": NOTE}, uri=f"at://did:plc:{'b' * 24}/{NOTE}/a"),
        answers(liar, {"$type": NOTE}, uri=f"at://{DID}/com.example.other/a"),
        *(body for name, body in JUNK.items() if isinstance(body, dict)),
        None,
        "text",
    ]
    liar.answer(LIST, {"records": [*bad, good]})
    records = list(AtmosphereClient().iter_records(NOTE, repo=DID))
    assert [record.uri for record in records] == [note]


@pytest.mark.parametrize(
    "page",
    [{"cursor": "again"}, {"cursor": None}, {"cursor": 5}],
    ids=["repeated cursor", "no cursor", "number"],
)
def test_a_listing_that_never_ends_comes_to_an_end(liar, note, page):
    liar.answer(LIST, {"records": [answers(liar, liar.records[note])], **page})
    found = list(AtmosphereClient().iter_records(NOTE, repo=DID))
    assert 1 <= len(found) <= 2


def test_a_listing_with_other_cursors_and_nothing_new_comes_to_an_end(liar, note):
    count = iter(range(1_000_000))
    liar.answer(LIST, lambda query: {"records": [], "cursor": str(next(count))})
    assert list(AtmosphereClient().iter_records(NOTE, repo=DID)) == []
    records = [answers(liar, liar.records[note])]
    liar.answer(LIST, lambda query: {"records": records, "cursor": str(next(count))})
    assert len(list(AtmosphereClient().iter_records(NOTE, repo=DID, limit=7))) == 7


def test_blobs_of_other_bytes_are_never_handed_out(liar, published):
    uri, data = published
    for wrong in (data[:-1], data + b"x", bytes(len(data)), b"", b"<html>sorry</html>"):
        liar.answer(BLOB, wrong)
        with pytest.raises(IntegrityError, match=raw_cid(data)):
            list(atdata.load_dataset(uri, Item))
        with pytest.raises(IntegrityError):
            AtmosphereClient().get_blob(DID, raw_cid(data))
        with pytest.raises(IntegrityError):
            source = BlobSource.from_refs([{"did": DID, "cid": raw_cid(data)}])
            source.open_shard(source.list_shards()[0])


def test_a_blob_that_is_compressed_on_the_way_is_refused(liar, published):
    import gzip

    uri, data = published
    liar.answer(BLOB, gzip.compress(data), headers={"Content-Encoding": "gzip"})
    with pytest.raises(AtdataError):
        list(atdata.load_dataset(uri, Item))
    for headers in liar.asked(BLOB):
        assert headers["Accept-Encoding"] == "identity"


def test_a_blob_shorter_than_its_length_says(liar, published):
    uri, data = published
    liar.answer(BLOB, data[:-600], headers={"Content-Length": str(len(data))})
    with pytest.raises((UnreachableError, IntegrityError)):
        list(atdata.load_dataset(uri, Item))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "BlobNotFound", "message": "Blob not found"}, NotFoundError),
        (400, {"error": "InvalidRequest", "message": "Blob not found"}, NotFoundError),
        (400, {"error": "RepoDeactivated", "message": "gone"}, NotFoundError),
        (400, {"error": "RepoTakendown", "message": "gone"}, NotFoundError),
        (404, b"<html>", NotFoundError),
        (400, {"error": "InvalidRequest", "message": "bad"}, ServiceError),
        (500, b"oh no", ServiceError),
        (206, b"part", ServiceError),
        (429, {"error": "RateLimitExceeded", "message": "slow down"}, RateLimitedError),
    ],
    ids=["none", "none, old", "deactivated", "takendown", "404", "bad", "500", "206", "429"],
)
def test_a_server_s_refusal_of_a_blob_is_told(liar, published, status, body, error):
    liar.answer(BLOB, body, status, {"Retry-After": "12"})
    with pytest.raises(error) as caught:
        list(atdata.load_dataset(published[0], Item))
    if error is RateLimitedError:
        assert caught.value.retry_after == 12


def test_a_redirect_is_not_followed(liar, published):
    with Liar() as other:
        other.blobs = dict(liar.blobs)
        liar.answer(BLOB, b"", 302, {"Location": f"{other.url}/xrpc/{BLOB}?cid=x"})
        liar.answer(GET, b"", 307, {"Location": f"{other.url}/xrpc/{GET}"})
        with pytest.raises(ServiceError):
            AtmosphereClient().get_blob(DID, raw_cid(published[1]))
        with pytest.raises(ServiceError):
            AtmosphereClient().get_record(published[0])
        assert other.requests == []


def test_what_anybody_may_read_is_read_without_the_session(liar, client, published, note):
    liar.requests.clear()
    client.get_record(note)
    list(client.iter_records(NOTE))
    list(DatasetLoader(client).to_dataset(published[0], Item))
    assert client.max_blob_bytes == 50_000_000
    assert len(liar.requests) >= 5
    for path, headers in liar.requests:
        assert "Authorization" not in headers, path


def test_a_pds_that_answers_another_cid_for_a_blob_is_noticed_and_nothing_is_published(
    liar, client, tmp_path
):
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    local = FileIndex(tmp_path)
    entry = local.write_samples(items(3), name="digits", sample_type=Item).entry
    for wrong in (
        liar.blob(raw_cid(b"others"), entry.size),
        liar.blob(entry.shards[0].cid, entry.size - 1),
        {"$type": "blob"},
        {},
    ):
        liar.answer(UPLOAD, {"blob": wrong})
        with pytest.raises(IntegrityError, match="other bytes than were sent"):
            index.insert_dataset(local.open_dataset("digits"), name="digits")
    for body in ({}, [], b"thanks", {"blob": "yes"}):
        liar.answer(UPLOAD, body)
        with pytest.raises(AtdataError):
            index.insert_dataset(local.open_dataset("digits"), name="digits")
    assert [uri for uri in liar.records if DATASET_TYPE in uri] == []


def test_a_record_that_was_changed_after_it_was_linked_is_noticed(liar, published, note):
    linked = AtmosphereClient().get_record(note).cid
    liar.records[note] = {"$type": NOTE, "text": "changed"}
    with pytest.raises(IntegrityError, match="changed since it was linked"):
        AtmosphereClient().get_record(note, linked)
    uri, _ = published
    schema_uri = liar.records[uri]["schemaRef"]
    schema = liar.records[schema_uri]
    liar.records[schema_uri] = {**schema, "description": "another one"}
    dataset = atdata.load_dataset(uri, Item)  # whose samples are what they were
    assert list(dataset) == items(3)
    assert any("changed, but describes the same" in f for f in dataset.verification.evidence)
    for other in ({**schema, "fields": schema["fields"][:1]}, {"$type": SCHEMA_TYPE}):
        liar.records[schema_uri] = other
        with pytest.raises(VerificationError, match="schema record was changed after") as caught:
            atdata.load_dataset(uri, Item)
        assert caught.value.code == "changed"
        assert caught.value.expected == dag_cbor_cid(schema)
        assert caught.value.got == dag_cbor_cid(other)


def test_a_schema_that_was_exchanged_under_a_dataset_without_a_strong_link_is_noticed(
    liar, published
):
    @atdata.packable
    class Item:
        id: int
        text: str

    uri, _ = published
    record = dict(liar.records[uri])
    del record["schema"]
    liar.records[uri] = record
    liar.records[record["schemaRef"]] = schema_record(Schema.of(Item))
    with pytest.raises(SchemaError, match="another type than the dataset's"):
        atdata.load_dataset(uri)


def changed(record, **parts):
    return {key: value for key, value in {**record, **parts}.items() if value is not ...}


@pytest.mark.parametrize(
    "parts",
    [
        {"$type": "com.example.other"},
        {"name": ...},
        {"schemaRef": ...},
        {"schemaRef": "nonsense"},
        {"schemaRef": 5},
        {"storage": ...},
        {"storage": "x"},
        {"storage": {"$type": "com.example.storageTape"}},
        {"storage": {"$type": "ac.foundation.dataset.storageBlobs"}},
        {"storage": {"$type": "ac.foundation.dataset.storageBlobs", "blobs": [{}]}},
        {"storage": {"$type": "ac.foundation.dataset.storageBlobs", "blobs": 5}},
        {"storage": external_storage(["file:///etc/passwd"], (), names_of())},
        {"storage": external_storage(["/etc/passwd"], (), names_of())},
        {"storage": external_storage(["pipe:cat /etc/passwd"], (), names_of())},
        {"storage": external_storage(["http://10.0.0.1/a.tar"], (), names_of())},
        {
            "storage": external_storage(["https://x.org/{0..999999999}.tar"], (), names_of()),
            "shards": ...,
        },
        {"shards": []},
        {"shards": [{}, {}]},
        {"shards": [{"cid": "nonsense"}]},
        {"shards": [{"cid": raw_cid(b"others")}]},
        {"shards": [{"cid": 5}]},
        {"shards": [{"size": "7"}]},
        {"shards": [{"rows": -1}]},
        {"shards": 5},
        {"shards": ["x"]},
        {"contentCid": raw_cid(b"others")},
        {"schemaContentCid": "nonsense"},
        {"schemaContentCid": 5},
        {"previous": "x"},
        {"metadata": {"$bytes": "wQ"}},
        {"tags": 5},
    ],
    ids=lambda parts: json.dumps(parts, default=lambda _: "gone")[:90],
)
def test_a_record_that_describes_no_dataset_is_refused(liar, published, parts):
    uri, _ = published
    honest = liar.records[uri]
    liar.records[uri] = changed(honest, **parts)
    if parts == {"shards": []}:
        liar.records[uri] = changed(honest, shards=[], contentCid=raw_cid(b"x"))
    with pytest.raises(AtdataError) as caught:
        atdata.load_dataset(uri, Item)
    assert not isinstance(caught.value, NotFoundError)
    listed = AtmosphereIndex(AtmosphereClient()).list_datasets(DID)
    assert [entry.name for entry in listed] in ([], ["digits"])


@pytest.mark.parametrize("size", ["10240", 5.5, None, True, -1, {"a": 1}])
def test_a_blob_whose_size_is_no_count_is_refused(liar, published, size):
    uri, _ = published
    record = changed(liar.records[uri], shards=..., contentCid=..., schemaContentCid=...)
    blob = {**record["storage"]["blobs"][0], "size": size}
    record["storage"] = {**record["storage"], "blobs": [blob]}
    if size == 5.5:
        liar.answer(GET, {"uri": uri, "cid": raw_cid(b""), "value": record})
    liar.records[uri] = {} if size == 5.5 else record
    with pytest.raises(AtdataError):
        list(atdata.load_dataset(uri, Item))


@pytest.mark.parametrize(
    "parts",
    [
        {"$type": "com.example.other"},
        {"fields": ...},
        {"fields": [5]},
        {"name": "import os"},
        {"version": "x"},
    ],
    ids=str,
)
def test_a_record_that_describes_no_schema_is_refused(liar, published, parts):
    uri = next(uri for uri in liar.records if SCHEMA_TYPE in uri)
    liar.records[uri] = changed(liar.records[uri], **parts)
    with pytest.raises((SchemaError, InvalidRecordError)):
        SchemaLoader(AtmosphereClient()).load(uri)
    assert AtmosphereIndex(AtmosphereClient()).list_schemas(DID) is not None


def test_a_schema_s_record_of_another_type_doesn_t_hide_the_others(liar, client):
    SchemaPublisher(client).publish(Item)
    liar.add_record(SCHEMA_TYPE, "bad", {"$type": "com.example.other"})
    liar.add_record(SCHEMA_TYPE, "worse", {"$type": SCHEMA_TYPE, "name": "Item"})
    assert [s.name for s in AtmosphereIndex(client).versions_of("Item")] == ["Item"]


def test_a_login_whose_document_names_an_odd_host_is_refused(liar):
    for endpoint in ("http://example.com", "http://10.0.0.1:2583"):
        service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer"}
        document = liar.document(service=[{**service, "serviceEndpoint": endpoint}])
        session = liar._honest("com.atproto.server.createSession", {}, b"")[1]
        liar.answer("com.atproto.server.createSession", {**session, "didDoc": document})
        with AtmosphereClient() as client:
            with pytest.raises(ServiceError, match="may not be asked"):
                client.login(HANDLE, "aaaa-bbbb-cccc-dddd")
            assert not client.is_authenticated


def test_a_login_is_not_redirected(liar):
    with Liar() as other:
        for status in (302, 307, 308):
            place = f"{other.url}/xrpc/com.atproto.server.createSession"
            liar.answer("com.atproto.server.createSession", b"", status, {"Location": place})
            with AtmosphereClient() as client, pytest.raises(AtdataError):
                client.login(HANDLE, "aaaa-bbbb-cccc-dddd")
        assert other.requests == []


def test_a_login_that_answers_nonsense_is_told(liar):
    for body in ({}, [], b"<html>", {"did": 5}):
        liar.answer("com.atproto.server.createSession", body)
        with AtmosphereClient() as client:
            with pytest.raises(AtdataError):
                client.login(HANDLE, "aaaa-bbbb-cccc-dddd")
            assert not client.is_authenticated


def test_a_server_that_asks_to_wait_tells_until_when(liar, client):
    path = "com.atproto.repo.putRecord"
    body = {"error": "RateLimitExceeded", "message": "slow down"}
    for headers in ({"Retry-After": "12"}, {"ratelimit-reset": str(int(time.time()) + 12)}):
        liar.answer(path, body, 429, headers)
        with pytest.raises(RateLimitedError, match="takes requests again at") as caught:
            SchemaPublisher(client).publish(Item)
        assert 9 <= caught.value.retry_after <= 12


def test_blobs_that_were_dropped_before_their_record_are_sent_again(liar, client, tmp_path):
    path, dropped = "com.atproto.repo.putRecord", threading.Event()
    honest = liar._honest
    local = FileIndex(tmp_path)
    entry = local.write_samples(items(3), name="digits", sample_type=Item).entry

    def forgetful(asked, query, body):
        if asked == path and DATASET_TYPE.encode() in body and not dropped.is_set():
            dropped.set()
            return 400, {"error": "BlobNotFound", "message": "Could not find blob"}
        return honest(asked, query, body)

    liar._honest = forgetful
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    found = index.insert_dataset(local.open_dataset("digits"), name="digits")
    assert found.cid == entry.cid
    assert len(liar.asked(UPLOAD)) == 2
    assert len([uri for uri in liar.records if DATASET_TYPE in uri]) == 1


def test_a_pds_that_is_gone_when_the_blobs_are_there_leaves_no_record(tmp_path, monkeypatch):
    local = FileIndex(tmp_path)
    local.write_samples(items(3), name="digits", sample_type=Item)
    with Liar() as server, AtmosphereClient(server.url) as client:
        for name in ("ATDATA_PLC_URL", "ATDATA_PDS_URL"):
            monkeypatch.setenv(name, server.url)
        client.login(HANDLE, "aaaa-bbbb-cccc-dddd")
        server.answer("com.atproto.repo.putRecord", b"", headers={"Content-Length": "7"})
        index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
        with pytest.raises(UnreachableError, match="putRecord"):
            index.insert_dataset(local.open_dataset("digits"), name="digits")
        assert server.records == {}


def test_a_server_that_refuses_what_it_said_that_it_takes(liar, client):
    liar.answer("com.atproto.server.describeServer", {"blobUploadLimit": 1_000_000})
    liar.answer(UPLOAD, {"error": "PayloadTooLarge", "message": "too large"}, 413)
    with pytest.raises(TooLargeError, match="too large"):
        client.upload_blob(bytes(1000))
    with pytest.raises(TooLargeError, match="1,000,000") as caught:
        client.upload_blob(bytes(1_000_001))
    assert (caught.value.size, caught.value.limit) == (1_000_001, 1_000_000)
    assert len(liar.asked(UPLOAD)) == 1


def test_shards_at_plain_addresses_are_read_and_refused_when_damaged(liar, tmp_path):
    data = shard_file(tmp_path / "a.tar", items(3)).read_bytes()
    liar.answer("a.tar", data)
    url = f"{liar.url}/data/a.tar"
    assert list(atdata.load_dataset(url, Item)) == items(3)
    assert atdata.load_dataset(url, Item).shards[0].cid == raw_cid(data)
    liar.answer("a.tar", data[:1500])
    with pytest.raises(ShardError, match=r"a\.tar"):
        list(atdata.load_dataset(url, Item))
    with pytest.raises(NotFoundError, match=r"b\.tar"):
        list(atdata.load_dataset(f"{liar.url}/data/b.tar", Item))


def test_references_to_blobs_without_did_or_cid_are_refused():
    with pytest.raises(ConfigurationError, match="cid"):
        BlobSource.from_refs([{"did": DID}])
    with pytest.raises(InvalidUriError):
        BlobSource.from_refs([{"did": DID, "cid": dag_cbor_cid({"a": 1})}])
    with pytest.raises(InvalidUriError):
        BlobSource.from_refs([{"did": "nobody", "cid": raw_cid(b"")}])


def test_opening_a_dataset_asks_for_each_thing_once(liar, tmp_path):
    from atdata_core.atproto import identity

    bodies = [shard_file(tmp_path / f"{n}.tar", items(2, 2 * n)).read_bytes() for n in range(4)]
    schema = schema_record(Schema.of(Item))
    schema_uri = liar.add_record(SCHEMA_TYPE, "s", schema)
    shards = tuple(Shard("x", liar.add_blob(data), len(data), 2) for data in bodies)
    entry = DatasetEntry("digits", schema_uri, shards, schema_cid=Schema.of(Item).cid)
    storage = blob_storage(shards, "application/x-tar", names_of())
    record = dataset_record(entry, storage, dag_cbor_cid(schema), names_of())
    uri = liar.add_record(DATASET_TYPE, "d", record)
    identity._resolve_did.cache_clear()
    assert list(atdata.load_dataset(uri, Item)) == items(8)
    assert len(liar.asked(PROOF)) == 1  # the dataset
    assert len(liar.asked(GET)) == 1  # its schema, pinned by the dataset's record
    assert len(liar.asked(BLOB)) == 4
    assert len(liar.asked(DID)) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254/latest/meta-data/", "can't be opened"),
        ("http://example.org/a.tar", "can't be opened"),
        ("https://169.254.169.254/latest/meta-data/", "may not be asked"),
        ("https://10.0.0.1/a.tar", "may not be asked"),
        ("https://[fd00::1]/a.tar", "may not be asked"),
        ("https://[::ffff:10.0.0.1]/a.tar", "may not be asked"),
        ("https://224.0.0.1/a.tar", "may not be asked"),
        ("https://user:word@example.org/a.tar", "may not be asked"),
    ],
)
def test_shards_at_an_address_that_may_not_be_asked_are_refused(liar, published, url, words):
    storage = {"$type": "ac.foundation.dataset.storageExternal", "urls": [url]}
    told = ("shards", "contentCid")
    record = {key: v for key, v in liar.records[published[0]].items() if key not in told}
    uri = liar.add_record(DATASET_TYPE, "elsewhere", {**record, "storage": storage})
    with pytest.raises(AtdataError, match=words):
        list(atdata.load_dataset(uri, Item, verify="signed"))


def test_a_server_within_a_network_is_asked_if_a_setting_points_to_it(monkeypatch):
    from atdata_core.atproto.door import check_origin

    with pytest.raises(ServiceError, match="may not be asked"):
        check_origin("https://10.0.0.1/xrpc")
    monkeypatch.setenv("ATDATA_PDS_URL", "https://10.0.0.1")
    assert check_origin("https://10.0.0.1/xrpc") == "https://10.0.0.1"
    for url in ("https://10.0.0.2", "http://10.0.0.1"):
        with pytest.raises(ServiceError, match="may not be asked"):
            check_origin(url)


def test_a_server_that_doesn_t_answer_is_not_waited_for(liar, note, published, monkeypatch):
    monkeypatch.setattr("atdata_core.atproto.web._TIMEOUT_S", 0.3)
    done = threading.Event()

    def hang(query):
        done.wait(20)
        return {}

    for path, use in (
        (GET, lambda: AtmosphereClient().get_record(note)),
        (BLOB, lambda: AtmosphereClient().get_blob(DID, raw_cid(published[1]))),
    ):
        liar.answer(path, hang)
        start = time.monotonic()
        with pytest.raises(UnreachableError, match=path):
            use()
        assert time.monotonic() - start < 5
    done.set()


def test_an_account_with_a_did_on_the_web_is_read(liar):
    did = "did:web:localhost%3A" + liar.url.rpartition(":")[2]
    liar.answer("did.json", liar.document(id=did))
    uri = f"at://{did}/{NOTE}/a"
    liar.records[uri] = {"$type": NOTE, "text": "hello"}
    assert AtmosphereClient().get_record(uri)["text"] == "hello"
    cid = liar.add_blob(b"a shard")
    source = BlobSource.from_refs([{"did": did, "cid": cid}])
    with source.open_shard(source.list_shards()[0]) as stream:
        assert stream.read() == b"a shard"
    assert liar.asked(DID) == []
