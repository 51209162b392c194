"""A sample: a dataclass that becomes bytes and comes back equal.

A sample's bytes are one msgpack map, its fields in the order of their definition, so equal samples
have equal bytes. `atdata_core.fieldtypes` says how each value is written.
"""

import dataclasses
from abc import ABC
from collections.abc import Sequence
from typing import Any, Self, TypeVar, dataclass_transform

import msgpack

from atdata_core.errors import SampleError, SchemaError
from atdata_core.fields import fields_of
from atdata_core.fieldtypes import decode_fields, encode_fields
from atdata_core.packing import packer_of

T = TypeVar("T")

METHODS = ("packed", "as_wds", "from_bytes", "from_data")
"""What `packable` adds to a class, so that no field can be called so."""

_MAX_ITEMS = 1_000_000


def pack(sample: object, where: str = "sample") -> bytes:
    """The bytes of a sample.

    Args:
        sample: An instance of a packable type.
        where: How errors name the sample.

    Raises:
        SampleError: A value doesn't fit its field.
        SchemaError: The sample's type is not packable.
    """
    try:
        return packer_of(type(sample))(sample)
    except SampleError:
        # Again, with the place of what is wrong.
        values = encode_fields(fields_of(type(sample)), sample, where)
    packed: bytes = msgpack.packb(values, use_bin_type=True)
    return packed


def unpack(sample_type: type[T], data: bytes, where: str = "sample") -> T:
    """The sample that `data` holds.

    Args:
        sample_type: A packable type.
        data: What `pack` gave.
        where: How errors name the sample.

    Raises:
        SampleError: The bytes are no msgpack map, a field is missing, unknown or twice there, or
            a value doesn't fit its field.
    """
    found = _unpack_map(data, where)
    return sample_type(**decode_fields(fields_of(sample_type), found, where))


def _unpack_map(data: bytes, where: str) -> dict[str, Any]:
    try:
        pairs = msgpack.unpackb(
            data,
            object_pairs_hook=_unique,
            ext_hook=_refuse_ext,
            max_array_len=_MAX_ITEMS,
            max_map_len=_MAX_ITEMS,
            strict_map_key=True,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise SampleError(
            f"bytes are not a msgpack map: {error or type(error).__name__}",
            where=where,
            got=f"{len(data)} bytes, {data[:8]!r}…",
        ) from error
    if not isinstance(pairs, dict):
        raise SampleError(
            "bytes are not a sample",
            where=where,
            expected="a msgpack map",
            got=type(pairs).__name__,
        )
    return pairs


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one map")
    return found


def _refuse_ext(code: int, _data: bytes) -> Any:
    raise ValueError(f"msgpack extension type {code} is not part of the format")


class PackableSample(ABC):  # noqa: B024 - abstract by having no fields
    """What every packable type offers besides its fields.

    `packable` registers a class as a virtual subclass of this one and gives it these methods, so
    that a sample type stays a plain dataclass.
    """

    @property
    def packed(self) -> bytes:
        """The sample's bytes."""
        return pack(self)

    @property
    def as_wds(self) -> dict[str, Any]:
        """The sample as ``webdataset.TarWriter`` takes it: ``{"msgpack": bytes}``.

        A key is for the writer of a shard to give, since only he knows which are taken:
        ``sink.write({**sample.as_wds, "__key__": f"{i:06d}"})``.
        """
        return {"msgpack": pack(self)}

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The sample that `data` holds; raises `SampleError` if they hold none of this type."""
        return unpack(cls, data)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """The sample with these field values; raises `SampleError` if one doesn't fit."""
        try:
            sample = cls(**data)
        except TypeError as error:
            raise SampleError(f"values don't make a sample: {error}", where=cls.__name__) from error
        pack(sample)
        return sample


@dataclass_transform(eq_default=False)
def packable(cls: type[T]) -> type[T]:
    """Makes a class with annotated fields a sample type.

    The class becomes a dataclass (if it isn't one), compares by content, arrays included, and
    gains what `PackableSample` offers. Annotations are looked at when the type is first used, so
    names that are defined later in the module work::

        @packable
        class Digit:
            image: NDArray[np.uint8]
            label: int

    Raises:
        SchemaError: A field has the name of one of the methods.
    """
    if "__dataclass_fields__" not in cls.__dict__:
        cls = dataclasses.dataclass(eq=False)(cls)
    taken = [field.name for field in dataclasses.fields(cls) if field.name in METHODS]  # type: ignore[arg-type]
    if taken:
        raise SchemaError(
            f"a field can't be called {taken[0]!r}, which is a method of every sample",
            where=cls.__qualname__,
            remedy="Rename the field",
        )
    for name in METHODS:
        setattr(cls, name, PackableSample.__dict__[name])
    cls.__eq__ = _equal  # type: ignore[method-assign]
    cls.__hash__ = None  # type: ignore[assignment]
    PackableSample.register(cls)
    return cls


def _equal(self: object, other: object) -> Any:
    # Equal samples are those with equal bytes: arrays compare by value, and NaN equals itself.
    return pack(self) == pack(other) if type(self) is type(other) else NotImplemented
