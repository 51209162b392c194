"""`promote_to_atmosphere`: an entry of another index becomes a public record."""

from collections.abc import Sequence

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.entry import DatasetEntry
from atdata_core.indexes.atmosphere import AtmosphereIndex
from atdata_core.indexes.base import AbstractIndex
from atdata_core.indexes.insertion import Insertion
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
    allow_private: bool = False,
) -> str:
    """Publishes a dataset that an index lists, with its schema.

    Shards are copied by their CIDs and not decoded. What is published already is found again. What
    the dataset was made from (`derived_from`) is said in the record too.

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
        allow_private: Whether the record may name servers that only this network reaches.

    Returns:
        The AT URI of the record.

    Raises:
        ConfigurationError: The shards would lie where others can't open them: on this machine, or
            on a server with no public address. Nothing was copied or published.
    """
    target = AtmosphereIndex(client, data_store=data_store, allow_private=allow_private)
    record = target.insert_dataset(
        index.open_dataset(entry),
        name=name or entry.name,
        description=description,
        tags=tags,
        license=license,
    )
    return str(record.uri)


def promote(
    entry: DatasetEntry,
    origin: AbstractIndex,
    target: AbstractIndex,
    progress: Progress | None = None,
) -> Insertion:
    """Lists a dataset of one index in another, with all that is said of it.

    Args:
        entry: The dataset.
        origin: The index that lists it.
        target: The index that shall.
        progress: Told of each shard.
    """
    return target.insert(origin.open_dataset(entry), name=entry.name, progress=progress)
