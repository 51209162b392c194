"""A shard: samples in a tar file. The only module that knows tar.

What we write is a plain POSIX ustar file, one ``<key>.msgpack`` member a sample, with every field
of its headers fixed but name and size, so equal samples in equal order give equal bytes and an
equal CID. What we read is any tar of regular members, with GNU or pax long names, as WebDataset
writes it; whatever else a tar can hold is refused.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from atdata_core.cid import cid_to_digest, digest_to_cid
from atdata_core.errors import IntegrityError, SampleError, ShardError, TooLargeError
from atdata_core.sample import pack, unpack

T = TypeVar("T")

DEFAULT_MAX_SHARD_BYTES = 25_000_000
"""Shards stay under this size by default, in bytes: what a 10 Mbit/s uplink moves within the
20 seconds that a PDS with an S3 blob store allows for one upload
(https://github.com/bluesky-social/atproto, packages/pds)."""

DEFAULT_MAX_SAMPLES = 100_000
"""Samples a shard by default, at most."""

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_CHUNK = 1 << 20
_SPOOL = 64 << 20
_MAX_MEMBER_BYTES = 1 << 30
_MAX_META_BYTES = 1 << 16


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
    cid: str | None = None
    size: int | None = None
    rows: int | None = None


class ShardWriter:
    """Writes one shard to an open file, hashing on the way.

    Args:
        file: A file open for binary writing, at its start. It is neither flushed nor closed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.rows = 0
        self.size = 0

    def add(self, key: str, body: bytes) -> None:
        """Appends one sample, as the member ``<key>.msgpack``."""
        header = _header(f"{key}.msgpack", len(body))
        self._write(header + body + bytes(-len(body) % _BLOCK))
        self.rows += 1

    def finish(self) -> Shard:
        """Writes the end of the archive; the shard's size, rows and CID (its url is empty)."""
        self._write(_END)
        return Shard("", digest_to_cid(self._hash.digest()), self.size, self.rows)

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)
        self.size += len(data)


def shard_bytes(body_bytes: Iterable[int]) -> int:
    """The size of a shard whose samples have these sizes, in bytes."""
    return sum(_member_bytes(size) for size in body_bytes) + len(_END)


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
    writer = ShardWriter(file)
    for number, sample in enumerate(samples, first):
        key = _key(number)
        writer.add(key, pack(sample, f"{where}, sample {key}"))
    return writer.finish()


def _key(number: int) -> str:
    return f"{number:09d}"


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
    count = 0
    iterator = iter(samples)
    pending: tuple[str, bytes] | None = None
    exhausted = False
    index = 0
    while not exhausted:
        path = directory / f"{index:06d}.tar"
        with path.open("wb") as file:
            writer = ShardWriter(file)
            while True:
                if pending is None:
                    try:
                        sample = next(iterator)
                    except StopIteration:
                        exhausted = True
                        break
                    key = _key(count)
                    place = index + 1 if writer.rows >= max_samples else index
                    label = f"{where}, shard {place}, sample {key}"
                    if sample_type is None:
                        sample_type = type(sample)
                    if type(sample) is not sample_type:
                        raise SampleError(
                            "sample has another type than the dataset",
                            where=label,
                            expected=sample_type.__name__,
                            got=type(sample).__name__,
                        )
                    pending = (key, pack(sample, label))
                    count += 1
                    _check_fits(pending, max_bytes, label)
                size = writer.size + _member_bytes(len(pending[1])) + len(_END)
                if writer.rows and (writer.rows >= max_samples or size > max_bytes):
                    break
                writer.add(*pending)
                pending = None
            done = writer.finish()
        yield Shard(str(path), done.cid, done.size, done.rows)
        index += 1


def _check_fits(pending: tuple[str, bytes], max_bytes: int, where: str) -> None:
    size = _member_bytes(len(pending[1])) + len(_END)
    if size > max_bytes:
        error = TooLargeError(
            "one sample is larger than a shard may be",
            where=where,
            expected=f"at most {max_bytes:,} bytes",
            got=f"{size:,}",
            remedy="Allow larger shards, or split the sample",
        )
        error.size, error.limit = size, max_bytes
        raise error


