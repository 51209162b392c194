"""Datasets as records: writing the account's own, reading anybody's.

A record's key is made of its content, so publishing the same thing twice finds the record that is
there. Blobs are uploaded first, the record that names them is written last. Shards too many for a
record are listed in a blob of their own, a manifest.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from atdata_core.atproto.client import AtmosphereClient, Record
from atdata_core.atproto.records import (
    DATASET_TYPES,
    MAX_RECORD_BYTES,
    Manifest,
    blob_manifest,
    blob_object,
    blob_storage,
    blobs_of,
    external_storage,
    manifest_blob,
    names_of,
    parse_dataset,
    record_key,
    storage_type,
    url_manifest,
)
from atdata_core.atproto.uri import AtUri
from atdata_core.cid import raw_cid
from atdata_core.dataset import Dataset, listed_dataset
from atdata_core.entry import DatasetEntry
from atdata_core.errors import ConfigurationError, InvalidRecordError, NotFoundError, SchemaError
from atdata_core.publishing.common import check_public, create_once, iter_types
from atdata_core.publishing.manifests import Draft, draft_record, read_dataset, send_manifest
from atdata_core.publishing.schemas import SchemaLoader, SchemaPublisher, check_type
from atdata_core.shard import Shard
from atdata_core.sources import DataSource, VerifiedSource, expand
from atdata_core.stores import open_source
from atdata_core.stores.base import Progress
from atdata_core.stores.pds import SHARD_MIME_TYPE, PDSBlobStore

_log = logging.getLogger(__name__)


class DatasetPublisher:
    """Publishes datasets as records.

    Args:
        client: The account, logged in.
        namespace: In which namespace records are written; see `SchemaPublisher`.
        max_record_bytes: The size of the largest record to write. A list of shards that would make
            it larger goes into a blob.
    """

    def __init__(
        self,
        client: AtmosphereClient,
        *,
        namespace: str | None = None,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._client = client
        self._names = names_of(namespace)
        self._max_bytes = max_record_bytes

    def publish(
        self,
        dataset: Dataset[Any],
        *,
        name: str,
        schema_uri: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        license: str | None = None,  # noqa: A002 - the record's own word
        schema_version: str = "1.0.0",
        rkey: str | None = None,
    ) -> AtUri:
        """The record of a dataset whose shards lie at public addresses.

        The schema is published too, unless `schema_uri` names its record.

        Raises:
            ConfigurationError: A shard lies on this machine; `AtmosphereIndex` with a
                `PDSBlobStore` uploads such.
        """
        uri = schema_uri or SchemaPublisher(self._client, namespace=self._names.namespace).publish(
            dataset.sample_type, version=schema_version
        )
        entry = DatasetEntry(
            name=name,
            schema_ref=str(uri),
            shards=dataset.shards,
            schema_cid=dataset.schema.cid,
            description=description,
            tags=tuple(tags),
            license=license,
        )
        return AtUri.parse(str(self.publish_external(entry, rkey=rkey).uri))

    def publish_with_urls(
        self,
        urls: Sequence[str],
        schema_uri: str,
        *,
        name: str,
        description: str | None = None,
        tags: Sequence[str] = (),
        license: str | None = None,  # noqa: A002
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
    ) -> AtUri:
        """The record of a dataset that lies at these addresses; nobody looks whether it does.

        Args:
            urls: ``https://…`` or ``s3://…``, braces allowed.
            schema_uri: The AT URI of the schema's record.
            name: The dataset's name.
            description: For people.
            tags: Words to find it by.
            license: An SPDX identifier.
            metadata: Whatever else belongs to it.
            rkey: The record's key; by default one made of the content.
        """
        entry = DatasetEntry(
            name=name,
            schema_ref=schema_uri,
            shards=(),
            description=description,
            tags=tuple(tags),
            license=license,
            metadata=metadata or {},
        )
        check_public(urls)
        draft = self._external_draft(entry, urls)
        self._send_manifest(draft)
        return create_once(self._client, self._names.dataset, draft.record, rkey)

    def publish_with_blobs(
        self,
        blobs: Sequence[bytes],
        schema_uri: str,
        *,
        name: str,
        description: str | None = None,
        tags: Sequence[str] = (),
        license: str | None = None,  # noqa: A002
        metadata: Mapping[str, Any] | None = None,
        mime_type: str = SHARD_MIME_TYPE,
        rkey: str | None = None,
    ) -> AtUri:
        """The record of a dataset whose shards are given as bytes and uploaded as blobs."""
        shards = tuple(Shard("", raw_cid(blob), len(blob)) for blob in blobs)
        entry = DatasetEntry(
            name=name,
            schema_ref=schema_uri,
            shards=shards,
            schema_cid=SchemaLoader(self._client).load(schema_uri).cid,
            description=description,
            tags=tuple(tags),
            license=license,
            metadata=metadata or {},
        )
        draft = self._blob_draft(entry, mime_type)

        def send(span: slice) -> None:
            for blob, shard in zip(blobs[span], shards[span], strict=True):
                self._client.upload_blob(blob, mime_type, cid=shard.cid)

        if draft.manifest is None:
            send(slice(None))
        else:
            send_manifest(self._client, draft.manifest, send)
        return create_once(self._client, self._names.dataset, draft.record, rkey)

    def find_blobs(self, entry: DatasetEntry) -> DatasetEntry | None:
        """What the name stands for, if it says what `entry` says, in blobs of this account."""
        return self._current(entry.name, self._blob_draft(entry))

    def find_external(self, entry: DatasetEntry) -> DatasetEntry | None:
        """What the name stands for, if it says what `entry` says, at the same addresses."""
        return self._current(entry.name, self._external_draft(entry, entry.data_urls))

    def publish_blobs(
        self, entry: DatasetEntry, source: DataSource, progress: Progress | None = None
    ) -> DatasetEntry:
        """Uploads an entry's shards as blobs, then writes the record that names them.

        Blobs that the PDS dropped before the record was written are uploaded again, once.

        Args:
            entry: What the record says; CID and size of each shard are known.
            source: Where the shards are read.
            progress: Told of each shard.

        Raises:
            TooLargeError: A shard is larger than the PDS takes; nothing was uploaded.
            IntegrityError: A shard's bytes aren't those of its CID.
        """
        draft = self._blob_draft(entry)
        store = PDSBlobStore(self._client)

        def send(span: slice) -> None:
            store.copy_shards(source, entry.shards[span], prefix=entry.name, progress=progress)

        def skip(span: slice) -> None:
            for shard in map(store.placed, entry.shards[span]):
                if progress is not None:
                    progress(shard, False)

        for attempt in range(2):
            try:
                if draft.manifest is None:
                    send(slice(None))
                else:
                    send_manifest(self._client, draft.manifest, send, skip)
                uri = self._create_next(draft.record)
                break
            except NotFoundError:
                if attempt:
                    raise
                _log.warning("%s: the PDS dropped blobs before their record came", entry.name)
        return read_dataset(self._client, self._client.get_record(uri))

    def publish_external(self, entry: DatasetEntry, rkey: str | None = None) -> DatasetEntry:
        """Writes the record of an entry whose shards lie at public addresses."""
        check_public(entry.data_urls)
        draft = self._external_draft(entry, entry.data_urls)
        found = self._current(entry.name, draft) if rkey is None else None
        if found is not None:
            return found
        self._send_manifest(draft)
        uri = self._create_next(draft.record, rkey)
        return read_dataset(self._client, self._client.get_record(uri))

    def _blob_draft(self, entry: DatasetEntry, mime_type: str = SHARD_MIME_TYPE) -> Draft:
        for shard in entry.shards:
            if shard.size is not None and shard.size > self._client.max_blob_bytes:
                raise self._client.too_large(shard.size, f"{entry.name}, shard {shard.url}")
        store = PDSBlobStore(self._client)
        placed = entry.replace(shards=tuple(map(store.placed, entry.shards)))
        return draft_record(
            placed,
            blob_storage(placed.shards, mime_type, self._names),
            self._cid_of(entry.schema_ref),
            self._names,
            max_bytes=self._max_bytes,
            spill=lambda: blob_manifest(placed.shards, mime_type, self._client.did, self._names),
        )

    def _external_draft(self, entry: DatasetEntry, urls: Sequence[str]) -> Draft:
        def spill() -> Manifest:
            # Braces are a way to write less, which the list doesn't need.
            shards = entry.shards or [Shard(url) for text in urls for url in expand(text)]
            return url_manifest(shards, self._names)

        return draft_record(
            entry,
            external_storage(urls, entry.shards, self._names),
            self._cid_of(entry.schema_ref),
            self._names,
            max_bytes=self._max_bytes,
            spill=spill,
        )

    def _send_manifest(self, draft: Draft) -> None:
        if draft.manifest is not None:
            send_manifest(self._client, draft.manifest, lambda _span: None)

    def _current(self, name: str, draft: Draft) -> DatasetEntry | None:
        history = self._history(name)
        if history and record_key(history[0]) == record_key(draft.record):
            return read_dataset(self._client, history[0])
        return None

    def _history(self, name: str) -> list[Record]:
        """The account's records of a name, newest first. Their keys tell nothing of their age."""
        found = [r for r in self._client.iter_records(self._names.dataset) if r.get("name") == name]
        return sorted(found, key=lambda r: str(r.get("createdAt")), reverse=True)

    def _create_next(self, record: dict[str, Any], rkey: str | None = None) -> AtUri:
        history = self._history(record["name"])
        if history:
            record = {**record, "previous": history[0].strong_ref()}
            key = record_key(record)
            if rkey is None and key in map(record_key, history[1:]):
                # The name goes back to what it stood for once, whose key is taken.
                rkey = record_key({**record, "again": history[0].cid})
        return create_once(self._client, self._names.dataset, record, rkey)

    def _cid_of(self, schema_uri: str) -> str:
        return SchemaLoader(self._client).get(schema_uri).cid


