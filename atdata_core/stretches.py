"""Samples on their way from shards to whoever takes them, a stretch of them at a time: `Walk`."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from atdata_core.batch import Ragged, SampleBatch
from atdata_core.blocks import AnyBlock, Demand, Ticket, read_blocks
from atdata_core.plan import Cursor, Plan
from atdata_core.readahead import opened
from atdata_core.sample import PackableSample
from atdata_core.shares import Share

Named = tuple[Any, AnyBlock, int]
"""A sample, the block that it is of, and its row in it."""
Stretch = Iterable[Any]
"""Some samples or batches that are handed out one after another."""
Form = Callable[[AnyBlock, range], Iterator[Any]]
"""What is made of some rows of a block to go on with."""

STRETCH = 256
"""So many samples at most are made together, before the first of them is handed out."""


class Walk:
    """The way through the shards of one epoch.

    Args:
        plan: What is read, and how.
        cursor: Where to begin.
        urls: The shards, in the order of the pass.
        share: Which of their samples to take.
    """

    def __init__(self, plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share) -> None:
        self.plan = plan
        self.cursor = cursor
        self.urls = urls
        self.share = share
        self._ended: list[int] = []
        self._number = sum(cursor.rows) + cursor.row

    def blocks(self, demand: Demand) -> Iterator[AnyBlock]:
        """The blocks from where the cursor stands."""
        plan, cursor, skip = self.plan, self.cursor, self.cursor.row
        with contextlib.closing(opened(plan.source, self.urls[len(cursor.rows) :])) as shards:
            for url, stream in shards:
                seen = skip
                for block in read_blocks(stream, plan.sample_type, url, skip, demand):
                    yield block
                    seen = block.first + len(block)
                self._ended.append(seen)
                skip = 0

    def rows(self, block: AnyBlock) -> range:
        """Which rows of the next block to take; to be asked once for each."""
        rows = self.share.of_rows(self._number, len(block))
        self._number += len(block)
        return rows

    def leave_shards(self) -> None:
        """Moves the cursor behind the shards that ended, when what comes next is handed out."""
        if self._ended:
            self.cursor.rows += self._ended
            self.cursor.row = 0
            self._ended.clear()


def bare(block: AnyBlock, rows: range) -> Iterator[Any]:
    """Samples."""
    return block.samples(rows)


def ends(block: AnyBlock, rows: range) -> range:
    """For some rows of a block, how many samples of the shard were read after each."""
    more = block.first + 1
    return range(rows.start + more, rows.stop + more, rows.step)


def made(items: Iterator[Any]) -> tuple[list[Any], Exception | None]:
    """As many items as can be made, and why there are no more."""
    found: list[Any] = []
    try:
        found.extend(items)
    except Exception as error:  # noqa: BLE001 - raised after the items before it
        return found, error
    return found, None


def present(item: Any) -> Any:
    """An item whose sample was left where it lies, with the sample."""
    if isinstance(item, Ticket):
        return item.sample()
    if isinstance(item, tuple) and isinstance(item[0], Ticket):
        return (item[0].sample(), *item[1:])
    return item


def as_batch(items: list[Any], ragged: Ragged = "error") -> Any:
    """A `SampleBatch`, if all are of one packable type; else the list itself."""
    kind = type(items[0])
    if isinstance(items[0], PackableSample) and all(type(item) is kind for item in items):
        return SampleBatch(items, kind, ragged=ragged)
    return items
