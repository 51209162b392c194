"""Hearing of changes from several places at once: the firehoses of several PDSes, say."""

import logging
from collections.abc import Sequence

from atdata_core.errors import AtdataError
from atdata_core.following.sources import Batch, Source, read_cursor, write_cursor

_log = logging.getLogger(__name__)


class CombinedSource(Source):
    """Several sources that are drained at the same time, each with a share of the events.

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
        """Drains all; see `Source.drain`."""
        from concurrent.futures import ThreadPoolExecutor

        known = read_cursor(cursor, self.name) or {"cursors": {}}
        cursors: dict[str, str | None] = dict(known["cursors"])
        share = max(1, max_events // len(self._sources))

        def read(source: Source) -> Batch | AtdataError:
            try:
                return source.drain(cursors.get(source.name), budget_s, share)
            except AtdataError as error:
                return error

        # Most of the time is spent waiting, for what may come.
        with ThreadPoolExecutor(len(self._sources)) as threads:
            told = list(zip(self._sources, threads.map(read, self._sources), strict=True))
        batch = Batch(caught_up=True)
        failures = [found for _, found in told if isinstance(found, AtdataError)]
        if len(failures) == len(told):
            raise failures[0]
        gaps = []
        for source, found in told:
            if isinstance(found, AtdataError):
                _log.warning("%s can't be read: %s", source.name, found)
                batch.problems.append(f"{source.name}: {found}")
                batch.caught_up = False
                continue
            cursors[source.name] = found.cursor
            batch.events += found.events
            batch.dropped += found.dropped
            batch.problems += found.problems
            batch.caught_up &= found.caught_up
            gaps += [f"{source.name}: {found.gap}"] if found.gap else []
        batch.gap = "; ".join(gaps) or None
        batch.cursor = write_cursor(self.name, cursors=cursors)
        return batch