def read_samples(stream: IO[bytes], sample_type: type[T], where: str) -> Iterator[T]:
    """The samples of a shard, in order.

    Args:
        stream: The shard, from its start; read once, never sought.
        sample_type: A packable type.
        where: The shard's name, for errors.

    Raises:
        ShardError: The tar is cut short or not a legal shard; see `read_members`.
        SampleError: A body is no sample of this type. The message names shard and key.
    """
    for key, body in read_bodies(stream, where):
        yield unpack(sample_type, body, f"{where}, sample {key}")


def read_bodies(stream: IO[bytes], where: str) -> Iterator[tuple[str, bytes]]:
    """The samples of a shard as (key, msgpack bytes), in order; other members are passed over."""
    keys: set[str] = set()
    others = 0
    for name, body in read_members(stream, where):
        key, _, extension = name.rpartition(".")
        if extension.lower() != "msgpack":
            others += 1
            continue
        if key in keys:
            raise ShardError("two samples have the same key", where=where, got=key)
        keys.add(key)
        yield key, body
    if others and not keys:
        raise ShardError(
            "shard holds no samples of ours", where=where, expected="members named <key>.msgpack"
        )


def read_members(stream: IO[bytes], where: str) -> Iterator[tuple[str, bytes]]:
    """The regular members of a tar as (name, bytes), in order; directories are passed over.

    Raises:
        ShardError: A header's checksum is wrong, a member is a link, a device, sparse, or has an
            unsafe name, or the file ends before its end-of-archive mark. A file that is cut
            short never reads as a shorter dataset.
    """
    long_name: str | None = None
    pax_size: int | None = None
    first = True
    while True:
        header = _read(stream, _BLOCK, where, "a member's header")
        if header == _END[:_BLOCK]:
            if _read(stream, _BLOCK, where, "the end of the archive") != _END[:_BLOCK]:
                raise ShardError("archive ends with one zero block, not two", where=where)
            _check_tail(stream, where)
            return
        if first:
            _check_is_tar(header, where)
            first = False
        _check_sum(header, where)
        kind = header[156:157]
        size = _size(header, where)
        name = _name(header, where)
        if kind in b"xgLK" and kind:
            meta = _read(stream, size + -size % _BLOCK, where, name, _MAX_META_BYTES)[:size]
            if kind == b"L":
                long_name = _text(meta.rstrip(b"\0"), where)
            elif kind == b"x":
                long_name, pax_size = _pax(meta, where, long_name)
            elif kind == b"g":
                _pax(meta, where, None)
            continue
        name, size = long_name or name, size if pax_size is None else pax_size
        long_name = pax_size = None
        if kind == b"5" or (kind in b"0\0" and name.endswith("/")):
            _read(stream, size + -size % _BLOCK, where, name)
            continue
        if kind not in (b"0", b"\0"):
            raise ShardError(
                "member is not a regular file", where=where, got=f"{name!r}, type {kind!r}"
            )
        _check_safe(name, where)
        body = _read(stream, size + -size % _BLOCK, where, name)
        yield name, body[:size] if len(body) != size else body


def inspect_shard(stream: IO[bytes], url: str) -> Shard:
    """Reads a shard through: its CID, size and number of samples.

    Raises:
        ShardError: It is not a whole, legal shard.
    """
    tap = _HashingReader(stream)
    rows = sum(1 for _ in read_bodies(cast("IO[bytes]", tap), url))
    return Shard(url, digest_to_cid(tap.digest()), tap.size, rows)


def verified(stream: IO[bytes], cid: str, where: str, size: int | None = None) -> IO[bytes]:
    """The same bytes, once all of them were read and hash to `cid`; closes `stream`.

    They wait in memory up to 64 MiB, beyond that in a temporary file.

    Raises:
        IntegrityError: They hash to something else, or are more or fewer than `size`.
    """
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115
    try:
        with stream:
            copy_verified(stream, spool.write, cid, where, size)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool


def copy_verified(
    stream: IO[bytes],
    write: Callable[[bytes], object],
    cid: str,
    where: str,
    size: int | None = None,
) -> int:
    """Copies a stream piece by piece; returns its length in bytes.

    Raises:
        IntegrityError: It hashes to something else than `cid`, or is longer or shorter than `size`.
            What was written until then is the caller's to throw away.
    """
    digest = hashlib.sha256()
    total = 0
    while piece := stream.read(_CHUNK):
        total += len(piece)
        if size is not None and total > size:
            break
        digest.update(piece)
        write(piece)
    if size is not None and total != size:
        raise IntegrityError(
            "shard has another length than its entry says",
            where=where,
            expected=f"{size:,} bytes",
            got=f"{total:,}" if total < size else "more",
        )
    if digest.digest() != cid_to_digest(cid):
        raise IntegrityError(
            "shard's bytes are not those of its CID",
            where=where,
            expected=cid,
            got=digest_to_cid(digest.digest()),
            remedy="The copy is damaged or was exchanged: fetch it again, or from another place",
        )
    return total


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

    def digest(self) -> bytes:
        return self._hash.digest()


