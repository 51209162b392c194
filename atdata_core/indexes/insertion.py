"""What inserting a dataset came to, and how it went."""

from dataclasses import dataclass

from atdata_core.entry import DatasetEntry
from atdata_core.shard import Shard
from atdata_core.stores.base import Progress


@dataclass(frozen=True)
class Insertion:
    """What inserting a dataset came to.

    Args:
        entry: The entry, new or found.
        created: Whether it is new.
        moved: The bytes that were moved to get there; 0 where everything was in place.
    """

    entry: DatasetEntry
    created: bool
    moved: int


class Counter:
    """Passes progress on, and counts the bytes that were moved."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.moved = 0

    def __call__(self, shard: Shard, moved: bool) -> None:
        """Takes notice of a shard that is in its place."""
        if moved:
            self.moved += shard.size or 0
        if self._progress is not None:
            self._progress(shard, moved)
