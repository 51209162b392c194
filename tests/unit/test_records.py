"""Records in every form that was ever published say the same; ours hold to their lexicons."""

import base64
import dataclasses

import msgpack
import pytest
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.atproto.answers import Record
from atdata_core.atproto.lexicon import validate_record
from atdata_core.atproto.records import (
    NAMESPACES,
    CodeReference,
    LensDescription,
    blob_manifest,
    blob_storage,
    dataset_record,
    external_storage,
    lens_record,
    manifest_blob,
    names_of,
    parse_dataset,
    parse_lens,
    parse_schema,
    record_key,
    schema_record,
    url_manifest,
)
from atdata_core.cid import digest_to_cid, raw_cid
from atdata_core.entry import DatasetEntry, StrongRef
from atdata_core.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidRecordError,
    InvalidUriError,
    SchemaError,
)
from atdata_core.schema import Schema
from atdata_core.shard import Shard
from tests.unit.test_fieldtypes import Full, Rich

DID = "did:plc:abcdefghijklmnopqrstuvwx"
SCHEMA_URI = f"at://{DID}/ac.foundation.dataset.sampleSchema/3aaaaaaaaaaaa"
OTHER_SCHEMA = SCHEMA_URI.replace("3aaaaaaaaaaaa", "3bbbbbbbbbbbb")
RECORD_CID = "bafyreifese74rnjxkqfwogn36oaompkxfdvombrwosakfwrtbr42zb6ly4"
CID = raw_cid(b"shard")
BLOB = {"$type": "blob", "ref": {"$link": CID}, "mimeType": "application/x-tar", "size": 5}
SUM = {"algorithm": "sha256", "digest": "00" * 32}


@atdata.packable
class Plain:
    """What today's public package can say too."""

    image: NDArray
    label: str
    count: int
    score: float
    good: bool
    raw: bytes
    names: list[str]
    extra: NDArray | None = None


def record(value, collection):
    return Record(
        {"$type": collection, **value}, f"at://{DID}/{collection}/3aaaaaaaaaaaa", RECORD_CID
    )


def dataset(storage, collection="ac.foundation.dataset.record", **fields):
    return parse_dataset(
        record({"name": "d", "schemaRef": SCHEMA_URI, "storage": storage, **fields}, collection)
    )


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("sample_type", [Plain, Rich, Full])
def test_a_schema_comes_back_from_its_record(sample_type, namespace):
    schema = Schema.of(sample_type, version="1.2.3")
    written = schema_record(schema, {"note": "x"}, namespace)
    validate_record(written, names_of(namespace).schema)
    assert parse_schema(record(written, names_of(namespace).schema)) == schema


JSON_SCHEMA = {
    "type": "object",
    "properties": {
        "image": {"$ref": "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"},
        "other": {
            "allOf": [
                {
                    "$ref": "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray"
                }
            ]
        },
        "label": {"type": "string"},
        "raw": {"type": "string", "format": "byte", "contentEncoding": "base64"},
        "counts": {"type": "array", "items": {"type": "integer"}},
        "maybe": {"type": "number"},
    },
    "required": ["image", "other", "label", "raw", "counts"],
}


@pytest.mark.parametrize(
    "body",
    [
        {"$schema": "x", **JSON_SCHEMA},
        {"schemaBody": JSON_SCHEMA},
        {"draft": "draft-07", "content": JSON_SCHEMA},
    ],
    ids=["flattened", "schemaBody", "envelope"],
)
@pytest.mark.parametrize("nsid", ["science.alt.dataset.schema", "ac.foundation.dataset.schema"])
def test_schemas_of_the_public_package_are_read(nsid, body):
    value = {"name": "T", "version": "2.0.0", "schemaType": "jsonSchema", "schema": body}
    schema = parse_schema(record(value, nsid))
    assert str(schema) == (
        "T(image: ndarray[any dtype], other: ndarray[any dtype], label: str, raw: bytes, "
        "counts: list[int], maybe: float | None)"
    )
    assert schema.version == "2.0.0"
    assert schema.fields[-1].default is None


