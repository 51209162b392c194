"""Datasets as records: writing the account's own.

A record's key is made of its content, so publishing the same thing twice finds the record that is
there. Blobs are uploaded first, the record that names them is written last. Shards too many for a
record are listed in a blob of their own, a manifest.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.records import (
    MAX_RECORD_BYTES,
    Manifest,
    as_stored,
    blob_manifest,
    blob_storage,
    external_storage,
    names_of,
    record_key,
    schema_record,
    url_manifest,
)
from atdata_core.atproto.uri import AtUri
from atdata_core.cid import raw_cid
from atdata_core.dataset import Dataset
from atdata_core.entry import DatasetEntry, StrongRef
from atdata_core.errors import NotFoundError
from atdata_core.publishing.addresses import check_public, endpoint_of
from atdata_core.publishing.common import create_once
from atdata_core.publishing.manifests import Draft, draft_record, read_dataset, send_manifest
from atdata_core.publishing.plans import Publication
from atdata_core.publishing.schemas import SchemaLoader, SchemaPublisher
from atdata_core.schema import Schema
from atdata_core.shard import Shard
from atdata_core.sources import DataSource, VerifiedSource, expand
from atdata_core.stores.base import AbstractDataStore, Progress
from atdata_core.stores.pds import SHARD_MIME_TYPE, PDSBlobStore

_UPLOADS_A_DAY = 1000
"""What the reference PDS allows an account
(https://github.com/bluesky-social/atproto, packages/pds, rate limits of uploadBlob)."""

_log = logging.getLogger(__name__)


class DatasetPublisher:
    """Publishes datasets as records.

    Args:
        client: The account, logged in.
        namespace: In which namespace records are written; see `SchemaPublisher`.
        max_record_bytes: The size of the largest record to write. A list of shards that would make
            it larger goes into a blob.
        allow_private: Whether records may name servers that only this network reaches.
    """

    def __init__(
        self,
        client: AtmosphereClient,
        *,
        namespace: str | None = None,
        max_record_bytes: int = MAX_RECORD_BYTES,
        allow_private: bool = False,
    ) -> None:
        self._client = client
        self._names = names_of(namespace)
        self._max_bytes = max_record_bytes
        self._allow_private = allow_private

    def publish(
        self,
        dataset: Dataset[Any],
        *,
        name: str,
        schema_uri: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        license: str | None = None,  # noqa: A002 - the record's own word
        derived_from: Sequence[StrongRef] = (),
        schema_version: str = "1.0.0",
        rkey: str | None = None,
    ) -> AtUri:
        """The record of a dataset whose shards lie at public addresses.

        The schema is published too, unless `schema_uri` names its record.

        Raises:
            ConfigurationError: A shard lies on this machine, or on a server that others don't
                reach; `AtmosphereIndex` with a `PDSBlobStore` uploads such.
        """
        source = raw_source(dataset)
        self.check_public(source.list_shards(), source)
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
            derived_from=tuple(derived_from),
        )
        return AtUri.parse(str(self.publish_external(entry, rkey=rkey, source=source).uri))

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
        derived_from: Sequence[StrongRef] = (),
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
            derived_from: The records that it was made from.
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
            derived_from=tuple(derived_from),
        )
        self.check_public(urls)
        draft = self._external_draft(entry, urls, self._cid_of(schema_uri))
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
        derived_from: Sequence[StrongRef] = (),
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
            derived_from=tuple(derived_from),
        )
        draft = self._blob_draft(entry, self._cid_of(schema_uri), mime_type)

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
        draft = self._blob_draft(entry, self._cid_of(entry.schema_ref))
        return self._current(entry.name, draft)

    def find_external(self, entry: DatasetEntry) -> DatasetEntry | None:
        """What the name stands for, if it says what `entry` says, at the same addresses."""
        draft = self._external_draft(entry, entry.data_urls, self._cid_of(entry.schema_ref))
        return self._current(entry.name, draft)

    def plan(self, entry: DatasetEntry, schema: Schema, *, blobs: bool) -> Publication:
        """What publishing an entry would do; nothing is written.

        Args:
            entry: What the record would say.
            schema: What its samples are.
            blobs: Whether its shards would be sent as blobs, or stay where they are.

        Raises:
            ConfigurationError: An address is of no use to others.
            TooLargeError: A shard is larger than the PDS takes.
            InvalidRecordError: The record would be too large, or not what its lexicon says.
        """
        body = schema_record(schema, None, self._names.namespace)
        uri = AtUri(self._client.did, self._names.schema, record_key(body))
        try:
            schema_cid: str | None = self._client.get_record(uri).cid
        except NotFoundError:
            schema_cid = None
        entry = entry.replace(schema_ref=str(uri))
        draft = (
            self._blob_draft(entry, schema_cid)
            if blobs
            else self._external_draft(entry, entry.data_urls, schema_cid)
        )
        history = self._history(entry.name)
        return Publication.of(
            entry,
            draft,
            schema=body if schema_cid is None else None,
            current=history[0].uri if history else None,
            is_new=not (history and _says_the_same(history[0], draft)),
            blobs=blobs,
        )

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
        draft = self._blob_draft(entry, self._cid_of(entry.schema_ref))
        store = PDSBlobStore(self._client)
        record = draft.record
        if len(entry.shards) > _UPLOADS_A_DAY:
            _log.warning(
                "%s: %d blobs; a PDS with the usual limits takes %d uploads a day, so this may "
                "take %d days. Run it again when it stops: it goes on where it was",
                *(entry.name, len(entry.shards), _UPLOADS_A_DAY),
                math.ceil(len(entry.shards) / _UPLOADS_A_DAY),
            )

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
                    # A record has to call its blobs what the PDS calls them.
                    record = as_stored(draft.record, store.media_types)
                else:
                    send_manifest(self._client, draft.manifest, send, skip)
                uri = self._create_next(record)
                break
            except NotFoundError:
                if attempt:
                    raise
                _log.warning("%s: the PDS dropped blobs before their record came", entry.name)
        return read_dataset(self._client, self._client.get_record(uri))

    def publish_external(
        self, entry: DatasetEntry, rkey: str | None = None, source: DataSource | None = None
    ) -> DatasetEntry:
        """Writes the record of an entry whose shards lie at public addresses.

        Args:
            entry: What the record says.
            rkey: The record's key; by default one made of the content.
            source: Where the shards are read, which tells what server ``s3://`` stands for.

        Raises:
            ConfigurationError: An address is of no use to others.
        """
        self.check_public(entry.data_urls, source)
        draft = self._external_draft(entry, entry.data_urls, self._cid_of(entry.schema_ref))
        found = self._current(entry.name, draft) if rkey is None else None
        if found is not None:
            return found
        self._send_manifest(draft)
        uri = self._create_next(draft.record, rkey)
        return read_dataset(self._client, self._client.get_record(uri))

    def check_public(
        self, urls: Sequence[str], place: DataSource | AbstractDataStore | None = None
    ) -> None:
        """Raises `ConfigurationError` for addresses of no use to others.

        Args:
            urls: The addresses of shards.
            place: Where they are read or put, which tells what server ``s3://`` stands for.
        """
        check_public(
            urls,
            None if place is None or self._allow_private else endpoint_of(place),
            pds=self._client.base_url,
            allow_private=self._allow_private,
        )

    def _blob_draft(
        self, entry: DatasetEntry, schema_cid: str | None, mime_type: str = SHARD_MIME_TYPE
    ) -> Draft:
        for shard in entry.shards:
            if shard.size is not None and shard.size > self._client.max_blob_bytes:
                raise self._client.too_large(shard.size, f"{entry.name}, shard {shard.url}")
        store = PDSBlobStore(self._client)
        placed = entry.replace(shards=tuple(map(store.placed, entry.shards)))
        return draft_record(
            placed,
            blob_storage(placed.shards, mime_type, self._names),
            schema_cid,
            self._names,
            max_bytes=self._max_bytes,
            spill=lambda: blob_manifest(placed.shards, mime_type, self._client.did, self._names),
        )

    def _external_draft(
        self, entry: DatasetEntry, urls: Sequence[str], schema_cid: str | None
    ) -> Draft:
        def spill() -> Manifest:
            # Braces are a way to write less, which the list doesn't need.
            shards = entry.shards or [Shard(url) for text in urls for url in expand(text)]
            return url_manifest(shards, self._names)

        return draft_record(
            entry,
            external_storage(urls, entry.shards, self._names),
            schema_cid,
            self._names,
            max_bytes=self._max_bytes,
            spill=spill,
        )

    def _send_manifest(self, draft: Draft) -> None:
        if draft.manifest is not None:
            send_manifest(self._client, draft.manifest, lambda _span: None)

    def _current(self, name: str, draft: Draft) -> DatasetEntry | None:
        history = self._history(name)
        if history and _says_the_same(history[0], draft):
            return read_dataset(self._client, history[0])
        return None

    def _history(self, name: str) -> list[Record]:
        """The account's records of a name, newest first. Their keys tell nothing of their age."""
        found = [r for r in self._client.iter_records(self._names.dataset) if r.get("name") == name]
        return sorted(found, key=lambda r: str(r.get("createdAt")), reverse=True)

    def _create_next(self, record: dict[str, Any], rkey: str | None = None) -> AtUri:
        if not record.get("license"):
            _log.warning(
                "%s is published without a licence, so that nobody may reuse it; say which: "
                "license='CC-BY-4.0', or another SPDX identifier",
                record.get("name"),
            )
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


def _says_the_same(record: Record, draft: Draft) -> bool:
    return record_key(as_stored(record)) == record_key(as_stored(draft.record))


def raw_source(dataset: Dataset[Any]) -> DataSource:
    """Where a dataset's bytes come from, unverified: for copying, which verifies on arrival."""
    source = dataset.source
    return source.source if isinstance(source, VerifiedSource) else source
