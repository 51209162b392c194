"""The records of this library: what they look like, and what they say when they are read.

Written in one of two namespaces, which is a setting; read in both, in every form that was ever
published. What each type may hold is in the lexicons beside this folder.
"""

from atdata_core.atproto.records.common import record_key
from atdata_core.atproto.records.datasets import (
    blob_storage,
    blobs_of,
    dataset_record,
    external_storage,
    parse_dataset,
    storage_type,
)
from atdata_core.atproto.records.lenses import (
    CodeReference,
    LensDescription,
    lens_record,
    parse_lens,
)
from atdata_core.atproto.records.names import (
    DATASET_TYPES,
    LABEL_TYPES,
    LENS_TYPES,
    NAMESPACES,
    SCHEMA_TYPES,
    Names,
    names_of,
)
from atdata_core.atproto.records.schemas import parse_schema, schema_record

__all__ = [
    "DATASET_TYPES",
    "LABEL_TYPES",
    "LENS_TYPES",
    "NAMESPACES",
    "SCHEMA_TYPES",
    "CodeReference",
    "LensDescription",
    "Names",
    "blob_storage",
    "blobs_of",
    "dataset_record",
    "external_storage",
    "lens_record",
    "names_of",
    "parse_dataset",
    "parse_lens",
    "parse_schema",
    "record_key",
    "schema_record",
    "storage_type",
]
