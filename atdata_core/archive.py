"""All members of a tar, whatever they are: for shards that others have made."""

from collections.abc import Iterator
from typing import IO

from atdata_core.members import Window
from atdata_core.tar import (
    BLOCK,
    DIRECTORY,
    MAX_MEMBER_BYTES,
    MAX_META_BYTES,
    META,
    ZERO,
    Extended,
    check_name,
    padded,
    parse_header,
    parse_meta,
)


def read_members(stream: IO[bytes], where: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file in an archive, in order.

    Args:
        stream: The archive, from its start; read once, never sought.
        where: Its name, for errors.

    Raises:
        ShardError: It is not a whole, legal tar; see `atdata_core.members.Members.runs`.
    """
    window = Window(stream, where)
    known = Extended()
    first = True
    while True:
        window.need(BLOCK, "a member's header")
        block = window.peek(BLOCK)
        if block == ZERO:
            window.check_end()
            return
        header = parse_header(block, where, first=first)
        first = False
        meta = header.kind == META
        name, size = header.name, header.size
        if not meta:
            name, size = known.name or name, known.size or size
        limit = MAX_META_BYTES if meta else MAX_MEMBER_BYTES
        window.need(BLOCK + padded(size), repr(name), BLOCK + limit)
        window.start += BLOCK
        body = window.peek(size)
        window.start += padded(size)
        known = parse_meta(header, body, known, where) if meta else Extended()
        if not meta and header.kind != DIRECTORY and not name.endswith("/"):
            yield check_name(name, where), body
