"""The layers as Dagster resources: where each one's index is, and with what one gets there.

A field that is left out is read from the environment when it is needed, not before: definitions
load with nothing running and nothing set.
"""

import os
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field, PrivateAttr

from atdata_core import (
    AbstractIndex,
    AtmosphereIndex,
    DatasetEntry,
    FileIndex,
    LocalIndex,
    PDSBlobStore,
    S3DataStore,
)
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.errors import ConfigurationError
from atdata_dagster.names import Layer
from atdata_dagster.places import PLACE, place_of

if TYPE_CHECKING:
    from atdata_core.discovery import Catalogue

_SECRET: dict[str, Any] = {"dagster__is_secret": True}
_MASK = "********"
_DEVNET = (
    "Set it to your own server, or start local ones: python -m atdata_dagster.devnet up; "
    'eval "$(python -m atdata_dagster.devnet env)"'
)


class LayerResource(dg.ConfigurableResource[Any]):
    """A layer: an index of datasets and schemas, and a store for shards."""

    @property
    @abstractmethod
    def layer(self) -> Layer:
        """The layer's name."""

    @property
    @abstractmethod
    def storage_kind(self) -> str:
        """How the layer keeps shards, for ``dagster/storage_kind``."""

    @abstractmethod
    def make_index(self) -> AbstractIndex:
        """A new index of the layer, with its store.

        Raises:
            ConfigurationError: A setting is missing; the message names its environment variable.
        """

    _index: AbstractIndex | None = PrivateAttr(default=None)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The fields with their values, but for secrets."""
        for name, value in super().__repr_args__():
            yield name, _MASK if value is not None and self._is_secret(name) else value

    def _is_secret(self, name: str | None) -> bool:
        field = type(self).model_fields.get(name or "")
        extra = field.json_schema_extra if field is not None else None
        return isinstance(extra, dict) and bool(extra.get("dagster__is_secret"))

    def get_index(self) -> AbstractIndex:
        """The layer's index, with its store: one a process, closed when the run ends.

        Raises:
            ConfigurationError: A setting is missing; the message names its environment variable.
            AuthenticationError: A server doesn't accept what it is given.
        """
        if self._index is None:
            self._index = self.make_index()
        return self._index

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Closes the index."""
        if self._index is not None:
            self._index.close()
            self._index = None

    @abstractmethod
    def uri_of(self, entry: DatasetEntry) -> str:
        """Where a dataset of this layer is found, for ``dagster/uri``."""

    def facts(self) -> dict[str, str]:
        """What is to be told of whatever this layer stores, as metadata."""
        return {}


class LocalResource(LayerResource):
    """The local layer: a folder of tar shards on this machine."""

    root: str | None = Field(
        default=None, description="The folder. Default: the environment variable ATDATA_ROOT."
    )

    shared: bool | None = Field(
        default=None,
        description="Whether every machine that executes steps mounts the folder. Default: the "
        "environment variable ATDATA_ROOT_SHARED, 1 or 0.",
    )

    @property
    def layer(self) -> Layer:
        """``local``."""
        return "local"

    @property
    def storage_kind(self) -> str:
        """``webdataset``."""
        return "webdataset"

    def make_index(self) -> AbstractIndex:
        """A `FileIndex`."""
        return FileIndex(_setting("ATDATA_ROOT", self.root))

    @property
    def is_shared(self) -> bool:
        """Whether every machine has the folder."""
        if self.shared is not None:
            return self.shared
        said = os.environ.get("ATDATA_ROOT_SHARED", "0").strip().lower()
        return said not in ("", "0", "false", "no", "off")

    def facts(self) -> dict[str, str]:
        """Which machine's folder it is."""
        return {PLACE: place_of(str(Path(_setting("ATDATA_ROOT", self.root)).absolute()))}

    def uri_of(self, entry: DatasetEntry) -> str:
        """The dataset's folder."""
        return (FileIndex(_setting("ATDATA_ROOT", self.root)).folder(entry.name)).as_uri()


