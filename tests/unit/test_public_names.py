"""The names that public ``atdata`` has, used as its users use them.

What behaves differently on purpose is listed in docs/compatibility.md.
"""

import dataclasses
import inspect
import io
import itertools
from pathlib import Path
from typing import Optional

import numpy as np
import pytest
import webdataset as wds
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core import atmosphere
from atdata_core.cid import raw_cid
from atdata_core.errors import AtdataError, NotFoundError
from atdata_core.lens import Lens, find_lens, lens


@atdata.packable
class Recording:
    """A sound, and what is known of it."""

    sound: NDArray
    speaker: str
    seconds: float
    take: int
    good: bool
    raw: bytes
    words: list[str]
    note: str | None = None
    spectrum: NDArray | None = None


@atdata.packable
class Speech:
    speaker: str
    words: list[str]


@atdata.packable
class Loudness:
    level: float


@dataclasses.dataclass
class Plain(atdata.PackableSample):
    """A dataclass upon the base class, without the decorator."""

    name: str
    position: int


def recording(number=0, **changes):
    values = {
        "sound": np.arange(4, dtype=np.float32) + number,
        "speaker": f"speaker {number}",
        "seconds": number / 2,
        "take": number,
        "good": number % 2 == 0,
        "raw": bytes([number]),
        "words": ["a"] * number,
    }
    return Recording(**{**values, **changes})


def write(path, samples):
    """A shard, written as the tutorial writes one."""
    with wds.writer.TarWriter(str(path)) as sink:
        for number, sample in enumerate(samples):
            sink.write({**sample.as_wds, "__key__": f"{number:06d}"})
    return str(path)


@pytest.fixture
def recordings(tmp_path):
    """Seven recordings in three shards."""
    for number, (start, end) in enumerate([(0, 3), (3, 6), (6, 7)]):
        write(tmp_path / f"r-{number:06d}.tar", map(recording, range(start, end)))
    return atdata.Dataset[Recording](str(tmp_path / "r-{000000..000002}.tar"))


# --- samples


def test_a_sample_has_the_four_methods():
    sample = recording(3)
    assert isinstance(sample, atdata.PackableSample)
    assert isinstance(sample.packed, bytes)
    assert sample.as_wds == {"msgpack": sample.packed}
    assert Recording.from_bytes(sample.packed) == sample
    assert Recording.from_data(vars(sample)) == sample
    assert dataclasses.is_dataclass(Recording)
    assert list(inspect.signature(Recording).parameters)[:2] == ["sound", "speaker"]
    assert (Recording.__name__, Recording.__doc__) == (
        "Recording",
        "A sound, and what is known of it.",
    )


def test_a_dataclass_upon_the_base_class_is_a_sample_too(tmp_path):
    sample = Plain("a", 3)
    assert Plain.from_bytes(sample.packed) == sample
    assert Plain.from_data({"name": "a", "position": 3}) == sample
    path = write(tmp_path / "plain.tar", [sample] * 2)
    assert list(atdata.Dataset[Plain](path)) == [sample] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"speaker": ""},
        {"speaker": "é 日本語 🎙 \u0000 \u202e"},
        {"speaker": "x" * 100_000},
        {"take": 0},
        {"take": -(2**63)},
        {"take": 2**64 - 1},
        {"seconds": float("inf")},
        {"seconds": float("nan")},
        {"seconds": -0.0},
        {"raw": b""},
        {"raw": bytes(range(256)) * 100},
        {"words": []},
        {"words": ["w"] * 5000},
        {"note": "n", "spectrum": np.eye(3)},
        {"sound": np.zeros(0)},
        {"sound": np.array(3.5)},
        {"sound": np.zeros((2, 3, 4, 5), np.float16)},
        {"sound": np.array([1 + 2j], np.complex64)},
        {"sound": np.array(["é", "b"])},
        {"sound": np.array([True, False])},
    ],
    ids=itertools.count(),
)
def test_edge_cases_of_values_come_back(tmp_path, changes):
    sample = recording(**changes)
    assert Recording.from_bytes(sample.packed) == sample
    [back] = atdata.Dataset[Recording](write(tmp_path / "a.tar", [sample]))
    assert back == sample
    assert back.sound.dtype == sample.sound.dtype


def test_numpy_s_numbers_stand_for_python_s():
    sample = recording(take=np.int64(5), seconds=np.float32(0.5), good=np.bool_(True))
    back = Recording.from_bytes(sample.packed)
    assert (type(back.take), type(back.seconds), type(back.good)) == (int, float, bool)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"nonsense", b"\x80", b"\x93\x01\x02\x03"])
