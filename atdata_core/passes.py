"""One pass over a dataset: what it reads, where it stands, and how it goes on from there.

A pass reads samples from shards, block by block, mixes them, applies the dataset's operations, and
puts batches together. Each stage takes from the one before it no more
than it hands on, so a few numbers say where a pass stands, whatever the operations are: how many
samples were read of which shards, and how many left the mixing.
"""

import functools
import hashlib
import operator
import random
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Generic, TypeVar

from atdata_core.batch import Ragged, SampleBatch
from atdata_core.blocks import Block, read_blocks, shorter
from atdata_core.errors import AtdataError, ConfigurationError
from atdata_core.operations import Operation, applied
from atdata_core.sample import PackableSample
from atdata_core.shard import Shard
from atdata_core.shares import WHOLE, Share, rank_share, worker_share
from atdata_core.sources import DataSource

V = TypeVar("V")

STATE_VERSION = 1


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


class Mixer(Generic[V]):
    """Hands out what it is given in random order, keeping up to `size` of it back.

    Args:
        size: How many it keeps; 0 keeps the order.
        rng: Only its `random` is used, whose numbers are the same in every version of Python.
    """

    def __init__(self, size: int, rng: random.Random) -> None:
        self.kept: list[V] = []
        self._size = size
        self._rng = rng
        self._at_end = False

    def through(self, items: Iterable[V]) -> Iterator[V]:
        """Takes all of these, and gives others (or the same) once enough are kept."""
        kept, size, draw = self.kept, self._size, self._rng.random
        for item in items:
            if len(kept) < size:
                kept.append(item)
            elif size:
                place = int(draw() * size)
                given, kept[place] = kept[place], item
                yield given
            else:
                yield item

    def rest(self) -> Iterator[V]:
        """Gives those that are kept, when no more will come."""
        if not self._at_end:
            self._at_end = True
            for i in range(len(self.kept) - 1, 0, -1):
                j = int(self._rng.random() * (i + 1))
                self.kept[i], self.kept[j] = self.kept[j], self.kept[i]
        while self.kept:
            yield self.kept.pop()

    def over(self, items: Iterable[V]) -> Iterator[V]:
        """All of these in random order."""
        yield from self.through(items)
        yield from self.rest()


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


class Origin:
    """Which sample is on its way, for the error of an operation to say."""

    def __init__(self) -> None:
        self.place: tuple[Block, int] | None = None

    def of(self, items: Iterable["Item"]) -> Iterator[Any]:
        """The samples of some items, each remembered while it is worked on."""
        for item in items:
            self.place = item[1:]
            yield item[0]

    def __str__(self) -> str:
        if self.place is None:
            return "nothing"
        block, row = self.place
        return f"{block.where}, sample {block.keys[row]}"


Item = tuple[Any, Block, int]
"""A sample, the block that it is of, and its row in it."""


def _epoch(plan: Plan, cursor: Cursor) -> Iterator[Any]:
    urls, share = _order(plan, cursor)
    if plan.batch_size and share.whole and not plan.operations and not plan.shuffled:
        return _column_batches(plan, cursor, urls)
    if not plan.operations and plan.batch_size is None:
        return map(_SAMPLE, _items(plan, cursor, urls, share))
    return _operated(plan, _items(plan, cursor, urls, share))


_SAMPLE = operator.itemgetter(0)


def _operated(plan: Plan, items: Iterator[Item]) -> Iterator[Any]:
    origin = Origin()
    samples = applied(plan.operations, origin.of(items))
    try:
        if plan.batch_size is None:
            yield from samples
        else:
            while batch := list(islice(samples, plan.batch_size)):
                yield as_batch(batch, plan.ragged)
    except Exception as error:
        if origin.place is not None and not isinstance(error, AtdataError):
            error.add_note(f"While reading {origin}")
        raise


def _column_batches(plan: Plan, cursor: Cursor, urls: Sequence[str]) -> Iterator[Any]:
    """Batches cut from blocks, without making the samples."""
    size = plan.batch_size or 1
    parts: list[Block] = []
    ended: list[int] = []  # the rows of shards that ended since the last batch
    have = 0
    skip = cursor.row

    def wanted() -> int:
        return size - have

    for url in urls[len(cursor.rows) :]:
        seen = skip
        with plan.source.open_shard(url) as stream:
            for block in read_blocks(stream, plan.sample_type, url, skip, wanted):
                at = 0
                seen = block.first + len(block)
                while at < len(block):
                    part = block.part(at, min(at + size - have, len(block)))
                    parts.append(part)
                    at += len(part)
                    have += len(part)
                    if have == size:
                        cursor.rows += ended
                        cursor.row = block.first + at
                        yield _batch_of(plan, parts, have)
                        parts, ended, have = [], [], 0
        ended.append(seen)
        skip = 0
    cursor.rows += ended
    cursor.row = 0
    if parts:
        yield _batch_of(plan, parts, have)