def test_schemas_of_the_seed_s_time_are_read():
    prefix = "ac.foundation.dataset.schemaType#"
    value = {
        "name": "T",
        "version": "1.0.0",
        "fields": [
            {
                "name": "x",
                "fieldType": {"$type": f"{prefix}ndarray", "dtype": "float32"},
                "optional": False,
            },
            {"name": "n", "fieldType": {"$type": f"{prefix}primitive", "primitive": "int"}},
        ],
        "createdAt": "2026-01-28T00:00:00Z",
    }
    schema = parse_schema(record(value, "ac.foundation.dataset.sampleSchema"))
    # It stated float32 for any array: that tells nothing.
    assert str(schema) == "T(x: ndarray[any dtype], n: int)"


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"name": "T", "schema": {"type": "object"}},
        {"name": "T", "schema": {"properties": {"import os": {"type": "string"}}}},
        {"name": "T; import os", "schema": JSON_SCHEMA},
        {"name": "T", "schema": {"properties": {"x": {"$ref": "https://example.org/evil"}}}},
        {"name": "T", "schema": JSON_SCHEMA, "version": '"); import os #'},
    ],
    ids=range(6),
)
def test_what_describes_no_schema_is_refused(value):
    with pytest.raises(SchemaError):
        parse_schema(record(value, "science.alt.dataset.schema"))


def test_a_json_schema_puts_required_fields_first_and_names_the_format_of_arrays():
    @atdata.packable
    class Mixed:
        maybe: NDArray | None
        must: int

    body = schema_record(Schema.of(Mixed), namespace="science.alt.dataset")["schema"]
    assert list(body["properties"]) == ["must", "maybe"]
    assert body["required"] == ["must"]
    assert "ndarray" in body["properties"]["maybe"]["$ref"]
    assert body["content"]["properties"] == body["properties"]


@pytest.mark.parametrize(
    ("storage", "shards"),
    [
        (
            {"$type": "ac.foundation.dataset.storageBlobs", "blobs": [BLOB]},
            [Shard(f"at://{DID}/blob/{CID}", CID, 5)],
        ),
        (
            {"$type": "science.alt.dataset.storageBlobs", "blobs": [{"blob": BLOB}]},
            [Shard(f"at://{DID}/blob/{CID}", CID, 5)],
        ),
        (
            {
                "$type": "science.alt.dataset.storageBlobs",
                "blobs": [{"cid": CID, "mimeType": "application/x-tar"}],
            },
            [Shard(f"at://{DID}/blob/{CID}", CID)],
        ),
        (
            {
                "$type": "ac.foundation.dataset.storageExternal",
                "urls": ["s3://b/d-{0..1}.tar", "https://x.org/a.tar"],
            },
            [Shard("s3://b/d-0.tar"), Shard("s3://b/d-1.tar"), Shard("https://x.org/a.tar")],
        ),
        (
            {
                "$type": "science.alt.dataset.storageHttp",
                "shards": [
                    {"url": "https://x.org/a.tar", "checksum": SUM},
                    {
                        "url": "https://x.org/b.tar",
                        "checksum": {"algorithm": "none", "digest": ""},
                    },
                ],
            },
            [
                Shard("https://x.org/a.tar", digest_to_cid(bytes(32))),
                Shard("https://x.org/b.tar"),
            ],
        ),
        (
            {
                "$type": "science.alt.dataset.storageS3",
                "bucket": "b",
                "shards": [{"key": "k/a.tar", "checksum": SUM}],
            },
            [Shard("s3://b/k/a.tar", digest_to_cid(bytes(32)))],
        ),
        (
            {
                "$type": "science.alt.dataset.storageS3",
                "bucket": "b",
                "endpoint": "https://s3.example.org/",
                "shards": [{"key": "a.tar", "checksum": {"algorithm": "blake3", "digest": "00"}}],
            },
            [Shard("https://s3.example.org/b/a.tar")],
        ),
    ],
    ids=["blobs", "entries", "legacy", "external", "http", "s3", "s3 elsewhere"],
)
def test_every_way_to_keep_shards_is_read(storage, shards):
    collection = (
        "science.alt.dataset.entry"
        if "science" in storage["$type"]
        else "ac.foundation.dataset.record"
    )
    assert list(dataset(storage, collection).shards) == shards


