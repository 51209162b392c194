"""One pass over a dataset: what it reads, where it stands, and how it goes on from there.

A pass reads samples from shards, block by block, mixes them, applies the dataset's operations, and
puts batches together. Each stage takes from the one before it no more
than it hands on, so a few numbers say where a pass stands, whatever the operations are: how many
samples were read of which shards, and how many left the mixing.
"""

import functools
import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count, islice, repeat
from typing import Any, cast

from atdata_core.batch import Part, Ragged, SampleBatch
from atdata_core.blocks import AnyBlock, Block, Demand, LateBlock, Ticket, read_blocks, shorter
from atdata_core.errors import AtdataError, ConfigurationError
from atdata_core.mixing import Mixer
from atdata_core.operations import Operation, applied
from atdata_core.sample import PackableSample
from atdata_core.shard import Shard
from atdata_core.shares import WHOLE, Share, rank_share, worker_share
from atdata_core.sources import DataSource

Named = tuple[Any, AnyBlock, int]
"""A sample, the block that it is of, and its row in it."""
Form = Callable[[AnyBlock, range], Iterator[Any]]
"""What is made of some rows of a block to go through the mixing."""

STATE_VERSION = 2


@dataclass(frozen=True)
class Plan:
    """What a pass reads, and how.

    Args:
        source: Where the shards are.
        sample_type: What their samples are.
        told: What is known of the shards without reading them.
        operations: What is done to each sample.
        share: The part that is this reader's.
        by_worker: Whether it is divided further, among the ranks and workers that are there when
            a pass begins; among workers alone, where `share` is a part already.
        shuffled: Whether the order is random.
        buffer_shards: Among how many shards the next one is drawn.
        buffer_samples: Among how many samples the next one is drawn.
        seed: What the random order depends on, together with the epoch; None: on chance.
        epoch: The number of the first epoch.
        epochs: How many epochs a pass has; None: no end.
        batch_size: Samples a batch; None: no batches.
        ragged: What becomes of arrays of different shapes in one batch.
    """

    source: DataSource
    sample_type: type
    told: tuple[Shard, ...] = ()
    operations: tuple[Operation, ...] = ()
    share: Share = WHOLE
    by_worker: bool = False
    shuffled: bool = False
    buffer_shards: int = 0
    buffer_samples: int = 0
    seed: int | None = None
    epoch: int = 0
    epochs: int | None = 1
    batch_size: int | None = None
    ragged: Ragged = "error"

    def divided(self) -> "Plan":
        """The plan of the process that asks, whatever rank or worker it is."""
        if not self.by_worker:
            return self
        share = rank_share() if self.share.whole else self.share
        return replace(self, share=share.divided(worker_share()), by_worker=False)

    def identity(self) -> dict[str, Any]:
        """What a state has to agree with: the shards, and what their order depends on."""
        return {
            "version": STATE_VERSION,
            "shards": self._fingerprint,
            "order": "shuffled" if self.shuffled else "ordered",
            "buffers": [self.buffer_shards, self.buffer_samples],
            "seeded": self.seed is not None,
            "share": [self.share.index, self.share.count],
        }

    @functools.cached_property
    def _fingerprint(self) -> str:
        # By content where it is known, so that a pass can go on where a copy of the shards lies.
        cids = {shard.url: shard.cid for shard in self.told}
        names = (cids.get(url) or url for url in self.source.list_shards())
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]


@dataclass
class Cursor:
    """Where a pass stands: after what it handed out last.

    Args:
        epoch: In which epoch.
        seed: What its order depends on.
        rows: The number of samples of each shard that was read to its end, in the pass's order.
        row: How many were read of the shard after those.
        emitted: How many left the mixing.
    """

    epoch: int = 0
    seed: int | None = None
    rows: list[int] = field(default_factory=list)
    row: int = 0
    emitted: int = 0

    @classmethod
    def at_start(cls, plan: Plan) -> "Cursor":
        """The beginning of a pass; its seed is drawn here where the plan has none."""
        seed = plan.seed
        if plan.shuffled and seed is None:
            seed = random.SystemRandom().getrandbits(53)
        return cls(plan.epoch, seed)

    @property
    def fresh(self) -> bool:
        """Whether it stands at the beginning of an epoch."""
        return not self.rows and not self.row

    def to_next_epoch(self) -> None:
        """Moves to the beginning of the next epoch."""
        self.epoch, self.rows, self.row, self.emitted = self.epoch + 1, [], 0, 0

    def to_json(self) -> dict[str, Any]:
        """Its values, to be kept."""
        return asdict(self)


