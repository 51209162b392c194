"""While one shard is read, the next ones are opened: in order, few at a time, closed in the end."""

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from atdata_core import Dataset, files
from atdata_core.errors import IntegrityError, NotFoundError
from atdata_core.shard import Shard, write_shards
from atdata_core.sources import BaseSource, FileSource, VerifiedSource
from tests.support.samples import Item, Loose, items

ROOT = Path(__file__).parents[2]


class Body(io.BytesIO):
    """A stream that tells when it is closed."""

    def __init__(self, data, log):
        super().__init__(data)
        self._log = log

    def close(self):
        if not self.closed:
            self._log.append("closed")
        super().close()


class Server(BaseSource):
    """Shards as if they came over the network; `asked` tells by which thread, and what happened."""

    remote = True

    def __init__(self, shards, missing=()):
        self.shards_by_url = {shard.url: Path(shard.url).read_bytes() for shard in shards}
        self.asked = []
        self.log = []
        self.arrived = {url: threading.Event() for url in self.shards_by_url}
        self.missing = missing

    def list_shards(self):
        return list(self.shards_by_url)

    def open_shard(self, shard_id):
        self.asked.append((shard_id, threading.current_thread() is threading.main_thread()))
        if shard_id in self.missing:
            raise NotFoundError("gone", where=shard_id)
        self.log.append("opened")
        self.arrived[shard_id].set()
        return Body(self.shards_by_url[shard_id], self.log)


@pytest.fixture
def shards(tmp_path):
    return list(write_shards(items(16), tmp_path, max_samples=4))


def dataset_of(server, shards):
    return Dataset(VerifiedSource(server, shards), Item)


def settled(server):
    """Waits until all that was opened is closed."""
    end = time.monotonic() + 5
    while server.log.count("opened") != server.log.count("closed") and time.monotonic() < end:
        time.sleep(0.01)
    assert server.log.count("opened") == server.log.count("closed")


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_next_shard_comes_while_one_is_read(shards, shuffled):
    server = Server(shards)
    dataset = dataset_of(server, shards)
    going = iter(dataset.shuffled(0, 0, seed=1) if shuffled else dataset.ordered())
    found = [next(going)]
    assert server.arrived[shards[1].url].wait(5)
    assert server.arrived[shards[2].url].wait(5)
    time.sleep(0.2)
    urls = [shard.url for shard in shards]
    assert sorted(url for url, _ in server.asked) == urls[:3]
    found += going
    assert sorted(found, key=lambda item: item.id) == items(16)
    assert sorted(server.asked) == [(url, url == urls[0]) for url in urls]
    settled(server)


def test_a_quick_pass_waits_for_nothing(shards):
    server = Server(shards)
    started = time.monotonic()
    assert [i for b in dataset_of(server, shards).ordered(5) for i in b.id] == list(range(16))
    assert time.monotonic() - started < 2
    settled(server)


def test_a_look_at_the_first_samples_fetches_one_shard(shards):
    server = Server(shards)
    assert dataset_of(server, shards).head(2) == items(2)
    time.sleep(0.3)
    assert [url for url, _ in server.asked] == [shards[0].url]
    settled(server)


def test_a_pass_that_is_given_up_leaves_nothing_open(shards):
    server = Server(shards)
    going = iter(dataset_of(server, shards).ordered())
    next(going)
    assert server.arrived[shards[1].url].wait(5)
    assert server.arrived[shards[2].url].wait(5)
    going.close()
    settled(server)
    assert len(server.asked) == 3


def test_a_pass_is_taken_up_where_it_was_left(shards):
    server = Server(shards)
    dataset = dataset_of(server, shards)
    going = iter(dataset.ordered())
    taken = [next(going) for _ in range(6)]
    again = dataset.ordered()
    again.load_state_dict(going.state_dict())
    going.close()
    assert taken + list(again) == items(16)
    settled(server)


def test_what_goes_wrong_ahead_is_told_in_its_turn(shards):
    server = Server(shards, missing={shards[1].url})
    found = []
    with pytest.raises(NotFoundError, match="gone"):
        for sample in dataset_of(server, shards):
            found.append(sample)  # noqa: PERF402 - what came before the error counts
    assert found == items(4)
    settled(server)


