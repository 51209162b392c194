"""Typed datasets that travel: tar shards, a team's Redis and S3, public AT Protocol records.

    import atdata_core as atdata

    @atdata.packable
    class Digit:
        image: NDArray
        label: int

    digits = atdata.load_dataset("at://…", Digit)
    for batch in digits.ordered(batch_size=32):
        batch.image  # (32, 8, 8)

Heavy libraries (boto3, redis, atproto, httpx, webdataset) are loaded by what needs them, when it
needs them.
"""

from atdata_core import atmosphere, errors
from atdata_core.batch import SampleBatch
from atdata_core.dataset import Dataset
from atdata_core.entry import DatasetEntry, StrongRef
from atdata_core.errors import AtdataError
from atdata_core.fieldtypes import Shape
from atdata_core.indexes import AbstractIndex, AtmosphereIndex, FileIndex, LocalIndex
from atdata_core.loading import load_dataset, load_splits
from atdata_core.progress import progress_bar
from atdata_core.promotion import promote_to_atmosphere
from atdata_core.publishing.attestations import attestations
from atdata_core.publishing.evidence_files import evidence, verify_evidence
from atdata_core.sample import PackableSample, packable
from atdata_core.schema import Schema
from atdata_core.shard import Shard
from atdata_core.sources import DataSource, FileSource
from atdata_core.splits import DatasetDict
from atdata_core.stores import (
    AbstractDataStore,
    BlobSource,
    FileDataStore,
    PDSBlobStore,
    S3DataStore,
    S3Source,
)
from atdata_core.verification import Verification, VerificationLevel

__all__ = [
    "AbstractDataStore",
    "AbstractIndex",
    "AtdataError",
    "AtmosphereIndex",
    "BlobSource",
    "DataSource",
    "Dataset",
    "DatasetDict",
    "DatasetEntry",
    "FileDataStore",
    "FileIndex",
    "FileSource",
    "LocalIndex",
    "PDSBlobStore",
    "PackableSample",
    "S3DataStore",
    "S3Source",
    "SampleBatch",
    "Schema",
    "Shape",
    "Shard",
    "StrongRef",
    "Verification",
    "VerificationLevel",
    "atmosphere",
    "attestations",
    "errors",
    "evidence",
    "load_dataset",
    "load_splits",
    "packable",
    "progress_bar",
    "promote_to_atmosphere",
    "verify_evidence",
]