def run(plan: Plan, cursor: Cursor) -> Generator[Any, None, None]:
    """The samples or batches from where `cursor` stands; it moves along."""
    while True:
        whole, empty = cursor.fresh, True
        items = _epoch(plan, cursor)
        for item in items:
            empty = False
            yield item
            yield from items
        last = plan.epochs is not None and cursor.epoch + 1 >= plan.epoch + plan.epochs
        if last or (whole and empty):  # without end, nothing would be looked for forever
            return
        cursor.to_next_epoch()


def as_batch(items: list[Any], ragged: Ragged = "error") -> Any:
    """A `SampleBatch`, if all are of one packable type; else the list itself."""
    kind = type(items[0])
    if isinstance(items[0], PackableSample) and all(type(item) is kind for item in items):
        return SampleBatch(items, kind, ragged=ragged)
    return items


def _epoch(plan: Plan, cursor: Cursor) -> Iterator[Any]:
    urls, share = _order(plan, cursor)
    if plan.operations or (plan.batch_size and (plan.shuffled or not share.whole)):
        return _operated(plan, cursor, urls, share)
    if plan.batch_size:
        return _column_batches(plan, cursor, urls)
    return _samples(plan, cursor, urls, share)


def _operated(plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share) -> Iterator[Any]:
    """Samples or batches after the operations of the plan."""
    latest: tuple[AnyBlock, int] | None = None

    def plain() -> Iterator[Any]:
        nonlocal latest
        for sample, block, row in _named(plan, cursor, urls, share):
            latest = block, row
            yield sample

    named = bool(plan.operations)
    samples = applied(plan.operations, plain() if named else _samples(plan, cursor, urls, share))
    try:
        if plan.batch_size is None:
            yield from samples
        else:
            while batch := list(islice(samples, plan.batch_size)):
                yield as_batch(batch, plan.ragged)
    except Exception as error:
        if latest is not None and not isinstance(error, AtdataError):
            block, row = latest
            error.add_note(f"While reading {block.where}, sample {block.keys[row]}")
        raise


def _column_batches(plan: Plan, cursor: Cursor, urls: Sequence[str]) -> Iterator[Any]:
    """Batches cut from blocks, without making the samples."""
    size = plan.batch_size or 1
    parts: list[Part] = []
    ended: list[int] = []  # the rows of shards that ended since the last batch
    have = 0

    def batch() -> Any:
        return SampleBatch.of_parts(parts, have, plan.sample_type, plan.ragged)

    demand = Demand(size, size)
    for block in cast("Iterator[Block]", _blocks(plan, cursor, urls, ended, demand)):
        at, end = 0, len(block)
        while at < end:
            stop = min(at + size - have, end)
            parts.append((block.columns, at, stop))
            have += stop - at
            at = stop
            if have == size:
                if ended:
                    _end(cursor, ended)
                cursor.row = block.first + at
                yield batch()
                parts, have = [], 0
            demand.missing = size - have
    _end(cursor, ended)
    if parts:
        yield batch()


def _samples(plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share) -> Iterator[Any]:
    """The samples in the order of the pass."""
    way = _mixed if plan.shuffled else _in_order
    return way(plan, cursor, urls, share, _bare)


def _named(plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share) -> Iterator[Named]:
    """The samples in the order of the pass, each with the block that it is of and its row."""
    way = _mixed if plan.shuffled else _in_order
    return way(plan, cursor, urls, share, _with_row)


def _bare(block: AnyBlock, rows: range) -> Iterator[Any]:
    return block.samples(rows)


def _with_row(block: AnyBlock, rows: range) -> Iterator[Named]:
    return zip(block.samples(rows), repeat(block), rows)


def _in_order(
    plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share, form: Form
) -> Iterator[Any]:
    ended: list[int] = []
    number = sum(cursor.rows) + cursor.row
    for block in _blocks(plan, cursor, urls, ended, Demand()):
        _end(cursor, ended)
        rows = share.of_rows(number, len(block))
        number += len(block)
        ends = range(block.first + rows.start + 1, block.first + len(block) + 1, rows.step)
        for cursor.row, item in zip(ends, form(block, rows), strict=True):
            yield item
        cursor.row = block.first + len(block)
    _end(cursor, ended)


