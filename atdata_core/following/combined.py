"""Hearing of changes from several places at once: the firehoses of several PDSes, say."""

import logging
import time
from collections.abc import Sequence

from atdata_core.errors import AtdataError
from atdata_core.following.sources import Batch, Source, read_cursor, write_cursor

_log = logging.getLogger(__name__)


class CombinedSource(Source):
    """Several sources that are drained one after the other, each with a share of the time.

    One that isn't reached is told among the problems, and read on later where it ended.

    Args:
        sources: The sources.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sorted(sources, key=lambda each: each.name)

    @property
    def name(self) -> str:
        """The names of all."""
        return " ".join(each.name for each in self._sources)

    def drain(self, cursor: str | None, budget_s: float, max_events: int) -> Batch:
        """Drains each, beginning after the one that was the last; see `Source.drain`."""
        end = time.monotonic() + budget_s
        known = read_cursor(cursor, self.name) or {"cursors": {}, "last": ""}
        cursors: dict[str, str | None] = dict(known["cursors"])
        last = str(known["last"])
        batch = Batch(caught_up=True)
        gaps: list[str] = []
        failures: list[AtdataError] = []
        order = sorted(self._sources, key=lambda each: (each.name <= last, each.name))
        for place, source in enumerate(order):
            room = max_events - len(batch.events)
            if room <= 0:
                batch.caught_up = False
                break
            share = max(0.0, end - time.monotonic()) / (len(order) - place)
            last = source.name
            try:
                found = source.drain(cursors.get(last), share, room)
            except AtdataError as error:
                _log.warning("%s can't be read: %s", last, error)
                failures.append(error)
                batch.problems.append(f"{last}: {error}")
                batch.caught_up = False
                continue
            cursors[last] = found.cursor
            batch.events += found.events
            batch.dropped += found.dropped
            batch.problems += found.problems
            batch.caught_up &= found.caught_up
            gaps += [f"{last}: {found.gap}"] if found.gap else []
        if len(failures) == len(order):
            raise failures[-1]
        batch.gap = "; ".join(gaps) or None
        batch.cursor = write_cursor(self.name, cursors=cursors, last=last)
        return batch
