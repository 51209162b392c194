"""Importing costs little: no heavy library is loaded before it is needed."""

import subprocess
import sys

import pytest

HEAVY = (
    *("boto3", "botocore", "redis", "atproto", "httpx", "webdataset", "pyarrow", "torch"),
    *("atproto_crypto", "cryptography"),
)

EXPORTED = {
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
}
ATMOSPHERE = {
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
}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("atdata_core", (*HEAVY, "dagster")), ("atdata_dagster", HEAVY)],
)
def test_importing_loads_no_heavy_library(module, heavy):
    program = f"import sys, {module}; print(*sorted(set(sys.modules) & set({heavy!r})))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr


def test_what_botocore_knows_of_services_is_read_once():
    program = """
import sys
from atdata_core.stores.s3 import S3DataStore

opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))

def read_for(bucket):
    before = len(opened)
    store = S3DataStore({"AWS_REGION": "us-east-1"}, bucket=bucket, anonymous=True)
    assert store.client.meta.region_name == "us-east-1"
    return sum("botocore" in path and ".json" in path for path in opened[before:])

print(read_for("one") > 0, read_for("two"), read_for("three"))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, "True 0 0"), ran.stderr


def test_the_public_names_are_the_promised_ones():
    import atdata_core
    from atdata_core import atmosphere

    for module, names in ((atdata_core, EXPORTED), (atmosphere, ATMOSPHERE)):
        assert set(module.__all__) == names
        assert list(module.__all__) == sorted(module.__all__)
        assert all(getattr(module, name).__doc__ for name in names)
