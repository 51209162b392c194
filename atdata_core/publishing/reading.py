"""Dataset records read, anybody's: what they say, where their shards lie, and their samples."""

from collections.abc import Sequence
from typing import Any

from atdata_core.atproto.client import AtmosphereClient, Record, trusted_dids
from atdata_core.atproto.records import (
    DATASET_TYPES,
    blob_object,
    blobs_of,
    manifest_blob,
    parse_dataset,
    storage_type,
)
from atdata_core.atproto.uri import AtUri
from atdata_core.dataset import Dataset
from atdata_core.entry import DatasetEntry, StrongRef
from atdata_core.errors import ConfigurationError
from atdata_core.publishing.common import iter_types
from atdata_core.publishing.manifests import read_dataset
from atdata_core.publishing.opening import Target, open_record, target_of
from atdata_core.stores import open_source
from atdata_core.stores.pds import SHARD_MIME_TYPE, PDSBlobStore
from atdata_core.verification import VerificationLevel


class DatasetLoader:
    """Reads dataset records, the account's own and others'.

    Args:
        client: For the account whose records `list_all` lists by default.
        verify: How far datasets have to be proven that `to_dataset` opens; by default the client's.
        trusted: DIDs whose attestations count; by default the client's.
    """

    def __init__(
        self,
        client: AtmosphereClient,
        *,
        verify: VerificationLevel | str | None = None,
        trusted: Sequence[str] | None = None,
    ) -> None:
        self._client = client
        self._verify = client.verify if verify is None else VerificationLevel.of(verify)
        self._trusted = client.trusted if trusted is None else trusted_dids(trusted)

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

    def to_dataset(
        self,
        uri: str | AtUri | Target,
        sample_type: type | None = None,
        *,
        pin: str | StrongRef | None = None,
    ) -> Dataset[Any]:
        """The dataset at an AT URI, every shard verified before a sample of it is handed out.

        Args:
            uri: The record's address.
            sample_type: The type to read into; by default one built from the schema's record.
            pin: The record's CID, or a strongRef to it, where the caller knows what it must be.

        Returns:
            The dataset; its `verification` tells what is proven.

        Raises:
            VerificationError: Less is proven than was asked for.
            SchemaError: `sample_type` is not what the dataset's schema says.
        """
        target = uri if isinstance(uri, Target) else target_of(str(uri), pin)
        opened = open_record(self._client, target, self._verify, self._trusted)
        return opened.dataset(open_source(opened.entry.data_urls), sample_type)
