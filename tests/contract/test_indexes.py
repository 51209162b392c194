"""What every index promises, tried on files, Redis with S3, and the atmosphere with blobs.

Each promise is checked past the library as well: files are read from the disk, Redis and S3 are
asked by their own clients, the PDS by plain HTTP.
"""

import itertools
import json
import multiprocessing
import pickle
import secrets
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core import (
    AtmosphereIndex,
    Dataset,
    FileIndex,
    LocalIndex,
    PDSBlobStore,
    S3DataStore,
    Schema,
    Shard,
    StrongRef,
    promote_to_atmosphere,
)
from atdata_core.atmosphere import AtmosphereClient, SchemaLoader
from atdata_core.atproto.records import DATASET_TYPES, NAMESPACES, SCHEMA_TYPES
from atdata_core.cid import dag_cbor_cid
from atdata_core.errors import (
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidRecordError,
    NotFoundError,
    SampleError,
    SchemaError,
)
from atdata_core.promotion import promote
from tests.support import web
from tests.support.samples import Item, Other, cid_of, items, shard_file, tar_of
from tests.support.writers import write_to

DATASET_TYPE, SCHEMA_TYPE = DATASET_TYPES[0], SCHEMA_TYPES[0]

pytestmark = pytest.mark.usefixtures("services")

WORDS = {
    "description": "Some items",
    "tags": ("a", "é"),
    "license": "MIT",
    "metadata": {"source": "lab", "n": 3, "nested": {"list": [1, "two", None]}},
}


class Files:
    """A folder, looked at with the file system."""

    def __init__(self, folder):
        self.index = FileIndex(folder)
        self.root = folder

    def state(self):
        """All that is there, with when it was written."""
        paths = [p for p in self.root.glob("**/*") if p.is_file() and p.name != ".lock"]
        assert not [path for path in paths if ".scratch" in path.parts]
        return {str(p.relative_to(self.root)): p.stat().st_mtime_ns for p in paths}

    def named(self, name):
        """CIDs and bytes of the shards that a name stands for, and the words said of it."""
        body = json.loads((self.root / "datasets" / name / "dataset.json").read_text())
        shards = [(s["cid"], (self.root / s["url"]).read_bytes()) for s in body["shards"]]
        return shards, body

    def schemas(self):
        return sorted(path.stem for path in (self.root / "schemas").glob("*.json"))

    def damage(self, entry):
        path = Path(entry.data_urls[0])
        data = bytearray(path.read_bytes())
        data[700] ^= 1
        path.write_bytes(data)

    def lose(self, entry):
        Path(entry.data_urls[0]).unlink()


class Team:
    """Redis and a bucket, looked at with their own clients."""

    def __init__(self, url, redis, boto, bucket):
        self.index = LocalIndex(url, S3DataStore(bucket=bucket))
        self.redis, self.boto, self.bucket = redis, boto, bucket

    def state(self):
        keys = {key: self.redis.dump(key) for key in self.redis.scan_iter()}
        objects = self.boto.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return keys | {each["Key"]: each["LastModified"] for each in objects}

    def named(self, name):
        key = self.redis.hget("atdata:names", name)
        body = json.loads(self.redis.hget(b"LocalDatasetEntry:" + key, "entry"))
        shards = []
        for shard in body["shards"]:
            place = shard["url"].removeprefix(f"s3://{self.bucket}/")
            answer = self.boto.get_object(Bucket=self.bucket, Key=place)
            shards.append((shard["cid"], answer["Body"].read()))
        return shards, body

    def schemas(self):
        return sorted(k.decode().partition(":")[2] for k in self.redis.keys("LocalSchema:*"))

    def damage(self, entry):
        place = entry.data_urls[0].removeprefix(f"s3://{self.bucket}/")
        data = bytearray(self.boto.get_object(Bucket=self.bucket, Key=place)["Body"].read())
        data[700] ^= 1
        self.boto.put_object(Bucket=self.bucket, Key=place, Body=bytes(data))

    def lose(self, entry):
        place = entry.data_urls[0].removeprefix(f"s3://{self.bucket}/")
        self.boto.delete_object(Bucket=self.bucket, Key=place)


class Atmosphere:
    """An account on the PDS, looked at with plain HTTP."""

    def __init__(self, client):
        self.client = client
        self.index = AtmosphereIndex(client, data_store=PDSBlobStore(client))

    def records(self, collection):
        return web.records(self.client.base_url, self.client.did, collection)

    def state(self):
        url = f"{self.client.base_url}/xrpc/com.atproto.sync.getLatestCommit"
        return web.fetch_json(url, did=self.client.did)

    def named(self, name):
        found = [r["value"] for r in self.records(DATASET_TYPE) if r["value"]["name"] == name]
        newest = max(found, key=lambda value: value["createdAt"])
        shards = [
            (ref, web.blob(self.client.base_url, self.client.did, ref))
            for ref in (blob["ref"]["$link"] for blob in newest["storage"]["blobs"])
        ]
        return shards, newest

    def schemas(self):
        values = [record["value"] for record in self.records(SCHEMA_TYPE)]
        return sorted(f"{value['name']}@{value['version']}" for value in values)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "local")