def test_bytes_of_no_sample_are_a_value_error(data):
    with pytest.raises(ValueError) as caught:
        Recording.from_bytes(data)
    assert isinstance(caught.value, AtdataError)


# --- shards and datasets


def test_samples_go_through_webdataset_s_writer(tmp_path):
    samples = [recording(n) for n in range(4)]
    dataset = atdata.Dataset[Recording](write(tmp_path / "a.tar", samples))
    assert list(dataset.ordered()) == samples
    assert [sample.take for sample in dataset] == [0, 1, 2, 3]


def test_a_dataset_is_read_in_order_and_in_batches(recordings):
    assert recordings.sample_type is Recording
    assert len(recordings.list_shards()) == 3
    assert [r.take for r in recordings.ordered()] == list(range(7))
    assert [r.take for r in recordings.ordered(batch_size=None)] == list(range(7))
    batches = list(recordings.ordered(batch_size=3))
    assert [len(batch.take) for batch in batches] == [3, 3, 1]
    first = batches[0]
    assert isinstance(first, atdata.SampleBatch)
    assert first.sample_type is Recording
    assert isinstance(first.samples[0], Recording)
    assert first.sound.shape == (3, 4)
    assert first.speaker == ["speaker 0", "speaker 1", "speaker 2"]
    assert [len(b.take) for b in recordings.ordered(batch_size=1)] == [1] * 7
    assert [len(b.take) for b in recordings.ordered(batch_size=100)] == [7]
    with pytest.raises(AttributeError):
        _ = first.nothing


def test_a_dataset_is_read_in_random_order(recordings):
    for buffers in ((), (1, 2), (100, 10_000)):
        assert sorted(r.take for r in recordings.shuffled(*buffers)) == list(range(7))
    batches = list(recordings.shuffled(buffer_shards=2, buffer_samples=3, batch_size=2))
    assert sorted(take for batch in batches for take in batch.take) == list(range(7))
    assert [len(batch.samples) for batch in batches] == [2, 2, 2, 1]


def test_a_dataset_without_samples_ends_at_once(tmp_path):
    dataset = atdata.Dataset[Recording](write(tmp_path / "none.tar", []))
    for reading in (dataset.ordered(), dataset.ordered(4), dataset.shuffled()):
        assert list(reading) == []


def test_a_dataset_tells_of_itself_and_gives_single_samples(recordings):
    assert recordings.column_names[:3] == ["sound", "speaker", "seconds"]
    assert recordings.describe()["sample_type"] == "Recording"
    assert [r.take for r in recordings.head(2)] == [0, 1]
    assert len(recordings.head()) == 5
    assert len(recordings.head(100)) == 7
    assert [r.take for r in recordings.select([4, 0])] == [4, 0]
    assert recordings.select([]) == []
    assert recordings.get("000002").take == 2
    with pytest.raises(LookupError):
        recordings.get("nothing")


def test_a_dataset_is_filtered_and_mapped(recordings):
    good = recordings.filter(lambda r: r.good)
    assert [r.take for r in good] == [0, 2, 4, 6]
    assert [r.take for r in good.filter(lambda r: r.take > 2)] == [4, 6]
    assert list(recordings.map(lambda r: r.take).filter(lambda n: n > 4)) == [5, 6]


def test_load_dataset_takes_a_path_and_a_type(recordings, tmp_path):
    for path in (tmp_path, str(tmp_path / "r-*.tar"), str(tmp_path / "r-{000000..000002}.tar")):
        assert [r.take for r in atdata.load_dataset(path, Recording)] == list(range(7))
    with pytest.raises(NotFoundError, match=r"none\.tar"):
        list(atdata.load_dataset(tmp_path / "none.tar", Recording))


def test_a_data_source_has_three_members(recordings):
    class Memory:
        """One shard, in memory, by somebody who knows nothing of this library."""

        def list_shards(self):
            return ["one"]

        def open_shard(self, shard_id):
            if shard_id != "one":
                raise KeyError(shard_id)
            return io.BytesIO(Path(recordings.list_shards()[0]).read_bytes())

        @property
        def shards(self):
            return ((name, self.open_shard(name)) for name in self.list_shards())

    source = Memory()
    assert isinstance(source, atdata.DataSource)
    dataset = atdata.Dataset[Recording](source)
    assert dataset.source is source
    assert [r.take for r in dataset.ordered()] == [0, 1, 2]
    assert dataset.shards[0].rows == 3


def test_references_of_blobs_make_a_source():
    did, cid = f"did:plc:{'a' * 24}", raw_cid(b"a shard")
    source = atdata.BlobSource.from_refs([{"did": did, "cid": cid}])
    assert isinstance(source, atdata.DataSource)
    assert source.list_shards() == [f"at://{did}/blob/{cid}"]
    assert atdata.BlobSource is atmosphere.BlobSource
    assert atdata.BlobSource.from_refs([]).list_shards() == []