class DatasetLoader:
    """Reads dataset records, the account's own and others'.

    Args:
        client: For the account whose records `list_all` lists by default.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        self._client = client

    def get(self, uri: str | AtUri) -> Record:
        """The record at an AT URI: a dict, with `uri` and `cid` beside its fields."""
        record = self._client.get_record(uri)
        parse_dataset(record)
        return record

    def entry(self, uri: str | AtUri) -> DatasetEntry:
        """The dataset that the record at an AT URI describes."""
        return read_dataset(self._client, self._client.get_record(uri))

    def list_all(self, repo: str | None = None, limit: int | None = 100) -> list[Record]:
        """An account's dataset records, newest key first."""
        return list(iter_types(self._client, DATASET_TYPES, repo, limit))

    def get_storage_type(self, uri: str | AtUri) -> str:
        """``blobs`` or ``external``."""
        return storage_type(self.get(uri))

    def get_urls(self, uri: str | AtUri) -> list[str]:
        """The addresses of a dataset's shards, in order."""
        return self.entry(uri).data_urls

    def get_blobs(self, uri: str | AtUri) -> list[dict[str, Any]]:
        """The blob objects of a dataset's shards, in order; `ConfigurationError` if it has none."""
        record = self.get(uri)
        if storage_type(record) != "blobs":
            raise ConfigurationError("dataset's shards are no blobs", where=str(uri))
        if manifest_blob(record) is None:
            return blobs_of(record)
        shards = read_dataset(self._client, record).shards
        return [blob_object(shard, SHARD_MIME_TYPE) for shard in shards]

    def get_blob_urls(self, uri: str | AtUri) -> list[str]:
        """The addresses under which anybody can fetch a dataset's blobs with HTTP, in order."""
        self.get_blobs(uri)
        store = PDSBlobStore(self._client)
        return [store.read_url(url) for url in self.get_urls(uri)]

    def get_metadata(self, uri: str | AtUri) -> dict[str, Any]:
        """What else belongs to a dataset."""
        return dict(self.entry(uri).metadata)

    def to_dataset(self, uri: str | AtUri, sample_type: type | None = None) -> Dataset[Any]:
        """The dataset at an AT URI, every shard verified before a sample of it is handed out.

        Args:
            uri: The record's address.
            sample_type: The type to read into; by default one built from the schema's record.

        Raises:
            SchemaError: `sample_type` is not what the dataset's schema says.
        """
        record = self._client.get_record(uri)
        entry = read_dataset(self._client, record)
        if entry.unreadable:
            raise InvalidRecordError(f"dataset can't be opened: {entry.unreadable}", where=str(uri))
        # The strongRef holds the schema to what it was when the dataset was published.
        pinned = record.get("schema") or {}
        schema = SchemaLoader(self._client).load(entry.schema_ref, pinned.get("cid"))
        if entry.schema_cid not in (None, schema.cid):
            raise SchemaError(
                "schema record describes another type than the dataset's",
                where=entry.schema_ref,
                expected=entry.schema_cid,
                got=schema.cid,
            )
        found = check_type(schema, sample_type, str(uri))
        return listed_dataset(entry, schema, open_source(entry.data_urls), found)


def raw_source(dataset: Dataset[Any]) -> DataSource:
    """Where a dataset's bytes come from, unverified: for copying, which verifies on arrival."""
    source = dataset.source
    return source.source if isinstance(source, VerifiedSource) else source
