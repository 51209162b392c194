"""How readers that work at once divide a dataset: each sample goes to exactly one of them."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from atdata_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Share:
    """The part of one reader among several.

    With at least as many shards as readers, each takes every `count`-th shard. With fewer, each
    reads all of them and takes every `count`-th sample, so that nobody is idle.

    Args:
        index: Which reader, from 0.
        count: How many there are.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigurationError(
                "there is no such reader",
                expected=f"a number from 0 to {self.count - 1}" if self.count > 0 else "≥ 1 reader",
                got=f"{self.index} of {self.count}",
            )

    @property
    def whole(self) -> bool:
        """Whether it is everything."""
        return self.count == 1

    def divided(self, part: "Share") -> "Share":
        """A part of this part."""
        return Share(self.index * part.count + part.index, self.count * part.count)

    def of_shards(self, urls: Sequence[str]) -> tuple[list[str], "Share"]:
        """The shards to read, and the share of their samples to take."""
        if len(urls) >= self.count:
            return list(urls[self.index :: self.count]), WHOLE
        return list(urls), self

    def of_rows(self, number: int, count: int) -> range:
        """Which rows of a stretch of samples are this reader's.

        Args:
            number: The number of the first one, counted over all shards.
            count: How many they are.
        """
        return range((self.index - number) % self.count, count, self.count)


WHOLE = Share()
"""The share of a reader who is alone."""


def worker_share() -> Share:
    """This process's share among the workers of a PyTorch ``DataLoader``; all outside of one."""
    # Whoever is in a worker has PyTorch loaded: nobody else pays for its import.
    torch_data = sys.modules.get("torch.utils.data")
    info = torch_data.get_worker_info() if torch_data is not None else None
    return WHOLE if info is None else Share(info.id, info.num_workers)


def rank_share() -> Share:
    """This process's share among the ranks of a distributed job.

    That of ``torch.distributed`` where it is initialized, else that of ``RANK`` and
    ``WORLD_SIZE``, as ``torchrun`` and others set them; all where there is neither.

    Raises:
        ConfigurationError: The two variables are no ranks.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return Share(distributed.get_rank(), distributed.get_world_size())
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None or world_size is None:
        return WHOLE
    try:
        return Share(int(rank), int(world_size))
    except ValueError as error:
        raise ConfigurationError(
            "RANK and WORLD_SIZE are no numbers", got=f"{rank!r} and {world_size!r}"
        ) from error
