"""Sample types, and shards made by hand or by other programs."""

import base64
import hashlib
import io
import tarfile

import numpy as np
from numpy.typing import NDArray

import atdata_core as atdata
from atdata_core.sample import pack


@atdata.packable
class Item:
    """A small sample with an array."""

    id: int
    text: str
    data: NDArray[np.float32]


@atdata.packable
class Other:
    """A sample of another type."""

    id: int


@atdata.packable
class Loose:
    """A sample with an array of any dtype."""

    id: int
    data: NDArray


def items(count, start=0, width=4):
    """Samples that differ from each other."""
    return [
        Item(id=i, text=f"text {i} é", data=np.arange(width, dtype=np.float32) + i)
        for i in range(start, start + count)
    ]


def cid_of(data):
    """A raw CID, computed without the library."""
    prefix = b"\x01\x55\x12\x20"
    text = base64.b32encode(prefix + hashlib.sha256(data).digest()).decode().rstrip("=")
    return "b" + text.lower()


def tar_of(members, **options):
    """A tar that Python writes: a list of (name, bytes), or of (TarInfo, bytes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:
        for name, body in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(name, str):
                info.size = len(body)
            tar.addfile(info, io.BytesIO(body) if info.size else None)
    return buffer.getvalue()


def shard_file(path, samples):
    """A shard written without the library's writer."""
    path.write_bytes(tar_of([(f"{i:06d}.msgpack", pack(s)) for i, s in enumerate(samples)]))
    return path
