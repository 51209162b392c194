"""Hearing of changes by asking each account's server, over and over."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from atdata_core.discovery.catalogue import Catalogue, Key
from atdata_core.discovery.listing import RepoList, RepoState, repo_state
from atdata_core.errors import AtdataError
from atdata_core.following.sources import Batch, Event, Source, read_cursor, write_cursor


@dataclass
class Difference:
    """How an account's repository differs from what a catalogue knows of it.

    Args:
        state: The account's status, and a revision that is no newer than the rest.
        events: An event for each record that differs.
        truncated: Whether the server's list went on without end: then nothing is taken for gone.
        dropped: How many items of the list were not the account's records.
    """

    state: RepoState
    events: list[Event] = field(default_factory=list)
    truncated: bool = False
    dropped: int = 0


def difference(
    did: str, collections: Collection[str], catalogue: Catalogue, state: RepoState | None = None
) -> Difference:
    """Compares an account's repository with what a catalogue knows of it.

    Args:
        did: Whose.
        collections: The types of records.
        catalogue: What is known.
        state: The repository's state, if it was just asked.

    Raises:
        AtdataError: The account's server can't be asked.
    """
    # Before the lists, so that they are no older than this revision.
    state = state or repo_state(did)
    found = Difference(state)
    if state.status != "active":
        return found
    known = {row.key: row for row in catalogue.rows(did)}
    for collection in collections:
        listed = set()
        pages = RepoList(did, collection)
        for item in pages:
            key = Key(did, collection, item.rkey)
            listed.add(key)
            row = known.get(key)
            if row is None or row.state == "deleted" or row.cid != item.cid:
                found.events.append(Event("record", did, key, state.rev, item.cid))
        found.dropped += pages.dropped
        found.truncated |= pages.truncated
        if not pages.truncated:
            found.events += [
                Event("record", did, key, state.rev)
                for key, row in known.items()
                if key.collection == collection and key not in listed and row.state != "deleted"
            ]
    return found


class PollingSource(Source):
    """Asks each account's server for its revision, and for its list where that is another.

    Args:
        dids: The accounts.
        collections: The types of records.
        catalogue: What is known of them; the lists are compared with it.
    """

    NAME = "poll"

    def __init__(
        self, dids: Collection[str], collections: Collection[str], catalogue: Catalogue
    ) -> None:
        self._dids = sorted(dids)
        self._collections = tuple(collections)
        self._catalogue = catalogue

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
        batch = Batch()
        failure: AtdataError | None = None
        reached = asked = 0
        whole = True
        for did in [d for d in self._dids if d > last] + [d for d in self._dids if d <= last]:
            if asked and (time.monotonic() > end or len(batch.events) >= max_events):
                break
            asked += 1
            try:
                rev = self._ask(did, revs.get(did), max_events, batch)
                reached += 1
            except AtdataError as error:
                failure = error
                batch.events.append(Event("failed", did, note=str(error)))
                rev = None
            if rev is None:
                whole = False
            else:
                revs[did] = rev
            last = did
        if failure is not None and not reached:
            raise failure
        batch.caught_up = whole and asked == len(self._dids)
        batch.cursor = write_cursor(self.NAME, revs=revs, last=last)
        return batch

    def _ask(self, did: str, rev: str | None, max_events: int, batch: Batch) -> str | None:
        """Adds what is new of an account; the revision up to which that is all, if it is."""
        state = repo_state(did)
        seen = f"{state.status} {state.rev}"
        if seen == rev:
            return rev
        if rev is not None and state.rev and state.rev < rev.partition(" ")[2]:
            batch.problems.append(f"{did}: its repository went back to an earlier revision")
        if rev is None or rev.partition(" ")[0] != state.status:
            batch.events.append(Event("account", did, note=state.status))
        found = difference(did, self._collections, self._catalogue, state)
        room = max(1, max_events - len(batch.events))
        batch.events += found.events[:room]
        batch.dropped += found.dropped
        if found.truncated:
            batch.problems.append(f"{did}: its list was not read to its end")
        return seen if len(found.events) <= room else None
