"""An entry: one dataset as an index knows it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atdata_core.cid import Cid, check_cid, dataset_cid
from atdata_core.errors import InvalidUriError
from atdata_core.shard import Shard


@dataclass(frozen=True)
class StrongRef:
    """A record at the very content that it had (com.atproto.repo.strongRef).

    Args:
        uri: Its AT URI.
        cid: Its CID.

    Raises:
        InvalidUriError: One of the two is not what it should be.
    """

    uri: str
    cid: str

    def __post_init__(self) -> None:
        if not isinstance(self.uri, str) or not self.uri.startswith("at://"):
            raise InvalidUriError(
                "text is not an AT URI", expected="at://…", got=repr(self.uri)[:120]
            )
        if not isinstance(self.cid, str):
            raise InvalidUriError("CID is not text", where=self.uri, got=repr(self.cid)[:120])
        check_cid(self.cid)

    def to_json(self) -> dict[str, str]:
        """The link as records hold it."""
        return {"uri": self.uri, "cid": self.cid}


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset in an index: its name, what its samples are, and where its shards lie.

    An entry never changes: a new version of a dataset is a new entry, and the name moves.

    Args:
        name: The dataset's name.
        schema_ref: Where its schema is found: ``atdata://local/schema/Name@1.0.0`` or an AT URI.
        shards: Its shards, in order.
        schema_cid: The CID of the schema's content; None where nobody recorded it.
        description: For people.
        tags: Words to find it by.
        license: An SPDX identifier, or a text.
        metadata: Whatever else belongs to it: text, whole numbers, lists and maps of them.
        uri: The AT URI of its record, once it is one.
        record_cid: The CID of that record.
        previous: What the name stood for before: the content CID of the entry replaced.
        created_at: When it was written, ISO 8601 in UTC.
        derived_from: The records that it was made from, at the content that was used.
        unreadable: Why the dataset can't be opened, if its record keeps it in a way not known here.
    """

    name: str
    schema_ref: str
    shards: tuple[Shard, ...] = ()
    schema_cid: Cid | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    license: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    uri: str | None = None
    record_cid: str | None = None
    previous: str | None = None
    created_at: str | None = None
    derived_from: tuple[StrongRef, ...] = ()
    unreadable: str | None = None

    @property
    def data_urls(self) -> list[str]:
        """The addresses of the shards, in order."""
        return [shard.url for shard in self.shards]

    @functools.cached_property
    def cid(self) -> str | None:
        """The CID of the content, equal on every layer; None where a shard's CID is not known."""
        cids = [shard.cid for shard in self.shards if shard.cid is not None]
        if self.schema_cid is None or len(cids) != len(self.shards):
            return None
        return dataset_cid(self.schema_cid, cids)

    @property
    def rows(self) -> int | None:
        """The number of samples, or None where it is not known."""
        rows = [shard.rows for shard in self.shards if shard.rows is not None]
        return sum(rows) if len(rows) == len(self.shards) else None

    @property
    def size(self) -> int | None:
        """The size of all shards in bytes, or None where it is not known."""
        sizes = [shard.size for shard in self.shards if shard.size is not None]
        return sum(sizes) if len(sizes) == len(self.shards) else None

    @property
    def strong_ref(self) -> StrongRef | None:
        """The link to its record, for others' `derived_from`; None while it isn't published."""
        if self.uri is None or self.record_cid is None:
            return None
        return StrongRef(self.uri, self.record_cid)

    def replace(self, **changes: Any) -> "DatasetEntry":
        """The same entry with some fields other than they were."""
        if unknown := changes.keys() - self.__dataclass_fields__.keys():
            raise TypeError(f"an entry has no {', '.join(sorted(unknown))}")
        # (1.6 us in place of 4.8: `dataclasses.replace` sets one frozen field after another.)
        entry = object.__new__(DatasetEntry)
        entry.__dict__.update(self.__dict__, **changes)
        entry.__dict__.pop("cid", None)  # that of the former content
        return entry

    def says_the_same(self, other: "DatasetEntry") -> bool:
        """Whether both describe equal content in equal words, wherever it lies."""
        return (
            self.cid is not None
            and self.cid == other.cid
            and self.name == other.name
            and self.description == other.description
            and self.tags == other.tags
            and self.license == other.license
            and dict(self.metadata) == dict(other.metadata)
            and self.derived_from == other.derived_from
        )
