"""What servers list is read within bounds, and what isn't of those asked for is left out."""

import logging

import numpy as np
import pytest

from atdata_core import AtmosphereIndex, PDSBlobStore, Schema
from atdata_core.atproto.records import DATASET_TYPES
from atdata_core.cid import dag_cbor_cid
from atdata_core.discovery import (
    FileCatalogue,
    FoundRecord,
    fetch_record,
    find_holders,
    list_repo_datasets,
    repo_state,
    search,
)
from atdata_core.discovery.catalogue import Put
from atdata_core.errors import (
    IntegrityError,
    NotFoundError,
    ServiceError,
    UnreachableError,
    VerificationError,
)
from atdata_core.verification import VerificationLevel
from tests.support.liar import DID
from tests.support.samples import Item, Other, items

TYPE = DATASET_TYPES[0]
OTHER = "did:plc:" + "b" * 24
LIST = "com.atproto.repo.listRecords"
HOLDERS = "com.atproto.sync.listReposByCollection"


def item(rkey, did=DID, collection=TYPE, value=None, cid=None):
    value = {"name": rkey} if value is None else value
    return {
        "uri": f"at://{did}/{collection}/{rkey}",
        "cid": cid or dag_cbor_cid(value),
        "value": value,
    }


def pages(*of_items, field="records", cursors=None):
    """An answer that gives one page after another."""

    def answer(query):
        number = int(query.get("cursor", 0))
        body = {field: of_items[number] if number < len(of_items) else []}
        following = cursors(number) if cursors else number + 1
        return body if following is None else body | {"cursor": str(following)}

    return answer


def keys(listing):
    return [record.rkey for record in listing.records]


def test_all_pages_are_read(liar):
    liar.answer(LIST, pages([item("a"), item("b")], [], [item("c")]))
    found = list_repo_datasets(DID, collections=[TYPE])
    assert (keys(found), found.dropped) == (["a", "b", "c"], 0)


def test_a_repeated_cursor_ends_the_list_with_a_warning(liar, caplog):
    liar.answer(LIST, pages([item("a")], [item("b")], cursors=lambda n: 1))
    with caplog.at_level(logging.WARNING):
        found = list_repo_datasets(DID, collections=[TYPE])
    assert (keys(found), found.truncated) == (["a", "b"], True)
    assert "it repeats a cursor" in caplog.text
    assert len(liar.asked(LIST)) == 2


def test_empty_pages_with_cursors_end_the_list(liar, caplog):
    liar.answer(LIST, pages([item("a")]))
    with caplog.at_level(logging.WARNING):
        found = list_repo_datasets(DID, collections=[TYPE])
    assert (keys(found), found.truncated) == (["a"], True)
    assert "3 pages on end were empty" in caplog.text


def test_a_list_without_end_is_read_up_to_a_number_of_pages(liar, caplog):
    liar.answer(LIST, lambda query: pages()(query) | {"records": [item(query.get("cursor", "0"))]})
    with caplog.at_level(logging.WARNING):
        found = list_repo_datasets(DID, collections=[TYPE], max_pages=5)
    assert (len(found.records), found.truncated) == (5, True)
    assert "more than 5 pages" in caplog.text


def test_records_of_others_and_lies_are_dropped_and_counted(liar, caplog):
    liar.answer(
        LIST,
        pages(
            [
                item("mine"),
                item("theirs", did=OTHER),
                item("type", collection="com.example.note"),
                item("lie", cid=dag_cbor_cid({"name": "another"})),
                item("float", value={"name": 1.5}, cid=dag_cbor_cid({})),
                {"uri": "nonsense", "cid": "nonsense"},
                "nonsense",
                item("mine"),
            ],
            cursors=lambda n: None,
        ),
    )
    with caplog.at_level(logging.WARNING):
        found = list_repo_datasets(DID, collections=[TYPE])
    assert (keys(found), found.dropped, found.truncated) == (["mine"], 6, False)
    assert "6 items of its list are not its records" in caplog.text


@pytest.mark.parametrize("body", [[], {"records": None}, {"records": {}}, "text"])
def test_an_answer_that_is_no_list_is_an_error(liar, body):
    liar.answer(LIST, body)
    with pytest.raises(ServiceError, match="not a list in pages"):
        list_repo_datasets(DID)


def test_holders_come_from_a_relay_and_from_a_list(liar):
    liar.answer(
        HOLDERS,
        pages(
            [{"did": DID}, {"did": "did:key:zz"}, {"no": "did"}, {"did": DID}],
            field="repos",
            cursors=lambda n: None,
        ),
    )
    found = find_holders(liar.url, dids=[OTHER], collections=[TYPE])
    assert (found.dids, found.dropped, found.truncated) == ([DID, OTHER], 2, False)
    assert find_holders(dids=[OTHER]).dids == [OTHER]


def test_a_relay_without_end_is_bounded(liar, caplog):
    liar.answer(HOLDERS, lambda q: {"repos": [{"did": DID}], "cursor": q.get("cursor", "") + "x"})
    with caplog.at_level(logging.WARNING):
        found = find_holders(liar.url, collections=[TYPE], max_pages=7)
    assert (found.dids, found.truncated) == ([DID], True)
    assert len(liar.asked(HOLDERS)) == 7


def test_a_relay_in_the_users_own_network_isnt_asked(liar):
    with pytest.raises(ServiceError, match="address may not be asked"):
        find_holders("https://192.168.1.1")


