"""Finding what others publish, and keeping what was found.

    from atdata_core.discovery import find_holders, list_repo_datasets, search

    for did in find_holders("https://relay1.us-west.bsky.network").dids:
        for record in search(list_repo_datasets(did).records, tag="weather"):
            print(record.uri)

`open_catalogue` opens where `atdata_core.following` keeps what it follows.
"""

import os

from atdata_core.discovery.catalogue import Catalogue, Row
from atdata_core.discovery.file_catalogue import FileCatalogue
from atdata_core.discovery.listing import (
    Holders,
    Listing,
    fetch_record,
    find_holders,
    list_repo_datasets,
    repo_state,
)
from atdata_core.discovery.records import FoundRecord, search
from atdata_core.discovery.redis_catalogue import RedisCatalogue
from atdata_core.errors import ConfigurationError

__all__ = [
    "Catalogue",
    "FileCatalogue",
    "FoundRecord",
    "Holders",
    "Listing",
    "RedisCatalogue",
    "Row",
    "fetch_record",
    "find_holders",
    "list_repo_datasets",
    "open_catalogue",
    "repo_state",
    "search",
]


def open_catalogue(place: str | None = None, name: str = "main") -> Catalogue:
    """A catalogue by the place where it is kept.

    Args:
        place: ``redis://…``, or the path of a file; by default ``ATDATA_CATALOGUE``, else
            ``ATDATA_REDIS_URL``.
        name: Which one, where a Redis has several.

    Raises:
        ConfigurationError: Nothing says where it is.
    """
    found = place or os.environ.get("ATDATA_CATALOGUE") or os.environ.get("ATDATA_REDIS_URL")
    if not found:
        raise ConfigurationError(
            "nothing says where the catalogue is kept",
            expected="a path or redis://…, here or in ATDATA_CATALOGUE or ATDATA_REDIS_URL",
        )
    if found.startswith(("redis://", "rediss://", "unix://")):
        return RedisCatalogue(found, name)
    return FileCatalogue(found)
