"""`load_dataset` and `load_splits`: from a text to a dataset, or to one a split."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.dataset import Dataset
from atdata_core.entry import StrongRef
from atdata_core.errors import ConfigurationError, SchemaError
from atdata_core.indexes.base import AbstractIndex
from atdata_core.indexes.local import LocalIndex
from atdata_core.publishing import DatasetLoader
from atdata_core.publishing.labels import find_target
from atdata_core.publishing.opening import Target
from atdata_core.sources import expand, expand_braces
from atdata_core.splits import DatasetDict, by_split, split_of
from atdata_core.stores import AbstractDataStore, open_source
from atdata_core.verification import VerificationLevel

_TEAM = ("@local/", "atdata://local/dataset/", "atdata://local/")


def load_dataset(
    path: str | PathLike[str] | StrongRef,
    sample_type: type | None = None,
    *,
    index: AbstractIndex | None = None,
    store: AbstractDataStore | None = None,
    split: str | None = None,
    verify: VerificationLevel | str | None = None,
    pin: str | None = None,
    trusted: Sequence[str] | None = None,
) -> Dataset[Any]:
    """A dataset by its address or name.

    ====================================  =====================================================
    `path`                                what it is
    ====================================  =====================================================
    ``at://did/collection/rkey``          a record, anybody's
    ``@alice.example.org/name``           what an account has labelled or called so
    ``@alice.example.org/name@1.2.0``     what it has labelled so at this version
    ``@local/name``, ``name@1.2.0``       a name, CID or label in `index`, else in the team's
    ``StrongRef(uri, cid)``               a record, at this very content
    ``data-{000000..000009}.tar``         files; also ``*``, a folder, ``https://…``, ``s3://…``
    ====================================  =====================================================

    A dataset that is opened by its record is proven, and its `verification` tells how far.

    Args:
        path: What to load. A file of this very name comes before wildcards and braces.
        sample_type: The type to read into. A record or an index tells it; plain shards don't.
        index: Where names are looked up; for ``@local/…`` by default the Redis that
            ``ATDATA_REDIS_URL`` names.
        store: Reads shards at plain addresses, for instance an `S3DataStore` with credentials. A
            record's objects in S3 are asked for without the reader's keys, unless a store is given.
        split: Only this split, as `load_splits` finds it; None: all shards.
        verify: How far a record and its shards have to be proven, a `VerificationLevel` or its
            name; by default ``ATDATA_VERIFY``, else ``signed``.
        pin: The CID that the record must have.
        trusted: DIDs whose attestations count; by default ``ATDATA_TRUSTED_DIDS``.

    Raises:
        NotFoundError: There is no such dataset.
        VerificationError: Less is proven than was asked for.
        SchemaError: `sample_type` is needed and missing, or not what the dataset's schema says.
        InvalidRecordError: The record doesn't describe a dataset.
    """
    if split is not None:
        if pin is not None or isinstance(path, StrongRef):
            raise ConfigurationError(
                "a link is to one record, which has no splits", where=str(path)
            )
        splits = load_splits(
            path, sample_type, index=index, store=store, verify=verify, trusted=trusted
        )
        return splits[split]
    link: str | StrongRef | None = pin
    if isinstance(path, StrongRef):
        path, link = path.uri, path
    text = fspath(path)
    if text.startswith(("at://", "@")) and not text.startswith(_TEAM):
        client = AtmosphereClient(verify=verify, trusted=trusted)
        target = _target(client, text).pinned_to(link)
        return DatasetLoader(client).to_dataset(target, sample_type, store=store)
    _refuse_proof(text, verify=verify, pin=pin, trusted=trusted)
    for prefix in _TEAM:
        if text.startswith(prefix):
            name = unquote(text.removeprefix(prefix))
            return (index or LocalIndex()).open_dataset(name, sample_type)
    if index is not None:
        return index.open_dataset(text, sample_type)
    if "://" not in text and Path(text).is_file():
        return _of_shards([text], sample_type, None)
    return _of_shards(expand(text), sample_type, store)


def load_splits(
    path: str | PathLike[str] | Mapping[str, str],
    sample_type: type | None = None,
    *,
    index: AbstractIndex | None = None,
    store: AbstractDataStore | None = None,
    verify: VerificationLevel | str | None = None,
    trusted: Sequence[str] | None = None,
) -> DatasetDict[Any]:
    """A dataset's splits, told by the names of its files, or each a dataset of its own.

    ====================================  =====================================================
    `path`                                what it is
    ====================================  =====================================================
    ``digits/``, ``digits-*.tar``         files named after their split: ``train-000.tar``
    ``@local/digits-{train,test}``        datasets named after their split
    ``{"train": "a.tar", "test": …}``     whatever `load_dataset` takes, by split
    ====================================  =====================================================

    Args:
        path: What to load. ``val``, ``valid`` and ``dev`` mean ``validation``; where no name tells
            a split, all is ``train``.
        sample_type: See `load_dataset`.
        index: See `load_dataset`.
        store: See `load_dataset`.
        verify: See `load_dataset`.
        trusted: See `load_dataset`.

    Raises:
        NotFoundError: There is no such dataset, or only some of the files tell a split.
        SchemaError: See `load_dataset`.
        ConfigurationError: Two datasets are of the same split.
    """
    if isinstance(path, Mapping):
        told = dict(path)
    elif (text := fspath(path)).startswith(("@", "at://", "atdata://")) or index is not None:
        told = {}
        for name in expand_braces(text):
            split = split_of(name) or "train"
            if split in told:
                raise ConfigurationError(
                    "two datasets are of one split", where=text, got=f"{told[split]}, {name}"
                )
            told[split] = name
    else:
        _refuse_proof(text, verify=verify, trusted=trusted)
        found = by_split(expand(text), text)
        return DatasetDict(
            {split: _of_shards(urls, sample_type, store) for split, urls in found.items()}
        )
    return DatasetDict(
        {
            split: load_dataset(
                each, sample_type, index=index, store=store, verify=verify, trusted=trusted
            )
            for split, each in told.items()
        }
    )


def _of_shards(
    urls: list[str], sample_type: type | None, store: AbstractDataStore | None
) -> Dataset[Any]:
    if sample_type is None:
        raise SchemaError(
            "the type of the samples is needed to read plain shards",
            where=urls[0],
            remedy="load_dataset(path, MySample), or name an index: load_dataset(name, index=…)",
        )
    return Dataset(store.create_source(urls) if store else open_source(urls), sample_type)


def _target(client: AtmosphereClient, text: str) -> Target:
    if text.startswith("at://"):
        return Target(text)
    authority, _, rest = text.removeprefix("@").partition("/")
    name, _, version = rest.partition("@")
    if not authority or not name:
        raise ConfigurationError(
            "text doesn't name a dataset of an account",
            expected="@handle/name or @handle/name@1.0.0",
            got=repr(text),
        )
    prove = client.verify > VerificationLevel.TRANSPORT
    return find_target(client, authority, name, version or None, prove=prove)


def _refuse_proof(text: str, **asked: object) -> None:
    given = [name for name, value in asked.items() if value is not None]
    if given:
        raise ConfigurationError(
            f"{' and '.join(given)} can only be asked of records on the AT Protocol",
            where=text,
            remedy="An AtmosphereIndex asks for what its client does: AtmosphereClient(verify=…)",
        )