def test_a_record_is_fetched_with_its_cid_checked(liar):
    uri = liar.add_record(TYPE, "one", {"name": "one"})
    found = fetch_record(uri, rev="r", level=VerificationLevel.TRANSPORT)
    assert (found.uri, found.value, found.level, found.rev) == (
        uri,
        {"name": "one"},
        VerificationLevel.TRANSPORT,
        "r",
    )
    with pytest.raises(NotFoundError):
        fetch_record(uri + "x", level=VerificationLevel.TRANSPORT)
    lie = {"uri": uri, "cid": found.cid, "value": {"name": "two"}}
    liar.answer("com.atproto.repo.getRecord", lie)
    with pytest.raises(IntegrityError, match="content is not that of its CID"):
        fetch_record(uri, level=VerificationLevel.TRANSPORT)
    assert fetch_record(uri).level == VerificationLevel.SIGNED
    liar.answer("com.atproto.sync.getRecord", b"no proof")
    with pytest.raises(VerificationError):
        fetch_record(uri)


def test_the_state_of_a_repository(liar):
    status = "com.atproto.sync.getRepoStatus"
    liar.answer(status, {"did": DID, "active": True, "rev": "r1"})
    assert (repo_state(DID).status, repo_state(DID).rev) == ("active", "r1")
    liar.answer(status, {"did": DID, "active": False, "status": "takendown"})
    assert repo_state(DID).status == "takendown"
    liar.answer(status, {"did": DID, "active": True})
    liar.answer("com.atproto.sync.getLatestCommit", {"cid": "c", "rev": "r2"})
    assert repo_state(DID).rev == "r2"
    liar.answer(status, {"did": OTHER, "active": True})
    with pytest.raises(ServiceError, match="about another account"):
        repo_state(DID)
    liar.answer(status, {"error": "RepoNotFound", "message": "gone"}, status=400)
    assert repo_state(DID).status == "deleted"
    liar.answer(status, b"<html>404</html>", status=404)
    with pytest.raises(ServiceError, match="tells no status"):
        repo_state(DID)
    liar.answer(status, {"error": "Oops", "message": "later"}, status=500)
    with pytest.raises(ServiceError, match="later"):
        repo_state(DID)


def found(name, schema=None, **said):
    value = {
        "$type": TYPE,
        "name": name,
        "schemaRef": f"at://{DID}/ac.foundation.dataset.sampleSchema/x",
        "storage": {
            "$type": "ac.foundation.dataset.storageExternal",
            "urls": ["https://a.example/x.tar"],
        },
    } | said
    if schema:
        value["schemaContentCid"] = Schema.of(schema).cid
    return FoundRecord(said.pop("did", DID), TYPE, name, dag_cbor_cid(value), value)


RECORDS = [
    found("Weather-north", Item, tags=["Meteo", "hourly"], license="CC0-1.0"),
    found("weather-south", Other, description="Stations in the süd", license="CC-BY-4.0"),
    found("digits", Item, metadata={"note": "written by hand"}),
    FoundRecord(DID, "com.example.note", "note", "c", {"name": "weather"}),
    FoundRecord(DID, TYPE, "broken", "c", {"name": "weather"}),
]


@pytest.mark.parametrize(
    ("wishes", "names"),
    [
        ({}, ["Weather-north", "weather-south", "digits"]),
        ({"name": "weather*"}, ["Weather-north", "weather-south"]),
        ({"name": "DIGITS"}, ["digits"]),
        ({"name": "weather"}, []),
        ({"tag": "meteo"}, ["Weather-north"]),
        ({"tag": "met"}, []),
        ({"schema": Item}, ["Weather-north", "digits"]),
        ({"schema": Schema.of(Other).cid}, ["weather-south"]),
        (
            {"schema": f"at://{DID}/ac.foundation.dataset.sampleSchema/x", "tag": "hourly"},
            ["Weather-north"],
        ),
        ({"license": "cc0-1.0"}, ["Weather-north"]),
        ({"text": "SÜD weather"}, ["weather-south"]),
        ({"text": "hand"}, ["digits"]),
        ({"text": "hand weather"}, []),
        ({"author": OTHER}, []),
    ],
)
def test_search(wishes, names):
    assert [record.value["name"] for record in search(RECORDS, **wishes)] == names
    with FileCatalogue() as catalogue:
        catalogue.apply([Put(record) for record in RECORDS])
        assert {r.value["name"] for r in catalogue.search(**wishes)} == set(names)


def test_datasets_are_found_on_a_real_pds(services, make_account):
    client = make_account()
    with AtmosphereIndex(client, data_store=PDSBlobStore(client)) as index:
        entry = index.write_samples(
            iter(items(3)), name="found", sample_type=Item, tags=["red"]
        ).entry
        for who in (client.did, client.handle):
            [record] = search(list_repo_datasets(who).records, schema=Item, tag="red")
            assert record.uri == entry.uri
            assert record.cid == entry.record_cid
        fetched = fetch_record(entry.uri)
        assert (fetched.cid, fetched.value) == (record.cid, record.value)
        assert (fetched.level, fetched.rev) == (
            VerificationLevel.SIGNED,
            repo_state(client.did).rev,
        )
        state = repo_state(client.did)
        assert (state.status, len(state.rev)) == ("active", 13)
    assert np.array_equal(record.entry().rows, 3)


def test_a_pds_that_is_down_is_an_error(liar):
    liar.answer(
        DID,
        liar.document(
            service=[
                {
                    "id": "#atproto_pds",
                    "type": "AtprotoPersonalDataServer",
                    "serviceEndpoint": "http://localhost:1",
                }
            ]
        ),
    )
    with pytest.raises(UnreachableError):
        list_repo_datasets(DID)
