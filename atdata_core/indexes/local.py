"""Datasets and schemas in Redis: the team's index.

The keys are those of public ``atdata``, with fields of our own beside its:

- ``LocalDatasetEntry:<id>``: a hash for each entry ever made; the id is the dag-cbor CID of what
  the entry says;
- ``LocalSchema:<Name>@<version>``: a schema, as JSON;
- ``atdata:names``: a hash from each name to the id that it stands for;
- ``atdata:contents``: a hash from each content CID to the newest id that has it;
- ``atdata:schemas:<Name>``: the set of a schema's versions;
- ``atdata:changes``: a stream of what changed, for those who follow; see `LocalIndex.changes`.

An entry, the name that points to it and the note of the change are written in one script, which
Redis runs atomically.
"""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from atdata_core.entry import DatasetEntry
from atdata_core.errors import ConflictError, NotFoundError, SchemaError
from atdata_core.indexes.base import AbstractIndex
from atdata_core.indexes.changes import STREAM, TeamChanges, read_changes
from atdata_core.indexes.codec import parse_schema_ref, schema_ref, version_key
from atdata_core.indexes.connection import RedisConnection
from atdata_core.indexes.entries import (
    CONTENTS,
    ENTRY,
    NAMES,
    put_entries,
    read_entries,
)
from atdata_core.indexes.hashes import as_text, entry_from_hash, schema_from_text
from atdata_core.indexes.labels import Label, Labels
from atdata_core.schema import Schema
from atdata_core.sources import DataSource
from atdata_core.stores.base import AbstractDataStore, Progress

if TYPE_CHECKING:
    from redis import Redis

_SCHEMA = "LocalSchema:"
_VERSIONS = "atdata:schemas:"

# KEYS: the schema, the versions of its name, the stream. ARGV: JSON, version, name, CID. Answers
# what is there already.
_PUT_SCHEMA = """
local there = redis.call('GET', KEYS[1])
if there then return there end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*',
  'kind', 'schema', 'name', ARGV[3] .. '@' .. ARGV[2], 'id', ARGV[4], 'cid', ARGV[4])
return false
"""


