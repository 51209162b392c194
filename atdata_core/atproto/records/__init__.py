"""The records of this library: what they look like, and what they say when they are read.

Written in one of two namespaces, which is a setting; read in both, in every form that was ever
published. What each type may hold is in the lexicons beside this folder.
"""

from atdata_core.atproto.records.attestations import (
    Attestation,
    attestation_key,
    attestation_record,
    parse_attestation,
)
from atdata_core.atproto.records.common import record_key
from atdata_core.atproto.records.datasets import (
    MAX_RECORD_BYTES,
    blob_storage,
    blobs_of,
    dataset_record,
    external_storage,
    parse_dataset,
    record_size,
    storage_type,
)
from atdata_core.atproto.records.lenses import (
    CodeReference,
    LensDescription,
    lens_record,
    parse_lens,
)
from atdata_core.atproto.records.manifests import (
    MANIFEST_MIME_TYPE,
    MAX_SHARDS,
    Manifest,
    Part,
    blob_manifest,
    blob_object,
    manifest_blob,
    url_manifest,
)
from atdata_core.atproto.records.names import (
    ATTESTATION_TYPES,
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
    "ATTESTATION_TYPES",
    "DATASET_TYPES",
    "LABEL_TYPES",
    "LENS_TYPES",
    "MANIFEST_MIME_TYPE",
    "MAX_RECORD_BYTES",
    "MAX_SHARDS",
    "NAMESPACES",
    "SCHEMA_TYPES",
    "Attestation",
    "CodeReference",
    "LensDescription",
    "Manifest",
    "Names",
    "Part",
    "attestation_key",
    "attestation_record",
    "blob_manifest",
    "blob_object",
    "blob_storage",
    "blobs_of",
    "dataset_record",
    "external_storage",
    "lens_record",
    "manifest_blob",
    "names_of",
    "parse_attestation",
    "parse_dataset",
    "parse_lens",
    "parse_schema",
    "record_key",
    "record_size",
    "schema_record",
    "storage_type",
    "url_manifest",
]