@pytest.mark.parametrize(
    "storage",
    [
        {"$type": "science.alt.dataset.storageHttp", "shards": [{"url": "file:///etc/passwd"}]},
        {"$type": "science.alt.dataset.storageHttp", "shards": [{"url": "pipe:cat /etc/passwd"}]},
        {
            "$type": "science.alt.dataset.storageS3",
            "bucket": "b",
            "endpoint": "http://169.254.169.254",
            "shards": [{"key": "a"}],
        },
        {
            "$type": "science.alt.dataset.storageHttp",
            "shards": [
                {"url": "https://x.org/a", "checksum": {"algorithm": "sha256", "digest": "zz"}}
            ],
        },
        {
            "$type": "science.alt.dataset.storageBlobs",
            "blobs": [{"blob": BLOB, "checksum": SUM}],
        },
        {
            "$type": "ac.foundation.dataset.storageBlobs",
            "blobs": [{**BLOB, "ref": {"$link": RECORD_CID}}],
        },
        {"$type": "ac.foundation.dataset.storageBlobs"},
        {"$type": "ac.foundation.dataset.storageExternal", "urls": "s3://b/a"},
    ],
    ids=range(8),
)
def test_storage_that_lies_is_refused(storage):
    with pytest.raises((InvalidRecordError, ValueError)):
        dataset(storage, "science.alt.dataset.entry")


def test_a_storage_that_is_not_known_is_described_but_says_why_it_cannot_be_opened():
    entry = dataset({"$type": "com.example.storageTape", "reel": 7})
    assert entry.name == "d"
    assert entry.shards == ()
    assert "com.example.storageTape" in entry.unreadable


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": 1, "b": [1.5]},
        {"$bytes": base64.b64encode(msgpack.packb({"a": 1, "b": [1.5]})).decode()},
    ],
    ids=["object", "bytes"],
)
def test_metadata_are_read_in_every_form(metadata):
    storage = {"$type": "ac.foundation.dataset.storageExternal", "urls": ["s3://b/a.tar"]}
    assert dataset(storage, metadata=metadata).metadata == {"a": 1, "b": [1.5]}


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("kind", ["blobs", "https", "s3"])
@pytest.mark.parametrize("metadata", [{}, {"n": 1, "list": ["a"]}, {"x": 0.5, "y": None}])
def test_a_dataset_comes_back_from_its_record(namespace, kind, metadata):
    names = names_of(namespace)
    urls = {"https": "https://x.org/a-{}.tar", "s3": "s3://b/k/a-{}.tar"}.get(kind, "")
    shards = tuple(Shard(urls.format(i), raw_cid(bytes([i])), 512 * i, i) for i in range(1, 4))
    if kind == "blobs":
        shards = tuple(Shard(f"at://{DID}/blob/{s.cid}", s.cid, s.size, s.rows) for s in shards)
        storage = blob_storage(shards, "application/x-tar", names)
    else:
        storage = external_storage([s.url for s in shards], shards, names)
    entry = DatasetEntry(
        "d",
        SCHEMA_URI,
        shards,
        schema_cid=Schema.of(Plain).cid,
        description="words",
        tags=("a", "b"),
        license="CC0-1.0",
        metadata=metadata,
        derived_from=(StrongRef(SCHEMA_URI, RECORD_CID), StrongRef(OTHER_SCHEMA, RECORD_CID)),
    )
    written = dataset_record(entry, storage, RECORD_CID, names)
    again = parse_dataset(record(written, names.dataset))
    assert again.says_the_same(entry)
    assert again.shards == shards
    assert again.cid == entry.cid
    assert again.schema_ref == SCHEMA_URI


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("kind", ["blobs", "urls"])
def test_a_dataset_comes_back_from_its_record_and_its_manifest(namespace, kind):
    names = names_of(namespace)
    shards = tuple(Shard("", raw_cid(str(i).encode()), i, i % 7 or None) for i in range(2500))
    if kind == "blobs":
        shards = tuple(Shard(f"at://{DID}/blob/{s.cid}", s.cid, s.size, s.rows) for s in shards)
        manifest = blob_manifest(shards, "application/x-tar", DID, names)
        assert [len(part.record["blobs"]) for part in manifest.parts] == [1000, 1000, 500]
        for part in manifest.parts:
            validate_record(part.record, names.part, part.uri.rkey)
    else:
        shards = tuple(Shard(f"s3://b/{s.size}.tar", s.cid, s.size, s.rows) for s in shards)
        manifest = url_manifest(shards, names)
        assert manifest.parts == ()
    entry = DatasetEntry("d", SCHEMA_URI, shards, schema_cid=Schema.of(Plain).cid)
    written = record(dataset_record(entry, manifest.storage, RECORD_CID, names), names.dataset)
    assert manifest_blob(written) == (manifest.cid, len(manifest.body))
    again = parse_dataset(written, manifest.body)
    assert (again.shards, again.cid) == (shards, entry.cid)
    assert "not fetched" in parse_dataset(written).unreadable
    for other in (b"", manifest.body + b"x"):
        with pytest.raises(IntegrityError):
            parse_dataset(written, other)


