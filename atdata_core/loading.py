"""`load_dataset`: from a text to a dataset."""

from os import PathLike, fspath
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.dataset import Dataset
from atdata_core.errors import ConfigurationError, SchemaError
from atdata_core.indexes.base import AbstractIndex
from atdata_core.indexes.local import LocalIndex
from atdata_core.publishing import DatasetLoader, resolve_name
from atdata_core.sources import FileSource, expand
from atdata_core.stores import AbstractDataStore, open_source

_TEAM = ("@local/", "atdata://local/dataset/", "atdata://local/")


def load_dataset(
    path: str | PathLike[str],
    sample_type: type | None = None,
    *,
    index: AbstractIndex | None = None,
    store: AbstractDataStore | None = None,
) -> Dataset[Any]:
    """A dataset by its address or name.

    ====================================  =====================================================
    `path`                                what it is
    ====================================  =====================================================
    ``at://did/collection/rkey``          a record, anybody's
    ``@alice.example.org/name``           what an account has labelled or called so
    ``@alice.example.org/name@1.2.0``     what it has labelled so at this version
    ``@local/name``, ``name@1.2.0``       a name, CID or label in `index`, else in the team's
    ``data-{000000..000009}.tar``         files; also ``*``, a folder, ``https://…``, ``s3://…``
    ====================================  =====================================================

    Args:
        path: What to load. A file of this very name comes before wildcards and braces.
        sample_type: The type to read into. A record or an index tells it; plain shards don't.
        index: Where names are looked up; for ``@local/…`` by default the Redis that
            ``ATDATA_REDIS_URL`` names.
        store: Reads shards at plain addresses, for instance an `S3DataStore` with credentials.

    Raises:
        NotFoundError: There is no such dataset.
        SchemaError: `sample_type` is needed and missing, or not what the dataset's schema says.
        InvalidRecordError: The record doesn't describe a dataset.
    """
    text = fspath(path)
    if text.startswith("at://"):
        return DatasetLoader(AtmosphereClient()).to_dataset(text, sample_type)
    for prefix in _TEAM:
        if text.startswith(prefix):
            name = unquote(text.removeprefix(prefix))
            return (index or LocalIndex()).open_dataset(name, sample_type)
    if text.startswith("@"):
        client = AtmosphereClient()
        return DatasetLoader(client).to_dataset(_resolve(client, text), sample_type)
    if index is not None:
        return index.open_dataset(text, sample_type)
    if sample_type is None:
        raise SchemaError(
            "the type of the samples is needed to read plain shards",
            where=text,
            remedy="load_dataset(path, MySample), or name an index: load_dataset(name, index=…)",
        )
    if "://" not in text and Path(text).is_file():
        return Dataset(FileSource([text]), sample_type)
    urls = expand(text)
    return Dataset(store.create_source(urls) if store else open_source(urls), sample_type)


def _resolve(client: AtmosphereClient, text: str) -> str:
    authority, _, rest = text.removeprefix("@").partition("/")
    name, _, version = rest.partition("@")
    if not authority or not name:
        raise ConfigurationError(
            "text doesn't name a dataset of an account",
            expected="@handle/name or @handle/name@1.0.0",
            got=repr(text),
        )
    return resolve_name(client, authority, name, version or None)
