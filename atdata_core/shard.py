"""A shard: samples in a tar file, written, read, and held to its CID.

What we write is a plain POSIX ustar file, one ``<key>.msgpack`` member a sample, with every field
of its headers fixed but name and size, so equal samples in equal order give equal bytes and an
equal CID. What we read is any tar of regular members, with GNU or pax long names, as WebDataset
writes it; whatever else a tar can hold is refused.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar, cast

import msgspec

from atdata_core.blocks import read_blocks
from atdata_core.cid import Cid, cid_to_digest, digest_to_cid
from atdata_core.errors import IntegrityError, SampleError, TooLargeError
from atdata_core.files import file_number
from atdata_core.known import KnownFiles, state_of
from atdata_core.members import Members
from atdata_core.packing import Pack, packer_of
from atdata_core.sample import pack
from atdata_core.spool import Spool
from atdata_core.tar import END, member_bytes
from atdata_core.writer import ShardWriter, key_of

T = TypeVar("T")

DEFAULT_MAX_SHARD_BYTES = 25_000_000
"""Shards stay under this size by default, in bytes: what a 10 Mbit/s uplink moves within the
20 seconds that a PDS with an S3 blob store allows for one upload
(https://github.com/bluesky-social/atproto, packages/pds)."""

DEFAULT_MAX_SAMPLES = 100_000
"""Samples a shard by default, at most."""

_CHUNK = 1 << 20
_MAX_UNSIZED = 8 << 30


Count = Annotated[int, msgspec.Meta(ge=0)]
"""A number of bytes or samples, as `msgspec` checks it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar file of a dataset: where it lies and what is known of it.

    Args:
        url: Its address: a path, ``s3://bucket/key``, ``https://…``, ``at://did/blob/cid``.
        cid: Its raw CID; None when nobody has hashed it.
        size: Its length in bytes, or None.
        rows: The number of its samples, or None.
    """

    url: str
    cid: Cid | None = None
    size: Count | None = None
    rows: Count | None = None


def write_shard(
    samples: Iterable[Any], file: IO[bytes], *, first: int = 0, where: str = "shard"
) -> Shard:
    """Writes samples as one shard to an open file.

    Args:
        samples: The samples.
        file: Open for binary writing; neither flushed nor closed.
        first: The number of the first sample, which its key tells.
        where: The shard's name, for errors.

    Raises:
        SampleError: A value doesn't fit its field.
    """
    with ShardWriter(file, first) as writer:
        writer.fill(
            pack(sample, f"{where}, sample {key_of(number)}")
            for number, sample in enumerate(samples, first)
        )
        cid, size = writer.finish()
        return Shard("", cid, size, writer.rows)


def write_shards(
    samples: Iterable[T],
    directory: Path,
    *,
    sample_type: type[T] | None = None,
    max_samples: int = DEFAULT_MAX_SAMPLES,
    max_bytes: int = DEFAULT_MAX_SHARD_BYTES,
    where: str = "dataset",
) -> Iterator[Shard]:
    """Writes samples to tar files in `directory`, and yields each when it is whole.

    The caller may move or delete a file as soon as he has it. Where one shard ends and the next
    begins depends on the samples and the two limits alone. Without samples there is one shard,
    of none.

    Args:
        samples: The samples, all of one packable type. They are taken one at a time.
        directory: Where the files go; it must exist.
        sample_type: Their type; by default that of the first one.
        max_samples: The most samples in a shard.
        max_bytes: The most bytes in a shard, tar headers and all.
        where: The dataset's name, for errors.

    Raises:
        SampleError: A sample is of another type, or a value doesn't fit its field. The message
            names shard, key, and field.
        TooLargeError: One sample alone is larger than `max_bytes`.
    """
    index = written = 0

    def label(number: int) -> str:
        shard = index + (number - written >= max_samples)
        return f"{where}, shard {shard}, sample {key_of(number)}"

    stream = _packed(samples, sample_type, label)
    following = next(stream, None)
    while following is not None or not index:
        path = directory / f"{index:06d}.tar"
        with path.open("wb", buffering=0) as file, ShardWriter(file, written) as writer:
            if following is not None:
                bodies = itertools.chain((following,), stream)
                following = writer.fill(itertools.islice(bodies, max_samples), max_bytes)
            if following is None:
                following = next(stream, None)
            elif not writer.rows:
                raise _too_large(following, max_bytes, label(written))
            cid, size = writer.finish()
        yield Shard(str(path), cid, size, writer.rows)
        written += writer.rows
        index += 1


def _packed(
    samples: Iterable[T], sample_type: type[T] | None, label: Callable[[int], str]
) -> Iterator[bytes]:
    """The bytes of one sample after another.

    Args:
        samples: The samples.
        sample_type: Their type; None: that of the first one.
        label: What errors call the sample of a number.

    Raises:
        SampleError: A sample is of another type, or a value doesn't fit its field.
    """
    packed: Pack | None = None
    for number, sample in enumerate(samples):
        if packed is None:
            sample_type = sample_type or type(sample)
            packed = packer_of(sample_type)
        if type(sample) is not sample_type:
            raise SampleError(
                "sample has another type than the dataset",
                where=label(number),
                expected=str(getattr(sample_type, "__name__", sample_type)),
                got=type(sample).__name__,
            )
        try:
            body = packed(sample)
        except SampleError:
            body = pack(sample, label(number))  # says what is wrong
        yield body


def _too_large(body: bytes, max_bytes: int, where: str) -> TooLargeError:
    error = TooLargeError(
        "one sample is larger than a shard may be",
        where=where,
        expected=f"at most {max_bytes:,} bytes",
        got=f"{member_bytes(len(body)) + len(END):,}",
        remedy="Allow larger shards, or split the sample",
    )
    error.size, error.limit = member_bytes(len(body)) + len(END), max_bytes
    return error


def read_samples(stream: IO[bytes], sample_type: type[T], where: str) -> Iterator[T]:
    """The samples of a shard, in order.

    Args:
        stream: The shard, from its start; read once, never sought.
        sample_type: A packable type.
        where: The shard's name, for errors.

    Raises:
        ShardError: The tar is cut short or not a legal shard; see `Members.runs`.
        SampleError: A body is no sample of this type. The message names shard and key.
    """
    for block in read_blocks(stream, sample_type, where):
        yield from cast("Iterator[T]", block.samples(range(len(block))))


def inspect_shard(stream: IO[bytes], url: str) -> Shard:
    """Reads a shard through: its CID, size and number of samples.

    Raises:
        ShardError: It is not a whole, legal shard.
    """
    tap = _HashingReader(stream)
    rows = sum(len(run) for run in Members(cast("IO[bytes]", tap), url).runs())
    return Shard(url, digest_to_cid(tap.digest()), tap.size, rows)


def verified(stream: IO[bytes], cid: str, where: str, size: int | None = None) -> IO[bytes]:
    """The same bytes, once all of them were read and hash to `cid`; `stream` is its own to close.

    A file of this machine is read twice where it lies, but hashed only once a process as long as
    nobody touches it. Others wait in memory up to 28 MiB, beyond that in a temporary file.

    Args:
        stream: The bytes.
        cid: Their raw CID.
        where: The shard's name, for errors.
        size: How many they have to be, where it is known.

    Raises:
        IntegrityError: They hash to something else, or are more or fewer than `size`.
    """
    number = file_number(stream)
    if number is not None:
        try:
            state = state_of(number)
            if size not in (None, os.fstat(number).st_size) or _KNOWN.of(state) != cid:
                copy_verified(stream, len, cid, where, size)
                _KNOWN.note(state, cid)
                stream.seek(0)
        except BaseException:
            stream.close()
            raise
        return stream
    spool = Spool()
    try:
        with stream:
            copy_verified(stream, spool.write, cid, where, size)
        return spool.whole()
    except BaseException:
        spool.close()
        raise


_KNOWN: KnownFiles[str] = KnownFiles(100_000)
"""The CIDs of files that were hashed."""


def copy_verified(
    stream: IO[bytes],
    write: Callable[[bytes], object],
    cid: str,
    where: str,
    size: int | None = None,
) -> None:
    """Copies a stream piece by piece.

    Raises:
        IntegrityError: It hashes to something else than `cid`, or is longer or shorter than `size`.
            What was written until then is the caller's to throw away.
    """
    total, digest = 0, hashlib.sha256()
    while piece := stream.read(_CHUNK):
        total += len(piece)
        if total > (_MAX_UNSIZED if size is None else size):
            break
        digest.update(piece)
        write(piece)
    found = digest.digest()
    if size is None and total > _MAX_UNSIZED:
        raise IntegrityError(
            "shard of unknown length doesn't end",
            where=where,
            expected=f"at most {_MAX_UNSIZED:,} bytes where no length is told",
        )
    if size is not None and total != size:
        raise IntegrityError(
            "shard has another length than its entry says",
            where=where,
            expected=f"{size:,} bytes",
            got=f"{total:,}" if total < size else "more",
        )
    if found != cid_to_digest(cid):
        raise IntegrityError(
            "shard's bytes are not those of its CID",
            where=where,
            expected=cid,
            got=digest_to_cid(found),
            remedy="The copy is damaged or was exchanged: fetch it again, or from another place",
        )


class _HashingReader:
    """Passes a stream's bytes on and hashes them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        data = self._stream.read(len(buffer))
        self._hash.update(data)
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)

    def digest(self) -> bytes:
        return self._hash.digest()