def test_a_shard_that_was_exchanged_is_never_handed_out(shards):
    server = Server(shards)
    server.shards_by_url[shards[1].url] = server.shards_by_url[shards[2].url]
    found = []
    with pytest.raises(IntegrityError):
        for sample in dataset_of(server, shards):
            found.append(sample)  # noqa: PERF402
    assert found == items(4)
    settled(server)


@pytest.mark.parametrize("wrong", [-1, 1, 1000])
def test_a_wrong_size_is_an_error(shards, wrong):
    told = [Shard(s.url, s.cid, s.size + wrong, s.rows) for s in shards]
    with pytest.raises(IntegrityError, match="another length"):
        list(dataset_of(Server(shards), told))


class Files(FileSource):
    """Files that tell by which thread they are opened."""

    def __init__(self, paths):
        super().__init__(paths)
        self.asked = []

    def open_shard(self, shard_id):
        self.asked.append((shard_id, threading.current_thread() is threading.main_thread()))
        return super().open_shard(shard_id)


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Five shards of 1.5 MB, and a machine of two cores."""
    monkeypatch.setattr(files, "_cores", lambda: 2)
    return list(write_shards(items(60, width=30_000), tmp_path, max_samples=12))


def test_files_are_hashed_ahead_two_at_a_time_and_once(large):
    source = Files([shard.url for shard in large])
    dataset = dataset_of(source, large)
    going = iter(dataset.ordered())
    found = [next(going)]
    end = time.monotonic() + 5
    while len(source.asked) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.2)
    urls = [shard.url for shard in large]
    assert source.asked[0] == (urls[0], True)
    assert sorted(source.asked[1:]) == [(url, False) for url in urls[1:3]]
    found += going
    assert [item.id for item in found] == list(range(60))
    assert sorted(source.asked[1:]) == [(url, False) for url in urls[1:]]
    source.asked.clear()
    assert sum(1 for _ in dataset) == 60
    assert source.asked == [(url, True) for url in urls]


def test_a_file_that_was_exchanged_is_told_in_its_turn(large):
    path = Path(large[2].url)
    path.write_bytes(path.read_bytes().replace(b"text 30", b"text 31"))
    found = []
    with pytest.raises(IntegrityError, match="not those of its CID"):
        for item in dataset_of(Files([shard.url for shard in large]), large):
            found.append(item.id)  # noqa: PERF401 - what came before the error counts
    assert found == list(range(24))


def test_small_files_of_this_machine_and_others_own_sources_are_read_by_one_thread(shards):
    source = Files([shard.url for shard in shards])
    assert list(dataset_of(source, shards)) == items(16)
    assert all(by_main for _, by_main in source.asked)

    server = Server(shards)
    server.remote = False
    assert list(dataset_of(server, shards)) == items(16)
    assert all(by_main for _, by_main in server.asked)
    plain = Server(shards)
    assert list(Dataset(plain, Item)) == items(16)
    assert all(by_main for _, by_main in plain.asked)


_REMOTE = """
import io, sys
from pathlib import Path
from atdata_core import Dataset, FileSource
from atdata_core.shard import inspect_shard
from atdata_core.sources import VerifiedSource
from benchmarks.figures import above_resting
from tests.support.samples import Loose

class Stream(io.RawIOBase):
    def __init__(self, path):
        self.file = open(path, "rb", buffering=0)
    def readable(self):
        return True
    def readinto(self, buffer):
        return self.file.readinto(buffer)

class Remote(FileSource):
    remote = True
    def open_shard(self, shard_id):
        return Stream(shard_id)

known = [inspect_shard(Stream(path), str(path)) for path in sorted(Path(sys.argv[1]).glob("*.tar"))]
source = VerifiedSource(Remote([]), known)
assert len(known) == 8 and source.ahead(known[0].url) == 2

def read():
    assert sum(len(batch) for batch in Dataset(source, Loose).ordered(8)) == 400
print(above_resting(read))
"""


def test_shards_that_are_fetched_ahead_take_no_more_memory_than_they_have(tmp_path):
    samples = (Loose(id=n, data=np.full(60_000, n, np.float64)) for n in range(400))
    sizes = [shard.size for shard in write_shards(samples, tmp_path, max_samples=50)]
    assert min(sizes) > 24_000_000
    command = [sys.executable, "-c", _REMOTE, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    assert 40 < float(found.stdout) < 100
