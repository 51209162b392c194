"""What goes wrong on this side: bad samples, killed writers, paths of this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from atdata_core import AtmosphereIndex, FileIndex, LocalIndex, S3DataStore
from atdata_core.atmosphere import AtmosphereClient, DatasetPublisher
from atdata_core.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRecordError,
    SampleError,
)
from tests.support.samples import Item, Loose, items

GOOD = np.zeros(4, np.float32)


def leftovers(root):
    """Files in the scratch folders."""
    return [path for path in root.glob("**/.scratch/*") if path.name != ".lock"]


class NoText:
    """Looks like an item until it is written."""


def without_text():
    sample = Item(id=1, text="a", data=GOOD)
    del sample.text
    return sample


BAD = {
    "dtype": (
        lambda: Item(id=1, text="a", data=np.zeros(4)),
        SampleError,
        r"field 'data': array has another dtype \(expected float32, got float64\)",
    ),
    "objects": (
        lambda: Item(id=1, text="a", data=np.array([{}])),
        SampleError,
        r"field 'data'",
    ),
    "missing field": (without_text, SampleError, r"field 'text'"),
    "none": (lambda: Item(id=1, text=None, data=GOOD), SampleError, r"field 'text'.*got NoneType"),
    "not a sample": (NoText, SampleError, r"another type.*expected Item, got NoText"),
    "raises": (lambda: 1 / 0, ZeroDivisionError, "division"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sample_in_mid_stream_leaves_no_entry_and_no_file(tmp_path, name):
    make, error, message = BAD[name]
    index = FileIndex(tmp_path)

    def source():
        yield from items(5)
        yield make()
        yield from items(5)

    with pytest.raises(error, match=message) as caught:
        index.write_samples(source(), name="digits", sample_type=Item, max_samples=2)
    if error is SampleError:
        assert "digits, shard 2, sample 000000005" in str(caught.value)
    assert index.list_datasets() == []
    assert leftovers(tmp_path) == []
    assert not list(tmp_path.glob("**/dataset.json"))


def test_an_array_of_objects_names_its_remedy(tmp_path):
    with pytest.raises(SampleError, match=r"np\.asarray\(value, dtype="):
        FileIndex(tmp_path).write_samples(
            [Loose(id=1, data=np.array([{}]))], name="d", sample_type=Loose
        )


WRITER = """
import sys
import numpy as np
from atdata_core import FileIndex
from tests.support.samples import Loose

def samples():
    for i in range(50):
        if i == 30 and sys.argv[2] == "hang":
            print("in the middle", flush=True)
            sys.stdin.read()
        yield Loose(id=i, data=np.full(250_000, i, np.float32))

done = FileIndex(sys.argv[1]).write_samples(
    samples(), name="big", sample_type=Loose, max_bytes=5_000_000
)
print(done.entry.cid)
"""


def write_in_process(root, mode):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_a_writer_that_is_killed_leaves_no_entry_and_the_next_one_cleans_up(tmp_path):
    with write_in_process(tmp_path / "a", "hang") as process:
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGKILL)
    index = FileIndex(tmp_path / "a")
    assert index.list_datasets() == []
    assert leftovers(tmp_path / "a") != []
    states = []
    for folder in ("a", "b"):  # after the kill, and where nothing happened
        with write_in_process(tmp_path / folder, "run") as process:
            cid = process.stdout.read().strip()
        assert process.returncode == 0
        assert leftovers(tmp_path / folder) == []
        found = FileIndex(tmp_path / folder)
        assert found.get_dataset("big").cid == cid
        files = (tmp_path / folder).glob("datasets/big/*")
        states.append((cid, sorted(path.name for path in files)))
        assert sum(1 for _ in found.open_dataset("big", Loose)) == 50
    assert states[0] == states[1]


def test_the_scratch_folder_of_a_living_writer_is_left_alone(tmp_path):
    with write_in_process(tmp_path, "hang") as process:
        process.stdout.readline()
        FileIndex(tmp_path).write_samples(items(3), name="small", sample_type=Item)
        assert leftovers(tmp_path) != []
        process.stdin.close()
        assert process.stdout.read().strip().startswith("bafyrei")
    assert process.returncode == 0
    assert leftovers(tmp_path) == []
    assert [entry.name for entry in FileIndex(tmp_path).list_datasets()] == ["big", "small"]


@pytest.mark.parametrize(
    "url", ["/data/a.tar", "a.tar", "file:///data/a.tar", "http://x.org/a.tar"]
)
def test_an_address_of_no_use_to_others_is_refused_in_a_public_record(url):
    publisher = DatasetPublisher(AtmosphereClient())
    schema = "at://did:plc:abc/ac.foundation.dataset.sampleSchema/a"
    with pytest.raises(
        ConfigurationError, match=r"must not stand in a public record.*PDSBlobStore"
    ):
        publisher.publish_with_urls([url], schema, name="x")


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (FileIndex, "ATDATA_ROOT"),
        (LocalIndex, "ATDATA_REDIS_URL"),
        (S3DataStore, "ATDATA_S3_BUCKET"),
    ],
    ids=["files", "redis", "s3"],
)
def test_a_setting_that_is_missing_is_named(make, setting):
    with pytest.raises(ConfigurationError, match=setting):
        make()


def test_what_needs_a_login_says_so():
    client = AtmosphereClient()
    for use in (lambda: client.did, lambda: client.create_record("com.example.note", {})):
        with pytest.raises(AuthenticationError, match=r"not logged in.*client\.login"):
            use()
    with pytest.raises(AuthenticationError):
        AtmosphereIndex(client).list_datasets()


def test_an_entry_that_was_damaged_on_disk_says_which(tmp_path):
    index = FileIndex(tmp_path)
    index.write_samples(items(1), name="digits", sample_type=Item)
    for text in ("{", "[]", "{}", '{"name": "digits"}'):
        (tmp_path / "datasets" / "digits" / "dataset.json").write_text(text)
        with pytest.raises(InvalidRecordError, match=r"digits/dataset\.json"):
            index.get_dataset("digits")


def test_a_disk_without_room_leaves_no_entry(tmp_path):
    program = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from atdata_core import FileIndex
from tests.support.samples import Item, items
index = FileIndex(sys.argv[1])
try:
    index.write_samples(items(500), name="d", sample_type=Item)
except OSError as error:
    print(type(error).__name__, index.list_datasets())
"""
    start = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert ran.stdout == "OSError []\n", ran.stderr
    assert leftovers(tmp_path) == []
    assert time.monotonic() - start < 30
