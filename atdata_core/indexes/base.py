"""The port `AbstractIndex`: a place where datasets and schemas are listed."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from atdata_core.dataset import Dataset, listed_dataset
from atdata_core.entry import DatasetEntry, StrongRef
from atdata_core.errors import ConfigurationError, ConflictError, SchemaError
from atdata_core.evolution import next_version
from atdata_core.indexes.codec import plain_metadata
from atdata_core.indexes.insertion import Counter, Insertion
from atdata_core.publishing import check_type, raw_source
from atdata_core.schema import Schema
from atdata_core.shard import DEFAULT_MAX_SAMPLES, DEFAULT_MAX_SHARD_BYTES
from atdata_core.sources import DataSource
from atdata_core.stores import open_source
from atdata_core.stores.base import AbstractDataStore, Progress
from atdata_core.stores.files import FileDataStore

_TRIES = 20


class AbstractIndex(ABC):
    """A place where datasets and schemas are listed by name.

    Shards are put in their place first, the entry that names them is written last and at once, so
    an index never names a dataset that isn't there. Inserting equal content in equal words finds
    the entry that is there and writes nothing.

    Args:
        data_store: Where the shards of inserted datasets are put; None: they stay where they are.
    """

    def __init__(self, data_store: AbstractDataStore | None = None) -> None:
        self.data_store = data_store

    @abstractmethod
    def get_dataset(self, ref: str) -> DatasetEntry:
        """The entry of a name, of a content CID, or (on the atmosphere) of an AT URI.

        Raises:
            NotFoundError: There is none.
        """

    @abstractmethod
    def list_datasets(self) -> list[DatasetEntry]:
        """All entries, one a name: the newest."""

    @abstractmethod
    def load_schema(self, ref: str) -> Schema:
        """The schema that a reference of this index stands for; raises `NotFoundError`."""

    @abstractmethod
    def list_schemas(self) -> list[dict[str, Any]]:
        """All schemas, as `get_schema` gives them."""

    @abstractmethod
    def put_schema(self, schema: Schema) -> str:
        """Registers a schema at its version; equal content finds what is there.

        Returns:
            Its reference.

        Raises:
            ConflictError: The version is there with other content.
        """

    @abstractmethod
    def versions_of(self, name: str) -> list[Schema]:
        """The registered schemas of a name, oldest version first."""

    @abstractmethod
    def _find_equal(self, draft: DatasetEntry) -> DatasetEntry | None:
        """The entry that `draft.name` stands for now, if it says the same as `draft`."""

    @abstractmethod
    def _put_entry(self, draft: DatasetEntry, source: DataSource, moved: Progress) -> DatasetEntry:
        """Writes an entry whose shards are in their place, in one atomic step.

        Args:
            draft: What it says.
            source: Where its shards can be read.
            moved: Told of shards, by an index that moves them itself.
        """

    def _check_place(self, source: DataSource | None) -> None:  # noqa: B027 - most take any
        """Raises `ConfigurationError` if shards of this source can't be listed where they will lie.

        Args:
            source: Where they are read; None: they are written into `data_store`.
        """

    def close(self) -> None:
        """Closes connections, the store's too; at the end of a ``with`` block it is called."""
        if self.data_store is not None:
            self.data_store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def datasets(self) -> Iterator[DatasetEntry]:
        """The entries, one by one."""
        return iter(self.list_datasets())

    @property
    def schemas(self) -> Iterator[dict[str, Any]]:
        """The schemas, one by one."""
        return iter(self.list_schemas())

    def publish_schema(
        self,
        sample_type: type | Schema,
        *,
        version: str | None = None,
        description: str | None = None,
    ) -> str:
        """Registers a sample type.

        Args:
            sample_type: A packable type, or its schema.
            version: A semantic version. None: the version at which equal content is registered
                already, else the one that what changed calls for.
            description: By default the type's docstring.

        Returns:
            The schema's reference.

        Raises:
            ConflictError: This version is there with other content.
            SchemaError: The type can't be described.
        """
        if isinstance(sample_type, Schema):
            return self.put_schema(sample_type)
        schema = Schema.of(sample_type, version=version or "1.0.0", description=description)
        return self.put_schema(schema) if version else self._put_at_next_version(schema)

    def with_version(self, schema: Schema) -> Schema:
        """The schema at the version where its content is registered, else at the next one.

        What the next one is follows from what changed; see `atdata_core.evolution`.
        """
        known = self.versions_of(schema.name)
        for old in reversed(known):
            if old.cid == schema.cid:
                return schema.at_version(old.version)
        if not known:
            return schema.at_version("1.0.0")
        following = next_version(known[-1], schema)
        taken = {old.version for old in known}
        while following in taken:  # its content was registered before, and another one since
            major, minor, _ = following.split(".")
            following = f"{major}.{int(minor) + 1}.0"
        return schema.at_version(following)

    def _put_at_next_version(self, schema: Schema) -> str:
        for _ in range(_TRIES):
            with contextlib.suppress(ConflictError):  # somebody else took the version meanwhile
                return self.put_schema(self.with_version(schema))
        return self.put_schema(self.with_version(schema))

    def get_schema(self, ref: str) -> dict[str, Any]:
        """The schema that a reference stands for, as JSON."""
        return self.load_schema(ref).to_json()

    def decode_schema(self, ref: str) -> type:
        """A packable type for the schema that a reference stands for."""
        return self.load_schema(ref).to_type()

    def insert_dataset(
        self,
        ds: Dataset[Any],
        *,
        name: str,
        schema_ref: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        license: str | None = None,  # noqa: A002 - the record's own word
        metadata: Mapping[str, Any] | None = None,
        derived_from: Sequence[StrongRef] | None = None,
        progress: Progress | None = None,
    ) -> DatasetEntry:
        """Lists a dataset, after copying its shards to `data_store`.

        A dataset that was opened through another index keeps what that one says of it, and its
        schema keeps its version.

        Args:
            ds: The dataset.
            name: Its name here. A name that is taken moves to the new entry.
            schema_ref: The reference of its schema here; by default it is registered.
            description: For people.
            tags: Words to find it by.
            license: An SPDX identifier.
            metadata: Whatever else belongs to it.
            derived_from: The records that it was made from.
            progress: Told of each shard.

        Raises:
            SchemaError: `schema_ref` stands for another type than the dataset's.
            IntegrityError: A shard's bytes aren't those of its CID.
            ServiceError: A server refuses, or isn't reached.
        """
        insertion = self.insert(
            ds,
            name=name,
            schema_ref=schema_ref,
            description=description,
            tags=tags,
            license=license,
            metadata=metadata,
            derived_from=derived_from,
            progress=progress,
        )
        return insertion.entry

    def insert(
        self,
        ds: Dataset[Any],
        *,
        name: str,
        schema_ref: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        license: str | None = None,  # noqa: A002
        metadata: Mapping[str, Any] | None = None,
        derived_from: Sequence[StrongRef] | None = None,
        progress: Progress | None = None,
    ) -> Insertion:
        """Does what `insert_dataset` does, and tells what had to be done for it."""
        if ds.is_transformed:
            return self._insert_transformed(
                ds,
                name=name,
                schema_ref=schema_ref,
                description=description,
                tags=tags or (),
                license=license,
                metadata=metadata,
                derived_from=derived_from or (),
                progress=progress,
            )
        source = raw_source(ds)
        self._check_place(source)
        known = ds.entry or DatasetEntry(name, "", ())
        ref, schema_cid = self._registered(
            ds.schema,
            schema_ref,
            keep_version=ds.entry is not None,
            foreign=ds.entry is not None and ds.entry.uri is not None,
        )
        draft = DatasetEntry(
            name=name,
            schema_ref=ref,
            shards=ds.shards,
            schema_cid=schema_cid,
            description=known.description if description is None else description,
            tags=known.tags if tags is None else tuple(tags),
            license=known.license if license is None else license,
            metadata=known.metadata if metadata is None else plain_metadata(metadata),
            derived_from=known.derived_from if derived_from is None else tuple(derived_from),
        )
        count = Counter(progress)
        if self.data_store is not None and not self.moves_shards:
            found = self._find_equal(draft)
            if found is not None:
                return Insertion(found, created=False, moved=0)
            shards = self.data_store.copy_shards(source, draft.shards, prefix=name, progress=count)
            draft = draft.replace(shards=tuple(shards))
            source = self.data_store.create_source(draft.data_urls)
        return self._list(draft, source, count)

    def _insert_transformed(self, ds: Dataset[Any], *, name: str, **said: Any) -> Insertion:
        # Its shards hold other samples, so what is said of them isn't said of these.
        samples = ds.ordered()
        return self.write_samples(samples, name=name, sample_type=ds.sample_type, **said)

    def _list(self, draft: DatasetEntry, source: DataSource, count: "Counter") -> Insertion:
        found = self._find_equal(draft)
        if found is not None:
            return Insertion(found, created=False, moved=count.moved)
        return Insertion(self._put_entry(draft, source, count), created=True, moved=count.moved)

    def write_samples(
        self,
        samples: Iterable[Any],
        *,
        name: str,
        sample_type: type,
        schema_ref: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        license: str | None = None,  # noqa: A002
        metadata: Mapping[str, Any] | None = None,
        derived_from: Sequence[StrongRef] = (),
        max_samples: int = DEFAULT_MAX_SAMPLES,
        max_bytes: int | None = None,
        progress: Progress | None = None,
    ) -> Insertion:
        """Writes a stream of samples into `data_store` and lists them as a dataset.

        Args:
            samples: The samples, taken one by one.
            name: The dataset's name.
            sample_type: Their type.
            schema_ref: See `insert_dataset`.
            description: See `insert_dataset`.
            tags: See `insert_dataset`.
            license: See `insert_dataset`.
            metadata: See `insert_dataset`.
            derived_from: See `insert_dataset`.
            max_samples: The most samples in a shard.
            max_bytes: The most bytes in a shard; by default 25 MB, or what the store takes.
            progress: Told of each shard.

        Raises:
            ConfigurationError: There is no `data_store`.
            SampleError: A sample doesn't fit its type; nothing is listed.
        """
        if self.data_store is None:
            raise ConfigurationError("index has no data_store to write to", where=repr(self))
        self._check_place(None)
        count = Counter(progress)
        plain = plain_metadata(metadata or {})
        ref, schema_cid = self._registered(Schema.of(sample_type), schema_ref)
        limit = self.data_store.max_shard_bytes
        if limit is not None:
            max_bytes = min(max_bytes or DEFAULT_MAX_SHARD_BYTES, limit)
        with contextlib.ExitStack() as stack:
            store, told = self.data_store, count
            if self.moves_shards:
                # Its blobs can't be read back before their record is written, so the shards are
                # put together on this machine.
                store, told = FileDataStore(stack.enter_context(store.scratch())), Counter(None)
            shards = store.write_samples(
                samples,
                prefix=name,
                sample_type=sample_type,
                max_samples=max_samples,
                max_bytes=max_bytes,
                progress=told,
            )
            draft = DatasetEntry(
                name=name,
                schema_ref=ref,
                shards=tuple(shards),
                schema_cid=schema_cid,
                description=description,
                tags=tuple(tags),
                license=license,
                metadata=plain,
                derived_from=tuple(derived_from),
            )
            return self._list(draft, store.create_source(draft.data_urls), count)

    def open_dataset(
        self, ref: str | DatasetEntry, sample_type: type | None = None
    ) -> Dataset[Any]:
        """A dataset of this index, for reading; every shard is verified before it is handed out.

        Args:
            ref: Name, CID, AT URI, or an entry of this index.
            sample_type: The type to read into; by default one built from the schema.

        Raises:
            NotFoundError: There is none.
            SchemaError: `sample_type` is not what the dataset's schema says.
        """
        entry = ref if isinstance(ref, DatasetEntry) else self.get_dataset(ref)
        schema = self.load_schema(entry.schema_ref)
        sample_type = check_type(schema, sample_type, entry.name)
        return listed_dataset(entry, schema, self._source(entry), sample_type)

    moves_shards = False
    """Whether `_put_entry` moves the shards itself, since they and the entry are one step."""

    def _source(self, entry: DatasetEntry) -> DataSource:
        urls = entry.data_urls
        return self.data_store.create_source(urls) if self.data_store else open_source(urls)

    def _registered(
        self, schema: Schema, ref: str | None, *, keep_version: bool = False, foreign: bool = False
    ) -> tuple[str, str]:
        """Reference and content CID of the schema as it is registered here."""
        if ref is None:
            if keep_version:
                try:
                    return self.put_schema(schema), schema.cid
                except ConflictError:
                    # Others don't know which names are taken here: theirs gets the next version.
                    if not foreign:
                        raise
            return self._put_at_next_version(schema), schema.cid
        registered = self.load_schema(ref)
        if not registered.same_fields(schema):
            raise SchemaError(
                "schema_ref stands for another type than the dataset's",
                where=ref,
                expected=str(schema),
                got=str(registered),
            )
        return ref, registered.cid
