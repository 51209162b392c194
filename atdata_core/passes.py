"""One pass over a dataset: what it reads, where it stands, and how it goes on from there.

A pass reads bodies from shards, mixes them, decodes those that leave the mixing, applies the
dataset's operations, and puts batches together. Each stage takes from the one before it no more
than it hands on, so a few numbers say where a pass stands, whatever the operations are: how many
samples were read of which shards, and how many left the mixing.
"""

import functools
import hashlib
import random
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from atdata_core.errors import AtdataError, ConfigurationError, ShardError
from atdata_core.operations import Operation, applied
from atdata_core.sample import PackableSample, Ragged, SampleBatch, unpack
from atdata_core.shard import Shard, read_bodies
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


class Body(NamedTuple):
    """A sample as it is stored: in which shard, under which key, and its bytes."""

    where: str
    key: str
    data: bytes

    def decoded(self, sample_type: type[V]) -> V:
        """The sample; raises `SampleError` if it is none of this type."""
        return unpack(sample_type, self.data, f"{self.where}, sample {self.key}")


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

    def push(self, item: V) -> V | None:
        """Takes one, and gives another one (or the same) once enough are kept."""
        if not self._size:
            return item
        if len(self.kept) < self._size:
            self.kept.append(item)
            return None
        place = int(self._rng.random() * self._size)
        item, self.kept[place] = self.kept[place], item
        return item

    def pop(self) -> V:
        """Gives one of those kept, when no more will come."""
        if not self._at_end:
            self._at_end = True
            for i in range(len(self.kept) - 1, 0, -1):
                j = int(self._rng.random() * (i + 1))
                self.kept[i], self.kept[j] = self.kept[j], self.kept[i]
        return self.kept.pop()

    def over(self, items: Sequence[V]) -> Iterator[V]:
        """All of these in random order."""
        for item in items:
            given = self.push(item)
            if given is not None:
                yield given
        while self.kept:
            yield self.pop()


def run(plan: Plan, cursor: Cursor) -> Generator[Any, None, None]:
    """The samples or batches from where `cursor` stands; it moves along."""
    while True:
        whole, empty = cursor.fresh, True
        for item in _epoch(plan, cursor):
            empty = False
            yield item
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
    latest: Body | None = None

    def decoded() -> Iterator[Any]:
        nonlocal latest
        for latest in _mixed(plan, cursor):
            yield latest.decoded(plan.sample_type)

    items = applied(plan.operations, decoded())
    try:
        if plan.batch_size is None:
            yield from items
        else:
            while batch := list(islice(items, plan.batch_size)):
                yield as_batch(batch, plan.ragged)
    except Exception as error:
        if latest is not None and not isinstance(error, AtdataError):
            error.add_note(f"While reading {latest.where}, sample {latest.key}")
        raise


def _mixed(plan: Plan, cursor: Cursor) -> Iterator[Body]:
    urls, share = _order(plan, cursor)
    mixer: Mixer[Body] = Mixer(
        plan.buffer_samples if plan.shuffled else 0,
        _rng(cursor, f"samples {plan.share.index}"),
    )
    if plan.shuffled and not cursor.fresh:
        _refill(mixer, plan, cursor, urls, share)
    for body in _bodies(plan.source, urls, share, cursor):
        given = mixer.push(body)
        if given is not None:
            cursor.emitted += 1
            yield given
    while mixer.kept:
        cursor.emitted += 1
        yield mixer.pop()


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


def _bodies(
    source: DataSource, urls: Sequence[str], share: Share, cursor: Cursor
) -> Iterator[Body]:
    number = sum(cursor.rows) + cursor.row
    for url in urls[len(cursor.rows) :]:
        skipped, seen = cursor.row, 0
        with source.open_shard(url) as stream:
            for key, data in read_bodies(stream, url):
                seen += 1
                if seen <= skipped:
                    continue
                cursor.row = seen
                number += 1
                if share.takes(number - 1):
                    yield Body(url, key, data)
        if seen < skipped:
            raise _changed(url)
        cursor.rows.append(cursor.row)
        cursor.row = 0


def _refill(
    mixer: Mixer[Body], plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share
) -> None:
    """Brings the mixer to where it was when the cursor stood there.

    What it kept then follows from how many samples each shard has; only those are read again.
    """
    numbers: Mixer[tuple[int, int]] = mixer  # type: ignore[assignment]
    count = given = 0
    for place, rows in enumerate([*cursor.rows, cursor.row]):
        for row in range(rows):
            if share.takes(count):
                given += numbers.push((place, row)) is not None
            count += 1
    popped = cursor.emitted - given
    at_end = len(cursor.rows) == len(urls)
    if not 0 <= popped <= (len(numbers.kept) if at_end else 0):
        raise ConfigurationError("state of the pass contradicts itself", got=str(cursor.to_json()))
    for _ in range(popped):
        numbers.pop()
    wanted: defaultdict[int, set[int]] = defaultdict(set)
    for place, row in numbers.kept:
        wanted[place].add(row)
    found = {
        (place, row): body
        for place in sorted(wanted)
        for row, body in _rows_of(plan.source, urls[place], wanted[place])
    }
    mixer.kept[:] = [found[key] for key in numbers.kept]


def _rows_of(source: DataSource, url: str, rows: set[int]) -> Iterator[tuple[int, Body]]:
    with source.open_shard(url) as stream:
        bodies = islice(enumerate(read_bodies(stream, url)), max(rows) + 1)
        found = [(row, Body(url, key, data)) for row, (key, data) in bodies if row in rows]
    if len(found) != len(rows):
        raise _changed(url)
    return iter(found)


def _changed(url: str) -> ShardError:
    return ShardError(
        "shard holds fewer samples than when the pass was interrupted",
        where=url,
        remedy="Begin the pass again: its order depends on the samples that there were",
    )
