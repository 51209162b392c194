"""Where the bytes of shards come from: the port `DataSource`, and the sources without a server."""

import glob
import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from atdata_core.errors import ConfigurationError, NotFoundError
from atdata_core.files import two_threads_pay
from atdata_core.shard import Shard, verified

_MAX_EXPANSION = 100_000
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?\}")  # as braceexpand sees one


@runtime_checkable
class DataSource(Protocol):
    """Something that lists shards and opens them.

    An implementation also has `shards`, which `BaseSource` derives from the two.
    """

    def list_shards(self) -> list[str]:
        """The identifiers of the shards, in order."""
        ...

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """One shard for reading, from its start.

        Raises:
            NotFoundError: There is none of this identifier.
        """
        ...

    @property
    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """All shards, in order, each opened when its turn comes."""
        ...


class BaseSource(ABC):
    """What sources share: `shards`, derived from `list_shards` and `open_shard`."""

    verifies = False
    """Whether `open_shard` itself checks the bytes against their CID."""

    remote = False
    """Whether shards come over the network, and several may be opened at once, in threads."""

    @abstractmethod
    def list_shards(self) -> list[str]:
        """The identifiers of the shards, in order."""

    @abstractmethod
    def open_shard(self, shard_id: str) -> IO[bytes]:
        """One shard for reading, from its start."""

    def ahead(self, shard_id: str) -> int:  # noqa: ARG002
        """How many shards up to this one are to be opened before their turn, in threads.

        (Where opening one takes long: because it is fetched as a whole, or hashed.)
        """
        return 0

    @property
    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """All shards, in order, each opened when its turn comes."""
        for shard_id in self.list_shards():
            with self.open_shard(shard_id) as stream:
                yield shard_id, stream


class FileSource(BaseSource):
    """Tar files on this machine.

    Args:
        paths: Their paths, in order.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._paths = [str(path) for path in paths]

    def list_shards(self) -> list[str]:
        """The paths, in order."""
        return list(self._paths)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """The file at a path; raises `NotFoundError` if there is none."""
        try:
            return Path(shard_id.removeprefix("file://")).open("rb")
        except OSError as error:
            raise NotFoundError(
                f"shard can't be read: {error.strerror}",
                where=shard_id,
                remedy="Is the path right, and on this machine? Local shards don't travel to "
                "other hosts: promote the dataset to the team layer for that",
            ) from error

    def __repr__(self) -> str:
        return f"FileSource({len(self._paths)} shards)"


class VerifiedSource(BaseSource):
    """Another source whose shards are checked against their CIDs before a byte is handed out.

    Args:
        source: Where the bytes come from.
        known: What is known of each shard, in the order of the source. A shard without a CID
            can't be checked and comes as it is.
    """

    def __init__(self, source: DataSource, known: Sequence[Shard]) -> None:
        self.source = source
        self.known = tuple(known)
        self._by_url = {shard.url: shard for shard in self.known}
        self._hashed: set[str] = set()

    def list_shards(self) -> list[str]:
        """The identifiers of the shards, in order."""
        return [shard.url for shard in self.known]

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """One shard, whole and verified; raises `IntegrityError` if its bytes are others."""
        shard = self._by_url.get(shard_id)
        if shard is None:
            raise NotFoundError("no such shard in the dataset", where=shard_id)
        stream = self.source.open_shard(shard_id)
        if shard.cid is None or getattr(self.source, "verifies", False):
            return stream
        stream = verified(stream, shard.cid, shard_id, shard.size)
        self._hashed.add(shard_id)
        return stream

    def ahead(self, shard_id: str) -> int:
        """Two that come over the network, of blobs one; of files, what two cores hash at once.

        (From S3 on this machine, over one bare GET after another: with one x0.75, with two x0.9.)
        """
        if getattr(self.source, "remote", False):
            return 1 if getattr(self.source, "verifies", False) else 2
        shard = self._by_url.get(shard_id)
        if shard is None or shard.cid is None or shard_id in self._hashed:
            return 0
        return 2 if isinstance(self.source, FileSource) and two_threads_pay(shard.size or 0) else 0

    def __repr__(self) -> str:
        return f"VerifiedSource({self.source!r})"


def expand(url: str, files: str = "*.tar") -> list[str]:
    """The paths or URLs that a text with braces or wildcards stands for, in order.

    ``data-{000000..000009}.tar`` counts, ``data-*.tar`` looks at the disk; a directory stands for
    the files in it that match `files`.

    Raises:
        NotFoundError: A wildcard or a directory matches nothing.
        ConfigurationError: The braces stand for more than 100,000 shards.
    """
    names = expand_braces(url)
    if "://" in url:
        return names
    found: list[str] = []
    for name in names:
        pattern = str(Path(name) / files) if Path(name).is_dir() else name
        if glob.has_magic(pattern) and not Path(name).is_file():
            matches = sorted(glob.glob(pattern))  # noqa: PTH207 - patterns can be absolute
            if not matches:
                raise NotFoundError("nothing matches", where=pattern)
            found += matches
        else:
            found.append(name)
    return found


def expand_braces(text: str) -> list[str]:
    """The texts that one with braces stands for, in order; `ConfigurationError` as `expand`."""
    if "{" not in text:
        return [text]
    from braceexpand import braceexpand

    names: list[str] = []
    try:
        # It makes all of a range's numbers before it hands out the first name.
        if sum(map(_range_length, _RANGE.finditer(text))) <= _MAX_EXPANSION:
            names.extend(itertools.islice(braceexpand(text), _MAX_EXPANSION + 1))
    except ValueError as error:
        raise ConfigurationError(
            f"braces can't be expanded: {error}",
            where=text[:200],
            remedy="Write a brace that belongs to a name as \\{",
        ) from error
    if not 0 < len(names) <= _MAX_EXPANSION:
        raise ConfigurationError(
            "braces stand for too many shards", where=text[:200], expected=f"≤ {_MAX_EXPANSION:,}"
        )
    return names


def _range_length(match: re.Match[str]) -> int:
    first, last, step = (int(number or 1) for number in match.groups())
    return abs(last - first) // max(1, abs(step)) + 1
