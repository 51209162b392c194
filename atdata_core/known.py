"""What was found out about files of this machine, for as long as nobody touches them."""

import os
import time
from collections.abc import Hashable
from typing import Generic, TypeVar

from atdata_core.files import identity_of

V = TypeVar("V")

State = tuple[int, ...]
"""How a file looks: when nobody touched it, it looks the same."""


class KnownFiles(Generic[V]):
    """What was found out about files, for as long as nobody touches them.

    A file is known by device, inode, length, and the times of its last change. The time at which
    an inode was changed can't be set by programs. It moves in steps, however, so that what was
    changed a moment ago isn't remembered: the next change could leave it as it is.

    Args:
        room: How much is remembered at most, in whatever `note` counts.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._taken = 0
        self._known: dict[tuple[State, Hashable], V] = {}

    def of(self, state: State | None, part: Hashable = None) -> V | None:
        """What is known of a file that looks like that, or of a part of it."""
        return None if state is None else self._known.get((state, part))

    def note(self, state: State | None, value: V, size: int = 1, part: Hashable = None) -> None:
        """Remembers what was found out about a file.

        Args:
            state: How it looked before: if it was touched meanwhile, nobody will ask for that.
            value: What was found out; never changed from now on.
            size: How much that is. When there is no room for it, all else is forgotten.
            part: What part of the file it is about.
        """
        if state is None or size > self._room:
            return
        if self._taken + size > self._room:
            self._known.clear()
            self._taken = 0
        self._taken += size
        self._known[state, part] = value


def state_of(number: int) -> State | None:
    """How an open file looks; None if it was changed too recently to tell it by that."""
    found = os.fstat(number)
    if max(found.st_mtime, found.st_ctime) > time.time() - _RECENT_S:
        return None
    return (*identity_of(found), found.st_ctime_ns)


_RECENT_S = 2