@pytest.mark.parametrize("nsid", ["ac.foundation.dataset.record", "science.alt.dataset.entry"])
@pytest.mark.parametrize(
    "links",
    [
        "x",
        5,
        ["x"],
        [{}],
        {"uri": "x"},
        [{"uri": "x", "cid": RECORD_CID}],
        [{"uri": SCHEMA_URI, "cid": "x"}],
        [{"uri": SCHEMA_URI, "cid": 5}],
    ],
    ids=str,
)
def test_lineage_that_is_no_links_is_refused(nsid, links):
    storage = {"$type": "ac.foundation.dataset.storageExternal", "urls": ["s3://b/a.tar"]}
    assert dataset(storage, nsid).derived_from == ()
    with pytest.raises((InvalidRecordError, InvalidUriError)) as caught:
        dataset(storage, nsid, derivedFrom=links)
    assert nsid in str(caught.value)


def test_more_shards_than_any_list_takes_are_refused_with_a_remedy():
    shards = [Shard(f"s3://b/{i}") for i in range(100_001)]
    with pytest.raises(InvalidRecordError, match="fewer, larger shards"):
        url_manifest(shards, names_of())
    with pytest.raises(InvalidRecordError, match="fewer, larger shards"):
        url_manifest([Shard("https://x.org/" + "a" * 2000)] * 20_000, names_of())


def test_a_record_that_contradicts_itself_is_refused():
    names = names_of()
    shards = (Shard("https://x.org/a.tar", CID, 5, 1),)
    entry = DatasetEntry("d", SCHEMA_URI, shards, schema_cid=Schema.of(Plain).cid)
    written = dataset_record(
        entry, external_storage([shards[0].url], shards, names), RECORD_CID, names
    )
    written["shards"] = [{"cid": raw_cid(b"other"), "size": 5, "rows": 1}]
    with pytest.raises(InvalidRecordError, match="contradicts itself"):
        parse_dataset(record(written, names.dataset))


def test_the_public_namespace_takes_shards_of_one_kind_in_one_bucket():
    names = names_of("science.alt.dataset")
    for urls in (["s3://a/x", "s3://b/y"], ["s3://a/x", "https://x.org/y"]):
        with pytest.raises(ConfigurationError):
            external_storage(urls, (), names)
    assert len(external_storage(["https://x.org/{0..2}.tar"], (), names)["shards"]) == 3