# --- lenses


@lens
def speech(recording: Recording) -> Speech:
    return Speech(recording.speaker, recording.words)


@speech.putter
def _(view: Speech, source: Recording) -> Recording:
    return dataclasses.replace(source, speaker=view.speaker, words=view.words)


@lens
def loudness(recording: Recording) -> Loudness:
    return Loudness(float(np.abs(recording.sound).mean()))


def test_a_lens_is_called_got_and_put():
    source = recording(2)
    view = speech(source)
    assert view == speech.get(source) == Speech("speaker 2", ["a", "a"])
    changed = speech.put(Speech("nobody", []), source)
    assert (changed.speaker, changed.words, changed.take) == ("nobody", [], 2)
    assert speech.put(speech.get(source), source) == source
    assert speech.get(changed) == Speech("nobody", [])
    assert (speech.source_type, speech.view_type) == (Recording, Speech)


def test_lenses_are_composed_and_associative():
    names = Lens(
        lambda view: Loudness(float(len(view.words))), source_type=Speech, view_type=Loudness
    )
    same = Lens.identity(Recording)
    for composed in (
        speech | names,
        names @ speech,
        same | speech | names,
        same | (speech | names),
    ):
        assert composed(recording(3)) == Loudness(3.0)
        assert (composed.source_type, composed.view_type) == (Recording, Loudness)
    for nothing in (1, "lens", None):
        with pytest.raises(TypeError, match="unsupported operand"):
            speech | nothing
        with pytest.raises(TypeError, match="unsupported operand"):
            speech @ nothing


def test_a_dataset_is_seen_through_lenses(recordings):
    views = recordings.as_type(Speech)
    assert views.sample_type is Speech
    assert [v.speaker for v in views.ordered()] == [f"speaker {n}" for n in range(7)]
    batch = next(iter(views.ordered(batch_size=4)))
    assert isinstance(batch.samples[0], Speech)
    assert batch.speaker == [f"speaker {n}" for n in range(4)]
    assert len(list(recordings.as_type(Loudness).shuffled(batch_size=2))) == 4
    assert find_lens(Recording, Speech) is speech


def test_optional_fields_pass_through_a_lens(tmp_path):
    @atdata.packable
    class Noted:
        note: Optional[str]  # noqa: UP045 - as it was written before
        spectrum: NDArray | None

    samples = [recording(0), recording(1, note="n", spectrum=np.ones(2))]
    dataset = atdata.Dataset[Recording](write(tmp_path / "a.tar", samples))
    found = list(dataset.as_type(Noted))
    assert [n.note for n in found] == [None, "n"]
    assert found[0].spectrum is None
    np.testing.assert_array_equal(found[1].spectrum, np.ones(2))


# --- indexes, stores, records: the members that the seed's interfaces have


MEMBERS = {
    atdata.AbstractIndex: {
        "insert_dataset": ["ds", "name", "schema_ref"],
        "get_dataset": ["ref"],
        "datasets": None,
        "list_datasets": [],
        "publish_schema": ["sample_type", "version"],
        "get_schema": ["ref"],
        "schemas": None,
        "list_schemas": [],
        "decode_schema": ["ref"],
    },
    atdata.AtmosphereIndex: {
        "list_datasets": ["repo"],
        "insert_dataset": ["description", "tags", "license"],
        "publish_schema": ["description"],
    },
    atdata.AbstractDataStore: {
        "write_shards": ["ds", "prefix"],
        "read_url": ["url"],
        "create_source": ["urls"],
        "supports_streaming": [],
    },
    atdata.DatasetEntry: {"data_urls": None},
    atmosphere.AtmosphereClient: {
        "login": ["handle", "password"],
        "login_with_session": [],
        "export_session": [],
        "is_authenticated": None,
        "did": None,
        "handle": None,
        "create_record": ["collection", "record", "rkey", "validate"],
        "put_record": ["collection", "rkey", "record", "validate"],
        "get_record": ["uri"],
        "delete_record": ["uri"],
        "upload_blob": ["mime_type"],
        "get_blob": ["did", "cid"],
        "list_records": ["collection", "repo", "limit", "cursor"],
    },
    atmosphere.SchemaPublisher: {
        "publish": ["sample_type", "name", "version", "description", "metadata", "rkey"],
    },
    atmosphere.SchemaLoader: {"get": ["uri"], "list_all": ["repo", "limit"]},
    atmosphere.DatasetPublisher: {
        "publish": ["dataset", "name", "schema_uri", "description", "tags", "license"]
        + ["schema_version", "rkey"],
        "publish_with_urls": ["urls", "schema_uri", "name", "description", "tags", "license"]
        + ["metadata", "rkey"],
        "publish_with_blobs": ["blobs", "schema_uri", "name", "description", "tags", "license"]
        + ["metadata", "mime_type", "rkey"],
    },
    atmosphere.DatasetLoader: {
        "get": ["uri"],
        "list_all": ["repo", "limit"],
        "get_storage_type": ["uri"],
        "get_urls": ["uri"],
        "get_blobs": ["uri"],
        "get_blob_urls": ["uri"],
        "get_metadata": ["uri"],
        "to_dataset": ["uri", "sample_type"],
    },
}


