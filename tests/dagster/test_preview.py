"""What Dagster shows of a dataset, and that showing it is harmless."""

import base64
import enum
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Annotated

import dagster as dg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from atdata_core import FileIndex, Schema, Shape, packable
from atdata_dagster import build_definitions, dataset_asset
from atdata_dagster.metadata import column_schema
from atdata_dagster.png import (
    MAX_INLINE_BYTES,
    MAX_PNG_BYTES,
    contact_sheet,
    encode_png,
    inline_curves,
    inline_sheet,
    sparkline,
    thumbnail,
)
from atdata_dagster.preview import Preview
from atdata_dagster.text import markdown, plain


class Kind(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@packable
class Picture:
    """A picture, a sound, and what is said of them."""

    image: Annotated[NDArray[np.uint8], Shape(None, None, 3)]
    sound: NDArray[np.float32]
    caption: str
    label: int
    kind: Kind
    score: float | None = None


def picture(number, **changes):
    values = {
        "image": np.full((32, 40, 3), number * 20 % 256, np.uint8),
        "sound": np.sin(np.arange(200, dtype=np.float32) / (number + 3)),
        "caption": f"picture {number}",
        "label": number % 3,
        "kind": Kind.GOOD if number % 2 else Kind.BAD,
        "score": None if number % 4 == 0 else number / 2,
    }
    return Picture(**{**values, **changes})


def decode_png(data):
    """The pixels of a PNG as `encode_png` writes it, read by the standard alone."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, chunks = 8, {}
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        [crc] = struct.unpack(">I", data[place + 8 + size : place + 12 + size])
        assert crc == zlib.crc32(kind + body)
        chunks[kind] = body
        place += 12 + size
    width, height, depth, color, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert rest == [0, 0, 0]
    channels = {0: 1, 2: 3, 6: 4}[color]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    if depth < 8:
        bits = np.unpackbits(lines[:, 1:], axis=1)[:, : width * depth]
        levels = bits.reshape(height, width, depth) @ (1 << np.arange(depth)[::-1])
        return (levels * (255 // (2**depth - 1))).astype(np.uint8)
    return lines[:, 1:].reshape((height, width, channels)[: 2 if channels == 1 else 3])


def pictures_in(text):
    return [
        decode_png(base64.b64decode(found))
        for found in re.findall(r"!\[\w*\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", text)
    ]


def seen(samples, sample_type=Picture):
    preview = Preview(sample_type)
    samples = list(samples)
    assert list(preview.watch(samples)) == samples
    return preview.metadata(len(samples))


def table(value):
    return [dict(record.data) for record in value.records]


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_a_grey_image_is_written_as_png(pixels):
    np.testing.assert_array_equal(decode_png(encode_png(pixels)), pixels)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_colour_image_is_written_as_png(channels, rng):
    pixels = rng.integers(0, 256, (7, 5, channels), np.uint8)
    np.testing.assert_array_equal(decode_png(encode_png(pixels)), pixels)


@pytest.mark.parametrize("shape", [(2000, 1500, 3), (8, 8), (64, 64, 4), (5000, 4), (64, 64, 1)])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "i8", "?"])
def test_no_picture_is_larger_than_may_be(shape, dtype, rng):
    images = [rng.normal(0, 1e3, shape).astype(dtype) for _ in range(8)]
    data = contact_sheet([thumbnail(image) for image in images])
    assert len(data) <= MAX_PNG_BYTES
    assert max(decode_png(data).shape[:2]) <= 8 * 66


@pytest.mark.parametrize(
    "values",
    [
        np.full((8, 8), np.nan),
        np.full((8, 8), np.inf),
        np.array([[1e308, -1e308] * 4] * 8),
        np.zeros((8, 8), np.uint8),
        np.where(np.eye(8) > 0, np.nan, 3.0),
    ],
    ids=["nan", "inf", "as wide as can be", "zero", "one value and gaps"],
)
def test_odd_numbers_are_drawn_too(values):
    decode_png(contact_sheet([values]))
    assert decode_png(sparkline(values.reshape(-1))).shape == (32, 160)


@pytest.mark.parametrize("shape", [(2000, 1500, 3), (8, 8), (64, 64, 4), (9, 5), (64, 64, 1)])
def test_some_picture_is_small_enough_to_be_shown_at_once(shape, rng):
    images = [thumbnail(rng.integers(0, 256, shape, np.uint8)) for _ in range(8)]
    data = inline_sheet(images)
    assert len(data) <= MAX_INLINE_BYTES
    assert decode_png(data).std() > 30


def test_small_pictures_are_all_shown_at_once_in_16_greys():
    images = [np.eye(8, dtype=np.uint8) * 255 for _ in range(8)]
    shown = decode_png(inline_sheet(images))
    assert shown.shape == (64, 8 * 66 - 2)
    np.testing.assert_array_equal(shown[:, :64], images[0].repeat(8, 0).repeat(8, 1))


def test_curves_are_shown_at_once_one_above_the_other(rng):
    smooth = [np.sin(np.arange(200) / (n + 40)) for n in range(3)]
    assert decode_png(inline_curves(smooth)).shape == (3 * 32, 160)
    assert decode_png(inline_curves([rng.normal(size=500) for _ in range(3)])).shape[1] == 160


def test_dark_bytes_are_stretched_and_bright_ones_shown_as_they_are():
    dark = np.arange(16, dtype=np.uint8).repeat(16).reshape(16, 16)
    assert decode_png(contact_sheet([dark])).max() == 255
    bright = np.full((64, 64), 200, np.uint8)
    assert (decode_png(contact_sheet([bright])) == 200).all()


def test_a_curve_rises_where_its_values_do():
    drawn = decode_png(sparkline(np.arange(50.0)))
    tops = (drawn < 255).argmax(axis=0)
    assert tops[0] == 31
    assert tops[-1] == 0
    assert (np.diff(tops) <= 0).all()


def test_pictures_numbers_and_counts_are_shown():
    found = seen(picture(n) for n in range(12))
    text = found["atdata/preview"].value
    sheet, *curves = pictures_in(text)
    assert sheet.shape == (32, 8 * 42 - 2, 3)
    assert len(curves) == 3
    assert "Numbers come from 12 of 12 samples, and" in text
    rows = {row["field"]: row for row in table(found["atdata/fields"])}
    assert rows["image"]["seen"] == "uint8(32 x 40 x 3)"
    assert rows["caption"]["example"] == "picture 0"
    assert (rows["label"]["min"], rows["label"]["mean"], rows["label"]["max"]) == ("0", "1", "2")
    assert rows["label"]["histogram"] == "███"
    assert len(rows["score"]["histogram"]) == 12
    assert rows["score"]["missing"] == 3
    counts = {(row["field"], row["label"]): row["count"] for row in table(found["atdata/labels"])}
    assert counts["label", "0"] == 4
    assert counts["kind", "GOOD"] == 6
    assert not any(field == "caption" for field, _ in counts)
    assert found["atdata/mean/label"] == 1.0
    assert "atdata/mean/image" not in found


def test_columns_are_described_by_the_values_in_them():
    found = seen(picture(n, caption="*a* | b") for n in range(12))
    columns = {c.name: c for c in column_schema(Schema.of(Picture), found["atdata/fields"]).columns}
    assert columns["image"].tags == {"dtype": "uint8", "shape": "any x any x 3"}
    assert columns["label"].description == "0 to 2, mean 1 ███"
    assert columns["caption"].description == rf"e.g. {markdown('*a* | b')}"
    assert columns["kind"].description == "e.g. BAD"
    assert column_schema(Schema.of(Picture)).columns[0].description is None


def test_dagster_shows_the_thumbnails_at_once():
    found = seen(picture(n) for n in range(12))
    assert len(found["atdata/thumbnails"].value) < 1000
    assert len(pictures_in(found["atdata/thumbnails"].value)) == 1


def test_a_long_stream_is_looked_at_here_and_there():
    @packable
    class Number:
        value: int

    preview = Preview(Number)
    assert sum(n.value for n in preview.watch(map(Number, range(100_000)))) == 4_999_950_000
    found = preview.metadata(100_000)
    looked = found["atdata/preview_samples"]
    assert preview._count < 1200
    assert 100 <= looked < 200
    assert f"from {looked} of 100,000 samples (every 512th)" in found["atdata/preview"].value
    assert found["atdata/mean/value"] == pytest.approx(50_000, rel=0.01)


def test_looking_ends_after_its_time(monkeypatch):
    monkeypatch.setattr("atdata_dagster.preview._MAX_SECONDS", 0.0)
    preview = Preview(Picture)
    assert len(list(preview.watch(picture(n) for n in range(5)))) == 5
    assert preview.metadata(5) == {}


def test_metadata_stay_small_however_large_the_samples():
    @packable
    class Large:
        noise: NDArray[np.uint8]
        more: NDArray[np.float64]
        text: str
        words: list[str]

    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (1200, 900, 4), np.uint8)

    def samples():
        for n in range(300):
            yield Large(noise, rng.normal(size=10_000), f"{n} " * 50_000, ["w"] * 1000)

    preview = Preview(Large)
    for _ in preview.watch(samples()):
        pass
    found = preview.metadata(300)
    assert len(found["atdata/preview"].value) < 2 * 4 * MAX_PNG_BYTES
    assert len(repr(table(found["atdata/fields"]))) < 10_000


@given(st.text(max_size=300))
def test_strangers_words_obey_nobody(text):
    shown = plain(text)
    assert len(shown) <= 80
    assert "\x1b" not in shown
    assert "\n" not in shown
    escaped = markdown(text)
    assert "<" not in escaped
    assert re.search(r"(?<!\\)(\\\\)*[\[\]`*_]", escaped) is None


def test_codes_of_terminals_and_pages_are_taken_out_of_samples():
    evil = "\x1b[31m<img src=x onerror=alert(1)>\u202e[a](javascript:b)\x00"
    found = seen(picture(n, caption=evil) for n in range(4))
    rows = {row["field"]: row for row in table(found["atdata/fields"])}
    assert rows["caption"]["example"] == "<img src=x onerror=alert(1)>[a](javascript:b)"
    assert markdown(evil) == (r"&lt;img src=x onerror=alert\(1\)&gt;\[a\]\(javascript\:b\)")
    assert "onerror" not in found["atdata/preview"].value


def materialize(chain, instance, **options):
    result = dg.materialize(
        list(chain), instance=instance, resources=build_definitions(chain).resources, **options
    )
    return {
        "/".join(event.asset_key.path[:-1]): event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if "schema" not in event.asset_key.path
    }


def make(fresh, count=6, **options):
    @dataset_asset(Picture, name=fresh, promote=("team", "atmosphere"), **options)
    def pictures() -> Iterator[Picture]:
        yield from map(picture, range(count))

    return pictures


def test_promoted_layers_show_what_was_seen_when_the_samples_were_written(
    services, instance, fresh
):
    found = materialize(make(fresh), instance)
    local = found["local"].metadata
    for layer in ("team", "atmosphere"):
        assert found[layer].metadata["atdata/preview"] == local["atdata/preview"]
        assert found[layer].metadata["atdata/fields"] == local["atdata/fields"]
        assert found[layer].metadata["atdata/thumbnails"] == local["atdata/thumbnails"]
        columns = found[layer].metadata["dagster/column_schema"].value.columns
        assert columns[3].description == "0 to 2, mean 1 ███"
        assert list(found[layer].metadata)[:2] == ["atdata/thumbnails", "atdata/summary"]
        assert found[layer].metadata["atdata/mean/label"].value == 1.0
    record = found["atmosphere"].metadata["atdata/record"]
    assert isinstance(record, dg.UrlMetadataValue)
    assert record.value.startswith("at://did:")


def test_other_content_is_not_shown_with_the_old_pictures(services, instance, fresh):
    materialize(make(fresh), instance)
    FileIndex().write_samples(map(picture, range(2)), name=fresh, sample_type=Picture)
    chain = make(fresh)
    keys = [chain.key("team")]
    found = materialize(chain, instance, selection=keys)
    assert found["team"].metadata["dagster/row_count"].value == 2
    assert "atdata/preview" not in found["team"].metadata


def test_previews_are_switched_off_by_argument_or_environment(
    services, instance, fresh, monkeypatch
):
    assert (
        "atdata/preview" not in materialize(make(fresh, preview=False), instance)["local"].metadata
    )
    monkeypatch.setenv("ATDATA_PREVIEW", "0")
    found = materialize(make(fresh), instance)["local"].metadata
    assert not any(key.startswith(("atdata/preview", "atdata/fields")) for key in found)
    assert found["dagster/row_count"].value == 6


def test_what_changed_since_the_last_time_is_told(services, instance, fresh):
    assert "atdata/changes" not in materialize(make(fresh), instance)["local"].metadata
    same = materialize(make(fresh), instance)
    assert same["local"].metadata["atdata/changes"].value == "Nothing."
    more = materialize(make(fresh, 9), instance)
    for layer in ("local", "team", "atmosphere"):
        assert more[layer].metadata["atdata/rows_delta"].value == 3
        assert more[layer].metadata["atdata/shards_delta"].value == 0
        assert more[layer].metadata["atdata/bytes_delta"].value > 0
        assert "- rows: 6 → 9 (+3)" in more[layer].metadata["atdata/changes"].value


def test_a_changed_schema_is_told_in_words(services, instance, fresh):
    def version(fields):
        kind = packable(type("Thing", (), {"__annotations__": fields, "__module__": __name__}))

        @dataset_asset(kind, name=fresh)
        def things() -> Iterator[object]:
            yield kind(*(of() for of in fields.values()))

        return materialize(things, instance)["local"].metadata

    version({"size": int})
    changes = version({"size": int, "name": str})["atdata/changes"].value
    assert markdown("name: was added without a default (breaking)") in changes
