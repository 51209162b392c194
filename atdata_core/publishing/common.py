"""What publishing records of all types has in common."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.lexicon import validate_record
from atdata_core.atproto.records import record_key
from atdata_core.atproto.uri import AtUri
from atdata_core.errors import ConflictError


def create_once(
    client: AtmosphereClient,
    collection: str,
    record: Mapping[str, Any],
    rkey: str | None = None,
) -> AtUri:
    """Writes a record under a key made of its content: what is there already is found again.

    Raises:
        InvalidRecordError: The record isn't what the lexicon of its type says.
        ConflictError: Another record has this key.
    """
    key = rkey or record_key(record)
    validate_record({**record, "$type": collection}, collection)
    try:
        return client.create_record(collection, record, rkey=key)
    except ConflictError as error:
        uri = AtUri(client.did, collection, key)
        if record_key(client.get_record(uri)) == record_key({**record, "$type": collection}):
            return uri
        raise ConflictError(
            "another record has this key", where=str(uri), remedy="Choose another rkey"
        ) from error


def iter_types(
    client: AtmosphereClient,
    collections: Sequence[str],
    repo: str | None = None,
    limit: int | None = None,
) -> Iterator[Record]:
    """An account's records of several types, type by type, newest key first.

    Args:
        client: Asks for them.
        collections: The types.
        repo: DID or handle; by default the account's own.
        limit: How many at most; None: all.
    """
    count = 0
    for collection in collections:
        rest = None if limit is None else limit - count
        for record in client.iter_records(collection, repo=repo, limit=rest):
            count += 1
            yield record