def _member_bytes(body: int) -> int:
    return _BLOCK + body + -body % _BLOCK


def _header(name: str, size: int) -> bytes:
    encoded = name.encode("utf-8")
    if len(encoded) > 100:
        raise ShardError("key is too long for a tar header", where=name, expected="≤ 100 bytes")
    if size >= 8**11:
        raise ShardError("sample is too large for a tar header", where=name, got=f"{size:,} bytes")
    head = (
        encoded.ljust(100, b"\0")
        + b"0000644\0"  # mode
        + b"0000000\0"  # owner
        + b"0000000\0"  # group
        + b"%011o\0" % size
        + b"00000000000\0"  # modified at: never, so that equal samples are equal files
        + b"        "  # checksum, counted as blanks
        + b"0"  # a regular file
        + bytes(100)
        + b"ustar\0"
        + b"00"
    ).ljust(_BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _read(
    stream: IO[bytes], size: int, where: str, what: str, limit: int = _MAX_MEMBER_BYTES
) -> bytes:
    if size > limit:
        raise ShardError(
            f"{what} is larger than allowed",
            where=where,
            expected=f"at most {limit:,} bytes",
            got=f"{size:,}",
        )
    data = stream.read(min(size, _CHUNK))
    if len(data) == size:
        return data
    # A size is only a claim until the bytes are there: ask for them piece by piece, so that a
    # lie costs no memory.
    pieces = [data]
    missing = size - len(data)
    while missing:
        piece = stream.read(min(missing, _CHUNK))
        if not piece:
            raise ShardError(
                f"file is cut short within {what}",
                where=where,
                expected=f"{missing:,} more bytes",
                remedy="Fetch or write the shard again: it is not whole",
            )
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _check_is_tar(header: bytes, where: str) -> None:
    for magic, kind in ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK", "zip")):
        if header.startswith(magic):
            raise ShardError(
                "shard is compressed", where=where, expected="a plain tar file", got=kind
            )


def _check_sum(header: bytes, where: str) -> None:
    stated = header[148:156].strip(b" \0")
    actual = sum(header[:148]) + 8 * 32 + sum(header[156:])
    try:
        ok = int(stated, 8) == actual
    except ValueError:
        ok = False
    if not ok:
        raise ShardError("bytes are not a tar header", where=where, got=f"{header[:16]!r}…")


def _size(header: bytes, where: str) -> int:
    field = header[124:136]
    if field[0] & 0x80:  # GNU's base-256 form, for 8 GiB and more
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not set(digits) <= set(b"01234567"):  # int() would take a sign and underscores
        raise ShardError("member's size is not a number", where=where, got=repr(field))
    return int(digits or b"0", 8)


def _name(header: bytes, where: str) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name, where)


def _text(name: bytes, where: str) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ShardError("member's name is not UTF-8", where=where, got=repr(name)) from error


def _pax(meta: bytes, where: str, name: str | None) -> tuple[str | None, int | None]:
    size: int | None = None
    try:
        while meta:
            length, _, _ = meta.partition(b" ")
            record = meta[len(length) + 1 : int(length)]
            if not len(length) < int(length) <= len(meta) or record[-1:] != b"\n":
                raise ValueError
            key, _, value = record[:-1].partition(b"=")
            if key.startswith(b"GNU.sparse"):
                raise ShardError("member is sparse", where=where)
            if key == b"path":
                name = value.decode("utf-8")
            elif key == b"size":
                size = int(value)
                if size < 0:
                    raise ValueError
            meta = meta[int(length) :]
    except ValueError as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError("extended header is malformed", where=where) from error
    return name, size


def _check_safe(name: str, where: str) -> None:
    if not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise ShardError("member has an unsafe name", where=where, got=repr(name))


def _check_tail(stream: IO[bytes], where: str) -> None:
    # tar pads to its record size with zeros; anything else after the end is hidden data.
    while piece := stream.read(_CHUNK):
        if piece.count(0) != len(piece):
            raise ShardError("there are data after the end of the archive", where=where)
