"""Hearing of changes by asking each account's server, over and over."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from atdata_core.discovery.catalogue import Catalogue, Key
from atdata_core.discovery.listing import RepoList, RepoState, repo_state
from atdata_core.errors import AtdataError
from atdata_core.following.patience import Patience, Room, ask_each
from atdata_core.following.sources import Batch, Event, Source, read_cursor, write_cursor

_SHARES = 4
DEFAULT_QUOTA = 1000


@dataclass
class Difference:
    """How an account's repository differs from what a catalogue knows of it.

    Args:
        did: Whose.
        state: The account's status, and a revision that is no newer than the rest.
        events: An event for each record that differs.
        truncated: Whether the server's list went on without end: then nothing is taken for gone.
        cut: Whether there are more events than were wanted, or there was no time to find them.
        dropped: How many items of the list were not the account's records.
        ignored: How many records were passed over, since too many of the account are known.
    """

    did: str
    state: RepoState
    events: list[Event] = field(default_factory=list)
    truncated: bool = False
    cut: bool = False
    dropped: int = 0
    ignored: int = 0

    def problems(self) -> list[str]:
        """What the reader should know."""
        did, found = self.did, []
        if self.truncated:
            found.append(f"{did}: its list was not read to its end")
        if self.ignored:
            found.append(f"{did}: {self.ignored} records beyond twice the quota are passed over")
        return found


@dataclass(frozen=True)
class Bounds:
    """How much of one account is taken up in one call, so that something is left for the others.

    Args:
        events: The most events.
        seconds: The most time to read its list for.
        rows: The most records to know of it, listed or refused. New ones are passed over then.
    """

    events: int
    seconds: float
    rows: int

    @classmethod
    def share(cls, max_events: int, budget_s: float, accounts: int, quota: int) -> "Bounds":
        """A quarter of all that is to be done in a call; more where there are few accounts."""
        parts = max(1, min(_SHARES, accounts))
        return cls(max(1, max_events // parts), budget_s / parts, 2 * quota)


def difference(
    did: str,
    collections: Collection[str],
    catalogue: Catalogue,
    bounds: Bounds,
    state: RepoState | None = None,
) -> Difference:
    """Compares an account's repository with what a catalogue knows of it.

    Args:
        did: Whose.
        collections: The types of records.
        catalogue: What is known.
        bounds: How much of it is looked for.
        state: The repository's state, if it was just asked.

    Raises:
        AtdataError: The account's server can't be asked.
    """
    # Before the lists, so that they are no older than this revision.
    state = state or repo_state(did)
    found = Difference(did, state)
    if state.status != "active":
        return found
    end = time.monotonic() + bounds.seconds
    known = {row.key: row for row in catalogue.rows(did) if row.state != "deleted"}
    room = bounds.rows - len(known)
    for collection in collections:
        listed = set()
        pages = RepoList(did, collection)
        for item in pages:
            if len(found.events) >= bounds.events or time.monotonic() > end:
                found.cut = True
                break
            key = Key(did, collection, item.rkey)
            listed.add(key)
            row = known.get(key)
            if row is None and room <= 0:
                found.ignored += 1
            elif row is None or row.cid != item.cid:
                room -= row is None
                found.events.append(Event("record", did, key, state.rev, item.cid))
        found.dropped += pages.dropped
        found.truncated |= pages.truncated
        if not pages.truncated and not found.cut:
            found.events += [
                Event("record", did, key, state.rev)
                for key in known
                if key.collection == collection and key not in listed
            ]
    return found


@dataclass
class _Answer:
    """What was found of one account; without a revision there is more to find."""

    rev: str | None
    events: list[Event] = field(default_factory=list)
    dropped: int = 0
    problems: list[str] = field(default_factory=list)


class PollingSource(Source):
    """Asks each account's server for its revision, and for its list where that is another.

    Several servers are asked at the same time, one server's accounts one by one.

    Args:
        dids: The accounts.
        collections: The types of records.
        catalogue: What is known of them; the lists are compared with it.
        patience: Which servers are not to be asked now; by default those that the catalogue names.
        quota: The most records of one account that are to be listed.
    """

    NAME = "poll"

    def __init__(
        self,
        dids: Collection[str],
        collections: Collection[str],
        catalogue: Catalogue,
        patience: Patience | None = None,
        quota: int = DEFAULT_QUOTA,
    ) -> None:
        self._dids = sorted(dids)
        self._collections = tuple(collections)
        self._catalogue = catalogue
        self._patience = patience or Patience(catalogue)
        self._quota = quota

    @property
    def name(self) -> str:
        """``poll``."""
        return self.NAME

    def drain(self, cursor: str | None, budget_s: float, max_events: int) -> Batch:
        """Asks as many accounts as fit into the budget, beginning after the last one asked."""
        end = time.monotonic() + budget_s
        before = read_cursor(cursor, self.NAME) or {"revs": {}, "last": ""}
        revs = {did: before["revs"][did] for did in self._dids if did in before["revs"]}
        last = str(before["last"])
        order = [d for d in self._dids if d > last] + [d for d in self._dids if d <= last]
        room = Room(max_events)
        bounds = Bounds.share(max_events, budget_s, len(order), self._quota)

        def ask(did: str) -> _Answer | AtdataError | None:
            if did != order[0] and (time.monotonic() > end or room.left <= 0):
                return None
            try:
                return self._patience.ask(did, lambda: self._ask(did, revs.get(did), room, bounds))
            except AtdataError as error:
                return error

        answers = ask_each(sorted(order, key=self._patience.failures), ask)
        failures = [each for each in answers.values() if isinstance(each, AtdataError)]
        if failures and not any(isinstance(each, _Answer) for each in answers.values()):
            raise failures[-1]
        batch = Batch(caught_up=True)
        for did in order:
            batch.caught_up &= _take(did, answers[did], revs, batch)
        left = [place for place, did in enumerate(order) if answers[did] is None]
        last = order[left[0] - 1 if left else -1] if order else last
        batch.cursor = write_cursor(self.NAME, revs=revs, last=last)
        return batch

    def _ask(self, did: str, rev: str | None, room: Room, bounds: Bounds) -> _Answer:
        """What is new of an account; with the revision up to which that is all, if it is."""
        state = repo_state(did)
        seen = f"{state.status} {state.rev}"
        if seen == rev:
            return _Answer(rev)
        answer = _Answer(seen)
        if rev is not None and state.rev and state.rev < rev.partition(" ")[2]:
            answer.problems.append(f"{did}: its repository went back to an earlier revision")
        if rev is None or rev.partition(" ")[0] != state.status:
            room.take(1)
            answer.events.append(Event("account", did, note=state.status))
        found = difference(did, self._collections, self._catalogue, bounds, state)
        taken = room.take(len(found.events))
        answer.events += found.events[:taken]
        answer.dropped = found.dropped
        answer.problems += found.problems()
        if found.cut or taken < len(found.events):
            answer.rev = None
        return answer


def _take(
    did: str, answer: _Answer | AtdataError | None, revs: dict[str, str], batch: Batch
) -> bool:
    """Adds what was found of an account to the rest; whether that is all there is."""
    if isinstance(answer, AtdataError):
        batch.events.append(Event("failed", did, note=str(answer)))
        return False
    if answer is None:
        return False
    batch.events += answer.events
    batch.dropped += answer.dropped
    batch.problems += answer.problems
    if answer.rev is None:
        return False
    revs[did] = answer.rev
    return True
