"""Publishing and discovering datasets on the AT Protocol: the names for users, in one place."""

from atdata_core.atproto.client import AtmosphereClient, Record
from atdata_core.atproto.plc import KeyPeriod
from atdata_core.atproto.proof import ProvenRecord, prove_record, verify_proof
from atdata_core.atproto.records import Attestation, CodeReference, LensDescription
from atdata_core.atproto.revisions import RevStore
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
from atdata_core.publishing.attestations import attestations
from atdata_core.publishing.attesting import AttestationPublisher
from atdata_core.publishing.evidence_files import Evidence, evidence, verify_evidence
from atdata_core.stores.pds import BlobSource, PDSBlobStore
from atdata_core.verification import Verification, VerificationLevel

__all__ = [
    "AtUri",
    "AtmosphereClient",
    "AtmosphereIndex",
    "Attestation",
    "AttestationPublisher",
    "BlobSource",
    "CodeReference",
    "DatasetLoader",
    "DatasetPublisher",
    "Evidence",
    "KeyPeriod",
    "LabelLoader",
    "LabelPublisher",
    "LensDescription",
    "LensLoader",
    "LensPublisher",
    "PDSBlobStore",
    "ProvenRecord",
    "Record",
    "RevStore",
    "SchemaLoader",
    "SchemaPublisher",
    "Verification",
    "VerificationLevel",
    "attestations",
    "evidence",
    "prove_record",
    "verify_evidence",
    "verify_proof",
]