class TeamResource(LayerResource):
    """The team layer: an index in Redis, shards in S3."""

    redis_url: str | None = Field(
        default=None,
        description="redis://… Default: the environment variable ATDATA_REDIS_URL.",
        json_schema_extra=_SECRET,
    )
    s3_bucket: str | None = Field(
        default=None, description="The bucket. Default: the environment variable ATDATA_S3_BUCKET."
    )
    s3_endpoint: str | None = Field(
        default=None,
        description="The S3 server, if it isn't Amazon's. Default: the environment variable "
        "ATDATA_S3_ENDPOINT.",
    )
    aws_access_key_id: str | None = Field(
        default=None,
        description="Default: what boto3 finds (environment, profile, role).",
        json_schema_extra=_SECRET,
    )
    aws_secret_access_key: str | None = Field(
        default=None,
        description="Default: what boto3 finds (environment, profile, role).",
        json_schema_extra=_SECRET,
    )
    aws_region: str | None = Field(default=None, description="Default: what boto3 finds.")

    @property
    def layer(self) -> Layer:
        """``team``."""
        return "team"

    @property
    def storage_kind(self) -> str:
        """``s3``."""
        return "s3"

    def make_index(self) -> AbstractIndex:
        """A `LocalIndex` with an `S3DataStore`."""
        bucket = _setting("ATDATA_S3_BUCKET", self.s3_bucket)
        credentials = {
            "AWS_ACCESS_KEY_ID": self.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.aws_secret_access_key,
            "AWS_REGION": self.aws_region,
        }
        given = {name: value for name, value in credentials.items() if value}
        store = S3DataStore(given or None, bucket=bucket, endpoint_url=self.s3_endpoint)
        return LocalIndex(_setting("ATDATA_REDIS_URL", self.redis_url), store)

    def uri_of(self, entry: DatasetEntry) -> str:
        """The folder of its shards in the bucket."""
        return f"s3://{_setting('ATDATA_S3_BUCKET', self.s3_bucket)}/{entry.name}/"


class AtmosphereResource(LayerResource):
    """The public layer: records, and blobs, in an account's repository on its PDS."""

    pds_url: str | None = Field(
        default=None,
        description="The account's PDS. Default: the environment variable ATDATA_PDS_URL.",
    )
    handle: str | None = Field(
        default=None,
        description="The account. Default: the environment variable ATDATA_HANDLE.",
    )
    app_password: str | None = Field(
        default=None,
        description="An app password of the account, never its main one. Default: the environment "
        "variable ATDATA_APP_PASSWORD.",
        json_schema_extra=_SECRET,
    )
    storage: Literal["blobs", "urls"] = Field(
        default="blobs",
        description="blobs: shards are uploaded to the PDS. urls: the record holds the addresses "
        "that the shards have in the layer before, which others must be able to open.",
    )
    allow_private: bool = Field(
        default=False,
        description="Whether records may name servers that only this network reaches.",
    )

    @property
    def layer(self) -> Layer:
        """``atmosphere``."""
        return "atmosphere"

    @property
    def storage_kind(self) -> str:
        """``atproto``."""
        return "atproto"

    def get_client(self) -> AtmosphereClient:
        """The account, logged in.

        Raises:
            ConfigurationError: A setting is missing.
            AuthenticationError: The PDS doesn't accept handle and password.
        """
        client = AtmosphereClient(_setting("ATDATA_PDS_URL", self.pds_url))
        client.login(
            _setting("ATDATA_HANDLE", self.handle),
            _setting("ATDATA_APP_PASSWORD", self.app_password),
        )
        return client

    def make_index(self) -> AbstractIndex:
        """An `AtmosphereIndex`, with a `PDSBlobStore` unless `storage` is ``urls``."""
        client = self.get_client()
        store = PDSBlobStore(client) if self.storage == "blobs" else None
        return AtmosphereIndex(client, data_store=store, allow_private=self.allow_private)

    def uri_of(self, entry: DatasetEntry) -> str:
        """The record's AT URI."""
        return str(entry.uri)


class CatalogueResource(dg.ConfigurableResource[Any]):
    """Where it is kept what others publish."""

    place: str | None = Field(
        default=None,
        description="redis://… or the path of a file. Default: the environment variable "
        "ATDATA_CATALOGUE, else ATDATA_REDIS_URL.",
        json_schema_extra=_SECRET,
    )
    name: str = Field(
        default="main", description="Which one: a Redis may hold one for each subscription."
    )

    def open(self) -> "Catalogue":
        """The catalogue; to be closed.

        Raises:
            ConfigurationError: Nothing says where it is.
        """
        from atdata_core.discovery import open_catalogue

        return open_catalogue(self.place, self.name)


def _setting(variable: str, value: str | None) -> str:
    found = value or os.environ.get(variable)
    if not found:
        raise ConfigurationError(f"{variable} is not set", remedy=_DEVNET)
    return found
