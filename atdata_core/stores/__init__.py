"""Where shards lie: files, S3, a PDS's blobs."""

from collections.abc import Callable, Sequence

from atdata_core.errors import ConfigurationError
from atdata_core.sources import DataSource, FileSource
from atdata_core.stores.base import AbstractDataStore
from atdata_core.stores.files import FileDataStore
from atdata_core.stores.http import HttpSource
from atdata_core.stores.pds import BlobSource, PDSBlobStore
from atdata_core.stores.s3 import S3DataStore, S3Source

__all__ = [
    "AbstractDataStore",
    "BlobSource",
    "FileDataStore",
    "HttpSource",
    "PDSBlobStore",
    "S3DataStore",
    "S3Source",
    "open_source",
]

_SOURCES: dict[str, Callable[[Sequence[str]], DataSource]] = {
    "file": FileSource,
    "s3": S3Source,
    "at": BlobSource,
    "https": HttpSource,
    "http": HttpSource,
}


def open_source(urls: Sequence[str]) -> DataSource:
    """A source for shards at these addresses, chosen by their scheme; no scheme means a file.

    Raises:
        ConfigurationError: The scheme is not known, or there are several.
    """
    schemes = {url.partition("://")[0] if "://" in url else "file" for url in urls}
    if len(schemes) > 1 or not schemes <= _SOURCES.keys():
        raise ConfigurationError(
            "shards can't be opened by their addresses",
            expected=f"one of the schemes {', '.join(sorted(_SOURCES))}, or paths",
            got=", ".join(sorted(schemes)),
        )
    return _SOURCES[schemes.pop() if schemes else "file"](urls)
