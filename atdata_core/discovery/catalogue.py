"""`Catalogue`: what is known of followed records, and up to where it is known.

Each record has one row, by (did, collection, rkey). A row says what was seen of the record at a
revision of its author's repository (``rev``), and only something seen at the same or a later
revision takes its place; so it doesn't matter in which order, or how often, changes arrive.

Rows of records that are gone stay as tombstones. Each change gives its row the next number of the
catalogue's own count, so `changes` tells everybody who remembers one number what came after it,
however long they were away. All that one `apply` is given is written at once or not at all, the
cursors of the sources too.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from atdata_core.discovery.records import FoundRecord, search

_PRUNED = "pruned"
_TID = "234567abcdefghijklmnopqrstuvwxyz"


def _rev_at(seconds: float) -> str:
    """The first revision that a repository could have at a time (https://atproto.com/specs/tid)."""
    number = int(seconds * 1e6) << 10
    return "".join(_TID[number >> 5 * place & 31] for place in reversed(range(13)))


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


class Sight(NamedTuple):
    """What was seen of a record, as a catalogue writes it down.

    Args:
        key: Which record.
        rev: The revision at which it was seen so.
        state: See `Row`.
        cid: See `Row`.
        note: See `Row`.
        value: The fields of one that is there, as JSON.
    """

    key: Key
    rev: str
    state: str
    cid: str = ""
    note: str = ""
    value: str | None = None

    @classmethod
    def of(cls, change: Put | Delete | Refuse) -> "Sight":
        """What a change says of its record."""
        match change:
            case Put(record):
                key = Key(record.did, record.collection, record.rkey)
                value = json.dumps(record.value, ensure_ascii=False)
                return cls(key, record.rev, "live", record.cid, str(record.level), value)
            case Delete(key, rev):
                return cls(key, rev, "deleted")
            case Refuse(key, rev, cid, note):
                return cls(key, rev, "refused", cid, note)


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

    def prune(self, seen: int, *, days: float = 30.0) -> int:
        """Forgets records that are gone for long.

        A record's tombstone keeps an older answer of its server from bringing it back, and tells
        those who read `changes` that it went. Whoever is at a number before `pruned` may have
        missed that, and has to compare with `records`.

        Args:
            seen: The number up to which all changes were taken up; tombstones after it stay.
            days: How old the revision has to be at which it was seen to be gone.

        Returns:
            How many were forgotten.
        """
        now = time.time()
        # A revision of the future isn't one, and shall not keep its tombstone for ever.
        number, gone = self._prune(seen, _rev_at(now - days * 86_400), _rev_at(now + 86_400))
        if gone:
            self.apply([], {_PRUNED: str(max(number, self.pruned))})
        return gone

    @property
    def pruned(self) -> int:
        """The greatest number of a tombstone that was pruned; 0 if none was."""
        return int(self.cursor(_PRUNED) or 0)

    @abstractmethod
    def _prune(self, seen: int, before: str, after: str) -> tuple[int, int]:
        """Removes tombstones; the greatest number among them, and how many there were."""

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