def test_the_namespace_is_one_setting(monkeypatch):
    assert names_of().namespace == "ac.foundation.dataset"
    monkeypatch.setenv("ATDATA_NAMESPACE", "science.alt.dataset")
    assert names_of().dataset == "science.alt.dataset.entry"
    with pytest.raises(ConfigurationError, match=r"com\.example"):
        names_of("com.example")


def test_equal_content_has_one_key_whenever_it_is_written():
    one = schema_record(Schema.of(Plain))
    other = {**schema_record(Schema.of(Plain)), "createdAt": "1999-01-01T00:00:00Z"}
    assert record_key(one) == record_key(other)
    assert record_key(one) != record_key(schema_record(Schema.of(Plain, version="2.0.0")))
    assert len(record_key(one)) == 13


def test_values_that_no_record_can_hold_are_refused_by_name():
    entry = DatasetEntry("d", SCHEMA_URI, (), metadata={"x": object()})
    storage = external_storage(["s3://b/a.tar"], (), names_of())
    with pytest.raises(InvalidRecordError, match="metadata"):
        dataset_record(entry, storage, None, names_of())


COMMIT = "0123456789abcdef0123456789abcdef01234567"
CODE = CodeReference("https://git.example.org/lab/lenses", COMMIT, "a/b.py:to_gray", "python")


def lens(**changes):
    said = {"name": "gray", "source_schema": SCHEMA_URI, "target_schema": OTHER_SCHEMA}
    code = {"getter": CODE, "putter": CodeReference(CODE.repository, COMMIT, "a/b.py:put")}
    return LensDescription(**said | code | changes)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_lens_comes_back_from_its_record(namespace):
    names = names_of(namespace)
    said = lens(description="é", source_cid=RECORD_CID, target_cid=RECORD_CID)
    written = lens_record(said, names)
    validate_record(written, names.lens)
    again = parse_lens(record(written, names.lens))
    assert (again.uri, again.record_cid) == (
        f"at://{DID}/{names.lens}/3aaaaaaaaaaaa",
        RECORD_CID,
    )
    told = {"uri": again.uri, "record_cid": RECORD_CID, "created_at": written["createdAt"]}
    assert again == dataclasses.replace(said, **told)
    assert again.getter.is_pinned
    with pytest.raises(dataclasses.FrozenInstanceError):
        again.name = "other"


