"""The bodies of uploads."""

from collections.abc import Callable, Iterator
from typing import IO

from atdata_core.errors import AuthenticationError, IntegrityError

_CHUNK = 1 << 20


def blob_body(data: bytes | IO[bytes], size: int) -> Callable[[], bytes | Iterator[bytes]]:
    """Makes a blob's body, and makes it again where its file can be read again."""
    if isinstance(data, bytes):
        return lambda: data
    start = data.tell() if data.seekable() else None
    fresh = True

    def pieces() -> Iterator[bytes]:
        nonlocal fresh
        if not fresh and start is None:
            raise AuthenticationError(
                "session expired while a stream was sent, which can't be read again",
                remedy="Run the same again: what is there already is not sent twice",
            )
        if not fresh:
            data.seek(start or 0)
        fresh = False
        return _pieces(data, size)

    return pieces


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while piece := file.read(_CHUNK):
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise IntegrityError(
            "bytes to upload are fewer or more than was said", expected=f"{size:,} bytes"
        )
