"""From what a stream tells to the events that are of interest, whatever the stream's own form.

One account that writes and writes doesn't fill a batch: what comes after its share of the events
is not told one by one, but as one event, that the account is to be read anew. So a stream is read
on at its own speed, and the others' events are not behind it.
"""

from collections import Counter

from atdata_core.atproto.identity import forget_identities
from atdata_core.atproto.uri import check_resolvable_did
from atdata_core.errors import InvalidUriError
from atdata_core.following.sources import Batch, Event, Interest, record_event

_SHARES = 4


class Hearing:
    """Adds to a batch what is of interest.

    Args:
        interest: Whose records of which types are.
        batch: Where events are added, and counted that make no sense.
        max_events: The number of events that are wanted.
    """

    def __init__(self, interest: Interest, batch: Batch, max_events: int) -> None:
        self._interest = interest
        self._batch = batch
        self._max_events = max_events
        self._share = max(1, max_events // _SHARES)
        self._told: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether there are as many events as are wanted."""
        return len(self._batch.events) >= self._max_events

    def wants(self, did: str) -> bool:
        """Whether anything of an account is of interest."""
        if not self._interest.wants(did):
            return False
        try:
            check_resolvable_did(did)
        except InvalidUriError:
            self._batch.dropped += 1
            return False
        return True

    def record(self, did: str, collection: str, rkey: str, rev: str, cid: str | None) -> None:
        """A record was written, or deleted where there is no CID."""
        if collection not in self._interest.collections:
            return
        event = record_event(did, collection, rkey, rev, cid)
        if event is None:
            self._batch.dropped += 1
            return
        self._told[did] += 1
        if self._told[did] <= self._share:
            self._batch.events.append(event)
        elif self._told[did] == self._share + 1:
            self._batch.events.append(Event("repo", did, note="it writes more than its share"))

    def repository(self, did: str, why: str) -> None:
        """An account has to be read anew."""
        if self._interest.wants_status(did):
            self._batch.events.append(Event("repo", did, note=why))

    def account(self, did: str, active: object, status: object) -> None:
        """An account has another status."""
        if self._interest.wants_status(did):
            note = "active" if active else str(status or "deactivated")
            self._batch.events.append(Event("account", did, note=note))

    def identity(self, did: str) -> None:
        """An account may have moved, or has another key."""
        if self._interest.wants_status(did):
            forget_identities()