class LocalIndex(AbstractIndex):
    """Datasets and schemas in Redis.

    Args:
        redis: A client (with ``decode_responses=False``) or a URL; by default
            ``ATDATA_REDIS_URL``.
        data_store: Where the shards of inserted datasets are put, as `S3DataStore`; None: they
            stay where they are.
    """

    def __init__(
        self,
        redis: "Redis | str | None" = None,
        data_store: AbstractDataStore | None = None,
    ) -> None:
        super().__init__(data_store)
        self._connection = RedisConnection(redis, "the team index")

    @property
    def redis(self) -> "Redis":
        """The client; made when it is first needed, one a process."""
        return self._connection.redis

    def close(self) -> None:
        """Closes connections; a client that was given stays open."""
        super().close()
        self._connection.close()

    def get_dataset(self, ref: str) -> DatasetEntry:
        """The entry of a name, of a content CID, or of a label ``name@1.0.0``.

        Entries that public ``atdata`` wrote are found by searching, unless `adopt` listed them.
        """
        with self._connection.translated():
            fields = self.redis.hgetall(ENTRY + self._id_of(ref))
        if not fields:
            raise NotFoundError("the team index has no such dataset", where=self._where, got=ref)
        return entry_from_hash(fields, ref)

    def list_datasets(self) -> list[DatasetEntry]:
        """The entries that names stand for, by name."""
        with self._connection.translated():
            return read_entries(self.redis)

    def insert_entries(self, entries: Iterable[DatasetEntry]) -> int:
        """Lists many entries, as those of another index; their shards stay where they are.

        Much faster than one `insert_dataset` after another.

        Args:
            entries: The entries, in the order in which they are listed.

        Returns:
            How many they were.

        Raises:
            NotFoundError: The schema of an entry isn't registered here; those before it are listed.
            SchemaError: It is registered with other content than the entry says.
        """
        schemas: dict[str, str] = {}

        def checked() -> Iterator[DatasetEntry]:
            for given in entries:
                entry = given
                if entry.schema_ref not in schemas:
                    schemas[entry.schema_ref] = self.load_schema(entry.schema_ref).cid
                cid = schemas[entry.schema_ref]
                if entry.schema_cid not in (None, cid):
                    raise SchemaError(
                        "schema of the entry is registered with other content",
                        where=f"{entry.name}, {entry.schema_ref}",
                        expected=cid,
                        got=entry.schema_cid,
                    )
                if (entry.schema_cid, entry.previous, entry.created_at) != (cid, None, None):
                    entry = entry.replace(schema_cid=cid, previous=None, created_at=None)
                yield entry

        with self._connection.translated():
            return put_entries(self.redis, checked())

    def adopt(self) -> int:
        """Lists the entries and schemas that public ``atdata`` wrote into this Redis.

        It keeps no list of names, so without this they are found one by one, by searching.

        Returns:
            How many there were.
        """
        with self._connection.translated():
            found = self._foreign()
            schemas = [
                as_text(key) for key in self.redis.scan_iter(match=_SCHEMA + "*", count=1000)
            ]
            pipeline = self.redis.pipeline()
            for name, key in found.items():
                pipeline.hsetnx(NAMES, name, key)
                note: dict[Any, Any] = {"kind": "dataset", "name": name, "id": key, "cid": ""}
                pipeline.xadd(STREAM, note, maxlen=10_000, approximate=True)
            for key in schemas:
                name, _, version = key.removeprefix(_SCHEMA).partition("@")
                pipeline.sadd(_VERSIONS + name, version)
            pipeline.execute()
        return len(found)

    def _foreign(self) -> dict[str, str]:
        """Names and ids of the entries that no name of ours stands for; two names, the last one."""
        ours = set(map(as_text, self.redis.hvals(NAMES)))
        keys = [as_text(key) for key in self.redis.scan_iter(match=ENTRY + "*", count=1000)]
        ids = [key.removeprefix(ENTRY) for key in keys]
        strange = [each for each in ids if each not in ours]
        pipeline = self.redis.pipeline(transaction=False)
        for each in strange:
            pipeline.hmget(ENTRY + each, "name", "entry")
        facts = pipeline.execute() if strange else []
        return {
            as_text(name): each
            for each, (name, own) in zip(strange, facts, strict=True)
            if name is not None and own is None
        }

    def changes(self, cursor: str | None, limit: int = 1000) -> TeamChanges:
        """What changed since a cursor, in the order in which it did.

        Args:
            cursor: What the call before gave; None: from now on.
            limit: The most changes to tell.
        """
        with self._connection.translated():
            return read_changes(self.redis, cursor, limit)

    @property
    def labels(self) -> Labels:
        """The labels of this Redis."""
        return Labels(lambda: self.redis)

    def label(
        self,
        name: str,
        ref: str | DatasetEntry,
        *,
        version: str | None = None,
        description: str | None = None,
    ) -> Label:
        """Gives an entry a name beside its own, with a version or without.

        Args:
            name: The label's name.
            ref: The entry, or what `get_dataset` takes.
            version: A semantic version; such a label never moves. None: it moves when it is set
                again.
            description: For people.

        Raises:
            NotFoundError: There is no such entry.
            ConflictError: The version stands for another entry already.
        """
        with self._connection.translated():
            key = self._id_of(ref.name if isinstance(ref, DatasetEntry) else ref)
            return self.labels.put(Label(name, key, version, description))

    def get_label(self, name: str, version: str | None = None) -> DatasetEntry:
        """The entry that a label stands for; without a version the moving one, or the newest."""
        with self._connection.translated():
            key = self.labels.get(name, version).entry_id
            fields = self.redis.hgetall(ENTRY + key)
        if not fields:
            raise NotFoundError("label's entry is gone", where=self._where, got=name)
        return entry_from_hash(fields, name)

    def list_labels(self, name: str | None = None) -> list[Label]:
        """All labels, or those of a name; by name and version."""
        with self._connection.translated():
            return self.labels.list(name)

    def _id_of(self, ref: str) -> str:
        key = self.redis.hget(NAMES, ref) or self.redis.hget(CONTENTS, ref)
        if key is None and "@" in ref:
            name, _, version = ref.rpartition("@")
            return self.labels.get(name, version).entry_id
        key = key or self._foreign().get(ref)
        if key is None:
            raise NotFoundError("the team index has no such dataset", where=self._where, got=ref)
        return as_text(key)

    def load_schema(self, ref: str) -> Schema:
        """The schema of a reference ``atdata://local/schema/Name@1.0.0``."""
        label = parse_schema_ref(ref)
        # Former references have the module's name too, which few of the schemas were kept under.
        name, _, version = label.partition("@")
        keys = [_SCHEMA + label, f"{_SCHEMA}{name.rpartition('.')[2]}@{version}"]
        with self._connection.translated():
            text = next((each for each in self.redis.mget(keys) if each is not None), None)
        if text is None:
            raise NotFoundError("the team index has no such schema", where=self._where, got=ref)
        return schema_from_text(text, ref)

    def list_schemas(self) -> list[dict[str, Any]]:
        """All schemas, by name and version."""
        with self._connection.translated():
            keys = sorted(self.redis.scan_iter(match=_SCHEMA + "*", count=1000))
            texts = self.redis.mget(keys) if keys else []
        return [schema_from_text(text, "schema").to_json() for text in texts if text is not None]

    def versions_of(self, name: str) -> list[Schema]:
        """The registered schemas of a name, oldest version first."""
        with self._connection.translated():
            versions = sorted(map(as_text, self.redis.smembers(_VERSIONS + name)), key=version_key)
            texts = self.redis.mget([f"{_SCHEMA}{name}@{v}" for v in versions]) if versions else []
        return [schema_from_text(text, name) for text in texts if text is not None]

    def put_schema(self, schema: Schema) -> str:
        """Registers a schema at its version."""
        ref = schema_ref(schema.name, schema.version)
        with self._connection.translated():
            there = self.redis.eval(
                _PUT_SCHEMA,
                3,
                f"{_SCHEMA}{schema.name}@{schema.version}",
                _VERSIONS + schema.name,
                STREAM,
                json.dumps(schema.to_json()),
                schema.version,
                schema.name,
                schema.cid,
            )
        if there:
            known = schema_from_text(there, ref)
            if known.cid != schema.cid:
                raise ConflictError(
                    "this version of the schema is registered with other content",
                    where=ref,
                    expected=str(known),
                    got=str(schema),
                    remedy="Give the changed type a new version",
                )
        return ref

    def _find_equal(self, draft: DatasetEntry) -> DatasetEntry | None:
        with self._connection.translated():
            key = self.redis.hget(NAMES, draft.name)
            fields = self.redis.hgetall(ENTRY + as_text(key)) if key else None
        found = entry_from_hash(fields, draft.name) if fields else None
        if found is None or not found.says_the_same(draft):
            return None
        if self.data_store is None:
            return found if found.data_urls == draft.data_urls else None
        placed = (self.data_store.find_shard(shard, draft.name) for shard in found.shards)
        return found if all(placed) else None

    def _put_entry(self, draft: DatasetEntry, source: DataSource, moved: Progress) -> DatasetEntry:  # noqa: ARG002
        with self._connection.translated():
            put_entries(self.redis, [draft])
        return self.get_dataset(draft.name)

    @property
    def _where(self) -> str:
        return self._connection.where

    def __repr__(self) -> str:
        return f"LocalIndex({self._where}, data_store={self.data_store!r})"
