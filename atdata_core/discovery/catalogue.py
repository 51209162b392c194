"""`Catalogue`: what is known of followed records, and up to where it is known.

Each record has one row, by (did, collection, rkey). A row says what was seen of the record at a
revision of its author's repository (``rev``), and only something seen at the same or a later
revision takes its place; so it doesn't matter in which order, or how often, changes arrive.

Rows of records that are gone stay as tombstones. Each change gives its row the next number of the
catalogue's own count, so `changes` tells everybody who remembers one number what came after it,
however long they were away. All that one `apply` is given is written at once or not at all, the
cursors of the sources too.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from atdata_core.discovery.records import FoundRecord, search


class Key(NamedTuple):
    """What a record is known by."""

    did: str
    collection: str
    rkey: str

    @property
    def uri(self) -> str:
        """Its AT URI."""
        return f"at://{self.did}/{self.collection}/{self.rkey}"


@dataclass(frozen=True)
class Put:
    """A record was seen."""

    record: FoundRecord


@dataclass(frozen=True)
class Delete:
    """A record was seen to be absent.

    Args:
        key: Which.
        rev: A revision of the repository at which it had gone, or a later one.
    """

    key: Key
    rev: str


@dataclass(frozen=True)
class Refuse:
    """A record was seen that shall not be listed.

    Args:
        key: Which.
        rev: A revision of the repository at which it was there.
        cid: Its CID, so that it isn't fetched again; empty where that is not known.
        note: Why.
    """

    key: Key
    rev: str
    cid: str
    note: str


@dataclass(frozen=True)
class SetStatus:
    """An account's status was seen.

    Args:
        did: Whose.
        status: ``active`` shows its records; ``deleted`` removes them; any other hides them.
    """

    did: str
    status: str


@dataclass(frozen=True)
class Await:
    """An account has to be read anew: something of it may have been missed.

    Args:
        did: Whose.
        note: Why.
    """

    did: str
    note: str


@dataclass(frozen=True)
class Done:
    """An account was read anew.

    Args:
        did: Whose.
        number: What `Catalogue.awaited` said before; if it was asked for again since, it stays so.
    """

    did: str
    number: int


Change = Put | Delete | Refuse | SetStatus | Await | Done


@dataclass(frozen=True)
class Row:
    """What the catalogue knows of a record.

    Args:
        number: The catalogue's count at its last change.
        key: Which record.
        rev: The revision at which it was seen so.
        state: ``live``, ``deleted``, or ``refused``.
        cid: Its CID; empty for one that is deleted.
        note: For a live record how far it is verified, for a refused one why.
        status: The status of its account.
    """

    number: int
    key: Key
    rev: str
    state: str
    cid: str
    note: str
    status: str

    @property
    def visible(self) -> bool:
        """Whether it is to be shown: it is there, and its account is active."""
        return self.state == "live" and self.status == "active"


class Catalogue(ABC):
    """What is known of followed records; see the module's text."""

    @abstractmethod
    def apply(
        self, changes: Sequence[Change], cursors: Mapping[str, str] | None = None
    ) -> list[bool]:
        """Writes changes and cursors, all at once.

        Args:
            changes: What was seen, in the order in which it was.
            cursors: By source, up to where it was read.

        Returns:
            For each change whether it made a difference to what is shown or known of a record.
        """

    @property
    @abstractmethod
    def epoch(self) -> str:
        """A word that is another one when the catalogue was begun anew, so numbers don't go on."""

    @property
    @abstractmethod
    def number(self) -> int:
        """The count now: that of the last change."""

    @abstractmethod
    def changes(self, after: int, limit: int) -> list[Row]:
        """The rows that changed after a number, each once, by its last change, oldest first."""

    @abstractmethod
    def get(self, key: Key) -> FoundRecord | None:
        """A live record, hidden or not; None if there is none."""

    @abstractmethod
    def rows(self, did: str) -> list[Row]:
        """All rows of an account."""

    @abstractmethod
    def records(self, *, hidden: bool = False) -> Iterator[FoundRecord]:
        """The records by URI; those of accounts that aren't active only if `hidden`."""

    @abstractmethod
    def accounts(self) -> dict[str, str]:
        """The status of each account that there is a row or a status of, by DID."""

    @abstractmethod
    def awaited(self) -> dict[str, tuple[int, str]]:
        """The accounts to be read anew, by DID: a number for `Done`, and why."""

    @abstractmethod
    def cursor(self, source: str) -> str | None:
        """Up to where a source was read; None if it never was."""

    def search(self, **wishes: Any) -> list[FoundRecord]:
        """The datasets that are shown and as wished; see `atdata_core.discovery.search`."""
        return list(search(self.records(), **wishes))

    def status(self, did: str) -> str:
        """The status of an account; ``active`` where nothing else is known."""
        return self.accounts().get(did, "active")

    def close(self) -> None:  # noqa: B027 - not all have something to close
        """Closes connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
