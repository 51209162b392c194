"""What a dataset looks like, found out while it is written: pictures, numbers, counts.

A preview looks at no more than some hundred samples, evenly spread over the stream, and at no
more than a second in all: the longer the stream, the fewer of its samples are looked at.
"""

import enum
import functools
import itertools
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import dagster as dg
import numpy as np

from atdata_core import Schema
from atdata_core.fields import Field
from atdata_dagster import png
from atdata_dagster.text import markdown, plain

KEPT_ON_PROMOTION = (
    *("atdata/thumbnails", "atdata/preview", "atdata/fields", "atdata/labels", "atdata/mean/"),
)
"""How the keys begin of what stays true of equal content in another layer."""

_MAX_LOOKS = 200
_MAX_SECONDS = 1.0
_MAX_FIELDS = 32
_MAX_LABELS = 20
_MAX_LABELLED_FIELDS = 8
_MAX_LABEL = 40
_MAX_PICTURED_FIELDS = 2
_IMAGES = 8
_CURVES = 3
_ELEMENTS = 16
_BARS = 12
_BLOCKS = "▁▂▃▄▅▆▇█"
_NONE = object()


def previews_are_on() -> bool:
    """Whether the environment lets previews be made: ``ATDATA_PREVIEW=0`` doesn't."""
    return os.environ.get("ATDATA_PREVIEW", "1").strip().lower() not in ("0", "false", "no", "off")


