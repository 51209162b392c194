"""The one door to hosts that others name: which may be asked, and how they are dialled.

A stranger's record can name any address. What goes out goes to public hosts over https on port
443; a name is looked up once, every address that it leads to has to be public, and one of those
checked is dialled, so that a name which changes its mind between two look-ups gains nothing.
A server within a network, or on this machine, is asked only where the user's own settings
(``ATDATA_PDS_URL``, ``ATDATA_PLC_URL``) point to it.
"""

import contextlib
import functools
import ipaddress
import os
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from atdata_core.errors import ServiceError, UnreachableError

MAX_AT_ONCE = 4
"""The most requests that one host is asked at the same time, by all threads of the process."""

_TURN_S = 10.0

_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; Python calls some of them global
        "64:ff9b::/96",  # NAT64: an IPv4 address in other clothes, private ones too
        "64:ff9b:1::/48",
        "2002::/16",  # 6to4, likewise
        "2001::/32",  # Teredo, likewise
    )
]


def check_origin(url: str) -> str:
    """`url`'s origin, if it may be asked: https on port 443, or what the user's settings point to.

    Raises:
        ServiceError: It may not.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError as error:
        raise ServiceError(f"address is malformed: {error}", where=url[:200]) from error
    if is_local(host):
        allowed = parts.scheme in ("http", "https") and loopback_allowed()
    elif host in own_hosts():
        allowed = parts.scheme == "https"
    else:
        allowed = parts.scheme == "https" and port in (None, 443) and _may_be_public(host)
    if not allowed or not host or parts.username is not None:
        raise _refused(url[:200], "https on port 443 of a public host")
    return f"{parts.scheme}://{parts.netloc}"


def loopback_allowed() -> bool:
    """Whether the user's own settings point to this machine."""
    return any(is_local(host) for host in own_hosts())


def own_hosts() -> set[str]:
    """The hosts that the user's own settings name."""
    names = ("ATDATA_PDS_URL", "ATDATA_PLC_URL")
    return {urlsplit(os.environ.get(name, "")).hostname or "" for name in names} - {""}


def is_local(host: str) -> bool:
    """Whether a host is this machine by its very name or number."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, of a single host."""
    number = ipaddress.ip_address(address)
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped is not None:
        number = number.ipv4_mapped
    inside = any(number in network for network in _NOT_PUBLIC)
    return number.is_global and not number.is_multicast and not inside


def public_addresses(host: str, port: int) -> list[str]:
    """The addresses that a host's name leads to, each of them public.

    Raises:
        ServiceError: One of them isn't; none is dialled then.
        OSError: The name leads nowhere.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    private = [address for address in addresses if not is_public(address)]
    if private or not addresses:
        raise _refused(host, "a name that leads to public addresses alone", ", ".join(private))
    return addresses


def dial_addresses(host: str, port: int) -> list[str]:
    """What to dial for a host: its checked addresses, or the name itself where it is the user's.

    Errors as `public_addresses`.
    """
    return [host] if is_local(host) or host in own_hosts() else public_addresses(host, port)


def open_socket(host: str, port: int, timeout: float) -> socket.socket:
    """A connection to a host at one of its checked addresses.

    Raises:
        ServiceError: It may not be asked.
        OSError: It can't be reached.
    """
    addresses = dial_addresses(host, port)
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), timeout)
    return socket.create_connection((addresses[-1], port), timeout)


@contextlib.contextmanager
def turn(url: str) -> Iterator[None]:
    """Lets as many in as a host is asked by at the same time; the others wait, for some seconds.

    Args:
        url: What is asked of the host.

    Raises:
        UnreachableError: The requests before this one take too long.
    """
    host = urlsplit(url).netloc.lower()
    queues = _queues(os.getpid())
    with queues.lock:
        queue = queues.by_host.setdefault(host, _Queue())
        queue.users += 1
    try:
        if not queue.places.acquire(timeout=_TURN_S):
            raise UnreachableError(
                f"host doesn't get done with {MAX_AT_ONCE} other requests", where=host
            )
        try:
            yield
        finally:
            queue.places.release()
    finally:
        with queues.lock:
            queue.users -= 1
            if not queue.users:
                del queues.by_host[host]


class _Queue:
    """Those who ask one host, or wait to."""

    def __init__(self) -> None:
        self.users = 0
        self.places = threading.Semaphore(MAX_AT_ONCE)


class _Queues:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_host: dict[str, _Queue] = {}


@functools.lru_cache(maxsize=1)
def _queues(_process: int) -> _Queues:
    # A forked process begins with none: who held a place isn't there to give it back.
    return _Queues()


def _may_be_public(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True  # a name: where it leads is checked when it is dialled
    return is_public(host)


def _refused(where: str, expected: str, got: str | None = None) -> ServiceError:
    return ServiceError(
        "address may not be asked",
        where=where,
        expected=expected,
        got=got or None,
        remedy="A server on this machine or within a network is asked once ATDATA_PLC_URL or "
        "ATDATA_PDS_URL points to it",
    )
