"""Publishing and discovering datasets on the AT Protocol: the names for users, in one place."""

from atdata_core.atproto.answers import Record
from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.records import CodeReference, LensDescription
from atdata_core.atproto.uri import AtUri
from atdata_core.indexes.atmosphere import AtmosphereIndex
from atdata_core.publishing import (
    DatasetLoader,
    DatasetPublisher,
    LabelLoader,
    LabelPublisher,
    LensLoader,
    LensPublisher,
    SchemaLoader,
    SchemaPublisher,
)
from atdata_core.stores.pds import BlobSource, PDSBlobStore

__all__ = [
    "AtUri",
    "AtmosphereClient",
    "AtmosphereIndex",
    "BlobSource",
    "CodeReference",
    "DatasetLoader",
    "DatasetPublisher",
    "LabelLoader",
    "LabelPublisher",
    "LensDescription",
    "LensLoader",
    "LensPublisher",
    "PDSBlobStore",
    "Record",
    "SchemaLoader",
    "SchemaPublisher",
]