class Preview:
    """Looks at samples that go by.

    Args:
        sample_type: Their type.
    """

    def __init__(self, sample_type: type) -> None:
        self._type = sample_type
        self._fields = Schema.of(sample_type).fields[:_MAX_FIELDS]
        self._pictures: dict[str, list[Any]] = {}
        self._looks: list[dict[str, Any]] = []
        self._stride = 1
        self._count = 0
        self._seconds = 0.0

    def watch(self, samples: Iterable[Any]) -> Iterator[Any]:
        """The same samples; some are looked at on their way."""
        iterator = iter(samples)
        while self._seconds < _MAX_SECONDS:
            sample = next(iterator, _NONE)
            if sample is _NONE:
                return
            # What is of another type is refused by the writer, with a better message.
            if type(sample) is self._type:
                self._look(sample)
            yield sample
            yield from itertools.islice(iterator, self._stride - 1)
        yield from iterator

    def metadata(self, rows: int | None = None) -> dict[str, Any]:
        """What was seen, for Dagster.

        Args:
            rows: The number of all samples.
        """
        if not self._looks:
            return {}
        found: dict[str, Any] = {
            "atdata/preview_samples": len(self._looks),
            "atdata/fields": self._field_table(),
        }
        labels = self._labels()
        if labels:
            found["atdata/labels"] = _label_table(labels)
        found.update(self._means())
        pictures = [self._picture(name, values) for name, values in self._pictures.items()]
        every = f" (every {_ordinal(self._stride)})" if self._stride > 1 else ""
        note = (
            f"Numbers come from {len(self._looks):,} of {rows or len(self._looks):,} samples"
            f"{every}, and from at most {_ELEMENTS} elements of an array."
        )
        text = "\n\n".join([*pictures, note])
        return {**self._thumbnails(), "atdata/preview": dg.MetadataValue.md(text), **found}

    # --- looking

    def _look(self, sample: Any) -> None:
        started = time.perf_counter()
        if self._count < _IMAGES:
            self._take_pictures(sample)
        self._count += 1
        self._looks.append({f.name: _seen(getattr(sample, f.name)) for f in self._fields})
        if len(self._looks) >= _MAX_LOOKS:
            self._looks = self._looks[::2]
            self._stride *= 2
        self._seconds += time.perf_counter() - started

    def _take_pictures(self, sample: Any) -> None:
        for field in self._fields:
            value = getattr(sample, field.name)
            if not (png.is_image(value) or png.is_curve(value)):
                continue
            if field.name not in self._pictures and len(self._pictures) == _MAX_PICTURED_FIELDS:
                continue
            taken = self._pictures.setdefault(field.name, [])
            if png.is_image(value):
                taken.append(png.thumbnail(value))
            elif len(taken) < _CURVES:
                taken.append(value[:: max(1, len(value) // 640)].copy())

    # --- telling

    def _picture(self, name: str, values: list[Any]) -> str:
        images = [value for value in values if value.ndim > 1]
        title = f"**{markdown(name)}**"
        if images:
            return f"{title}, the first {len(images)}\n\n{_image(name, png.contact_sheet(images))}"
        curves = "\n\n".join(_image(name, png.sparkline(value)) for value in values)
        return f"{title}, the first {len(values)}\n\n{curves}"

    def _thumbnails(self) -> dict[str, Any]:
        """The first pictured field, small enough for Dagster to show it without a click."""
        for name, values in self._pictures.items():
            images = [value for value in values if value.ndim > 1]
            picture = png.inline_sheet(images) if images else png.inline_curves(values)
            if picture is not None:
                return {"atdata/thumbnails": dg.MetadataValue.md(_image(name, picture))}
        return {}

    def _column(self, name: str) -> list["_Seen"]:
        return [look[name] for look in self._looks if look[name] is not None]

    def _field_table(self) -> dg.TableMetadataValue:
        return dg.MetadataValue.table(
            [_field_record(f, self._column(f.name), len(self._looks)) for f in self._fields],
            schema=dg.TableSchema(
                columns=[
                    dg.TableColumn(name, kind)
                    for name, kind in (
                        ("field", "string"),
                        ("seen", "string"),
                        ("min", "string"),
                        ("mean", "string"),
                        ("max", "string"),
                        ("histogram", "string"),
                        ("example", "string"),
                        ("missing", "int"),
                        ("type", "string"),
                    )
                ]
            ),
        )

    def _labels(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        for field in self._fields:
            labels = [seen.label for seen in self._column(field.name) if seen.label is not None]
            counts = Counter(plain(label, _MAX_LABEL) for label in labels)
            if labels and len(counts) <= _MAX_LABELS and len(counts) <= max(2, len(labels) // 2):
                found[field.name] = counts
        return dict(itertools.islice(found.items(), _MAX_LABELLED_FIELDS))

    def _means(self) -> dict[str, float]:
        means = {}
        for field in self._fields:
            column = self._column(field.name)
            if column and all(seen.is_number for seen in column):
                mean = float(np.mean([seen.numbers[0] for seen in column]))
                if math.isfinite(mean):
                    means[f"atdata/mean/{field.name}"] = mean
        return means


class _Seen(NamedTuple):
    """What is kept of one value; made for people only when all was seen.

    Args:
        example: The value or the beginning of it.
        shape: How large it is.
        numbers: Numbers out of it.
        label: The value, if it may be one of a few.
        is_number: Whether it is a number.
    """

    example: Any
    shape: str = ""
    numbers: tuple[float, ...] = ()
    label: Any = None
    is_number: bool = False


def _seen(value: Any) -> _Seen | None:
    match value:
        case None:
            return None
        case np.ndarray():
            return _seen_array(value)
        case enum.Enum():
            return _Seen(value.name, label=value.name)
        case bool() | int():
            return _Seen(value, numbers=(_float(value),), label=value, is_number=True)
        case float():
            return _Seen(value, numbers=(value,), is_number=True)
        case str():
            label = value if len(value) <= _MAX_LABEL else None
            return _Seen(value[:400], f"{len(value):,} characters", label=label)
        case bytes():
            return _Seen(value[:8].hex(" "), f"{len(value):,} bytes")
        case list() | tuple() | dict():
            return _Seen(type(value).__name__, f"{len(value):,} items")
    return _Seen(type(value).__name__)


def _seen_array(value: np.ndarray[Any, Any]) -> _Seen:
    shape = _shape(value.dtype, value.shape)
    flat = value.reshape(-1) if value.flags.c_contiguous else value.flat
    # An odd step goes through all columns of an image, whose width is mostly even.
    some = np.asarray(flat[:: (value.size // _ELEMENTS) | 1])[:_ELEMENTS]
    if value.dtype.kind not in "uifb":
        return _Seen(value.dtype.name, shape)
    numbers = tuple(some.astype(np.float64).tolist())
    return _Seen(numbers, shape, numbers)


@functools.lru_cache(maxsize=64)
def _shape(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    return f"{dtype}({' x '.join(map(str, shape))})"


def _example(seen: _Seen) -> str:
    if isinstance(seen.example, tuple):
        return " ".join(f"{number:.4g}" for number in seen.example[:4]) + " …"
    return plain(seen.example)


def _field_record(field: Field, column: list[_Seen], looks: int) -> dg.TableRecord:
    numbers = np.array([n for seen in column for n in seen.numbers], np.float64)
    numbers = numbers[np.isfinite(numbers)]
    shapes = list(dict.fromkeys(seen.shape for seen in column))
    kind = f"{field.type} | None" if field.optional else str(field.type)
    return dg.TableRecord(
        {
            "field": field.name,
            "seen": ", ".join(shapes[:2]) + (" …" if len(shapes) > 2 else ""),
            "min": f"{numbers.min():.4g}" if numbers.size else "",
            "mean": f"{numbers.mean():.4g}" if numbers.size else "",
            "max": f"{numbers.max():.4g}" if numbers.size else "",
            "histogram": _histogram(numbers),
            "example": _example(column[0]) if column else "",
            "missing": looks - len(column),
            "type": plain(kind),
        }
    )


def _histogram(numbers: np.ndarray[Any, Any]) -> str:
    """Twelve bars from the least value to the largest; of fewer whole numbers, a bar for each."""
    if numbers.size < 2:
        return ""
    span = numbers.max() - numbers.min()
    if not math.isfinite(span) or span == 0:
        return ""
    are_whole = span < _BARS and bool(np.all(numbers == np.round(numbers)))
    counts = np.histogram(numbers, bins=int(span) + 1 if are_whole else _BARS)[0]
    levels = np.ceil(counts / counts.max() * (len(_BLOCKS) - 1)).astype(int)
    return "".join(_BLOCKS[level] for level in levels)


def _label_table(labels: Mapping[str, Counter[str]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "field": name,
                    "label": label,
                    "count": count,
                    "share": f"{count / counts.total():.0%}",
                }
            )
            for name, counts in labels.items()
            for label, count in counts.most_common()
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("field", "string"),
                dg.TableColumn("label", "string"),
                dg.TableColumn("count", "int"),
                dg.TableColumn("share", "string"),
            ]
        ),
    )


def _image(name: str, picture: bytes) -> str:
    return f"![{markdown(name)}]({png.data_uri(picture)})"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 // 10 != 1 else 0, "th")
    return f"{number}{ending}"


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