@pytest.fixture
def team(redis_url, redis, boto, bucket):
    layer = Team(redis_url, redis, boto, bucket)
    with layer.index:
        yield layer


@pytest.fixture
def atmosphere(services):
    account = services.create_account(f"t{secrets.token_hex(5)}")
    client = AtmosphereClient()
    client.login(account.handle, account.app_password)
    layer = Atmosphere(client)
    with layer.index:
        yield layer


LAYERS = ("files", "team", "atmosphere")


@pytest.fixture(params=LAYERS)
def layer(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["files", "team"])
def private(request):
    """The layers whose names and versions belong to one writer."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def dataset(tmp_path):
    """Two shards of three items each, on disk."""
    paths = [shard_file(tmp_path / f"src-{i}.tar", items(3, 3 * i)) for i in range(2)]
    return Dataset[Item]([str(path) for path in paths])


def version_of(count):
    """A dataset on disk, other than that of another count."""

    def make(tmp_path):
        return Dataset[Item](str(shard_file(tmp_path / f"v{count}.tar", items(count))))

    return make


def test_what_was_inserted_is_found_by_its_name_with_all_that_was_said(layer, dataset):
    entry = layer.index.insert_dataset(dataset, name="digits", **WORDS)
    assert (entry.name, entry.description, entry.license) == ("digits", "Some items", "MIT")
    assert (entry.tags, dict(entry.metadata)) == (WORDS["tags"], WORDS["metadata"])
    assert (entry.rows, len(entry.shards)) == (6, 2)
    assert entry.previous is None
    assert entry.created_at.endswith("Z")
    assert layer.index.get_dataset("digits") == entry
    shards, body = layer.named("digits")
    assert body["description"] == "Some items"
    assert body["tags"] == ["a", "é"]
    assert [cid for cid, _ in shards] == [shard.cid for shard in entry.shards]
    sources = [Path(url).read_bytes() for url in dataset.list_shards()]
    assert [data for _, data in shards] == sources
    assert [cid_of(data) for _, data in shards] == [cid for cid, _ in shards]


def test_what_was_inserted_is_read_back_by_the_type_that_the_index_tells(layer, dataset):
    layer.index.insert_dataset(dataset, name="digits")
    found = layer.index.open_dataset("digits")
    assert len(found) == 6
    assert [sample.packed for sample in found] == [sample.packed for sample in items(6)]
    assert list(layer.index.open_dataset("digits", Item)) == items(6)
    assert found.sample_type.__name__ == "Item"
    with pytest.raises(SchemaError, match=r"digits.*not of type Other"):
        layer.index.open_dataset("digits", Other)


def test_a_stream_of_samples_is_written_and_listed(layer):
    told = []
    done = layer.index.write_samples(
        (sample for sample in items(12)),
        name="digits",
        sample_type=Item,
        max_samples=5,
        progress=lambda shard, moved: told.append((shard.rows, moved)),
        **WORDS,
    )
    assert done.created
    assert told == [(5, True), (5, True), (2, True)]
    assert done.moved == done.entry.size
    assert done.entry.rows == 12
    assert list(layer.index.open_dataset("digits", Item)) == items(12)
    shards, _ = layer.named("digits")
    assert sum(len(data) for _, data in shards) == done.moved


def test_writing_the_same_samples_again_writes_nothing(layer):
    def write():
        return layer.index.write_samples(
            iter(items(12)), name="digits", sample_type=Item, max_samples=5, **WORDS
        )

    first = write()
    before = layer.state()
    again = write()
    assert (again.created, again.moved) == (False, 0)
    assert again.entry == first.entry
    assert layer.state() == before


def test_inserting_the_same_dataset_again_writes_nothing(layer, dataset):
    first = layer.index.insert(dataset, name="digits", **WORDS)
    before = layer.state()
    again = layer.index.insert(dataset, name="digits", **WORDS)
    assert (first.created, first.moved) == (True, first.entry.size)
    assert (again.created, again.moved) == (False, 0)
    assert again.entry == first.entry
    assert layer.state() == before


def test_other_words_for_the_same_content_are_a_new_entry_without_moving_a_shard(private, dataset):
    first = private.index.insert(dataset, name="digits", **WORDS)
    other = private.index.insert(dataset, name="digits", **{**WORDS, "description": "Others"})
    assert (other.created, other.moved) == (True, 0)
    assert other.entry.cid == first.entry.cid
    assert private.index.get_dataset("digits").description == "Others"
    assert private.named("digits")[1]["description"] == "Others"


def test_a_name_moves_to_the_new_version_which_knows_the_one_before(layer, tmp_path):
    entries = [
        layer.index.insert_dataset(version_of(n)(tmp_path), name="digits", description="d")
        for n in (1, 2, 3)
    ]
    for old, new in itertools.pairwise(entries):
        assert new.previous in (old.cid, old.uri)
    assert len({entry.cid for entry in entries}) == 3
    assert layer.index.get_dataset("digits") == entries[-1]
    assert [entry.name for entry in layer.index.list_datasets()] == ["digits"]
    assert list(layer.index.open_dataset("digits", Item)) == items(3)
    shards, body = layer.named("digits")
    assert [cid for cid, _ in shards] == [shard.cid for shard in entries[-1].shards]
    previous = body.get("previous")
    if isinstance(previous, dict):
        assert previous == {"uri": entries[1].uri, "cid": entries[1].record_cid}


def test_earlier_versions_are_still_there_by_their_cid(layer, tmp_path):
    first = layer.index.insert_dataset(version_of(1)(tmp_path), name="digits")
    layer.index.insert_dataset(version_of(2)(tmp_path), name="digits")
    assert layer.index.get_dataset(first.uri or first.cid).shards == first.shards
    assert list(layer.index.open_dataset(first.uri or first.cid, Item)) == items(1)
    assert list(layer.index.open_dataset(first, Item)) == items(1)


def test_a_name_can_go_back_to_an_earlier_version(layer, tmp_path):
    first = layer.index.insert_dataset(version_of(1)(tmp_path), name="digits")
    second = layer.index.insert_dataset(version_of(2)(tmp_path), name="digits")
    back = layer.index.insert(version_of(1)(tmp_path), name="digits")
    assert back.entry.cid == first.cid
    assert layer.index.get_dataset("digits").cid == first.cid
    assert list(layer.index.open_dataset("digits", Item)) == items(1)
    before = layer.state()
    assert not layer.index.insert(version_of(1)(tmp_path), name="digits").created
    assert layer.state() == before
    assert layer.index.get_dataset(second.uri or second.cid).cid == second.cid


def test_datasets_are_listed_by_name(layer, tmp_path):
    assert layer.index.list_datasets() == []
    for n, name in enumerate(["zebra", "apple", "group-x"], 1):
        layer.index.insert_dataset(version_of(n)(tmp_path), name=name)
    found = layer.index.list_datasets()
    assert [entry.name for entry in found] == ["apple", "group-x", "zebra"]
    assert [entry.name for entry in layer.index.datasets] == ["apple", "group-x", "zebra"]
    assert found[0] == layer.index.get_dataset("apple")


def test_names_may_hold_folders_and_other_scripts(layer, dataset):
    for name in ("group/digits", "цифры 1", "a@b"):
        layer.index.insert_dataset(dataset, name=name)
        assert layer.index.get_dataset(name).name == name
        assert list(layer.index.open_dataset(name, Item)) == items(6)
    assert len(layer.index.list_datasets()) == 3


@pytest.mark.parametrize("name", ["../out", "/out", ""])
def test_names_that_a_folder_can_t_hold_are_refused_before_anything_is_written(
    files, dataset, name
):
    with pytest.raises(ConfigurationError, match="name"):
        files.index.insert_dataset(dataset, name=name)
    with pytest.raises(ConfigurationError, match="name"):
        files.index.write_samples(items(1), name=name, sample_type=Item)
    assert not [path for path in files.state() if "datasets" in path]
    assert not (files.root.parent / "out").exists()


@pytest.mark.parametrize("name", ["nothing", "../x", "x@1", "bafyreiabc"])
def test_what_is_not_there_is_not_found(layer, name):
    with pytest.raises(NotFoundError, match=r"nothing|x|baf"):
        layer.index.get_dataset(name)
    with pytest.raises(NotFoundError):
        layer.index.open_dataset(name)


def test_schemas_that_are_not_there_are_not_found(layer):
    ref = "atdata://local/schema/Nothing@1.0.0"
    if isinstance(layer, Atmosphere):
        ref = f"at://{layer.client.did}/{SCHEMA_TYPE}/nothing"
    with pytest.raises(NotFoundError):
        layer.index.load_schema(ref)
    with pytest.raises(NotFoundError):
        layer.index.decode_schema(ref)


def test_a_schema_is_registered_once_and_becomes_the_type_again(layer):
    ref = layer.index.publish_schema(Item, version="1.2.0", description="An item")
    before = layer.state()
    assert layer.index.publish_schema(Item, version="1.2.0", description="An item") == ref
    assert layer.state() == before
    schema = layer.index.load_schema(ref)
    assert schema == Schema.of(Item, version="1.2.0", description="An item")
    assert schema.cid == Schema.of(Item).cid
    built = layer.index.decode_schema(ref)
    sample = items(1)[0]
    assert built.from_bytes(sample.packed).packed == sample.packed
    assert layer.index.get_schema(ref)["name"] == "Item"
    assert [schema["version"] for schema in layer.index.list_schemas()] == ["1.2.0"]
    assert [schema["name"] for schema in layer.index.schemas] == ["Item"]
    assert layer.schemas() == ["Item@1.2.0"]


def changed_item():
    """Another type that is called Item, too."""

    @atdata.packable
    class Item:
        id: int
        data: NDArray[np.int8]

    return Item


def test_a_version_that_is_taken_by_another_type_is_refused(private):
    private.index.publish_schema(Item, version="1.0.0")
    before = private.state()
    with pytest.raises(ConflictError, match=r"Item@1\.0\.0.*new version"):
        private.index.publish_schema(changed_item(), version="1.0.0")
    assert private.state() == before


def test_on_the_atmosphere_another_type_of_the_same_version_is_another_record(atmosphere):
    one = atmosphere.index.publish_schema(Item, version="1.0.0")
    two = atmosphere.index.publish_schema(changed_item(), version="1.0.0")
    assert one != two
    assert atmosphere.schemas() == ["Item@1.0.0", "Item@1.0.0"]
    assert atmosphere.index.load_schema(one).cid != atmosphere.index.load_schema(two).cid


def test_without_a_version_a_changed_type_gets_the_next_one(layer):
    first = layer.index.publish_schema(Item)
    second = layer.index.publish_schema(changed_item())
    assert layer.index.load_schema(first).version == "1.0.0"
    assert layer.index.load_schema(second).version == "2.0.0"
    assert layer.index.publish_schema(Item) == first
    assert layer.index.publish_schema(changed_item()) == second
    versions = [schema.version for schema in layer.index.versions_of("Item")]
    assert versions == ["1.0.0", "2.0.0"]
    assert layer.index.versions_of("Nothing") == []


def test_a_dataset_of_another_type_than_its_schema_is_refused(layer, dataset):
    ref = layer.index.publish_schema(Other)
    before = layer.state()
    with pytest.raises(SchemaError, match="another type"):
        layer.index.insert_dataset(dataset, name="digits", schema_ref=ref)
    assert layer.state() == before
    with pytest.raises(NotFoundError):
        layer.index.get_dataset("digits")


def test_a_sample_that_doesn_t_fit_lists_nothing(layer):
    bad = Item(id=1, text="a", data=np.array([object()]))
    with pytest.raises(SampleError, match="digits, shard 1, sample 000000003, field 'data'"):
        layer.index.write_samples([*items(3), bad], name="digits", sample_type=Item, max_samples=2)
    with pytest.raises(NotFoundError):
        layer.index.get_dataset("digits")
    assert layer.index.list_datasets() == []


def test_a_stream_that_breaks_off_lists_nothing(layer):
    def source():
        yield from items(3)
        raise RuntimeError("the camera fell")

    with pytest.raises(RuntimeError, match="the camera fell"):
        layer.index.write_samples(source(), name="digits", sample_type=Item, max_samples=2)
    assert layer.index.list_datasets() == []


def test_a_broken_new_version_leaves_the_name_at_the_old_one(layer, tmp_path):
    old = layer.index.insert_dataset(version_of(2)(tmp_path), name="digits")

    def source():
        yield from items(5)
        raise RuntimeError("the camera fell")

    with pytest.raises(RuntimeError):
        layer.index.write_samples(source(), name="digits", sample_type=Item, max_samples=2)
    assert layer.index.get_dataset("digits") == old
    assert list(layer.index.open_dataset("digits", Item)) == items(2)


def test_a_damaged_shard_is_refused_when_it_is_read_and_replaced_when_written(private, dataset):
    entry = private.index.insert_dataset(dataset, name="digits")
    private.damage(entry)
    found = []
    with pytest.raises(IntegrityError, match=entry.shards[0].cid):
        found.extend(private.index.open_dataset("digits", Item))
    assert found == []


def test_a_shard_that_was_lost_is_put_back_by_inserting_again(private, dataset):
    entry = private.index.insert_dataset(dataset, name="digits")
    private.lose(entry)
    with pytest.raises(NotFoundError):
        list(private.index.open_dataset("digits"))
    again = private.index.insert(dataset, name="digits")
    assert again.moved == entry.shards[0].size
    assert list(private.index.open_dataset("digits", Item)) == items(6)


def test_a_source_whose_file_changed_after_it_was_counted_is_refused(layer, dataset):
    assert dataset.shards
    path = Path(dataset.list_shards()[1])
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"src-1\.tar|bytes"):
        layer.index.insert_dataset(dataset, name="digits")
    assert layer.index.list_datasets() == []


def test_a_dataset_has_the_same_cid_on_every_layer(files, team, atmosphere):
    done = [
        layer.index.write_samples(items(12), name="digits", sample_type=Item, max_samples=5)
        for layer in (files, team, atmosphere)
    ]
    cids = {each.entry.cid for each in done}
    assert len(cids) == 1
    assert cids.pop().startswith("bafyrei")
    assert len({tuple(s.cid for s in each.entry.shards) for each in done}) == 1
    names = [layer.named("digits")[0] for layer in (files, team, atmosphere)]
    assert names[0] == names[1] == names[2]


def test_shards_are_no_larger_than_usual_where_a_store_takes_larger_ones(files, atmosphere):
    # Else the same samples would have another CID on a layer that takes more.
    big = [Item(id=i, text="", data=np.zeros(1_250_000, np.float32)) for i in range(6)]
    done = [
        layer.index.write_samples(iter(big), name="big", sample_type=Item)
        for layer in (files, atmosphere)
    ]
    assert done[0].entry.cid == done[1].entry.cid
    assert all(shard.size <= 25_000_000 for shard in done[1].entry.shards)
    assert len(done[0].entry.shards) == 2


@pytest.mark.parametrize("origin", LAYERS)
@pytest.mark.parametrize("target", LAYERS)
def test_promotion_between_all_layers_keeps_content_and_words(request, origin, target, dataset):
    there = request.getfixturevalue(origin)
    here = request.getfixturevalue(target)
    ref = there.index.publish_schema(Item, version="3.1.0", description="An item")
    entry = there.index.insert_dataset(dataset, name="digits", schema_ref=ref, **WORDS)
    told = []
    done = promote(entry, there.index, here.index, lambda shard, moved: told.append(moved))
    assert done.entry.cid == entry.cid
    for word in ("name", "description", "tags", "license", "rows", "size"):
        assert getattr(done.entry, word) == getattr(entry, word)
    assert dict(done.entry.metadata) == WORDS["metadata"]
    schema = here.index.load_schema(done.entry.schema_ref)
    assert (schema.version, schema.description) == ("3.1.0", "An item")
    shards, _ = here.named("digits")
    assert [cid_of(data) for _, data in shards] == [shard.cid for shard in entry.shards]
    assert list(here.index.open_dataset("digits", Item)) == items(6)
    if origin == target:
        assert (done.created, done.moved, told) == (False, 0, [])
    else:
        assert (done.created, done.moved) == (True, entry.size)
        assert told == [True, True]
    before = here.state()
    again = promote(entry, there.index, here.index)
    assert (again.created, again.moved, again.entry) == (False, 0, done.entry)
    assert here.state() == before


LINKS = tuple(
    StrongRef(f"at://did:plc:{'a' * 24}/{DATASET_TYPE}/{key}", dag_cbor_cid({"key": key}))
    for key in ("z", "a")
)


def test_what_a_dataset_was_made_from_is_kept_in_order(layer, dataset):
    def insert(links=LINKS):
        return layer.index.insert(dataset, name="digits", derived_from=links)

    first = insert()
    assert first.entry.derived_from == LINKS
    assert layer.index.get_dataset("digits") == first.entry
    assert [entry.derived_from for entry in layer.index.list_datasets()] == [LINKS]
    body = layer.named("digits")[1]
    told = body.get("derivedFrom") or body.get("derived_from")
    assert told == [{"uri": link.uri, "cid": link.cid} for link in LINKS]
    before = layer.state()
    again = insert()
    assert (again.created, again.entry) == (False, first.entry)
    assert layer.state() == before
    other = insert(LINKS[:1])
    assert (other.created, other.entry.derived_from) == (True, LINKS[:1])
    assert other.entry.cid == first.entry.cid
    plain = layer.index.insert(dataset, name="plain")
    assert plain.entry.derived_from == ()
    assert not layer.named("plain")[1].keys() & {"derivedFrom", "derived_from"}


def test_samples_are_written_with_what_they_were_made_from(layer):
    def write():
        return layer.index.write_samples(
            iter(items(3)), name="digits", sample_type=Item, derived_from=LINKS
        )

    assert write().entry.derived_from == LINKS
    assert not write().created
    # Other samples are made from something else, and only their writer knows from what.
    found = layer.index.open_dataset("digits", Item).map(lambda item: Other(id=item.id), Other)
    for links in ((), LINKS[1:]):
        entry = layer.index.insert_dataset(found, name="mapped", derived_from=links)
        assert entry.derived_from == links


@pytest.mark.parametrize("origin", LAYERS)
@pytest.mark.parametrize("target", LAYERS)
def test_promotion_between_all_layers_keeps_what_a_dataset_was_made_from(
    request, origin, target, dataset
):
    there = request.getfixturevalue(origin)
    here = request.getfixturevalue(target)
    entry = there.index.insert_dataset(dataset, name="digits", derived_from=LINKS)
    assert promote(entry, there.index, here.index).entry.derived_from == LINKS
    assert here.index.get_dataset("digits").derived_from == LINKS
    assert not promote(entry, there.index, here.index).created


@pytest.mark.parametrize("origin", ["files", "team"])
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_public_record_says_what_a_dataset_was_made_from(
    request, monkeypatch, tmp_path, origin, namespace, atmosphere, dataset
):
    monkeypatch.setenv("ATDATA_NAMESPACE", namespace)
    first = atmosphere.index.insert_dataset(version_of(2)(tmp_path), name="first")
    there = request.getfixturevalue(origin)
    links = (first.strong_ref, *LINKS)
    entry = there.index.insert_dataset(dataset, name="digits", derived_from=links)
    store = PDSBlobStore(atmosphere.client)
    uri = promote_to_atmosphere(entry, there.index, atmosphere.client, data_store=store)
    value = web.record(atmosphere.client.base_url, uri)["value"]
    source = web.record(atmosphere.client.base_url, first.uri)
    assert value["derivedFrom"][0] == {"uri": source["uri"], "cid": source["cid"]}
    assert value["derivedFrom"][1:] == [{"uri": link.uri, "cid": link.cid} for link in LINKS]
    assert AtmosphereIndex(AtmosphereClient()).get_dataset(uri).derived_from == links
    again = promote_to_atmosphere(entry, there.index, atmosphere.client, data_store=store)
    assert again == uri


def test_promotion_copies_and_does_not_decode(files, team, tmp_path):
    # A body that no reader of samples takes: copied all the same, since its CID is right.
    path = tmp_path / "odd.tar"
    path.write_bytes(tar_of([("0.msgpack", b"\xc1")]))
    entry = files.index.insert_dataset(Dataset[Item](str(path)), name="digits")
    promote(entry, files.index, team.index)
    assert [data for _, data in team.named("digits")[0]] == [path.read_bytes()]
    with pytest.raises(SampleError):
        list(team.index.open_dataset("digits"))


def test_a_damaged_shard_is_not_promoted(files, team, dataset):
    entry = files.index.insert_dataset(dataset, name="digits")
    files.damage(entry)
    with pytest.raises(IntegrityError):
        promote(entry, files.index, team.index)
    with pytest.raises(NotFoundError):
        team.index.get_dataset("digits")


@pytest.mark.parametrize("origin", ["files", "team"])
def test_promotion_to_the_atmosphere_gives_a_public_record(request, origin, atmosphere, dataset):
    there = request.getfixturevalue(origin)
    entry = there.index.insert_dataset(dataset, name="digits", **WORDS)
    uri = promote_to_atmosphere(
        entry,
        there.index,
        atmosphere.client,
        data_store=PDSBlobStore(atmosphere.client),
        name="public-digits",
        license="CC0-1.0",
    )
    value = web.record(atmosphere.client.base_url, uri)["value"]
    assert (value["name"], value["license"]) == ("public-digits", "CC0-1.0")
    assert (value["description"], value["tags"]) == ("Some items", ["a", "é"])
    assert value["contentCid"] == entry.cid
    found = atdata.load_dataset(uri, Item)
    assert list(found) == items(6)
    assert [s.packed for s in atdata.load_dataset(uri)] == [s.packed for s in items(6)]
    with pytest.raises(SchemaError):
        atdata.load_dataset(uri, Other)


def test_promotion_without_a_store_refuses_paths_of_this_machine(files, atmosphere, dataset):
    entry = files.index.insert_dataset(dataset, name="digits")
    with pytest.raises(ConfigurationError, match="must not stand in a public record"):
        promote_to_atmosphere(entry, files.index, atmosphere.client)
    assert atmosphere.records(DATASET_TYPE) == []


def test_a_public_record_can_point_to_s3_and_is_verified_all_the_same(
    atmosphere, team, dataset, boto, bucket
):
    entry = team.index.insert_dataset(dataset, name="digits")
    uri = promote_to_atmosphere(entry, team.index, atmosphere.client)
    value = web.record(atmosphere.client.base_url, uri)["value"]
    assert value["storage"]["urls"] == entry.data_urls
    assert [shard["cid"] for shard in value["shards"]] == [shard.cid for shard in entry.shards]
    public = AtmosphereIndex(atmosphere.client)
    store = S3DataStore(bucket=team.bucket)
    assert public.get_dataset("digits").cid == entry.cid
    assert list(public.open_dataset("digits", Item)) == items(6)
    assert list(atdata.load_dataset(uri, Item, store=store)) == items(6)
    team.damage(entry)
    with pytest.raises(IntegrityError):
        list(atdata.load_dataset(uri, Item, store=store))


def test_an_index_of_records_can_keep_its_shards_in_s3(atmosphere, dataset, boto, bucket):
    store = S3DataStore(bucket=bucket)
    with AtmosphereIndex(AtmosphereClient(), data_store=store) as index:
        index.client = atmosphere.client
        first = index.insert(dataset, name="digits", **WORDS)
        before = atmosphere.state()
        again = index.insert(dataset, name="digits", **WORDS)
        assert (first.created, first.moved) == (True, first.entry.size)
        assert (again.created, again.moved, again.entry) == (False, 0, first.entry)
        assert atmosphere.state() == before
        assert list(index.open_dataset("digits", Item)) == items(6)
        index.client = AtmosphereClient()


def test_the_dataset_s_record_links_its_schema_at_its_content(atmosphere, dataset):
    entry = atmosphere.index.insert_dataset(dataset, name="digits")
    value = web.record(atmosphere.client.base_url, entry.uri)["value"]
    schema = web.record(atmosphere.client.base_url, value["schemaRef"])
    assert value["schema"] == {"uri": schema["uri"], "cid": schema["cid"]}
    assert value["schemaContentCid"] == schema["value"]["contentCid"] == Schema.of(Item).cid
    assert [shard["rows"] for shard in value["shards"]] == [3, 3]
    assert SchemaLoader(AtmosphereClient()).load(schema["uri"]).cid == Schema.of(Item).cid


def test_an_account_s_datasets_are_found_by_others_without_a_login(atmosphere, dataset):
    entry = atmosphere.index.insert_dataset(dataset, name="digits")
    stranger = AtmosphereIndex(AtmosphereClient())
    assert [e.name for e in stranger.list_datasets(atmosphere.client.did)] == ["digits"]
    assert [e.name for e in stranger.list_datasets(atmosphere.client.handle)] == ["digits"]
    assert [s["name"] for s in stranger.list_schemas(atmosphere.client.handle)] == ["Item"]
    by_handle = entry.uri.replace(atmosphere.client.did, atmosphere.client.handle)
    assert stranger.get_dataset(by_handle) == entry
    assert list(stranger.open_dataset(by_handle, Item)) == items(6)


def test_writers_at_once_end_with_one_entry(private):
    def write():
        return private.index.write_samples(
            items(20), name="threads", sample_type=Item, max_samples=5
        )

    with ThreadPoolExecutor(4) as threads:
        done = [job.result() for job in [threads.submit(write) for _ in range(4)]]
    pickled = pickle.dumps(private.index)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as processes:
        jobs = [processes.submit(write_to, pickled, "processes", 20) for _ in range(2)]
        others = [job.result() for job in jobs]
    assert len({each.entry.cid for each in done}) == 1
    cids = [shard.cid for shard in done[0].entry.shards]
    assert others == [(cids, done[0].entry.cid)] * 2
    for name in ("threads", "processes"):
        assert list(private.index.open_dataset(name, Item)) == items(20)
        assert [cid_of(data) for _, data in private.named(name)[0]] == cids
    assert private.schemas() == ["Item@1.0.0"]
    private.state()


def test_publishers_at_once_end_with_one_record(atmosphere, services):
    # Two sessions of one account, as two runs would have them.
    session = atmosphere.client.export_session()

    def write():
        with AtmosphereClient() as client:
            client.login_with_session(session)
            index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
            return index.write_samples(items(20), name="d", sample_type=Item, max_samples=5)

    with ThreadPoolExecutor(2) as threads:
        done = [job.result() for job in [threads.submit(write) for _ in range(2)]]
    assert done[0].entry == done[1].entry
    assert len(atmosphere.records(DATASET_TYPE)) == 1
    assert len(atmosphere.records(SCHEMA_TYPE)) == 1


def test_two_contents_under_one_name_at_once_leave_one_of_them_whole(private):
    def write(count):
        return private.index.write_samples(items(count), name="d", sample_type=Item)

    with ThreadPoolExecutor(4) as threads:
        done = [job.result().entry for job in [threads.submit(write, n) for n in (1, 2, 3, 4)]]
    found = private.index.get_dataset("d")
    assert found.cid in {entry.cid for entry in done}
    assert list(private.index.open_dataset("d", Item)) == items(found.rows)


def test_the_folder_of_a_local_index_can_be_moved_as_a_whole(files, dataset, tmp_path):
    files.index.insert_dataset(dataset, name="digits", **WORDS)
    files.root.rename(tmp_path / "elsewhere")
    moved = FileIndex(tmp_path / "elsewhere")
    assert list(moved.open_dataset("digits", Item)) == items(6)
    assert moved.insert(dataset, name="digits", **WORDS).created is False


def test_redis_holds_what_public_atdata_looks_for(team, dataset):
    import msgpack

    entry = team.index.insert_dataset(dataset, name="digits", **WORDS)
    (key,) = team.redis.keys("LocalDatasetEntry:*")
    fields = team.redis.hgetall(key)
    assert fields[b"name"] == b"digits"
    assert fields[b"schema_ref"].decode() == "atdata://local/schema/Item@1.0.0"
    assert msgpack.unpackb(fields[b"data_urls"]) == entry.data_urls
    assert msgpack.unpackb(fields[b"metadata"])["source"] == "lab"
    assert key.decode() == f"LocalDatasetEntry:{fields[b'cid'].decode()}"
    assert json.loads(team.redis.get("LocalSchema:Item@1.0.0"))["name"] == "Item"


def test_a_team_s_index_without_a_store_leaves_shards_where_they_are(redis_url, dataset):
    with LocalIndex(redis_url) as index:
        first = index.insert(dataset, name="digits")
        assert first.entry.data_urls == dataset.list_shards()
        assert (first.created, first.moved) == (True, 0)
        assert index.insert(dataset, name="digits").created is False
        with pytest.raises(ConfigurationError, match="data_store"):
            index.write_samples(items(1), name="x", sample_type=Item)


@pytest.mark.parametrize(
    ("metadata", "back"),
    [
        ({"a": 1.5, "b": True}, {"a": 1.5, "b": True}),
        ({"shape": (8, 8), "deep": {"x": [(1,), None]}},)
        + ({"shape": [8, 8], "deep": {"x": [[1], None]}},),
        ({"mean": np.float32(0.5), "n": np.int64(3)}, {"mean": 0.5, "n": 3}),
    ],
    ids=["plain", "tuples", "numpy"],
)
def test_metadata_come_back_as_they_were(layer, dataset, metadata, back):
    layer.index.insert_dataset(dataset, name="digits", metadata=metadata)
    assert dict(layer.index.get_dataset("digits").metadata) == back
    assert layer.index.insert(dataset, name="digits", metadata=metadata).created is False


@pytest.mark.parametrize(
    "value", [object(), b"x", {1: 2}, np.zeros(2)], ids=["object", "bytes", "key", "array"]
)
def test_metadata_that_not_every_index_can_hold_are_refused(layer, dataset, value):
    with pytest.raises(InvalidRecordError, match="metadata"):
        layer.index.insert_dataset(dataset, name="digits", metadata={"a": value})
    with pytest.raises(InvalidRecordError, match="metadata"):
        layer.index.write_samples(
            items(1), name="digits", sample_type=Item, metadata={"a": [value]}
        )
    assert layer.index.list_datasets() == []


def test_an_empty_dataset_is_a_dataset(layer):
    done = layer.index.write_samples([], name="empty", sample_type=Item)
    assert done.entry.rows == 0
    assert list(layer.index.open_dataset("empty")) == []
    assert len(layer.index.open_dataset("empty")) == 0


def test_a_record_of_public_atdata_without_our_facts_is_read(atmosphere, dataset):
    schema = atmosphere.index.publish_schema(Item)
    data = Path(dataset.list_shards()[0]).read_bytes()
    blob = atmosphere.client.upload_blob(data, "application/x-tar")
    uri = atmosphere.client.create_record(
        DATASET_TYPE,
        {
            "name": "theirs",
            "schemaRef": schema,
            "storage": {"$type": "ac.foundation.dataset.storageBlobs", "blobs": [blob]},
            "createdAt": "2024-01-01T00:00:00Z",
        },
    )
    found = atdata.load_dataset(str(uri), Item)
    assert list(found) == items(3)
    assert atmosphere.index.get_dataset("theirs").shards[0] == Shard(
        f"at://{atmosphere.client.did}/blob/{cid_of(data)}", cid_of(data), len(data), None
    )


def test_inserting_doesn_t_take_long_when_there_is_nothing_to_do(layer, dataset):
    layer.index.insert_dataset(dataset, name="digits")
    start = time.monotonic()
    layer.index.insert_dataset(dataset, name="digits")
    assert time.monotonic() - start < 5


def test_one_content_under_two_names_is_listed_twice(layer, dataset):
    first = layer.index.insert_dataset(dataset, name="one", description="the first")
    second = layer.index.insert_dataset(dataset, name="two")
    assert first.cid == second.cid
    assert [entry.name for entry in layer.index.list_datasets()] == ["one", "two"]
    assert layer.index.get_dataset("one").description == "the first"
    for name in ("one", "two"):
        assert list(layer.index.open_dataset(name, Item)) == items(6)


def test_a_reference_to_a_schema_elsewhere_lists_nothing(private, dataset):
    ref = f"at://did:plc:{'a' * 24}/{SCHEMA_TYPE}/x"
    with pytest.raises(NotFoundError, match="no such schema"):
        private.index.insert_dataset(dataset, name="digits", schema_ref=ref)
    assert private.index.list_datasets() == []


def test_a_schema_is_found_behind_more_than_a_page_of_others(atmosphere):
    ref = atmosphere.index.publish_schema(Item)
    record = dict(atmosphere.client.get_record(ref))
    for number in range(105):
        other = {**record, "name": f"Other{number}"}
        atmosphere.client.create_record(SCHEMA_TYPE, other, rkey=f"z{number:03}")
    page, _ = atmosphere.client.list_records(SCHEMA_TYPE)
    assert "Item" not in [schema["name"] for schema in page]
    assert [schema.version for schema in atmosphere.index.versions_of("Item")] == ["1.0.0"]
    assert atmosphere.index.publish_schema(Item) == ref
    assert len(atmosphere.records(SCHEMA_TYPE)) == 106


@pytest.mark.parametrize("origin", ["files", "team"])
def test_promoting_three_times_writes_one_record_of_each_kind(request, origin, atmosphere, dataset):
    there = request.getfixturevalue(origin)
    entry = there.index.insert_dataset(dataset, name="digits", **WORDS)
    store = PDSBlobStore(atmosphere.client)
    uris = {
        promote_to_atmosphere(entry, there.index, atmosphere.client, data_store=store)
        for _ in range(3)
    }
    assert {record["uri"] for record in atmosphere.records(DATASET_TYPE)} == uris
    assert len(uris) == len(atmosphere.records(SCHEMA_TYPE)) == 1
    assert atmosphere.index.get_dataset(uris.pop()).data_urls == [
        f"at://{atmosphere.client.did}/blob/{shard.cid}" for shard in entry.shards
    ]


def item_of_somebody_else():
    @atdata.packable
    class Item:
        number: int

    return Item


def test_a_stranger_s_type_whose_name_is_taken_gets_the_next_version(private, atmosphere):
    theirs = item_of_somebody_else()
    private.index.put_schema(Schema.of(Item))
    published = atmosphere.index.write_samples([theirs(1)], name="d", sample_type=theirs).entry
    dataset = atdata.load_dataset(published.uri)
    entry = private.index.insert(dataset, name="theirs").entry
    assert entry.cid == published.cid
    known = private.index.versions_of("Item")
    assert [schema.cid for schema in known] == [Schema.of(Item).cid, Schema.of(theirs).cid]
    assert [sample.number for sample in private.index.open_dataset("theirs")] == [1]
    assert not private.index.insert(dataset, name="theirs").created
