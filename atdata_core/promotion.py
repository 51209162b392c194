"""`promote_to_atmosphere`: an entry of another index becomes a public record."""

from collections.abc import Sequence

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.entry import DatasetEntry
from atdata_core.indexes.atmosphere import AtmosphereIndex
from atdata_core.indexes.base import AbstractIndex, Insertion
from atdata_core.publishing import raw_source
from atdata_core.stores.base import AbstractDataStore, Progress


def promote_to_atmosphere(
    entry: DatasetEntry,
    index: AbstractIndex,
    client: AtmosphereClient,
    *,
    data_store: AbstractDataStore | None = None,
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] | None = None,
    license: str | None = None,  # noqa: A002 - the record's own word
) -> str:
    """Publishes a dataset that an index lists, with its schema.

    Shards are copied by their CIDs and not decoded. What is published already is found again.

    Args:
        entry: The dataset.
        index: Where it is listed.
        client: The account, logged in.
        data_store: Where the shards go: a `PDSBlobStore` of the account, or an S3 bucket that
            others can read. None: they stay where they are, which must be a public address.
        name: By default the entry's.
        description: By default the entry's.
        tags: By default the entry's.
        license: By default the entry's.

    Returns:
        The AT URI of the record.
    """
    changed = entry.replace(
        name=name or entry.name,
        description=description or entry.description,
        tags=tuple(entry.tags if tags is None else tags),
        license=license or entry.license,
    )
    target = AtmosphereIndex(client, data_store=data_store)
    return str(promote(changed, index, target).entry.uri)


def promote(
    entry: DatasetEntry,
    origin: AbstractIndex,
    target: AbstractIndex,
    progress: Progress | None = None,
) -> Insertion:
    """Lists a dataset of one index in another, with its schema and at its schema's version.

    Args:
        entry: The dataset.
        origin: The index that lists it.
        target: The index that shall.
        progress: Told of each shard.
    """
    dataset = origin.open_dataset(entry)
    schema = origin.load_schema(entry.schema_ref)
    draft = entry.replace(
        schema_ref=target.put_schema(schema),
        schema_cid=schema.cid,
        shards=dataset.shards,
        uri=None,
        record_cid=None,
        previous=None,
        created_at=None,
    )
    return target.place(draft, raw_source(dataset), progress)