def check_members(kind):
    for name, parameters in MEMBERS[kind].items():
        member = inspect.getattr_static(kind, name)
        if parameters is None:
            assert isinstance(member, property), f"{kind.__name__}.{name}"
        else:
            found = inspect.signature(getattr(kind, name)).parameters
            assert set(parameters) <= set(found), f"{kind.__name__}.{name}"
        assert inspect.getdoc(member), f"{kind.__name__}.{name}"


@pytest.mark.parametrize("kind", [atdata.AbstractIndex, atdata.AtmosphereIndex])
def test_an_index_has_the_promised_members(kind):
    check_members(kind)


def test_a_client_has_the_promised_members():
    check_members(atmosphere.AtmosphereClient)
    client = atmosphere.AtmosphereClient()
    assert not client.is_authenticated
    assert "login" not in vars(client)
    with pytest.raises(AtdataError):
        _ = client.did


@pytest.mark.parametrize(
    "kind", [kind for kind in MEMBERS if "Index" not in kind.__name__], ids=lambda k: k.__name__
)
def test_stores_and_records_have_the_promised_members(kind):
    check_members(kind)


def test_every_layer_has_the_one_interface():
    for index in (atdata.LocalIndex, atdata.AtmosphereIndex, atdata.FileIndex):
        assert issubclass(index, atdata.AbstractIndex)
    for store in (atdata.S3DataStore, atdata.PDSBlobStore, atdata.FileDataStore):
        assert issubclass(store, atdata.AbstractDataStore)
    assert list(inspect.signature(atdata.promote_to_atmosphere).parameters)[1:4] == [
        *("index", "client", "data_store")
    ]
    client = atmosphere.AtmosphereClient()
    store = atmosphere.PDSBlobStore(client)
    assert atmosphere.AtmosphereIndex(client, data_store=store).data_store is store


def test_an_at_uri_is_parsed_and_written():
    text = "at://did:plc:abc123/ac.foundation.dataset.sampleSchema/xyz789"
    uri = atmosphere.AtUri.parse(text)
    assert (uri.authority, uri.collection, uri.rkey) == (
        "did:plc:abc123",
        "ac.foundation.dataset.sampleSchema",
        "xyz789",
    )
    assert str(uri) == text
    assert uri == atmosphere.AtUri("did:plc:abc123", uri.collection, "xyz789")
    for wrong in ("https://example.org/a/b/c", "at://alice.example.org/only", "at://"):
        with pytest.raises(ValueError):
            atmosphere.AtUri.parse(wrong)


def test_an_index_on_files_does_what_the_team_s_does(recordings, tmp_path):
    index = atdata.FileIndex(tmp_path / "index")
    ref = index.publish_schema(Recording, version="1.0.0")
    entry = index.insert_dataset(
        recordings, name="weird name é", schema_ref=ref, metadata={"mean": 0.5}
    )
    assert index.get_dataset("weird name é") == entry
    assert [e.name for e in index.list_datasets()] == [e.name for e in index.datasets]
    assert [s["name"] for s in index.list_schemas()] == [s["name"] for s in index.schemas]
    assert entry.schema_ref == ref
    assert len(entry.data_urls) == 3
    assert entry.metadata == {"mean": 0.5}
    built = index.decode_schema(ref)
    assert [field.name for field in dataclasses.fields(built)] == recordings.column_names
    read = atdata.load_dataset("weird name é", index=index)
    assert [sample.take for sample in read] == list(range(7))
    with pytest.raises(LookupError):
        index.get_dataset("nothing")


def test_making_an_index_makes_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    client = atmosphere.AtmosphereClient()
    atdata.LocalIndex("redis://127.0.0.1:1/0")
    atmosphere.AtmosphereIndex(client, data_store=atmosphere.PDSBlobStore(client))
    assert atdata.FileIndex(tmp_path / "index").list_datasets() == []
    assert atdata.FileIndex(tmp_path / "index").list_schemas() == []
    assert list(tmp_path.iterdir()) == []
