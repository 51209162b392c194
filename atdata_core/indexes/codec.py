"""Entries and schemas as a local index keeps them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from atdata_core.entry import DatasetEntry
from atdata_core.errors import InvalidRecordError, NotFoundError

_SCHEMA_REF = "atdata://local/schema/"
_FORMER_REFS = ("atdata://local/sampleSchema/", "local://schemas/")
"""How public ``atdata`` referred to schemas before 0.3.1; the last with the module's name."""


def schema_ref(name: str, version: str) -> str:
    """The reference of a schema in a local index, ``atdata://local/schema/Name@1.0.0``."""
    return f"{_SCHEMA_REF}{name}@{version}"


def parse_schema_ref(ref: str) -> str:
    """``Name@version`` of a reference; raises `NotFoundError` for one that is not local."""
    for prefix in (_SCHEMA_REF, *_FORMER_REFS):
        label = ref.removeprefix(prefix)
        name, _, version = label.partition("@")
        if label != ref and version and all(part.isidentifier() for part in name.split(".")):
            return label
    raise NotFoundError(
        "this index has no such schema", expected=f"{_SCHEMA_REF}Name@1.0.0", got=repr(ref)
    )


def plain_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as every index keeps them: NumPy's numbers as Python's, tuples as lists.

    Raises:
        InvalidRecordError: They hold something that not every index can.
    """
    return {key: _plain(value, key) for key, value in metadata.items()}


def _plain(value: Any, where: Any) -> Any:
    if not isinstance(where, str):
        raise InvalidRecordError("a key of the metadata is not text", got=repr(where)[:100])
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InvalidRecordError(
        "metadata hold something that an index can't",
        where=where,
        expected="text, numbers, booleans, None, lists and maps of them",
        got=type(value).__name__,
    )


def read_json(text: str | bytes, what: str, where: str) -> Any:
    """What JSON text holds; raises `InvalidRecordError` if it is none.

    Args:
        text: The text.
        what: What it should be, for errors.
        where: Where it lies.
    """
    try:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return json.loads(text)  # Python's own writes NaN and Infinity, which no other reads
    except (ValueError, RecursionError) as error:
        raise InvalidRecordError(f"{what} is not JSON: {error}", where=where) from error


def entry_to_json(entry: DatasetEntry) -> dict[str, Any]:
    """An entry as JSON; what it doesn't have is left out."""
    body: dict[str, Any] = {
        "name": entry.name,
        "schema_ref": entry.schema_ref,
        "schema_cid": entry.schema_cid,
        "cid": entry.cid,
        "shards": [
            {"url": shard.url, "cid": shard.cid, "size": shard.size, "rows": shard.rows}
            for shard in entry.shards
        ],
        "description": entry.description,
        "tags": list(entry.tags),
        "license": entry.license,
        "metadata": dict(entry.metadata),
        "derived_from": [link.to_json() for link in entry.derived_from],
        "previous": entry.previous,
        "created_at": entry.created_at,
    }
    return {key: value for key, value in body.items() if value or value == ""}


def entry_from_json(body: Any, where: str) -> DatasetEntry:
    """The entry that JSON holds; raises `InvalidRecordError` if it holds none."""
    try:
        return _without_record(msgspec.convert(body, DatasetEntry))
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidRecordError(f"entry is malformed: {error}", where=where) from error


def entries_from_json(text: str | bytes, where: str) -> list[DatasetEntry]:
    """The entries that the text of a JSON list holds; raises `InvalidRecordError`.

    (2.8 us an entry; one by one, 4.3.)
    """
    try:
        return list(map(_without_record, _ENTRIES.decode(text)))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidRecordError(f"entries are malformed: {error}", where=where) from error


def _without_record(entry: DatasetEntry) -> DatasetEntry:
    if (entry.uri, entry.record_cid, entry.unreadable) == (None, None, None):
        return entry
    return entry.replace(uri=None, record_cid=None, unreadable=None)  # a record's own to say


_ENTRIES = msgspec.json.Decoder(list[DatasetEntry])


def version_key(version: str) -> tuple[int, ...]:
    """What semantic versions are ordered by; a text that is none comes before them."""
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        return ()


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
