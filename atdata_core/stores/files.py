"""Shards as files in a folder."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO

from atdata_core.errors import ConfigurationError
from atdata_core.shard import Shard, copy_verified
from atdata_core.sources import DataSource, FileSource
from atdata_core.stores.base import AbstractDataStore


class FileDataStore(AbstractDataStore):
    """Shards as files, ``<root>/<prefix>/<cid>.tar``.

    Args:
        root: The folder; made when the first shard comes.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    def find_shard(self, shard: Shard, prefix: str) -> Shard | None:
        """The file of this CID, if it has the size that it must have."""
        path = self._path(shard, prefix)
        try:
            if path.stat().st_size != shard.size:
                return None
        except OSError:
            return None
        return Shard(str(path), shard.cid, shard.size, shard.rows)

    def put_shard(self, body: IO[bytes], shard: Shard, prefix: str) -> Shard:
        """Copies to a temporary file, checks it, and moves it to its place."""
        if shard.cid is None:
            raise ConfigurationError("a shard is stored by its CID, and this one has none")
        with self.scratch() as folder:
            part = folder / "part"
            with part.open("wb") as file:
                copy_verified(body, file.write, shard.cid, shard.url, shard.size)
            return self.put_file(part, shard, prefix)

    def put_file(self, path: Path, shard: Shard, prefix: str) -> Shard:
        """Moves a file of this store's scratch folder to its place."""
        target = self._path(shard, prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(target)
        return Shard(str(target), shard.cid, shard.size, shard.rows)

    def scratch(self) -> AbstractContextManager[Path]:
        """A folder beside the shards: on the same file system, and with room for them."""
        return scratch_folder(self.root / ".scratch")

    def create_source(self, urls: Sequence[str]) -> DataSource:
        """A source that reads these paths."""
        return FileSource(urls)

    def __repr__(self) -> str:
        return f"FileDataStore({str(self.root)!r})"

    def _path(self, shard: Shard, prefix: str) -> Path:
        parts = PurePosixPath(prefix).parts
        if not parts or ".." in parts or parts[0] == "/" or "\0" in prefix:
            raise ConfigurationError(
                "name can't be a folder in the store",
                where=str(self.root),
                expected="a relative path without '..'",
                got=repr(prefix),
            )
        return self.root.joinpath(*parts, f"{shard.cid}.tar")


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder of its own for this block, below `parent`; those of killed processes are removed.

    A process holds a lock on its folder for as long as it lives, so one whose lock is free
    belongs to nobody.
    """
    import fcntl

    parent.mkdir(parents=True, exist_ok=True)
    with (parent / ".lock").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        for folder in parent.iterdir():
            if folder.is_dir() and not _is_held(folder):
                shutil.rmtree(folder, ignore_errors=True)
        own = parent / secrets.token_hex(8)
        own.mkdir()
        lock = (own / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with lock:
            yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    import fcntl

    try:
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
