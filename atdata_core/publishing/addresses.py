"""Which addresses of shards may stand in a public record: those that others can open."""

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from atdata_core.errors import ConfigurationError
from atdata_core.sources import DataSource, VerifiedSource
from atdata_core.stores.base import AbstractDataStore
from atdata_core.stores.s3 import S3DataStore, S3Source

_REMEDY = "Publish with data_store=PDSBlobStore(client), or copy the shards to S3"
_PRIVATE_REMEDY = (
    "Copy the shards to blobs, data_store=PDSBlobStore(client), or to a server that others reach; "
    "allow_private=True is for records that only this network reads"
)
# Names that no public server has (RFC 6761, RFC 6762, RFC 8375, and ICANN's .internal).
_PRIVATE_NAMES = (
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "lan",
    "test",
    "example",
    "invalid",
)
_AMAZON = ("amazonaws.com", "amazonaws.com.cn")


def check_public(
    urls: Sequence[str],
    endpoint: str | None = None,
    *,
    pds: str | None = None,
    allow_private: bool = False,
) -> None:
    """Holds shards' addresses to what a public record may hold.

    Args:
        urls: The addresses.
        endpoint: The S3 server that ``s3://`` stands for, where that is known.
        pds: The account's PDS. If that is on this machine, as with the devnet, S3 may be too.
        allow_private: Whether servers may be ones that only this network reaches.

    Raises:
        ConfigurationError: An address is of no use to others.
    """
    for url in urls:
        if url.partition("://")[0] not in ("https", "s3"):
            raise ConfigurationError(
                "address is of no use to others and must not stand in a public record",
                expected="https:// or s3://",
                got=repr(url),
                remedy=_REMEDY,
            )
    if allow_private:
        return
    for host in sorted({_host(url) for url in urls if url.startswith("https://")}):
        _check_host(host, "web server", _is_local(pds), look_up=False)
    if endpoint is not None and any(url.startswith("s3://") for url in urls):
        _check_host(_host(endpoint), "S3 server", _is_local(pds), look_up=True)


def endpoint_of(place: DataSource | AbstractDataStore) -> str | None:
    """The S3 server behind a source or a store; None where there is none."""
    if isinstance(place, VerifiedSource):
        place = place.source
    store = place.store if isinstance(place, S3Source) else place
    return store.server_url if isinstance(store, S3DataStore) else None


def _check_host(host: str, what: str, loopback_allowed: bool, *, look_up: bool) -> None:
    if loopback_allowed and _is_loopback(host):
        return
    why = _why_private(host, look_up)
    if why is not None:
        raise ConfigurationError(
            f"{what} is not one that others reach, so it must not stand in a public record",
            expected="a host with a public address",
            got=f"{host!r}, {why}",
            remedy=_PRIVATE_REMEDY,
        )


def _why_private(host: str, look_up: bool) -> str | None:
    name = host.rstrip(".").lower()
    if _address(name) is not None:
        return None if _is_public(name) else "which is no public address"
    last = name.rpartition(".")[2]
    # Numbers in other forms than that of an address are addresses to some readers.
    odd = last.isdigit() or last.startswith("0x")
    if "." not in name or odd or name.endswith(tuple(f".{part}" for part in _PRIVATE_NAMES)):
        return "a name that only some networks know"
    if not look_up or name.endswith(tuple(f".{part}" for part in _AMAZON)):
        return None
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    except (OSError, UnicodeError):
        return "which can't be resolved"
    private = sorted(address for address in found if not _is_public(address))
    return f"which is {private[0]}, no public address" if private else None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_public(text: str) -> bool:
    found = _address(text)
    return found is not None and found.is_global and not found.is_multicast


def _is_loopback(host: str) -> bool:
    found = _address(host)
    return host == "localhost" or (found is not None and found.is_loopback)


def _is_local(url: str | None) -> bool:
    return url is not None and _is_loopback(_host(url))
