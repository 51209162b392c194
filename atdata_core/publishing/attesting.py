"""Attestations of the account's own: a dataset is checked, and a record says so."""

from typing import Any

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.records import (
    Attestation,
    attestation_key,
    attestation_record,
    names_of,
    record_key,
)
from atdata_core.atproto.uri import AtUri
from atdata_core.dataset import Dataset
from atdata_core.entry import StrongRef
from atdata_core.errors import ConfigurationError, NotFoundError, VerificationError
from atdata_core.publishing.reading import DatasetLoader
from atdata_core.sources import DataSource
from atdata_core.verification import VerificationLevel

_CHUNK = 1 << 20


class AttestationPublisher:
    """Checks datasets and publishes that they were checked.

    Args:
        client: The account, logged in.
        namespace: In which namespace records are written; see `SchemaPublisher`.
    """

    def __init__(self, client: AtmosphereClient, *, namespace: str | None = None) -> None:
        self._client = client
        self._names = names_of(namespace)

    def publish(
        self,
        dataset: str | AtUri | Dataset[Any],
        *,
        method: str = "shards-read",
        description: str | None = None,
    ) -> AtUri:
        """Reads a dataset's shards through, each against its CID, and attests its record.

        Args:
            dataset: The AT URI of its record, or the dataset as it was opened by its record.
            method: What was done to check it; more than reading is the caller's own word.
            description: For people.

        Returns:
            The AT URI of the attestation. An earlier one of the same record makes place for it,
            unless it says the same.

        Raises:
            VerificationError: The record isn't proven, or shards have no checksum.
            IntegrityError: A shard's bytes are not those of its CID; nothing is attested.
            ConfigurationError: `dataset` was not opened by a record, or holds other samples.
        """
        if not isinstance(dataset, Dataset):
            loader = DatasetLoader(self._client, verify=VerificationLevel.BYTES)
            dataset = loader.to_dataset(dataset)
        found, entry = dataset.verification, dataset.entry
        if found is None or entry is None or dataset.is_transformed:
            raise ConfigurationError(
                "only a dataset that was opened by its record can be attested",
                where=repr(dataset),
                remedy="Give the AT URI of its record",
            )
        if found.level < VerificationLevel.BYTES:
            raise VerificationError(
                "there is nothing to attest: the dataset isn't proven",
                code="level",
                where=found.uri,
                expected=str(VerificationLevel.BYTES),
                got=str(found.level),
            )
        subject = StrongRef(found.uri, found.record_cid)
        size = sum(_read_through(dataset.source, url) for url in dataset.list_shards())
        attestation = Attestation(
            subject=subject,
            method=method,
            level=str(VerificationLevel.BYTES),
            shards=len(dataset.list_shards()),
            bytes=size,
            content_cid=entry.cid,
            description=description,
        )
        record = attestation_record(attestation, self._names)
        return self._put(record, attestation_key(subject))

    def _put(self, record: dict[str, Any], rkey: str) -> AtUri:
        uri = AtUri(self._client.did, self._names.attestation, rkey)
        try:
            there = self._client.get_record(uri)
        except NotFoundError:
            return self._client.create_record(uri.collection, record, rkey=rkey)
        if record_key(there) == record_key(record):
            return uri
        return self._client.put_record(uri.collection, rkey, record, swap_record=there.cid)


def _read_through(source: DataSource, url: str) -> int:
    """Reads a shard to its end, which verifies it; its size in bytes."""
    size = 0
    with source.open_shard(url) as stream:
        while piece := stream.read(_CHUNK):
            size += len(piece)
    return size
