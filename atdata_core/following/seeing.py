"""From what was heard of a record or an account to what it is: by looking at it."""

import contextlib
import logging
import time
from collections.abc import Iterable

from atdata_core.discovery.catalogue import (
    Await,
    Catalogue,
    Change,
    Delete,
    Key,
    Put,
    Refuse,
    Row,
    SetStatus,
)
from atdata_core.discovery.listing import RepoState, fetch_record, repo_state
from atdata_core.errors import (
    AtdataError,
    IntegrityError,
    InvalidRecordError,
    InvalidUriError,
    NotFoundError,
    VerificationError,
)
from atdata_core.following.patience import Patience, ask_each
from atdata_core.following.sources import Event
from atdata_core.following.subscription import Subscription

_log = logging.getLogger(__name__)
_PASSING = ("rollback", "fork")
"""What is wrong with a server that shows an older state: the record is looked at again later."""


class Eye:
    """Looks at what some events are about, each thing once.

    Args:
        subscription: What is to be listed.
        catalogue: What is known already; it isn't written to.
        end: When to stop looking, by `time.monotonic`; the rest has to be waited for.
        patience: Which servers are not to be asked now.
    """

    def __init__(
        self, subscription: Subscription, catalogue: Catalogue, end: float, patience: Patience
    ) -> None:
        self._said = subscription
        self._catalogue = catalogue
        self._end = end
        self._patience = patience
        self._known: dict[str, dict[Key, Row]] = {}
        self._live: dict[str, set[Key]] = {}
        self._states: dict[str, RepoState] = {}

    def see(self, events: Iterable[Event], state: RepoState | None = None) -> list[Change]:
        """The changes that follow from events; what can't be seen now has to be waited for.

        Args:
            events: What was heard, oldest first.
            state: The state of the account that all of them are about, if it was just asked.
        """
        changes: list[Change] = []
        last: dict[Key, Event] = {}
        heard = list(events)
        if state is None:
            ask_each({e.did for e in heard if e.kind == "account"}, self._foresee)
        for event in heard:
            if event.kind == "record" and event.key is not None:
                before = last.pop(event.key, event)
                last[event.key] = max(before, event, key=lambda each: each.rev)
            elif event.kind == "repo":
                changes.append(Await(event.did, event.note))
            elif event.kind == "account":
                changes += self._account(event, state)
        return [*changes, *self._records(last, state)]

    def _records(self, events: dict[Key, Event], state: RepoState | None) -> list[Change]:
        """Looks at records, those of several servers at the same time."""
        of: dict[str, list[Event]] = {}
        for key, event in events.items():
            of.setdefault(key.did, []).append(event)
            self._rows(key.did)

        def look(did: str) -> list[Change]:
            changes: list[Change] = []
            for event in of[did]:
                if time.monotonic() > self._end:
                    return [*changes, Await(did, "no time was left")]
                if event.key is not None:
                    changes += self._record(event.key, event, state)
            return changes

        return [change for found in ask_each(of, look).values() for change in found]

    def _account(self, event: Event, state: RepoState | None) -> list[Change]:
        did = event.did
        try:
            status = (state or self._state(did)).status
        except AtdataError as error:
            # To hide what is said to be gone does no harm; to show it again does.
            hidden = [SetStatus(did, event.note)] if event.note not in ("active", "deleted") else []
            return [*hidden, Await(did, f"its status is not known: {error}"[:500])]
        if status == "active" and state is None and self._catalogue.status(did) != "active":
            return [SetStatus(did, status), Await(did, "the account is active again")]
        return [SetStatus(did, status)]

    def _record(self, key: Key, event: Event, state: RepoState | None) -> list[Change]:
        known = self._rows(key.did).get(key)
        live = self._live[key.did]
        if known is not None and _is_known(known, event):
            return []
        try:
            # Before the record, which then is no older than this revision. The one that was heard
            # of may be anybody's invention.
            state = state or self._state(key.did)
            if state.status != "active":
                return [SetStatus(key.did, state.status)]
            if event.cid is not None and key not in live and len(live) >= self._said.quota:
                rows = self._known[key.did].values()
                there = sum(row.state != "deleted" for row in rows)
                if known is None and there >= 2 * self._said.quota:
                    return []  # Not even that it was refused: there is no end to it.
                note = f"its account has {self._said.quota} records already"
                return [Refuse(key, state.rev, event.cid, note)]
            behind = event.rev > state.rev
            late: list[Change] = [Await(key.did, "its server is behind")] if behind else []
            return [self._look(key, state.rev, live), *late]
        except NotFoundError:
            return self._absent(key, state.rev if state else "")
        except AtdataError as error:
            _log.warning("%s can't be fetched now: %s", key.uri, error)
            return [Await(key.did, f"a record can't be fetched: {error}"[:500])]

    def _look(self, key: Key, rev: str, live: set[Key]) -> Change:
        try:
            record = self._patience.ask(
                key.did, lambda: fetch_record(key.uri, rev=rev, level=self._said.least)
            )
        except (IntegrityError, InvalidRecordError, InvalidUriError, VerificationError) as error:
            if getattr(error, "code", None) in _PASSING:
                raise
            _log.warning("%s is not listed: %s", key.uri, error)
            live.discard(key)
            return Refuse(key, rev, "", f"not verified: {error}"[:500])
        refusal = self._said.refusal(record)
        if refusal is not None:
            live.discard(key)
            return Refuse(key, record.rev, record.cid, refusal)
        live.add(key)
        return Put(record)

    def _absent(self, key: Key, rev: str) -> list[Change]:
        """A record that its server doesn't give: it is gone, or its account is."""
        try:
            status = self._patience.ask(key.did, lambda: repo_state(key.did)).status
        except AtdataError as error:
            return [Await(key.did, f"its status is not known: {error}"[:500])]
        if status != "active":
            return [SetStatus(key.did, status)]
        self._live[key.did].discard(key)
        return [Delete(key, rev)]

    def _rows(self, did: str) -> dict[Key, Row]:
        if did not in self._known:
            rows = {row.key: row for row in self._catalogue.rows(did)}
            self._known[did] = rows
            self._live[did] = {key for key, row in rows.items() if row.state == "live"}
        return self._known[did]

    def _foresee(self, did: str) -> None:
        with contextlib.suppress(AtdataError):
            if time.monotonic() <= self._end:
                self._state(did)

    def _state(self, did: str) -> RepoState:
        if did not in self._states:
            self._states[did] = self._patience.ask(did, lambda: repo_state(did))
        return self._states[did]


def _is_known(row: Row, event: Event) -> bool:
    """Whether what was heard says nothing new, so that nobody has to be asked."""
    if event.rev != row.rev:
        return event.rev < row.rev
    return row.cid == (event.cid or "") and (row.state == "deleted") == (event.cid is None)
