"""`follow`: what was heard becomes what is known."""

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

from atdata_core.atproto.identity import resolve_authority
from atdata_core.discovery.catalogue import (
    Await,
    Catalogue,
    Change,
    Delete,
    Done,
    Put,
    Refuse,
    SetStatus,
)
from atdata_core.discovery.listing import find_holders
from atdata_core.errors import AtdataError, ConfigurationError
from atdata_core.following.combined import CombinedSource
from atdata_core.following.firehose import FirehoseSource
from atdata_core.following.grace import Grace
from atdata_core.following.jetstream import JetstreamSource
from atdata_core.following.patience import Patience, Room, ask_each
from atdata_core.following.polling import Bounds, Difference, PollingSource, difference
from atdata_core.following.seeing import Eye
from atdata_core.following.sources import Batch, Event, Interest, Source
from atdata_core.following.subscription import Subscription

_log = logging.getLogger(__name__)
_CHUNK = 500
_UNFOLLOWED = "unfollowed"
_SWEPT = "swept"
_HOLDERS = "holders"
_WAVE = 32


@dataclass
class Report:
    """What one `follow` did.

    Args:
        source: Where it listened.
        events: How many events there were.
        written: How many records are new, or other than they were.
        removed: How many records are gone.
        refused: How many records were found that are not to be listed.
        statuses: How many accounts have another status than they had.
        caught_up: Whether there is nothing left to read.
        gap: Why something may have been missed; all accounts are read anew then.
        waiting: The accounts that are still to be read anew, and why.
        failed: The accounts whose server could not be asked, and why.
        dropped: How many events or items made no sense.
        problems: What else the reader should know.
        pruned: How many records that went long ago are no longer remembered.
    """

    source: str
    events: int = 0
    written: int = 0
    removed: int = 0
    refused: int = 0
    statuses: int = 0
    caught_up: bool = False
    gap: str | None = None
    waiting: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    dropped: int = 0
    problems: list[str] = field(default_factory=list)
    pruned: int = 0

    def count(self, changes: Sequence[Change], made: Sequence[bool]) -> None:
        """Adds what an `apply` did."""
        done = Counter(type(change) for change, each in zip(changes, made, strict=True) if each)
        self.written += done[Put]
        self.removed += done[Delete]
        self.refused += done[Refuse]
        self.statuses += done[SetStatus]

    def __str__(self) -> str:
        parts = [
            f"{self.events} events",
            f"{self.written} records new or changed, {self.removed} gone, {self.refused} refused",
        ]
        parts += [f"{self.statuses} accounts with another status"] if self.statuses else []
        parts += [f"gap: {self.gap}"] if self.gap else []
        parts += [f"{len(self.waiting)} accounts wait to be read anew"] if self.waiting else []
        if self.failed:
            did, why = next(iter(self.failed.items()))
            parts.append(f"{len(self.failed)} accounts could not be read, as {did}: {why}")
        parts += [f"{self.dropped} items made no sense"] if self.dropped else []
        parts += [f"{self.pruned} that went long ago are forgotten"] if self.pruned else []
        parts += self.problems
        parts.append("caught up" if self.caught_up else "there is more to read")
        return "; ".join(parts)


def follow(
    subscription: Subscription | str | PathLike[str],
    catalogue: Catalogue,
    source: Source | None = None,
    *,
    budget_s: float = 20.0,
    max_events: int = 200,
    seen: int | None = None,
) -> Report:
    """Reads on where the last call ended, and brings the catalogue up to date.

    What is heard of a record is a reason to fetch it; nothing is listed that wasn't fetched and
    verified. Where something may have been missed, all accounts are read anew, in this call and
    the next ones. The cursor is written with the records, so a call that is killed at any point is
    as if it had ended there: nothing is lost, and what was done already is found done.

    Args:
        subscription: Who and what is followed, or the file that says so.
        catalogue: What is known. It belongs to one subscription.
        source: Where to listen; by default where the subscription says.
        budget_s: The seconds to take. The last request may take longer, up to half a minute.
        max_events: The number of events to take up, and of accounts to read anew.
        seen: The number up to which `Catalogue.changes` were taken up by whoever reads them. What
            is remembered of records that went before it is pruned in time; None: nothing is.

    Raises:
        ConfigurationError: The subscription can't be read, or follows nobody.
        ServiceError: The source, or every server, refuses or isn't reached. Nothing is lost.
    """
    said = Subscription.load(subscription)
    return _Following(said, catalogue, budget_s, max_events).run(source, seen)


