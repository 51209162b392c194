"""What a pass over a dataset reads, and where it stands: `Plan` and `Cursor`."""

import functools
import hashlib
import operator
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from atdata_core.batch import Ragged
from atdata_core.operations import Operation
from atdata_core.shard import Shard
from atdata_core.shares import WHOLE, Share, rank_share, worker_share
from atdata_core.sources import DataSource

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

    @property
    def mixed(self) -> bool:
        """Whether samples are kept back to be mixed."""
        return self.shuffled and self.buffer_samples > 0

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
    _following: "_Following | None" = None

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

    def seed_of(self, purpose: str) -> str:
        """What a random order depends on in this epoch."""
        return f"{self.seed}/{self.epoch}/{purpose}"

    def to_next_epoch(self) -> None:
        """Moves to the beginning of the next epoch."""
        self.epoch, self.rows, self.row, self.emitted = self.epoch + 1, [], 0, 0

    def to_json(self) -> dict[str, Any]:
        """Its values, to be kept."""
        self.settle()
        names = ("epoch", "seed", "rows", "row", "emitted")
        return {name: getattr(self, name) for name in names}

    def follow(self, items: list[Any], ends: Sequence[int] | None, emitted: int) -> Iterator[Any]:
        """Some items, handed out by Python's own code; the cursor follows when it is asked.

        (So that nothing of ours runs for each: 100 ns less.)

        Args:
            items: The items.
            ends: After each, how many samples were read of the shard; None: no more than now.
            emitted: How many leave the mixing with each: 1 or 0.
        """
        handed = iter(items)
        self._following = _Following(handed, len(items), ends, emitted)
        return handed

    def settle(self) -> None:
        """Moves behind the items that were handed out since."""
        following = self._following
        if following is None:
            return
        left = operator.length_hint(following.items)
        count = following.left - left
        if count and following.ends is not None:
            self.row = following.ends[len(following.ends) - left - 1]
        self.emitted += count * following.emitted
        following.left = left
        if not left:
            self._following = None

    def rest(self) -> None:
        """Stays where it is from now on."""
        self.settle()
        self._following = None


@dataclass(slots=True)
class _Following:
    """What a cursor follows; see `Cursor.follow`."""

    items: Iterator[Any]
    left: int
    ends: Sequence[int] | None
    emitted: int
