"""Lenses as records on a real PDS: text that is checked, found again, and never run."""

import subprocess
import sys

import pytest

from atdata_core.atmosphere import (
    AtmosphereClient,
    CodeReference,
    LensLoader,
    LensPublisher,
    SchemaPublisher,
)
from atdata_core.atproto.records import LENS_TYPES, NAMESPACES
from atdata_core.errors import ConflictError, InvalidRecordError, InvalidUriError, NotFoundError
from tests.support import web
from tests.support.samples import Item, Loose, Other

REPOSITORY = "https://git.example.org/lab/lenses"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def schemas(client):
    """The addresses of two schemas."""
    return [str(SchemaPublisher(client).publish(kind)) for kind in (Item, Other)]


@pytest.fixture
def said(schemas):
    """What a lens from the one to the other has to say."""
    return {
        "name": "id",
        "source_schema_uri": schemas[0],
        "target_schema_uri": schemas[1],
        "code_repository": REPOSITORY,
        "code_commit": COMMIT,
        "getter_path": "lenses/ids.py:id_of",
        "putter_path": "lenses/ids.py:with_id",
        "description": "The number alone",
    }


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_lens_is_published_once_and_read_by_anybody(client, schemas, said, namespace):
    publisher = LensPublisher(client, namespace=namespace)
    uri = publisher.publish(**said)
    assert publisher.publish(**said) == uri
    assert uri.collection == f"{namespace}.lens"
    there = web.record(client.base_url, str(uri))
    value = there["value"]
    links = [web.record(client.base_url, schema) for schema in schemas]
    for key, link in zip(("source", "target"), links, strict=True):
        assert value[f"{key}Schema"] == link["uri"]
        assert value[key] == {"uri": link["uri"], "cid": link["cid"]}
    assert value["getterCode"] == {
        "repository": REPOSITORY,
        "commit": COMMIT,
        "path": "lenses/ids.py:id_of",
        "language": "python",
    }
    found = LensLoader(AtmosphereClient()).get(uri)
    assert (found.uri, found.record_cid) == (str(uri), there["cid"])
    assert (found.name, found.description) == ("id", "The number alone")
    assert (found.source_schema, found.target_schema) == tuple(schemas)
    assert found.putter == CodeReference(REPOSITORY, COMMIT, "lenses/ids.py:with_id", "python")
    other = publisher.publish(**said | {"code_commit": COMMIT[::-1]})
    assert other != uri
    assert LensLoader(client).get(other).getter.commit == COMMIT[::-1]
    uris = {record["uri"] for record in web.records(client.base_url, client.did, uri.collection)}
    assert {str(uri), str(other)} <= uris


def test_a_lens_under_a_key_of_its_own_stays_what_it_is(client, said):
    publisher = LensPublisher(client)
    uri = publisher.publish(**said, rkey="mine")
    assert publisher.publish(**said, rkey="mine") == uri
    with pytest.raises(ConflictError, match="another record has this key"):
        publisher.publish(**said | {"name": "other"}, rkey="mine")


def test_lenses_are_found_by_their_schemas(services, client, schemas, said):
    third = str(SchemaPublisher(client).publish(Loose))
    publisher = LensPublisher(client)
    there = publisher.publish(**said | {"name": "there"})
    back = publisher.publish(
        **said | {"name": "back", "source_schema_uri": schemas[1], "target_schema_uri": third}
    )
    loader = LensLoader(AtmosphereClient())
    assert [lens.uri for lens in loader.find(schemas[1], third, repo=client.did)] == [str(back)]
    assert str(there) in [lens.uri for lens in loader.find(schemas[0], repo=client.handle)]
    assert {lens.target_schema for lens in loader.find(*schemas, repo=client.did)} == {schemas[1]}
    by_handle = schemas[1].replace(client.did, client.handle)
    assert [lens.name for lens in LensLoader(client).find(by_handle)] == ["back"]
    assert loader.find(third, repo=client.did) == []
    newest = [lens.created_at for lens in loader.find(schemas[0], repo=client.did)]
    assert newest == sorted(newest, reverse=True)
    with pytest.raises(InvalidUriError):
        loader.find("atdata://local/schema/Item@1.0.0", repo=client.did)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"code_repository": "https://me:hunter2@x.org/r"}, InvalidRecordError, "credentials"),
        ({"code_repository": "/home/me/lenses"}, InvalidRecordError, "public address"),
        ({"code_commit": "main"}, InvalidRecordError, "rev-parse"),
        ({"getter_path": "../ids.py"}, InvalidRecordError, "getterCode"),
        ({"putter_path": "/ids.py"}, InvalidRecordError, "putterCode"),
        ({"name": "n" * 101}, InvalidRecordError, "name"),
        ({"description": "d" * 1001}, InvalidRecordError, "description"),
        ({"source_schema_uri": "x"}, InvalidUriError, "AT URI"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_lens_that_says_something_impossible_is_not_published(
    client, said, changes, error, message
):
    before = len(web.records(client.base_url, client.did, LENS_TYPES[0]))
    with pytest.raises(error, match=message) as caught:
        LensPublisher(client).publish(**said | changes)
    assert "hunter2" not in str(caught.value)
    assert len(web.records(client.base_url, client.did, LENS_TYPES[0])) == before


def test_a_lens_between_schemas_that_are_not_there_is_not_published(client, schemas, said):
    publisher = LensPublisher(client)
    with pytest.raises(NotFoundError):
        publisher.publish(**said | {"target_schema_uri": schemas[1][:-1] + "2"})
    lens = publisher.publish(**said)
    with pytest.raises(InvalidRecordError, match="another type"):
        publisher.publish(**said | {"target_schema_uri": lens})


def test_records_that_describe_no_lens_are_told_and_left_out_of_lists(client, schemas):
    note = client.create_record(LENS_TYPES[1], {"name": "x", "sourceSchema": schemas[0]})
    loader = LensLoader(client)
    with pytest.raises(InvalidRecordError, match="targetSchema"):
        loader.get(note)
    assert str(note) not in [lens.uri for lens in loader.list_all(limit=None)]
    with pytest.raises(InvalidRecordError, match="another type"):
        loader.get(schemas[0])


PROGRAM = """
import sys
from atdata_core.atmosphere import AtmosphereClient, LensLoader
uri, = sys.argv[1:]
loader = LensLoader(AtmosphereClient())
found = loader.get(uri)
assert found in loader.find(found.source_schema, repo=uri.split("/")[2])
print(found.getter.path, found.putter.path, "antigravity" in sys.modules, "this" in sys.modules)
"""


def test_nothing_that_a_record_names_is_imported_or_run(client, schemas, tmp_path):
    code = {"repository": REPOSITORY, "commit": COMMIT}
    uri = client.create_record(
        LENS_TYPES[0],
        {
            "name": "__import__('this')",
            "sourceSchema": schemas[0],
            "targetSchema": schemas[1],
            "getterCode": {**code, "path": "os:system", "language": "python"},
            "putterCode": {**code, "path": "antigravity"},
            "createdAt": "2026-01-28T00:00:00Z",
        },
    )
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(uri)], capture_output=True, text=True, cwd=tmp_path
    )
    assert (ran.returncode, ran.stdout.split()) == (
        0,
        ["os:system", "antigravity", "False", "False"],
    ), ran.stderr
    assert list(tmp_path.iterdir()) == []
