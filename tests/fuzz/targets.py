"""What reads bytes of strangers, each with seeds to start from.

A target takes any bytes: it returns, or raises one of the library's own errors. Anything else that
it raises is a fault, as is a run that takes long or much memory.
"""

import hashlib
import io

import cbrrr
import numpy as np
from numpy.typing import NDArray

from atdata_core import packable
from atdata_core.arrays import array_from_bytes, npy_bytes
from atdata_core.atproto.car import Car, read_car
from atdata_core.atproto.cbor import decode_block
from atdata_core.atproto.mst import find
from atdata_core.atproto.proof import verify_proof
from atdata_core.sample import pack, unpack
from atdata_core.shard import read_samples
from tests.support.repo import DID, Repo, cid_of
from tests.support.samples import tar_of

_URI = f"at://{DID}/com.example.note/a"
_RECORDS = {f"com.example.note/{name}": {"n": name} for name in ("a", "b", "c", "dd")}
_REPO = Repo(_RECORDS)
_DOCUMENT = _REPO.document()
_KEY = "com.example.note/a"


@packable
class Sample:
    """A sample with a field of each kind."""

    number: int
    text: str
    array: NDArray[np.float32]
    free: NDArray
    maybe: bytes | None
    many: list[str]
    table: dict[str, int]


def _sample(number: int) -> Sample:
    array = np.arange(number, dtype=np.float32)
    free = np.ones((2, number), np.int16)
    return Sample(number, "é" * number, array, free, None, ["a", "b"], {"a": 1})


_BODIES = [pack(_sample(number)) for number in range(4)]


def car(data: bytes) -> None:
    """A proof in a CAR."""
    read_car(data)
    verify_proof(data, _DOCUMENT, _URI)


def mst(data: bytes) -> None:
    """A node of a repository's tree."""
    root = cid_of(data)
    find(Car(root, {root: data}), root, _KEY)


def cbor(data: bytes) -> None:
    """A block of dag-cbor."""
    decode_block(data, "block")


def tar(data: bytes) -> None:
    """A shard."""
    for _ in read_samples(io.BytesIO(data), Sample, "shard"):
        pass


def npy(data: bytes) -> None:
    """The bytes of an array."""
    array_from_bytes(data, "array")


def msgpack(data: bytes) -> None:
    """A sample's body."""
    unpack(Sample, data, "sample")


_ARRAYS = [np.zeros(0), np.ones((2, 3), "<f4"), np.array(["a", "bc"]), np.array(True)]

TARGETS = {
    car: [_REPO.car()],
    mst: [
        block for block in _REPO.blocks.values() if decode_block(block, "seed").keys() == {"l", "e"}
    ],
    cbor: [*_REPO.blocks.values(), cbrrr.encode_dag_cbor({"a": [1, None, True, "b", b"c"]})],
    tar: [
        tar_of([(f"{i:09d}.msgpack", body) for i, body in enumerate(_BODIES)]),
        tar_of([("a" * 120 + ".msgpack", _BODIES[0])], format=1),
        tar_of([("é" * 60 + ".msgpack", _BODIES[1]), ("b.txt", b"x")], format=2),
    ],
    npy: [npy_bytes(array, "seed") for array in _ARRAYS],
    msgpack: _BODIES,
}


def digest(data: bytes) -> str:
    """A short name for an input."""
    return hashlib.sha256(data).hexdigest()[:12]
