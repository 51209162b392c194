"""S3, PDS and Redis on this machine: ours beside bare clients, in turn."""

import contextlib
import itertools
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atdata_core import Dataset
from atdata_core.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata_core.indexes.files import FileIndex
from atdata_core.indexes.local import LocalIndex
from atdata_core.stores import S3DataStore
from atdata_dagster.devnet import Account, Devnet
from benchmarks import listing
from benchmarks.peers.ours import Bytes
from benchmarks.workloads import BATCH

_PIECE = 1 << 20
_IMAGE = 224 * 224 * 3
_SHARES = 0.8


def measure(folder: Path, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Ours and others' rates, by what was done."""
    with setting(folder, quick=quick) as own:
        found = {}
        for name, case in {
            "s3_read": own.s3_read,
            "pds_read": own.pds_read,
            "s3_move": own.s3_move,
            "pds_move": own.pds_move,
        }.items():
            title, over, ours, theirs = case()
            found[name] = _in_turn(title, over, ours, theirs, rounds)
        return found | listing.measure(os.environ["ATDATA_REDIS_URL"], rounds, quick=quick)


@contextlib.contextmanager
def setting(folder: Path, *, quick: bool) -> "Iterator[Setting]":
    """Services and datasets of their own, gone in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="services-", dir=folder) as temporary,
        Devnet(Path(temporary) / "net").running() as net,
    ):
        os.environ.update(net.env)
        own = Setting(Path(temporary), net, quick=quick)
        try:
            yield own
        finally:
            own.close()


def _in_turn(
    title: str, over: str, ours: Callable[[], int], theirs: Callable[[], int], rounds: int
) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    ours()
    for number in range(rounds):
        turns = [("theirs", theirs), ("ours", ours)]
        for name, call in turns if number % 2 else turns[::-1]:
            started = time.perf_counter()
            size = call()
            rates[name].append(size / 1e6 / (time.perf_counter() - started))
    return {"title": title, "over": over, "unit": "MB/s", "goal": _SHARES, **rates}


class Setting:
    """Datasets on this machine, in S3 and on the PDS.

    Args:
        folder: For the datasets of this machine.
        net: The services.
        quick: Whether with fewer bytes.
    """

    def __init__(self, folder: Path, net: Devnet, *, quick: bool) -> None:
        self.files = FileIndex(folder / "files")
        self.store = S3DataStore()
        self.team = LocalIndex(data_store=self.store)
        account: Account = net.create_account(f"b{secrets.token_hex(5)}")
        self.client = AtmosphereClient()
        self.client.login(account.handle, account.app_password)
        self.token = net_token(self.client.base_url, account)
        self.index = AtmosphereIndex(
            self.client, data_store=PDSBlobStore(self.client), allow_private=True
        )
        self.large = self._written("large", 100e6 if quick else 1e9)
        self.small = self._written("small", 50e6 if quick else 200e6)

    def close(self) -> None:
        """Closes connections."""
        self.team.close()
        self.index.close()

    def s3_read(self) -> tuple[str, str, Callable[[], int], Callable[[], int]]:
        self.team.insert(self.large, name="read")
        dataset = self.team.open_dataset("read", Bytes)

        def bare() -> int:
            return sum(map(self._got, dataset.list_shards()))

        title = "S3 in batches of 32, hashes checked"
        return title, "boto3 `get_object`, read", lambda: _read(dataset), bare

    def pds_read(self) -> tuple[str, str, Callable[[], int], Callable[[], int]]:
        self.index.insert(self.small, name="read")
        dataset = self.index.open_dataset("read", Bytes)
        urls = [PDSBlobStore(self.client).read_url(url) for url in dataset.list_shards()]
        title = "PDS blobs in batches of 32, hashes checked"
        return title, "httpx GET, read", lambda: _read(dataset), lambda: _fetched(urls)

    def s3_move(self) -> tuple[str, str, Callable[[], int], Callable[[], int]]:
        def ours() -> int:
            return self.team.insert(self.large, name=f"moved-{secrets.token_hex(4)}").moved

        def bare() -> int:
            prefix, total = secrets.token_hex(8), 0
            for path in map(Path, self.large.list_shards()):
                with path.open("rb") as body:
                    self.store.client.put_object(
                        Bucket=self.store.bucket, Key=f"{prefix}/{path.name}", Body=body
                    )
                total += path.stat().st_size
            return total

        return "files to S3, hashes checked", "boto3 `put_object`", ours, bare

    def pds_move(self) -> tuple[str, str, Callable[[], int], Callable[[], int]]:
        import httpx

        def ours() -> int:
            return self.index.insert(self.small, name=f"moved-{secrets.token_hex(4)}").moved

        def bare() -> int:
            total = 0
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/x-tar"}
            url = f"{self.client.base_url}/xrpc/com.atproto.repo.uploadBlob"
            with httpx.Client(timeout=300, headers=headers) as client:
                for path in map(Path, self.small.list_shards()):
                    size = path.stat().st_size
                    with path.open("rb") as body:
                        length = {"Content-Length": str(size)}
                        client.post(url, content=_pieces(body), headers=length).raise_for_status()
                    total += size
            return total

        return "files to PDS blobs, with their record", "httpx uploads", ours, bare

    def _written(self, name: str, size: float) -> Dataset[Bytes]:
        rng = np.random.default_rng(3)
        some = [
            Bytes(image=rng.integers(0, 256, (224, 224, 3), np.uint8), name=str(i), score=i / 2)
            for i in range(50)
        ]
        samples = itertools.islice(itertools.cycle(some), int(size / _IMAGE))
        self.files.write_samples(samples, name=name, sample_type=Bytes)
        return self.files.open_dataset(name, Bytes)

    def _got(self, url: str) -> int:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        body = self.store.client.get_object(Bucket=bucket, Key=key)["Body"]
        return sum(map(len, iter(lambda: body.read(_PIECE), b"")))


def net_token(url: str, account: Account) -> str:
    """A token of the account's, for requests past the library."""
    import httpx

    body = {"identifier": account.handle, "password": account.app_password}
    answer = httpx.post(f"{url}/xrpc/com.atproto.server.createSession", json=body)
    token: str = answer.raise_for_status().json()["accessJwt"]
    return token


def _read(dataset: Dataset[Any]) -> int:
    count = sum(len(batch.image) for batch in dataset.ordered(BATCH))
    assert count == len(dataset)
    return dataset.entry.size if dataset.entry and dataset.entry.size else 0


def _fetched(urls: Sequence[str]) -> int:
    import httpx

    total = 0
    plain = {"Accept-Encoding": "identity"}  # or the server compresses, which takes much longer
    with httpx.Client(timeout=60, headers=plain) as client:
        for url in urls:
            with client.stream("GET", url) as answer:
                answer.raise_for_status()
                total += sum(map(len, answer.iter_raw(_PIECE)))
    return total


def _pieces(body: Any) -> Iterator[bytes]:
    return iter(lambda: body.read(_PIECE), b"")
