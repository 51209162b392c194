"""Records whose words mislead, and servers that answer a little otherwise than was asked."""

import logging

import pytest

from atdata_core import AtmosphereIndex, Dataset, FileIndex, PDSBlobStore, load_dataset
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.errors import InvalidRecordError
from tests.support.liar import HANDLE
from tests.support.samples import Item, items, shard_file

NASTY = "\x1b[31mred\x1b[0m \u202egnp.exe\u202c <script>alert(1)</script> [a](javascript:x)"


@pytest.fixture
def index(liar):
    with AtmosphereClient() as client:
        client.login(HANDLE, "aaaa-bbbb-cccc-dddd")
        yield AtmosphereIndex(client, data_store=PDSBlobStore(client))


def published(liar, index, tmp_path, **words):
    """The address of a dataset and its record."""
    local = FileIndex(tmp_path / "local")
    local.write_samples(items(3), name="d", sample_type=Item)
    liar.blobs |= {
        shard.cid: (tmp_path / "local" / shard.url).read_bytes()
        for shard in local.get_dataset("d").shards
    }
    entry = index.insert_dataset(local.open_dataset("d"), name="d", **words)
    return entry.uri, liar.records[entry.uri]


def test_the_media_type_that_the_pds_answers_stands_in_the_record(liar, index, tmp_path):
    honest = liar.blob
    liar.blob = lambda cid, size: honest(cid, size) | {"mimeType": "application/octet-stream"}
    uri, record = published(liar, index, tmp_path, license="CC0-1.0")
    assert [blob["mimeType"] for blob in record["storage"]["blobs"]] == ["application/octet-stream"]
    assert list(load_dataset(uri, Item)) == items(3)
    again, _ = published(liar, index, tmp_path, license="CC0-1.0")
    assert again == uri


def test_a_media_type_that_no_shard_has_is_refused(liar, index, tmp_path):
    honest = liar.blob
    liar.blob = lambda cid, size: honest(cid, size) | {"mimeType": "text/html"}
    with pytest.raises(InvalidRecordError, match="blob is of another media type"):
        published(liar, index, tmp_path, license="CC0-1.0")
    assert not [uri for uri in liar.records if "dataset.record" in uri]


def test_words_that_paint_the_terminal_are_shown_as_they_are_written(liar, index, tmp_path):
    uri, _ = published(liar, index, tmp_path, description=NASTY, license="CC0-1.0")
    dataset = load_dataset(uri, Item)
    assert dataset.entry.description == NASTY
    for shown in (repr(dataset), repr(dataset.entry), str(dataset.verification)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_a_dataset_without_a_licence_is_published_with_a_warning(liar, index, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        uri, _ = published(liar, index, tmp_path)
    assert "without a licence" in caplog.text
    assert load_dataset(uri, Item).entry.license is None


def test_a_key_that_stands_in_two_shards_is_two_samples(tmp_path):
    first = shard_file(tmp_path / "a.tar", items(2))
    second = shard_file(tmp_path / "b.tar", items(2, start=2))
    dataset = Dataset[Item]([str(first), str(second)])
    assert list(dataset) == items(4)
    assert dataset.get("000001") == items(4)[1]  # the first of them
