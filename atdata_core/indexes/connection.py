"""A connection to Redis: made when it is first needed, with Redis's errors as ours."""

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from atdata_core.errors import (
    AuthenticationError,
    ConfigurationError,
    ServiceError,
    UnreachableError,
)

if TYPE_CHECKING:
    from redis import Redis


class RedisConnection:
    """A client of a Redis, one a process.

    Args:
        given: A client (with ``decode_responses=False``) or a URL; by default
            ``ATDATA_REDIS_URL``.
        user: What needs it, for errors.
    """

    def __init__(self, given: "Redis | str | None", user: str) -> None:
        found = given or os.environ.get("ATDATA_REDIS_URL")
        if not found:
            raise ConfigurationError(
                f"{user} has no Redis",
                expected="redis=… or the environment variable ATDATA_REDIS_URL",
            )
        self._given = found
        self._connected: Redis | None = None

    @property
    def redis(self) -> "Redis":
        """The client."""
        if self._connected is None:
            from redis import Redis

            if isinstance(self._given, str):
                try:
                    self._connected = Redis.from_url(self._given, socket_connect_timeout=10)
                except ValueError as error:
                    raise ConfigurationError(
                        f"text is not the URL of a Redis: {error}", where="ATDATA_REDIS_URL"
                    ) from error
            else:
                if self._given.connection_pool.connection_kwargs.get("decode_responses"):
                    raise ConfigurationError(
                        "client decodes what Redis keeps, which isn't all text",
                        expected="Redis(…, decode_responses=False)",
                    )
                self._connected = self._given
        return self._connected

    @property
    def where(self) -> str:
        """Which Redis, for people; without its password."""
        options = self.redis.connection_pool.connection_kwargs
        place = options.get("path") or f"{options.get('host')}:{options.get('port')}"
        return f"Redis at {place}"

    def close(self) -> None:
        """Closes the connection; a client that was given stays open."""
        if self._connected is not None and isinstance(self._given, str):
            self._connected.close()
            self._connected = None

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turns what Redis raises within the block into errors of ours."""
        from redis import exceptions

        try:
            yield
        except exceptions.AuthenticationError as error:
            raise AuthenticationError(
                str(error), where=self.where, remedy="Check the password in ATDATA_REDIS_URL"
            ) from error
        except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
            raise UnreachableError(
                f"no answer from Redis: {error}",
                where=self.where,
                remedy="Is it running, and is ATDATA_REDIS_URL right?",
            ) from error
        except exceptions.RedisError as error:
            raise ServiceError(f"Redis refused: {error}", where=self.where) from error

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._given, str):
            raise TypeError("what was made from a client can't be pickled; make it from a URL")
        return {**self.__dict__, "_connected": None}


def answers(
    redis: "Redis", commands: Generator[Sequence[Any], Any, None], under_way: int = 2
) -> Iterator[Any]:
    """What Redis answers to some commands, in order, while it works on the next ones.

    So Redis works on one while the caller takes the answer to another apart, or puts the next
    together. (A pipeline sends all before it reads, and a thread costs more than it gains.)

    Args:
        redis: A client.
        commands: The commands, each with its arguments; told the last answer, if there is one.
        under_way: How many are under way at a time: 1 where a command depends on the answer before.
    """
    connection: Any = redis.connection_pool.get_connection()
    waiting, more = 0, True
    answer: Any = None
    there = False
    try:
        while True:
            while more and waiting < under_way:
                try:
                    connection.send_command(*commands.send(answer))
                    waiting += 1
                except StopIteration:
                    more = False
            if there:
                yield answer
            if not waiting:
                return
            answer, there = connection.read_response(), True
            waiting -= 1
    finally:
        if waiting:  # what comes would be taken for the answer to another command
            connection.disconnect()
        redis.connection_pool.release(connection)
