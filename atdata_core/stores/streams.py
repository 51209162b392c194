"""A boto3 response's body as a file."""

import io
from typing import Any

from atdata_core.errors import UnreachableError


class BodyStream(io.RawIOBase):
    """The body of an object, read piece by piece.

    Args:
        body: botocore's ``StreamingBody``.
        where: The object's address, for errors.
    """

    def __init__(self, body: Any, where: str) -> None:
        super().__init__()
        self._body = body
        self._where = where

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        from botocore import exceptions
        from urllib3.exceptions import HTTPError

        try:
            data: bytes = self._body.read(None if size < 0 else size)
        except (exceptions.BotoCoreError, HTTPError) as error:
            raise UnreachableError(f"connection broke: {error}", where=self._where) from error
        return data

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` as far as the body goes."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Gives the connection back."""
        if not self.closed:
            self._body.close()
        super().close()
