"""`Source`: where changes of others' records are heard of.

What a source tells is a hint: that something of a record or an account may be other than it was.
What it is now is asked of the server that the account's identity names, by `follow`.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from atdata_core.atproto.uri import check_nsid, check_resolvable_did, check_rkey
from atdata_core.discovery.catalogue import Key
from atdata_core.errors import InvalidUriError

CURSOR_VERSION = 1
_TID = "234567abcdefghijklmnopqrstuvwxyz"
_TID_LENGTH = 13
_CLOCK_SKEW_S = 300


@dataclass(frozen=True)
class Event:
    """Something that was heard.

    Args:
        kind: ``record``: of a record; ``account``: of an account's status; ``repo``: that an
            account has to be read anew; ``failed``: that an account could not be read.
        did: Whose.
        key: Which record.
        rev: The revision of the repository that the event is about.
        cid: The CID that the record is said to have; None: it is said to be gone.
        note: The status that the account is said to have, or why.
    """

    kind: Literal["record", "account", "repo", "failed"]
    did: str
    key: Key | None = None
    rev: str = ""
    cid: str | None = None
    note: str = ""


@dataclass
class Batch:
    """What one `drain` gave.

    Args:
        events: What was heard, oldest first.
        cursor: Up to where the source was read, for the next drain; None: from now on.
        gap: Why something between the last drain and this one may have been missed; None: nothing
            was.
        caught_up: Whether there was nothing more to hear.
        dropped: How many events couldn't be understood, or were impossible.
        problems: What else the reader should know.
    """

    events: list[Event] = field(default_factory=list)
    cursor: str | None = None
    gap: str | None = None
    caught_up: bool = False
    dropped: int = 0
    problems: list[str] = field(default_factory=list)


class Source(ABC):
    """Where changes of others' records are heard of."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What its cursor is kept under: another place to listen to has another name."""

    @abstractmethod
    def drain(self, cursor: str | None, budget_s: float, max_events: int) -> Batch:
        """What was to be heard since a cursor.

        Args:
            cursor: What the drain before gave; None at the beginning.
            budget_s: The seconds to take at most, except for the last request's answer.
            max_events: The number of events after which to stop.

        Raises:
            ServiceError: The source refuses, or isn't reached. Nothing is lost: the next drain
                goes on at the same cursor.
        """


@dataclass(frozen=True)
class Interest:
    """Whose records of which types are of interest.

    Args:
        dids: The accounts; None: all.
        collections: The types.
        blocked: Accounts that are not, whatever `dids` says.
        known: The accounts that have records in the catalogue. Where `dids` is None, only their
            status is of interest.
    """

    dids: frozenset[str] | None
    collections: Collection[str]
    blocked: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()

    def wants(self, did: str) -> bool:
        """Whether an account is of interest."""
        return did not in self.blocked and (self.dids is None or did in self.dids)

    def wants_status(self, did: str) -> bool:
        """Whether it is of interest what becomes of an account."""
        return self.wants(did) and (self.dids is not None or did in self.known)


def record_event(did: str, collection: str, rkey: str, rev: str, cid: str | None) -> Event | None:
    """The event of a record, or None if there can be no such record or revision."""
    try:
        key = Key(check_resolvable_did(did), check_nsid(collection), check_rkey(rkey))
    except InvalidUriError:
        return None
    return Event("record", did, key, rev, cid) if is_possible_rev(rev) else None


def is_possible_rev(rev: str) -> bool:
    """Whether a text is a revision, of a time that isn't in the future."""
    if len(rev) != _TID_LENGTH or not set(rev) <= set(_TID) or rev[0] not in _TID[:16]:
        return False
    number = 0
    for char in rev:
        number = number * 32 + _TID.index(char)
    return (number >> 10) / 1e6 < time.time() + _CLOCK_SKEW_S


def read_cursor(text: str | None, host: str) -> dict[str, Any] | None:
    """What a cursor holds, if it is one of this version and host; else None."""
    try:
        body = json.loads(text or "null")
    except ValueError:
        return None
    same = isinstance(body, dict) and (body.get("v"), body.get("host")) == (CURSOR_VERSION, host)
    return body if same else None


def write_cursor(host: str, **facts: Any) -> str:
    """A cursor as text."""
    return json.dumps({"v": CURSOR_VERSION, "host": host, **facts}, sort_keys=True)
