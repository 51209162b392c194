"""Datasets of Hugging Face's ``datasets`` as samples."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from atdata_core.conversions.foreign import samples_of
from atdata_core.conversions.made import MadeSource, Part
from atdata_core.conversions.needs import needed
from atdata_core.errors import ConfigurationError, SchemaError
from atdata_core.fieldjson import build_type, check_name
from atdata_core.fields import Field
from atdata_core.fieldtypes import (
    DatetimeType,
    FieldType,
    ListType,
    NDArrayType,
    NestedType,
    NullableType,
)
from atdata_core.primitives import Primitive

datasets = needed("datasets", "huggingface")

_ROWS = 1000


def rows_source(rows: Any, sample_type: type | None) -> tuple[MadeSource, type]:
    """A ``datasets.Dataset`` as shards-to-be and their sample type.

    Args:
        rows: The dataset; its format (``set_format``) doesn't matter.
        sample_type: The type; by default one made from its features.

    Raises:
        ConfigurationError: It is no dataset with numbered rows.
        SchemaError: No type can be made from its features.
    """
    if not isinstance(rows, datasets.Dataset):
        raise ConfigurationError(
            "value is not a datasets.Dataset",
            got=type(rows).__name__,
            remedy="Name a split; write a streamed one with index.write_samples("
            "atdata_core.conversions.foreign.samples_of(Type, rows, 'rows'), …)",
        )
    full = {name for name in rows.column_names if not rows.data.column(name).null_count}
    kind = sample_type or type_of_features(rows.features, full)
    plain = rows.with_format(None)

    def part(start: int) -> Part:
        count = min(_ROWS, len(plain) - start)

        def read() -> Iterator[Any]:
            numbers = range(start, start + count)
            return samples_of(kind, (plain[i] for i in numbers), "Hugging Face dataset", start)

        return Part(f"rows {start}-{start + count}", start, count, read)

    parts = [part(start) for start in range(0, len(plain), _ROWS)]
    return MadeSource(parts, f"Hugging Face dataset of {len(plain):,} rows"), kind


def type_of_features(features: Mapping[str, Any], full: Collection[str] = ()) -> type:
    """The sample type that features describe.

    An image is an array of uint8, a class label its number, a list of numbers an array.

    Args:
        features: Of a ``datasets.Dataset``.
        full: The columns without nulls.

    Raises:
        SchemaError: A feature has no place in a sample.
    """
    fields = [
        Field(check_name(name, "column"), _kind(feature, name), name not in full)
        for name, feature in features.items()
    ]
    return build_type("Row", fields)


def _kind(feature: Any, name: str) -> FieldType:
    if isinstance(feature, datasets.ClassLabel):
        return Primitive("int")
    if isinstance(feature, datasets.Image):
        return NDArrayType("uint8")
    if isinstance(feature, datasets.Value):
        return _value(feature.dtype, name)
    for dims in (datasets.Array2D, datasets.Array3D, datasets.Array4D, datasets.Array5D):
        if isinstance(feature, dims):
            return NDArrayType(np.dtype(feature.dtype).name, tuple(feature.shape))
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        length = getattr(feature, "length", -1)
        inner = feature.feature
        if isinstance(inner, datasets.Value) and inner.dtype.startswith(("int", "uint", "float")):
            return NDArrayType(np.dtype(inner.dtype).name, (length if length > 0 else None,))
        return ListType(NullableType(_kind(inner, name)))
    if isinstance(feature, Mapping):
        fields = [
            Field(check_name(key, f"column {name!r}"), _kind(part, key), optional=True)
            for key, part in feature.items()
        ]
        return NestedType(name.title(), tuple(fields), build_type(name.title(), fields))
    raise _unknown(type(feature).__name__, name)


def _value(dtype: str, name: str) -> FieldType:
    for start, primitive in (
        *(("int", "int"), ("uint", "int"), ("float", "float"), ("bool", "bool")),
        *(("string", "str"), ("large_string", "str"), ("binary", "bytes")),
        ("large_binary", "bytes"),
    ):
        if dtype.startswith(start):
            return Primitive(primitive)
    if dtype.startswith("timestamp"):
        return DatetimeType()
    raise _unknown(dtype, name)


def _unknown(got: str, name: str) -> SchemaError:
    return SchemaError(
        "feature has no place in a sample",
        where=f"column {name!r}",
        got=got,
        remedy="Name the sample type: only the columns that it has fields for are read",
    )
