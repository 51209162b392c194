"""Whom to ask, and when: hosts that don't answer are asked later and later, others at once.

A host that fails is not asked again in the same call. From the second failing call on it is left
alone for some seconds, twice as long each time, up to an hour; by chance somewhat shorter or
longer, so that not all who follow it come back at once. It is kept in the catalogue.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from atdata_core.atproto.identity import known_host
from atdata_core.discovery.catalogue import Catalogue
from atdata_core.errors import AtdataError, RateLimitedError, UnreachableError

_SOURCE = "patience"
_FIRST_S = 5.0
_LONGEST_S = 3600.0
_HOSTS_AT_ONCE = 8
_MAX_KEPT = 10_000

T = TypeVar("T")


class Patience:
    """The hosts that didn't answer, and the accounts that they were asked for.

    It may be one account alone that a host has trouble with. So an account that failed is asked
    for after the others of its host, and once one of those was answered, it counts against the
    account and not against the host.

    Args:
        catalogue: Where they are kept.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._before = catalogue.cursor(_SOURCE) or "{}"
        self._kept: dict[str, tuple[int, float]] = {
            each: (int(times), float(until))
            for each, (times, until) in json.loads(self._before).items()
        }
        self._now: dict[str, AtdataError] = {}
        self._answered: set[str] = set()

    def failures(self, did: str) -> int:
        """How many times on end an account could not be asked for."""
        return self._kept.get(did, (0, 0.0))[0]

    def check(self, did: str) -> None:
        """Raises `UnreachableError` if an account's host is not to be asked for it now."""
        for each in dict.fromkeys((host_of(did), did)):
            failed = self._now.get(each)
            if failed is not None:
                raise UnreachableError(f"it did not answer just now: {failed}", where=each)
            times, until = self._kept.get(each, (0, 0.0))
            left = until - time.time()
            # A clock that was put back doesn't keep anybody waiting.
            if 0 < left <= 2 * _LONGEST_S:
                raise UnreachableError(
                    f"it did not answer {times} times, and is asked again in {left:.0f} s",
                    where=each,
                )

    def note(self, did: str, error: AtdataError | None) -> None:
        """Remembers that an account's host answered, or what was wrong.

        Args:
            did: Whose host was asked.
            error: What it raised; None: it answered. Only one that says that the host is out of
                order counts.
        """
        host = host_of(did)
        if error is None:
            self._answered.add(host)
            for known in (host, did):
                self._kept.pop(known, None)
                self._now.pop(known, None)
        elif is_down(error):
            self._count(did, error)
            if _is_silent(error) and host not in self._answered:
                self._count(host, error)

    def _count(self, name: str, error: AtdataError) -> None:
        if name not in self._now:
            self._now[name] = error
            times = self.failures(name) + 1
            self._kept[name] = (times, time.time() + _delay(times))

    def ask(self, did: str, ask: Callable[[], T]) -> T:
        """What an account's host answers, if it is to be asked now.

        Args:
            did: Whose host it is.
            ask: Asks it.

        Raises:
            UnreachableError: It is not to be asked now.
            AtdataError: What `ask` raises.
        """
        self.check(did)
        try:
            answer = ask()
        except AtdataError as error:
            self.note(did, error)
            raise
        self.note(did, None)
        return answer

    def save(self) -> None:
        """Writes into the catalogue what is to be remembered."""
        latest = list(self._kept.items())[-_MAX_KEPT:]
        text = json.dumps(dict(latest))
        if text != self._before:
            self._catalogue.apply([], {_SOURCE: text})


def _delay(times: int) -> float:
    if times < 2:
        return 0.0
    return float(min(_LONGEST_S, _FIRST_S * 2.0 ** min(times - 2, 20)) * random.uniform(0.5, 1.5))  # noqa: S311


def is_down(error: AtdataError) -> bool:
    """Whether an error says that a host is out of order, rather than something of an account."""
    return _is_silent(error) or (getattr(error, "got", None) or "").startswith("HTTP 5")


def _is_silent(error: AtdataError) -> bool:
    return isinstance(error, UnreachableError | RateLimitedError)


def host_of(did: str) -> str:
    """What an account's host is known by: its origin, or the account where that isn't known."""
    return known_host(did) or did


def ask_each(dids: Iterable[str], ask: Callable[[str], T]) -> dict[str, T]:
    """Asks for several accounts, of several hosts at the same time, of one host one by one.

    Args:
        dids: The accounts.
        ask: Asks for one of them; what it raises ends all.
    """
    lanes: dict[str, list[str]] = {}
    for did in dids:
        lanes.setdefault(host_of(did), []).append(did)
    if len(lanes) < 2:
        return {did: ask(did) for lane in lanes.values() for did in lane}

    def walk(lane: list[str]) -> dict[str, T]:
        return {did: ask(did) for did in lane}

    answers: dict[str, T] = {}
    with ThreadPoolExecutor(min(len(lanes), _HOSTS_AT_ONCE)) as threads:
        for found in threads.map(walk, lanes.values()):
            answers |= found
    return answers


class Room:
    """How many events there is room for, taken from by several threads.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self.left = size
        self._lock = threading.Lock()

    def take(self, wanted: int) -> int:
        """Takes as much as wanted, or as there is; one at the least, so that each gets on."""
        with self._lock:
            got = max(min(wanted, 1), min(wanted, self.left))
            self.left -= got
            return got
