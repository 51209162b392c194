"""Where shards lie: files, S3, a PDS's blobs."""

from collections.abc import Callable, Sequence

from atdata_core.errors import ConfigurationError
from atdata_core.sources import DataSource, FileSource
from atdata_core.stores.base import AbstractDataStore
from atdata_core.stores.files import FileDataStore
from atdata_core.stores.http import HttpSource
from atdata_core.stores.pds import BlobSource, PDSBlobStore
from atdata_core.stores.s3 import S3DataStore, S3Source, split_s3_url

__all__ = [
    "AbstractDataStore",
    "BlobSource",
    "FileDataStore",
    "HttpSource",
    "PDSBlobStore",
    "S3DataStore",
    "S3Source",
    "open_published",
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


def open_published(
    urls: Sequence[str], store: AbstractDataStore | None = None, *, own: bool = False
) -> DataSource:
    """A source for the shards that a record names, which may be a stranger's.

    Objects in S3 are asked for without a signature: a record must not make its reader's keys open
    a bucket that its writer only guessed. A store that the reader gives is his consent.

    Args:
        urls: Their addresses.
        store: Whose credentials may be used, an `S3DataStore`.
        own: Whether the record is the reader's own, and its addresses are his.

    Raises:
        ConfigurationError: See `open_source`.
    """
    in_s3 = urls and all(url.startswith("s3://") for url in urls)
    if not in_s3 or own:
        return open_source(urls)
    if isinstance(store, S3DataStore):
        return store.create_source(urls)
    return S3Source(urls, S3DataStore(bucket=split_s3_url(urls[0])[0], anonymous=True))
