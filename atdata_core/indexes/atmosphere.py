"""Datasets and schemas as records on the AT Protocol: the public layer."""

from typing import Any

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.records import DATASET_TYPES, SCHEMA_TYPES, parse_schema
from atdata_core.dataset import Dataset
from atdata_core.entry import DatasetEntry
from atdata_core.errors import AtdataError, NotFoundError
from atdata_core.indexes.base import AbstractIndex
from atdata_core.indexes.codec import version_key
from atdata_core.publishing import (
    DatasetLoader,
    DatasetPublisher,
    LabelLoader,
    SchemaLoader,
    SchemaPublisher,
)
from atdata_core.publishing.common import iter_types
from atdata_core.publishing.datasets import raw_source
from atdata_core.publishing.manifests import read_dataset
from atdata_core.publishing.opening import Target, open_record
from atdata_core.publishing.plans import Publication
from atdata_core.schema import Schema
from atdata_core.sources import DataSource
from atdata_core.stores import open_published
from atdata_core.stores.base import AbstractDataStore, Progress
from atdata_core.stores.pds import PDSBlobStore
from atdata_core.stores.s3 import S3DataStore


class AtmosphereIndex(AbstractIndex):
    """The records of an account.

    With a `PDSBlobStore` the shards of an inserted dataset become blobs of the account; with an
    `S3DataStore` they are copied there and the record holds their addresses; without a store it
    holds the addresses that they have, which must be public ones.

    Args:
        client: The account, logged in for whatever writes.
        data_store: Where the shards of inserted datasets are put.
        namespace: In which namespace records are written; see `SchemaPublisher`.
        allow_private: Whether records may name servers that only this network reaches.
    """

    def __init__(
        self,
        client: AtmosphereClient,
        *,
        data_store: AbstractDataStore | None = None,
        namespace: str | None = None,
        allow_private: bool = False,
    ) -> None:
        super().__init__(data_store)
        self.client = client
        self.namespace = namespace
        self.allow_private = allow_private

    @property
    def moves_shards(self) -> bool:  # type: ignore[override]
        """Blobs are uploaded with their record, since the PDS drops those that nothing names."""
        return isinstance(self.data_store, PDSBlobStore)

    def close(self) -> None:
        """Closes the account's connections and forgets its session."""
        super().close()
        self.client.close()

    def get_dataset(self, ref: str) -> DatasetEntry:
        """The entry of an AT URI, or of a name, content CID or label of the account's own."""
        if ref.startswith("at://"):
            return DatasetLoader(self.client).entry(ref)
        for entry in self.list_datasets():
            if ref in (entry.name, entry.cid):
                return entry
        name, _, version = ref.rpartition("@")
        if name:
            uri = LabelLoader(self.client).resolve(self.client.did, name, version)
            return DatasetLoader(self.client).entry(uri)
        raise NotFoundError("account has no such dataset", where=self.client.did, got=ref)

    def open_dataset(
        self, ref: str | DatasetEntry, sample_type: type | None = None
    ) -> Dataset[Any]:
        """A dataset of this index, proven as far as the client asks for; see `DatasetLoader`.

        Args:
            ref: Name, CID, AT URI, or an entry of this index, which has to be still the same.
            sample_type: The type to read into; by default one built from the schema.

        Raises:
            NotFoundError: There is none.
            VerificationError: Less is proven than was asked for.
            SchemaError: `sample_type` is not what the dataset's schema says.
        """
        if isinstance(ref, str) and not ref.startswith("at://"):
            ref = self.get_dataset(ref)
        target = Target(ref) if isinstance(ref, str) else Target(str(ref.uri), ref.record_cid)
        opened = open_record(self.client, target, self.client.verify, self.client.trusted)
        return opened.dataset(self._source(opened.entry), sample_type)

    def list_datasets(self, repo: str | None = None) -> list[DatasetEntry]:
        """An account's datasets, one a name: the newest; records that can't be read are left out.

        Args:
            repo: DID or handle; by default the account's own.
        """
        found: dict[str, DatasetEntry] = {}
        records = list(iter_types(self.client, DATASET_TYPES, repo))
        for record in sorted(records, key=lambda r: str(r.get("createdAt")), reverse=True):
            # An older record of a name is only read if the newer ones can't be.
            if str(record.get("name")) in found:
                continue
            try:
                entry = read_dataset(self.client, record)
            except AtdataError:
                continue
            found[entry.name] = entry
        return sorted(found.values(), key=lambda entry: entry.name)

    def load_schema(self, ref: str) -> Schema:
        """The schema at an AT URI."""
        return SchemaLoader(self.client).load(ref)

    def list_schemas(self, repo: str | None = None) -> list[dict[str, Any]]:
        """An account's schema records.

        Args:
            repo: DID or handle; by default the account's own.
        """
        return list(SchemaLoader(self.client).list_all(repo, limit=None))

    def versions_of(self, name: str) -> list[Schema]:
        """The account's schemas of a name, oldest version first."""
        found = []
        for record in iter_types(self.client, SCHEMA_TYPES):
            try:
                found.append(parse_schema(record))
            except AtdataError:
                continue
        versions = [schema for schema in found if schema.name == name]
        return sorted(versions, key=lambda schema: version_key(schema.version))

    def put_schema(self, schema: Schema) -> str:
        """Publishes a schema; another one of the same version stays beside it."""
        return str(SchemaPublisher(self.client, namespace=self.namespace).publish(schema))

    def plan(self, ds: Dataset[Any], *, name: str) -> Publication:
        """What `insert_dataset` would publish; nothing is written, and nothing sent.

        Args:
            ds: The dataset, not transformed.
            name: Its name.

        Raises:
            ConfigurationError: An address is of no use to others.
            TooLargeError: A shard is larger than the PDS takes.
            InvalidRecordError: The record would be too large, or not what its lexicon says.
        """
        self._check_place(raw_source(ds))
        said = (ds.entry or DatasetEntry(name, "", ())).replace(
            name=name, shards=ds.shards, schema_cid=ds.schema.cid
        )
        return self._publisher().plan(said, ds.schema, blobs=self.moves_shards)

    def _find_equal(self, draft: DatasetEntry) -> DatasetEntry | None:
        publisher = self._publisher()
        return publisher.find_blobs(draft) if self.moves_shards else publisher.find_external(draft)

    def _put_entry(self, draft: DatasetEntry, source: DataSource, moved: Progress) -> DatasetEntry:
        publisher = self._publisher()
        if self.moves_shards:
            return publisher.publish_blobs(draft, source, moved)
        return publisher.publish_external(draft, source=source)

    def _source(self, entry: DatasetEntry) -> DataSource:
        # An account's records can name addresses of any kind, whatever store new ones go to.
        own = self.client.owns(entry.uri)
        return open_published(entry.data_urls, self.data_store, own=own)

    def _check_place(self, source: DataSource | None) -> None:
        # Before anything is copied or published: what isn't public stays where it is.
        if self.moves_shards:
            return
        if self.data_store is not None:
            bucket = ["s3://"] if isinstance(self.data_store, S3DataStore) else []
            self._publisher().check_public(bucket, self.data_store)
        elif source is not None:
            self._publisher().check_public(source.list_shards(), source)

    def _publisher(self) -> DatasetPublisher:
        return DatasetPublisher(
            self.client, namespace=self.namespace, allow_private=self.allow_private
        )

    def __repr__(self) -> str:
        return f"AtmosphereIndex({self.client!r}, data_store={self.data_store!r})"
