"""`load_dataset`: from a text to a dataset."""

from os import PathLike, fspath
from typing import Any

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.dataset import Dataset
from atdata_core.errors import SchemaError
from atdata_core.indexes.base import AbstractIndex
from atdata_core.publishing import DatasetLoader
from atdata_core.sources import expand
from atdata_core.stores import open_source


def load_dataset(
    path: str | PathLike[str],
    sample_type: type | None = None,
    *,
    index: AbstractIndex | None = None,
) -> Dataset[Any]:
    """A dataset by its address or name.

    Args:
        path: An AT URI (``at://did/collection/rkey``); a name or CID in `index`; or addresses of
            shards: a path, a folder, wildcards, braces, ``s3://…``, ``https://…``.
        sample_type: The type to read into. An AT URI or an index tells it; addresses don't.
        index: Where names are looked up.

    Raises:
        NotFoundError: There is no such dataset.
        SchemaError: `sample_type` is needed and missing, or not what the dataset's schema says.
        InvalidRecordError: The record at the AT URI doesn't describe a dataset.
    """
    text = fspath(path)
    if text.startswith("at://"):
        return DatasetLoader(AtmosphereClient()).to_dataset(text, sample_type)
    if index is not None:
        return index.open_dataset(text, sample_type)
    if sample_type is None:
        raise SchemaError(
            "the type of the samples is needed to read plain shards",
            where=text,
            remedy="load_dataset(path, MySample), or name an index: load_dataset(name, index=…)",
        )
    return Dataset(open_source(expand(text)), sample_type)