class _Following:
    def __init__(
        self, subscription: Subscription, catalogue: Catalogue, budget_s: float, max_events: int
    ) -> None:
        self._said = subscription
        self._catalogue = catalogue
        self._budget_s = budget_s
        self._end = time.monotonic() + budget_s
        self._max_events = max_events
        self._problems: list[str] = []
        self._patience = Patience(catalogue)
        self._grace = Grace(catalogue, subscription.grace_hours)

    def run(self, source: Source | None, seen: int | None) -> Report:
        try:
            return self._run(source, seen)
        finally:
            self._patience.save()

    def _run(self, source: Source | None, seen: int | None) -> Report:
        named = self._named()
        known = frozenset(self._catalogue.accounts())
        interest = Interest(
            None if self._said.relay else named,
            self._said.collections,
            frozenset(self._said.blocked),
            known,
        )
        again, swept = self._look_again(named, interest)
        source = source or self._source(interest)
        cursor = self._catalogue.cursor(source.name) or None
        if again and source.name == PollingSource.NAME:
            cursor = None  # It reads everything anew itself.
        batch = source.drain(cursor, self._budget_s * 0.6, self._max_events)
        events = [event for event in batch.events if interest.wants(event.did)]
        report = self._report(source, batch, len(events))
        changes: list[Change] = []
        if again and source.name != PollingSource.NAME:
            changes += [Await(did, again) for did in sorted(self._followed(interest))]
        if batch.gap:
            _log.warning("%s: %s; all accounts are read anew", source.name, batch.gap)
            changes += [Await(did, batch.gap) for did in sorted(self._followed(interest))]
        if interest.dids is None:
            new = {event.did for event in events} - known
            changes += [Await(did, "it was heard of for the first time") for did in sorted(new)]
        due = [Event("account", did) for did in self._grace.due()]
        changes += self._eye().see([*due, *events])
        self._apply(report, changes, {**swept, source.name: batch.cursor or ""})
        if swept and seen is not None:
            report.pruned = self._catalogue.prune(seen, days=self._said.tombstone_days)
        self._read_anew(report, interest)
        report.caught_up = batch.caught_up and not report.waiting and not report.failed
        return report

    def _apply(
        self, report: Report, changes: Sequence[Change], cursors: Mapping[str, str] | None = None
    ) -> None:
        tempered, since = self._grace.tempered(changes)
        report.count(tempered, self._catalogue.apply(tempered, {**(cursors or {}), **since}))

    def _eye(self) -> Eye:
        return Eye(self._said, self._catalogue, self._end, self._patience)

    def _report(self, source: Source, batch: Batch, events: int) -> Report:
        failed = {event.did: event.note for event in batch.events if event.kind == "failed"}
        return Report(
            source.name,
            events=events - len(failed),
            gap=batch.gap,
            failed=failed,
            dropped=batch.dropped,
            problems=[*self._problems, *batch.problems],
        )

    def _named(self) -> frozenset[str]:
        """The accounts that the subscription names; a handle's is kept, should it not answer."""
        found = set(self._said.dids)
        for handle in self._said.handles:
            kept = self._catalogue.cursor(f"handle:{handle}")
            try:
                did = resolve_authority(handle)
            except AtdataError as error:
                self._problems.append(f"@{handle}: {error}")
                found |= {kept} if kept else set()
                continue
            if did != kept:
                self._catalogue.apply([], {f"handle:{handle}": did})
            found.add(did)
        if not found and not self._said.relay:
            raise ConfigurationError(
                "subscription follows nobody",
                expected="dids, handles or a relay",
                got="; ".join(self._problems) or None,
            )
        return frozenset(found)

    def _followed(self, interest: Interest) -> set[str]:
        """The accounts to read: those that are named, or all that are known to have datasets."""
        if interest.dids is not None:
            return {did for did in interest.dids if interest.wants(did)}
        known = json.loads(self._catalogue.cursor(_HOLDERS) or "[]")
        return {did for did in {*known, *self._catalogue.accounts()} if interest.wants(did)}

    def _source(self, interest: Interest) -> Source:
        if self._said.sources == (PollingSource.NAME,):
            dids = self._followed(interest)
            said = self._said
            return PollingSource(
                dids, said.collections, self._catalogue, self._patience, said.quota
            )
        kinds = {"firehose": FirehoseSource, "jetstream": JetstreamSource}
        found: list[Source] = []
        for each in self._said.sources:
            kind, _, address = each.partition(":")
            found.append(kinds[kind](address, interest))
        return found[0] if len(found) == 1 else CombinedSource(found)

    def _look_again(self, named: frozenset[str], interest: Interest) -> tuple[str, dict[str, str]]:
        """Why everything is to be read anew, if it is, and what to write down once it is begun."""
        digest = self._said.digest(named)
        swept = json.loads(self._catalogue.cursor(_SWEPT) or "{}")
        same = swept.get("digest") == digest
        if same and time.time() < swept["at"] + self._said.sweep_hours * 3600:
            return "", {}
        if self._said.relay:
            holders = find_holders(self._said.relay, dids=named, collections=self._said.collections)
            if holders.truncated:
                self._problems.append(f"{self._said.relay}: its list was not read to its end")
            self._catalogue.apply([], {_HOLDERS: json.dumps(holders.dids)})
        changes = list(self._second_look(interest))
        for start in range(0, len(changes), _CHUNK):
            self._catalogue.apply(changes[start : start + _CHUNK])
        note = "everything is read anew from time to time" if same else "the subscription changed"
        return note, {_SWEPT: json.dumps({"digest": digest, "at": time.time()})}

    def _second_look(self, interest: Interest) -> Iterable[Change]:
        for did, status in self._catalogue.accounts().items():
            if not interest.wants(did):
                yield SetStatus(did, _UNFOLLOWED)
                continue
            if status == _UNFOLLOWED:
                yield SetStatus(did, "active")
            for row in self._catalogue.rows(did):
                unwanted = row.key.collection not in self._said.collections
                if row.state == "refused" and not unwanted:
                    # Without a CID it differs from whatever its server lists.
                    yield Refuse(row.key, row.rev, "", "to be looked at again")
                record = self._catalogue.get(row.key) if row.state == "live" else None
                if record is not None:
                    why = "of a type not followed" if unwanted else self._said.refusal(record)
                    if why:
                        # One that is only to be proven further is looked at again, too.
                        cid = row.cid if record.level >= self._said.least else ""
                        yield Refuse(row.key, row.rev, cid, why)

    def _read_anew(self, report: Report, interest: Interest) -> None:
        queue = self._catalogue.awaited()
        others = [
            Done(did, number) for did, (number, _) in queue.items() if not interest.wants(did)
        ]
        if others:
            self._catalogue.apply(others)
        asked = [did for did in queue if interest.wants(did) and self._is_to_be_asked(did, report)]
        asked.sort(key=self._patience.failures)
        room = Room(self._max_events)
        bounds = Bounds.share(
            self._max_events, self._budget_s, len(self._followed(interest)), self._said.quota
        )

        def read(did: str) -> _Account | AtdataError | None:
            return self._read_account(did, room, bounds)

        for start in range(0, len(asked), _WAVE):
            if room.left <= 0 or time.monotonic() > self._end:
                break
            wave = asked[start : start + _WAVE]
            for did, found in ask_each(wave, read).items():
                number, note = queue[did]
                self._take_account(did, found, number, note, report)
        report.waiting |= {
            did: note for did, (_, note) in self._catalogue.awaited().items() if interest.wants(did)
        }

    def _is_to_be_asked(self, did: str, report: Report) -> bool:
        try:
            self._patience.check(did)
        except AtdataError as error:
            report.failed[did] = str(error)
            return False
        return True

    def _read_account(
        self, did: str, room: Room, bounds: Bounds
    ) -> "_Account | AtdataError | None":
        if room.left <= 0 or time.monotonic() > self._end:
            return None
        try:
            found = self._patience.ask(
                did, lambda: difference(did, self._said.collections, self._catalogue, bounds)
            )
        except AtdataError as error:
            return error
        taken = room.take(max(1, len(found.events)))
        events = [Event("account", did, note=found.state.status), *found.events[:taken]]
        return _Account(found, taken, self._eye().see(events, found.state))

    def _take_account(
        self,
        did: str,
        found: "_Account | AtdataError | None",
        number: int,
        note: str,
        report: Report,
    ) -> None:
        if found is None:
            return
        if isinstance(found, AtdataError):
            _log.warning("%s can't be read: %s", did, found)
            report.failed[did] = str(found)
            # To the end of the queue, so that others are read before it is tried again.
            self._catalogue.apply([Await(did, note)])
            return
        events = len(found.difference.events)
        changes = found.changes
        if events <= found.taken and not found.difference.cut:
            changes.append(Done(did, number))
        report.events += min(events, found.taken)
        report.dropped += found.difference.dropped
        report.problems += found.difference.problems()
        self._apply(report, changes)


@dataclass
class _Account:
    """What came of reading an account anew: how it differs, and what follows from so much of it."""

    difference: Difference
    taken: int
    changes: list[Change]