def _mixed(
    plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share, form: Form
) -> Iterator[Any]:
    mixer: Mixer[Any] = Mixer(plan.buffer_samples, _seed(cursor, f"samples {plan.share.index}"))
    if not plan.buffer_samples:
        yield from _in_order(plan, cursor, urls, share, form)
        return
    if not cursor.fresh:
        _refill(mixer, plan, cursor, urls, share, form)
    kept = mixer.kept
    ended: list[int] = []
    number = sum(cursor.rows) + cursor.row
    late = False
    for block in _blocks(plan, cursor, urls, ended, Demand(apart=True)):
        _end(cursor, ended)
        late = late or isinstance(block, LateBlock)
        rows = share.of_rows(number, len(block))
        number += len(block)
        ends = range(block.first + rows.start + 1, block.first + len(block) + 1, rows.step)
        items = form(block, rows)
        places = mixer.places(items, len(rows))
        # What found room gave nothing in exchange.
        numbers = zip(ends[len(rows) - len(places) :], count(cursor.emitted + 1))
        for (cursor.row, cursor.emitted), place, item in zip(numbers, places, items, strict=True):
            given, kept[place] = kept[place], item
            yield _present(given) if late else given
        cursor.row = block.first + len(block)
    _end(cursor, ended)
    for item in mixer.rest():
        cursor.emitted += 1
        yield _present(item) if late else item


def _present(item: Any) -> Any:
    """An item whose sample was left where it lies, with the sample."""
    if isinstance(item, Ticket):
        return item.sample()
    if isinstance(item, tuple) and isinstance(item[0], Ticket):
        return (item[0].sample(), *item[1:])
    return item


def _blocks(
    plan: Plan,
    cursor: Cursor,
    urls: Sequence[str],
    ended: list[int],
    demand: Demand,
) -> Iterator[AnyBlock]:
    """The blocks from where the cursor stands; the rows of each shard that ends go to `ended`."""
    skip = cursor.row
    for url in urls[len(cursor.rows) :]:
        seen = skip
        with plan.source.open_shard(url) as stream:
            for block in read_blocks(stream, plan.sample_type, url, skip, demand):
                yield block
                seen = block.first + len(block)
        ended.append(seen)
        skip = 0


def _end(cursor: Cursor, ended: list[int]) -> None:
    """Moves the cursor behind the shards that ended."""
    if ended:
        cursor.rows += ended
        cursor.row = 0
        ended.clear()


def _order(plan: Plan, cursor: Cursor) -> tuple[list[str], Share]:
    """The shards in the order of the pass, and the share of their samples to take."""
    urls = plan.source.list_shards()
    if not plan.shuffled:
        return plan.share.of_shards(urls)
    mixer: Mixer[str] = Mixer(plan.buffer_shards, _seed(cursor, "shards"))
    if plan.seed is not None:
        # All readers know this order, so they can divide it: others in each epoch.
        return plan.share.of_shards(list(mixer.over(urls)))
    urls, share = plan.share.of_shards(urls)
    return (list(mixer.over(urls)) if share.whole else urls), share


def _seed(cursor: Cursor, purpose: str) -> str:
    return f"{cursor.seed}/{cursor.epoch}/{purpose}"


def _refill(
    mixer: Mixer[Any],
    plan: Plan,
    cursor: Cursor,
    urls: Sequence[str],
    share: Share,
    form: Form,
) -> None:
    """Brings the mixer to where it was when the cursor stood there.

    What it kept then follows from how many samples each shard has; only those are read again.
    """
    places = [
        (place, row) for place, rows in enumerate([*cursor.rows, cursor.row]) for row in range(rows)
    ]
    taken = [places[number] for number in share.of_rows(0, len(places))]
    popped = cursor.emitted - sum(1 for _ in mixer.through(taken, len(taken)))
    at_end = len(cursor.rows) == len(urls)
    if not 0 <= popped <= (len(mixer.kept) if at_end else 0):
        raise ConfigurationError("state of the pass contradicts itself", got=str(cursor.to_json()))
    for _ in islice(mixer.rest(), popped):
        pass
    wanted: defaultdict[int, set[int]] = defaultdict(set)
    for place, row in mixer.kept:
        wanted[place].add(row)
    found = {
        (place, row): item
        for place in sorted(wanted)
        for row, item in _rows_of(plan, urls[place], wanted[place], form)
    }
    mixer.kept[:] = [found[key] for key in mixer.kept]


def _rows_of(plan: Plan, url: str, rows: set[int], form: Form) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    with plan.source.open_shard(url) as stream:
        for block in read_blocks(stream, plan.sample_type, url, min(rows)):
            everything = range(len(block))
            items = zip(everything, form(block, everything), strict=True)
            found += [(block.first + r, item) for r, item in items if block.first + r in rows]
            if block.first + len(block) > max(rows):
                return found
    raise shorter(url)
