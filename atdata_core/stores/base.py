"""The port `AbstractDataStore`: a place where shards lie."""

import contextlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from atdata_core.dataset import Dataset
from atdata_core.shard import (
    DEFAULT_MAX_SAMPLES,
    DEFAULT_MAX_SHARD_BYTES,
    Shard,
    inspect_shard,
    write_shards,
)
from atdata_core.sources import DataSource

T = TypeVar("T")

Progress = Callable[[Shard, bool], None]
"""Called for each shard that is in its place: the shard, and whether bytes were moved for it."""


class AbstractDataStore(ABC):
    """A place where shards lie, each under a name made of its CID.

    A shard is in its place whole or not at all, and putting it there again moves no byte. A
    backend says how it finds, puts and opens one; writing and copying datasets is the same for
    all, and is here.
    """

    @property
    def max_shard_bytes(self) -> int | None:
        """The size of the largest shard that the store takes, in bytes; None: any."""
        return None

    @abstractmethod
    def find_shard(self, shard: Shard, prefix: str) -> Shard | None:
        """The shard of this CID and size as it lies here, or None.

        Args:
            shard: The shard as it lies elsewhere; its CID and size are known.
            prefix: The folder in the store.
        """

    @abstractmethod
    def put_shard(self, body: IO[bytes], shard: Shard, prefix: str) -> Shard:
        """Stores a shard, whole or not at all.

        Args:
            body: Its bytes; a file at its start, which can be sought.
            shard: Its CID, size and rows.
            prefix: The folder in the store.

        Raises:
            IntegrityError: The bytes aren't those of the CID.
            TooLargeError: It is larger than `max_shard_bytes`.
            ServiceError: The server refuses it, or isn't reached.
        """

    @abstractmethod
    def create_source(self, urls: Sequence[str]) -> DataSource:
        """A source that reads shards of this store by their addresses, in this order."""

    def close(self) -> None:  # noqa: B027 - most stores hold nothing open
        """Closes connections; they are opened again when they are needed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def read_url(self, url: str) -> str:
        """`url` as somebody without this store can read it; often the same."""
        return url

    def supports_streaming(self) -> bool:
        """Whether shards can be read without being downloaded first."""
        return True

    def write_shards(
        self,
        ds: Dataset[Any],
        *,
        prefix: str,
        max_samples: int = DEFAULT_MAX_SAMPLES,
        max_bytes: int | None = None,
    ) -> list[str]:
        """Writes a dataset's samples as new shards.

        Args:
            ds: The dataset.
            prefix: The folder in the store.
            max_samples: The most samples in a shard.
            max_bytes: The most bytes in a shard; by default 25 MB, or what the store takes.

        Returns:
            The addresses of the shards, in order.
        """
        shards = self.write_samples(
            ds.ordered(),
            prefix=prefix,
            sample_type=ds.sample_type,
            max_samples=max_samples,
            max_bytes=max_bytes,
        )
        return [shard.url for shard in shards]

    def write_samples(
        self,
        samples: Iterable[T],
        *,
        prefix: str,
        sample_type: type[T] | None = None,
        max_samples: int = DEFAULT_MAX_SAMPLES,
        max_bytes: int | None = None,
        progress: Progress | None = None,
    ) -> list[Shard]:
        """Writes a stream of samples as shards, keeping no more than one shard at a time.

        Args:
            samples: The samples; taken one by one.
            prefix: The folder in the store.
            sample_type: Their type; by default that of the first.
            max_samples: The most samples in a shard.
            max_bytes: The most bytes in a shard; by default 25 MB, or what the store takes.
            progress: Told of each shard.

        Raises:
            SampleError: A sample doesn't fit its type; shards before it are there, nameless.
            ServiceError: See `put_shard`.
        """
        limit = max_bytes or DEFAULT_MAX_SHARD_BYTES
        if self.max_shard_bytes is not None:
            limit = min(limit, self.max_shard_bytes)
        done: list[Shard] = []
        with self.scratch() as folder:
            for shard in write_shards(
                samples,
                folder,
                sample_type=sample_type,
                max_samples=max_samples,
                max_bytes=limit,
                where=prefix,
            ):
                placed = self.find_shard(shard, prefix)
                done.append(placed or self.put_file(Path(shard.url), shard, prefix))
                Path(shard.url).unlink(missing_ok=True)
                if progress is not None:
                    progress(done[-1], placed is None)
        return done

    def put_file(self, path: Path, shard: Shard, prefix: str) -> Shard:
        """Stores a shard from a file of `scratch`, which may be moved; see `put_shard`."""
        with path.open("rb") as body:
            return self.put_shard(body, shard, prefix)

    def scratch(self) -> AbstractContextManager[Path]:
        """A folder for shards that are being put together; gone when the block ends."""
        return _temporary_folder()

    def copy_shards(
        self,
        source: DataSource,
        shards: Sequence[Shard],
        *,
        prefix: str,
        progress: Progress | None = None,
    ) -> list[Shard]:
        """Copies shards from elsewhere by their CIDs; nothing is decoded.

        Args:
            source: Where they are read.
            shards: What is known of them.
            prefix: The folder in the store.
            progress: Told of each shard.

        Returns:
            The shards as they lie here, in the same order.

        Raises:
            IntegrityError: A shard's bytes aren't those of its CID.
            ServiceError: See `put_shard`.
        """
        placed: list[Shard] = []
        for shard in shards:
            known = _identified(source, shard)
            found = self.find_shard(known, prefix)
            if found is None:
                with source.open_shard(shard.url) as body, seekable(body) as file:
                    placed.append(self.put_shard(file, known, prefix))
            else:
                placed.append(found)
            if progress is not None:
                progress(placed[-1], found is None)
        return placed


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="atdata-") as folder:
        yield Path(folder)


class seekable:  # noqa: N801 - reads as a function in a with statement
    """A stream as a file that can be sought; one that can't be is copied to a temporary one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._copy: IO[bytes] | None = None

    def __enter__(self) -> IO[bytes]:
        if self._stream.seekable():
            return self._stream
        self._copy = tempfile.TemporaryFile()
        try:
            while piece := self._stream.read(1 << 20):
                self._copy.write(piece)
            self._copy.seek(0)
        except BaseException:
            self._copy.close()
            raise
        return self._copy

    def __exit__(self, *_exc: object) -> None:
        if self._copy is not None:
            self._copy.close()


def _identified(source: DataSource, shard: Shard) -> Shard:
    if shard.cid is not None and shard.size is not None:
        return shard
    with source.open_shard(shard.url) as stream:
        return inspect_shard(stream, shard.url)
