"""The tutorial that the public names were promised by: every block of it runs, in order."""

import hashlib
import re
import sys
import types
from pathlib import Path

import pytest

from atdata_core.atmosphere import AtmosphereClient
from atdata_core.atproto.records import DATASET_TYPES, SCHEMA_TYPES
from tests.support import web
from tests.support.samples import cid_of

DATASET_TYPE, SCHEMA_TYPE = DATASET_TYPES[0], SCHEMA_TYPES[0]

PAGE = Path(__file__).with_name("page.md").read_text("utf-8")
BLOCKS = re.findall(r"^## (.+?)\n\n```python\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(account, tmp_path_factory):
    """The page's names, after all of its blocks so far; its files lie in a folder of its own."""
    module = types.ModuleType("tutorial")
    module.HANDLE, module.APP_PASSWORD = account.handle, account.app_password
    module.done, module.clients = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        patch.setitem(sys.modules, "tutorial", module)
        yield module
    for client in module.clients:
        client.close()


def run_to(page, end):
    """Runs the blocks that were not run yet, up to and with number `end`."""
    while len(page.done) <= end:
        number = len(page.done)
        exec(compile(BLOCKS[number][1], f"block {number}", "exec"), vars(page))
        page.done.append(dict(vars(page)))
        if isinstance(vars(page).get("client"), AtmosphereClient):
            page.clients.append(page.client)


def names(page, heading):
    """The page's names as they were after the last block under a heading."""
    end = max(i for i, (title, _) in enumerate(BLOCKS) if title.startswith(heading))
    run_to(page, end)
    return types.SimpleNamespace(**page.done[end])


@pytest.mark.parametrize(
    "number", range(len(BLOCKS)), ids=[f"{i}-{title}" for i, (title, _) in enumerate(BLOCKS)]
)
def test_the_block_runs(page, number):
    run_to(page, number)


def test_the_page_has_all_its_blocks():
    assert len(BLOCKS) == 15


def test_what_the_page_prints_is_what_it_says(page, capsys):
    with capsys.disabled():
        run_to(page, len(BLOCKS) - 1)
    exec(BLOCKS[2][1], dict(page.done[1]))
    assert "Round-trip successful: True" in capsys.readouterr().out
    found = dict(page.done[-1])
    exec(BLOCKS[3][1], found)
    assert "Authority: did:plc:abc123" in capsys.readouterr().out
    load = next(code for title, code in BLOCKS if title == "Load a Dataset")
    exec(load, found)
    out = capsys.readouterr().out
    assert "Storage type: blobs" in out
    assert "Blob URLs: 1 blob(s)" in out
    assert [f"Sample id={i}, text=text {i}" in out for i in range(3)] == [True] * 3


def test_the_schema_s_record_is_there(page, account):
    found = names(page, "Publish a Schema")
    record = web.record(found.client.base_url, str(found.schema_uri))
    value = record["value"]
    assert str(found.schema_uri).startswith(f"at://{account.did}/{SCHEMA_TYPE}/")
    assert (value["name"], value["version"]) == ("ImageSample", "1.0.0")
    assert value["description"] == "Demo: Image sample with label and confidence"
    assert [field["name"] for field in value["fields"]] == ["image", "label", "confidence"]


def test_the_records_of_external_urls_are_there(page, account):
    found = names(page, "List and Load Datasets")
    records = web.records(found.client.base_url, account.did, DATASET_TYPE)
    demos = [r["value"] for r in records if r["value"]["name"] == "Demo Image Dataset"]
    for demo in demos:
        assert demo["storage"]["urls"] == ["s3://example-bucket/demo-data-{000000..000009}.tar"]
        assert (demo["tags"], demo["license"]) == (["demo", "images", "atdata"], "MIT")
    # The page publishes it twice: once with each schema that it has by then.
    refs = {demo["schemaRef"] for demo in demos}
    assert len(demos) == 2
    assert refs == {str(names(page, "Publish a Schema").schema_uri), str(found.schema_uri)}
    listed = {record["uri"] for record in records}
    assert str(found.dataset_uri) in listed


@pytest.mark.parametrize(
    ("heading", "name", "rows"),
    [
        ("With PDS Blob Storage", "blob-stored-features", 100),
        ("Complete Publishing Workflow", "synthetic-features-v1", 1000),
    ],
)
def test_the_blobs_are_there_and_hash_to_their_cids(page, account, heading, name, rows):
    entry = names(page, heading).entry
    pds = names(page, heading).client.base_url
    value = web.record(pds, entry.uri)["value"]
    assert value["name"] == entry.name == name
    cids = [blob["ref"]["$link"] for blob in value["storage"]["blobs"]]
    assert entry.data_urls == [f"at://{account.did}/blob/{cid}" for cid in cids]
    assert sum(shard["rows"] for shard in value["shards"]) == rows
    for cid, blob in zip(cids, value["storage"]["blobs"], strict=True):
        data = web.blob(pds, account.did, cid)
        assert cid_of(data) == cid
        assert len(data) == blob["size"]
        tar = Path("temp.tar" if rows == 100 else "features.tar").read_bytes()
        assert hashlib.sha256(data).digest() == hashlib.sha256(tar).digest()


def test_the_same_version_with_other_fields_is_another_record(page):
    first = names(page, "With PDS Blob Storage")
    second = names(page, "Complete Publishing Workflow")
    assert first.schema_uri != second.schema_uri
    values = [web.record(first.client.base_url, p.schema_uri)["value"] for p in (first, second)]
    assert [value["version"] for value in values] == ["1.0.0", "1.0.0"]
    assert [len(value["fields"]) for value in values] == [2, 3]


def test_the_blobs_are_read_as_the_samples_that_were_written(page):
    found = names(page, "Complete Publishing Workflow")
    assert [s.packed for s in found.ds.ordered()] == [s.packed for s in found.samples]
    assert len(found.batch.label) == 32
    assert found.batch.features.shape == (32, 128)
