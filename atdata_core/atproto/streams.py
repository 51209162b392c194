"""An HTTP response's body as a file."""

import io
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

from atdata_core.errors import UnreachableError

if TYPE_CHECKING:
    import httpcore


class ResponseStream(io.RawIOBase):
    """The body of a response, read piece by piece; closing it closes the connection.

    Args:
        context: Opens the response, and closes it.
        where: The address, for errors.
    """

    def __init__(self, context: "AbstractContextManager[httpcore.Response]", where: str) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._where = where
        response = self._stack.enter_context(context)
        self._pieces = response.iter_stream()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills as much of `buffer` as the next piece holds; 0 at the end."""
        from atdata_core.atproto.dial import ERRORS

        while not self._rest:
            try:
                piece = next(self._pieces, None)
            except ERRORS as error:
                raise UnreachableError(
                    f"connection broke: {error or type(error).__name__}", where=self._where
                ) from error
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes, or fewer at the end; all that is left if it is negative."""
        if size < 0:
            return self.readall()
        parts: list[bytes] = []
        while size > 0:
            piece = super().read(size)
            if not piece:
                break
            parts.append(piece)
            size -= len(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Closes the connection."""
        if not self.closed:
            self._stack.close()
        super().close()
