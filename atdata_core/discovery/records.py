"""`FoundRecord`: a record of somebody's, as it was found; and searching among many of them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.records import DATASET_TYPES, parse_dataset
from atdata_core.entry import DatasetEntry, StrongRef
from atdata_core.errors import AtdataError
from atdata_core.schema import Schema
from atdata_core.verification import VerificationLevel


@dataclass(frozen=True)
class FoundRecord:
    """A record of somebody's, whose content has the CID that stands beside it.

    Args:
        did: Whose it is.
        collection: The NSID of its type.
        rkey: Its key within the collection.
        cid: Its CID.
        value: Its fields.
        rev: A revision of its author's repository at which it was there, as a TID; a record is
            never older than this. Empty where none is known.
        level: How far it is proven.
    """

    did: str
    collection: str
    rkey: str
    cid: str
    value: Mapping[str, Any]
    rev: str = ""
    level: VerificationLevel = VerificationLevel.TRANSPORT

    @property
    def uri(self) -> str:
        """Its AT URI."""
        return f"at://{self.did}/{self.collection}/{self.rkey}"

    @property
    def strong_ref(self) -> StrongRef:
        """The record at this very content."""
        return StrongRef(self.uri, self.cid)

    def as_record(self) -> Record:
        """The same in the form that the loaders of `atdata_core.publishing` take."""
        return Record(self.value, self.uri, self.cid)

    def entry(self) -> DatasetEntry:
        """The dataset that it describes; `InvalidRecordError` if it describes none."""
        return parse_dataset(self.as_record())

    @property
    def is_dataset(self) -> bool:
        """Whether it is of a type that describes a dataset."""
        return self.collection in DATASET_TYPES


def search(
    records: Iterable[FoundRecord],
    *,
    name: str | None = None,
    tag: str | None = None,
    schema: str | type | None = None,
    license: str | None = None,  # noqa: A002 - the record's own word
    text: str | None = None,
    author: str | None = None,
) -> Iterator[FoundRecord]:
    """The datasets among some records that are as wished, in the order in which they come.

    What is not said is not asked for. Words are compared without regard to case. Records that
    describe no dataset are passed over.

    Args:
        records: Where to look: a catalogue's `records`, a `Listing`'s.
        name: The dataset's name, in full or with ``*`` and ``?``.
        tag: One of its tags.
        schema: A sample type, the CID of a schema, or the AT URI of a schema's record.
        license: Its licence, as an SPDX identifier.
        text: Words; each must occur in its name, description, tags or metadata.
        author: The DID of its author.
    """
    wanted = Schema.of(schema).cid if isinstance(schema, type) else schema
    words = [] if text is None else text.casefold().split()
    for record in records:
        if not record.is_dataset or author not in (None, record.did):
            continue
        try:
            entry = record.entry()
        except AtdataError:
            continue
        if (
            (name is None or fnmatchcase(entry.name.casefold(), name.casefold()))
            and (tag is None or tag.casefold() in map(str.casefold, entry.tags))
            and (wanted is None or wanted in _schemas(record, entry))
            and (license is None or (entry.license or "").casefold() == license.casefold())
            and _has_words(entry, words)
        ):
            yield record


def _schemas(record: FoundRecord, entry: DatasetEntry) -> set[str | None]:
    pinned = record.value.get("schema")
    return {
        entry.schema_ref,
        entry.schema_cid,
        pinned.get("cid") if isinstance(pinned, dict) else None,
    }


def _has_words(entry: DatasetEntry, words: list[str]) -> bool:
    if not words:
        return True
    said = (entry.name, entry.description or "", *entry.tags, json.dumps(dict(entry.metadata)))
    content = "\n".join(said).casefold()
    return all(word in content for word in words)
