"""What changed in a team's index: a stream in Redis, written with each change in one step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from atdata_core.indexes.hashes import as_text

if TYPE_CHECKING:
    from redis import Redis

STREAM = "atdata:changes"
_BEGINNING = "0-0"


@dataclass(frozen=True)
class TeamChange:
    """A name of the index stands for something else than before.

    Args:
        kind: ``dataset`` or ``schema``.
        name: The dataset's name, or the schema's with its version.
        entry_id: The id of the entry; a schema's CID.
        cid: The CID of the content; None where it is not known.
    """

    kind: Literal["dataset", "schema"]
    name: str
    entry_id: str
    cid: str | None


@dataclass(frozen=True)
class TeamChanges:
    """Some changes.

    Args:
        changes: The changes, oldest first.
        cursor: Where the next call is to go on.
        gap: Whether changes before these were dropped from the stream unread, or it began anew:
            then all that the index lists is to be looked at again.
        more: Whether there are more.
    """

    changes: tuple[TeamChange, ...]
    cursor: str
    gap: bool
    more: bool


def read_changes(redis: "Redis", cursor: str | None, limit: int) -> TeamChanges:
    """Reads the stream on from a cursor; see `LocalIndex.changes`.

    The entry at the cursor is looked for first: while it is there, nothing after it was dropped,
    since a stream is trimmed from its oldest end.
    """
    if cursor is None:
        newest = redis.xrevrange(STREAM, count=1)
        return TeamChanges((), as_text(newest[0][0]) if newest else _BEGINNING, True, False)
    oldest = redis.xrange(STREAM, count=1)
    if cursor == _BEGINNING:
        # Nothing was read yet: whole, if the stream never dropped anything.
        added = redis.xinfo_stream(STREAM) if oldest else {}
        gap = bool(oldest) and added.get("entries-added", 0) > added.get("length", 0)
    else:
        gap = not redis.xrange(STREAM, cursor, cursor)
    if gap:
        return TeamChanges((), read_changes(redis, None, limit).cursor, True, False)
    # Without `block`, which would wait for a change that may never come.
    answer: Any = redis.xread({STREAM: cursor}, count=limit + 1)
    found = answer[0][1] if answer else []
    read = found[:limit]
    changes = tuple(each for _, fields in read if (each := _change(fields)) is not None)
    last = as_text(read[-1][0]) if read else cursor
    return TeamChanges(changes, last, False, len(found) > limit)


def _change(fields: "dict[bytes, bytes]") -> TeamChange | None:
    """The change that a note tells of; None for what is no note of ours."""
    told = {as_text(key): as_text(value) for key, value in fields.items()}
    if not told.keys() >= {"kind", "name", "id"}:
        return None
    kind: Literal["dataset", "schema"] = "schema" if told["kind"] == "schema" else "dataset"
    return TeamChange(kind, told["name"], told["id"], told.get("cid") or None)
