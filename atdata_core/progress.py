"""A progress bar for scripts, upon tqdm."""

import contextlib
from typing import IO, TYPE_CHECKING

from atdata_core.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atdata_core.stores.base import Progress


@contextlib.contextmanager
def progress_bar(
    total: int | None = None, label: str = "", *, file: "IO[str] | None" = None
) -> "Iterator[Progress]":
    """Shows bytes, shards, speed and time left while shards are written or moved.

        with progress_bar(entry.size, "to the team") as progress:
            team.insert_dataset(dataset, name=entry.name, progress=progress)

    Where the output is no terminal, nothing is shown.

    Args:
        total: How many bytes there will be; None: nobody knows, and no time left is told.
        label: What is shown before the bar.
        file: Where to, if not to standard error. Given, it is written to whatever it is.

    Yields:
        What takes ``progress=`` of indexes and stores.
    """
    from tqdm import tqdm

    hidden = None if file is None else False  # tqdm's None: hidden unless it is a terminal
    with tqdm(
        total=total, desc=label or None, unit="B", unit_scale=True, file=file, disable=hidden
    ) as bar:
        moved = there = 0

        def progress(shard: Shard, was_moved: bool) -> None:
            nonlocal moved, there
            moved, there = moved + was_moved, there + (not was_moved)
            bar.set_postfix_str(
                f"{moved} shards" + (f", {there} there already" if there else ""), refresh=False
            )
            bar.update(shard.size or 0)

        yield progress
