"""Figures of our own reader and writer that no peer is needed for, each in a fresh process.

``python -m benchmarks.figures NAME FOLDER`` measures one; the folder is kept between rounds.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from atdata_core import Dataset
from atdata_core.atproto.proof import verify_proof
from atdata_core.cid import digest_to_cid
from atdata_core.indexes.files import FileIndex
from atdata_core.shard import copy_verified, write_shards
from benchmarks.environments import ROOT
from benchmarks.peers.ours import Bytes
from benchmarks.workloads import BATCH

_LARGE = 2000
_PROOFS = 200
_NAME = "images"


def memory_mb(name: str) -> float:
    """A figure of this process from the kernel: ``VmRSS``, or ``VmHWM``, its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def above_resting(work: Callable[[], object]) -> float:
    """The memory that some work takes above what the process had before, in MB."""
    resting = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    work()
    return memory_mb("VmHWM") - resting


def _images(count: int) -> "itertools.chain[Bytes]":
    rng = np.random.default_rng(1)
    some = [
        Bytes(image=rng.integers(0, 256, (224, 224, 3), np.uint8), name=f"{i}", score=float(i))
        for i in range(20)
    ]
    return itertools.chain.from_iterable(itertools.repeat(some, -(-count // len(some))))


def _large(folder: Path) -> Path:
    path = folder / "large"
    if not path.exists():
        path.mkdir()
        for _ in write_shards(_images(_LARGE), path, max_bytes=1 << 30):
            pass
    return path


def first_batch_ms(folder: Path) -> float:
    path = str(_large(folder) / "*.tar")
    next(iter(Dataset[Bytes](path).ordered(BATCH))).image  # noqa: B018 - what it loads is loaded
    started = time.perf_counter()
    next(iter(Dataset[Bytes](path).ordered(BATCH))).image  # noqa: B018
    return 1000 * (time.perf_counter() - started)


def len_ms(folder: Path) -> float:
    index = FileIndex(folder / "index")
    with contextlib.suppress(Exception):
        index.get_dataset(_NAME)
    if not any(entry.name == _NAME for entry in index.list_datasets()):
        index.write_samples(_images(_LARGE), name=_NAME, sample_type=Bytes)
    started = time.perf_counter()
    dataset = index.open_dataset(_NAME, Bytes)
    assert len(dataset) == _LARGE
    spent = 1000 * (time.perf_counter() - started)
    for url in dataset.list_shards():  # that nothing was read: without the shards it is the same
        Path(url).rename(f"{url}.away")
    try:
        assert len(index.open_dataset(_NAME, Bytes)) == _LARGE
    finally:
        for url in dataset.list_shards():
            Path(f"{url}.away").rename(url)
    return spent


def reader_mb(folder: Path) -> float:
    dataset = Dataset[Bytes](str(_large(folder) / "*.tar"))
    dataset.head(1)

    def read() -> None:
        for batch in dataset.ordered(BATCH):
            assert batch.image.shape[1:] == (224, 224, 3)

    return above_resting(read)


def reader_s3_mb(folder: Path) -> float:
    from benchmarks import services  # boto3 and the like would be in the memory of other figures

    with services.setting(folder, quick=True) as setting:
        return above_resting(setting.s3_read()[2])


def proof_ms(_folder: Path) -> float:
    proof = json.loads((ROOT / "tests" / "data" / "real_proof.json").read_text("utf-8"))
    car = base64.b64decode(proof["car"])
    verify_proof(car, proof["did_document"], proof["uri"])  # what it loads is loaded
    started = time.perf_counter()
    for _ in range(_PROOFS):
        verify_proof(car, proof["did_document"], proof["uri"])
    return 1000 * (time.perf_counter() - started) / _PROOFS


def hash_gb_s(folder: Path) -> float:
    [path] = _large(folder).glob("*.tar")
    digest = hashlib.sha256(path.read_bytes()).digest()
    started = time.perf_counter()
    with path.open("rb") as stream:
        copy_verified(stream, lambda _piece: None, digest_to_cid(digest), str(path))
    return path.stat().st_size / 1e9 / (time.perf_counter() - started)


def verified_share(folder: Path) -> float:
    """What reading through an index costs more than reading the files, in parts of the former."""
    index = FileIndex(folder / "index")
    if not any(entry.name == _NAME for entry in index.list_datasets()):
        index.write_samples(_images(_LARGE), name=_NAME, sample_type=Bytes)
    listed = index.open_dataset(_NAME, Bytes)
    bare = Dataset[Bytes](listed.list_shards())

    def seconds(dataset: Dataset[Bytes]) -> float:
        started = time.perf_counter()
        for batch in dataset.ordered(BATCH):
            assert batch.image.ndim == 4
        return time.perf_counter() - started

    seconds(bare)
    return 100 * (1 - seconds(bare) / seconds(listed))


def writer_mb(folder: Path) -> float:
    samples = _images(_LARGE)
    head = list(itertools.islice(samples, 1))
    with tempfile.TemporaryDirectory(dir=folder) as target:

        def write() -> None:
            for _ in write_shards(itertools.chain(head, samples), Path(target)):
                pass

        return above_resting(write)


def step_ms(folder: Path) -> float:
    from benchmarks import plugin  # Dagster would be in the memory of the other figures

    logging.disable(logging.CRITICAL)  # Dagster's account of each step, on the terminal
    return plugin.step_ms(folder)


def import_ms(_folder: Path) -> float:
    from benchmarks import plugin

    return plugin.import_ms()


if __name__ == "__main__":
    figure = globals()[sys.argv[1]]
    print("RESULT " + json.dumps(figure(Path(sys.argv[2]))))