def _batch_of(plan: Plan, parts: Sequence[Block], count: int) -> Any:
    columns = [part.columns for part in parts]
    return SampleBatch.of_columns(columns, count, plan.sample_type, plan.ragged)


def _items(plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share) -> Iterator[Item]:
    """The samples in the order of the pass."""
    if not plan.shuffled:
        return _read(plan, cursor, urls, share)
    return _mixed(plan, cursor, urls, share)


def _mixed(plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share) -> Iterator[Item]:
    mixer: Mixer[Item] = Mixer(plan.buffer_samples, _rng(cursor, f"samples {plan.share.index}"))
    if not cursor.fresh:
        _refill(mixer, plan, cursor, urls, share)
    for item in mixer.through(_read(plan, cursor, urls, share)):
        cursor.emitted += 1
        yield item
    for item in mixer.rest():
        cursor.emitted += 1
        yield item


def _read(plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share) -> Iterator[Item]:
    """The samples in the order of their shards."""
    number = sum(cursor.rows) + cursor.row
    for url in urls[len(cursor.rows) :]:
        with plan.source.open_shard(url) as stream:
            for block in read_blocks(stream, plan.sample_type, url, skip=cursor.row):
                samples = block.samples(apart=plan.shuffled)
                for row, sample in enumerate(samples):
                    cursor.row += 1
                    if share.whole or share.takes(number + row):
                        yield sample, block, row
                number += len(block)
        cursor.rows.append(cursor.row)
        cursor.row = 0


def _order(plan: Plan, cursor: Cursor) -> tuple[list[str], Share]:
    """The shards in the order of the pass, and the share of their samples to take."""
    urls = plan.source.list_shards()
    if not plan.shuffled:
        return plan.share.of_shards(urls)
    mixer: Mixer[str] = Mixer(plan.buffer_shards, _rng(cursor, "shards"))
    if plan.seed is not None:
        # All readers know this order, so they can divide it: others in each epoch.
        return plan.share.of_shards(list(mixer.over(urls)))
    urls, share = plan.share.of_shards(urls)
    return (list(mixer.over(urls)) if share.whole else urls), share


def _rng(cursor: Cursor, purpose: str) -> random.Random:
    # An order of samples is no secret.
    return random.Random(f"{cursor.seed}/{cursor.epoch}/{purpose}")  # noqa: S311


def _refill(
    mixer: Mixer[Item], plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share
) -> None:
    """Brings the mixer to where it was when the cursor stood there.

    What it kept then follows from how many samples each shard has; only those are read again.
    """
    numbers: Mixer[tuple[int, int]] = mixer  # type: ignore[assignment]
    places = (
        (place, row) for place, rows in enumerate([*cursor.rows, cursor.row]) for row in range(rows)
    )
    taken = (place for count, place in enumerate(places) if share.takes(count))
    popped = cursor.emitted - sum(1 for _ in numbers.through(taken))
    at_end = len(cursor.rows) == len(urls)
    if not 0 <= popped <= (len(numbers.kept) if at_end else 0):
        raise ConfigurationError("state of the pass contradicts itself", got=str(cursor.to_json()))
    for _ in islice(numbers.rest(), popped):
        pass
    wanted: defaultdict[int, set[int]] = defaultdict(set)
    for place, row in numbers.kept:
        wanted[place].add(row)
    found = {
        (place, item[1].first + item[2]): item
        for place in sorted(wanted)
        for item in _rows_of(plan, urls[place], wanted[place])
    }
    mixer.kept[:] = [found[key] for key in numbers.kept]


def _rows_of(plan: Plan, url: str, rows: set[int]) -> list[Item]:
    found: list[Item] = []
    first, last = min(rows), max(rows)
    with plan.source.open_shard(url) as stream:
        for block in read_blocks(stream, plan.sample_type, url, skip=first):
            samples = block.samples(apart=True)
            found += [
                (sample, block, row)
                for row, sample in enumerate(samples)
                if block.first + row in rows
            ]
            if block.first + len(block) > last:
                return found
    raise shorter(url)