def test_a_lens_for_looking_only_has_no_form_in_the_public_namespace():
    seed, public = map(names_of, NAMESPACES)
    validate_record(lens_record(lens(putter=None), seed), seed.lens)
    assert parse_lens(record(lens_record(lens(putter=None), seed), seed.lens)).putter is None
    with pytest.raises(InvalidRecordError, match="putterCode"):
        validate_record(lens_record(lens(putter=None), public), public.lens)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repository": "http://git.example.org/lab"}, "public address"),
        ({"repository": "git@git.example.org:lab/lenses"}, "public address"),
        ({"repository": "file:///home/me/lenses"}, "public address"),
        ({"repository": "/home/me/lenses"}, "public address"),
        ({"repository": "https:///lenses"}, "public address"),
        ({"repository": "https://git.example.org/a b"}, "public address"),
        ({"repository": "https://git.example.org/a\n"}, "public address"),
        ({"repository": "https://git.example.org/a#main"}, "public address"),
        ({"repository": "https://[bad"}, "public address"),
        ({"repository": "https://me:hunter2@git.example.org/a"}, "credentials"),
        ({"repository": "https://hunter2@git.example.org/a"}, "credentials"),
        ({"repository": "https://git.example.org/a?token=hunter2"}, "credentials"),
        ({"commit": "main"}, "full hash"),
        ({"commit": COMMIT[:7]}, "full hash"),
        ({"commit": COMMIT.upper()}, "full hash"),
        ({"commit": COMMIT + "\n"}, "full hash"),
        ({"commit": COMMIT + "0" * 20}, "full hash"),
        ({"path": ""}, "lie in the repository"),
        ({"path": "/etc/passwd"}, "lie in the repository"),
        ({"path": "~/lenses.py"}, "lie in the repository"),
        ({"path": "../lenses.py:f"}, "lie in the repository"),
        ({"path": "a/../../b.py:f"}, "lie in the repository"),
        ({"path": "a\\..\\b.py"}, "lie in the repository"),
        ({"path": "C:/lenses.py"}, "lie in the repository"),
        ({"path": "a.py\n:f"}, "lie in the repository"),
        ({"path": "a" * 501}, "lie in the repository"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_code_that_others_cannot_rely_on_is_not_published(changes, message):
    code = dataclasses.replace(CODE, **changes)
    for said in (lens(getter=code), lens(putter=code)):
        with pytest.raises(InvalidRecordError, match=message) as caught:
            lens_record(said, names_of())
        assert "hunter2" not in str(caught.value)


def test_a_commit_of_sha_256_is_a_full_hash():
    code = dataclasses.replace(CODE, commit="0123456789abcdef" * 4)
    written = lens_record(lens(getter=code), names_of())
    validate_record(written, names_of().lens)
    assert parse_lens(record(written, names_of().lens)).getter.is_pinned


PUBLIC_LENS = {
    "name": "gray",
    "sourceSchema": SCHEMA_URI,
    "targetSchema": OTHER_SCHEMA,
    "getterCode": {"repository": CODE.repository, "commit": COMMIT[:12], "path": "a.py:f"},
    "putterCode": {
        "repository": "at://did:plc:abcdefghijklmnopqrstuvwx/sh.tangled.repo/3a",
        "commit": COMMIT,
        "path": "b.rs",
        "branch": "main",
        "language": "rust",
    },
    "language": "python",
    "metadata": {"author": "x"},
    "createdAt": "2026-01-28T00:00:00Z",
}


@pytest.mark.parametrize("nsid", ["ac.foundation.dataset.lens", "science.alt.dataset.lens"])
def test_lenses_of_the_public_package_are_read(nsid):
    said = parse_lens(record(PUBLIC_LENS, nsid))
    assert said.getter == CodeReference(CODE.repository, COMMIT[:12], "a.py:f", "python")
    assert not said.getter.is_pinned
    assert said.putter.language == "rust"
    assert said.putter.is_pinned
    # The seed's time let a lens tell nothing of its code.
    bare = {key: value for key, value in PUBLIC_LENS.items() if not key.endswith("Code")}
    assert parse_lens(record(bare, nsid)).getter is None


@pytest.mark.parametrize(
    "changes",
    [
        {"name": None},
        {"name": 3},
        {"sourceSchema": None},
        {"sourceSchema": "https://x.org"},
        {"targetSchema": "at://x.org"},
        {"getterCode": "os.system"},
        {"getterCode": {}},
        {"getterCode": {**PUBLIC_LENS["getterCode"], "path": "../../etc/passwd"}},
        {"getterCode": {**PUBLIC_LENS["getterCode"], "path": ["a"]}},
        {"getterCode": {**PUBLIC_LENS["getterCode"], "repository": "file:///etc"}},
        {"putterCode": {**PUBLIC_LENS["getterCode"], "repository": "https://a:b@x.org/r"}},
        {"putterCode": {**PUBLIC_LENS["getterCode"], "commit": "HEAD; rm -rf"}},
        {"source": {"uri": OTHER_SCHEMA, "cid": RECORD_CID}},
        {"source": {"uri": SCHEMA_URI, "cid": "bafy"}},
        {"source": "x"},
        {"$type": "ac.foundation.dataset.label"},
    ],
    ids=str,
)
def test_what_describes_no_lens_is_refused(changes):
    with pytest.raises(InvalidRecordError):
        parse_lens(record(PUBLIC_LENS | changes, "ac.foundation.dataset.lens"))
