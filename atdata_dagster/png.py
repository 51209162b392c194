"""Small pictures of arrays, as PNG (https://www.w3.org/TR/png-3/), with NumPy and zlib alone."""

import base64
import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_PNG_BYTES = 24_000
"""The largest picture, in bytes: it is kept in Dagster's event log with every materialization."""

MAX_INLINE_BYTES = 640
"""The largest picture that Dagster shows at once: the text of longer ones it hides behind a link
(from 1,000 characters on, of which base64 makes four out of three bytes)."""

_TILE = 64
_GAP = 2
_COLORS = {1: 0, 3: 2, 4: 6}
_DARK = 64


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """An image as PNG.

    Args:
        pixels: (height, width) grey, or (height, width, 3 or 4) colours, both sides at least 1.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    rows = np.ascontiguousarray(pixels).reshape(height, width * channels)
    return _encode(rows, width, bits=8, color=_COLORS[channels])


def _encode_grey(pixels: NDArray[np.uint8], bits: int) -> bytes:
    """Grey pixels as PNG of 1 or 4 bits each."""
    width = pixels.shape[1]
    per_byte = 8 // bits
    padded = np.pad(pixels, ((0, 0), (0, -width % per_byte))) >> (8 - bits)
    packed = np.zeros((padded.shape[0], padded.shape[1] // per_byte), np.uint8)
    for place in range(per_byte):
        packed |= padded[:, place::per_byte] << (8 - bits * (place + 1))
    return _encode(packed, width, bits=bits, color=0)


def _encode(rows: NDArray[np.uint8], width: int, *, bits: int, color: int) -> bytes:
    height = len(rows)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(lines.tobytes(), 9)),
            (b"IEND", b""),
        )
    )


def data_uri(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def is_image(value: object) -> bool:
    """Whether an array can be shown as one: (H, W) or (H, W, 1, 3 or 4), of numbers."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "uifb":
        return False
    if value.ndim == 3 and value.shape[2] not in _COLORS:
        return False
    return value.ndim in (2, 3) and min(value.shape[:2]) >= 4


def is_curve(value: object) -> bool:
    """Whether an array can be drawn as a line: (N,) of at least four numbers."""
    return (
        isinstance(value, np.ndarray)
        and value.ndim == 1
        and value.dtype.kind in "uif"
        and len(value) >= 4
    )


def thumbnail(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """An image with no side over 64 pixels, by leaving out rows and columns; a copy."""
    step = _step(image, _TILE)
    return image[::step, ::step].copy()


def contact_sheet(images: Sequence[NDArray[np.generic]]) -> bytes:
    """Images of one kind side by side, as PNG of no more than `MAX_PNG_BYTES`.

    What is not made of bytes, or nearly black, is stretched from its least to its largest value.

    Args:
        images: Arrays for which `is_image` holds, no side over 64 pixels.
    """
    grey = _stretched(images)
    while True:
        png = encode_png(_side_by_side([_enlarged(image) for image in grey]))
        if len(png) <= MAX_PNG_BYTES:
            return png
        grey = grey[: len(grey) // 2] if len(grey) > 1 else [grey[0][::2, ::2]]


def inline_sheet(images: Sequence[NDArray[np.generic]]) -> bytes | None:
    """As many of the images as fit into `MAX_INLINE_BYTES`, in 16 greys; None if not even one does.

    Args:
        images: As for `contact_sheet`.
    """
    grey = [_without_colour(image) for image in _stretched(images)]
    for count, side in _INLINE_SHEETS:
        some = [_enlarged(image[:: _step(image, side), :: _step(image, side)]) for image in grey]
        png = _encode_grey(_side_by_side(some[:count]), bits=4)
        if len(png) <= MAX_INLINE_BYTES:
            return png
    return None


_INLINE_SHEETS = ((8, 64), (4, 64), (4, 32), (3, 24), (2, 24), (1, 32), (1, 24), (1, 16))
"""How many images of which size are tried, in this order."""


def inline_curves(curves: Sequence[NDArray[np.generic]]) -> bytes | None:
    """As many of the curves as fit into `MAX_INLINE_BYTES`, one above the other; None if none do.

    Args:
        curves: Arrays for which `is_curve` holds.
    """
    for count in range(len(curves), 0, -1):
        drawn = [_drawn(values, 160, 32) for values in curves[:count]]
        png = _encode_grey(np.concatenate(drawn), bits=1)
        if len(png) <= MAX_INLINE_BYTES:
            return png
    return None


def _step(image: NDArray[np.generic], side: int) -> int:
    longest: int = max(image.shape[:2])
    return max(1, math.ceil(longest / side))


def _without_colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim == 2:
        return image
    grey: NDArray[np.uint8] = image[:, :, :3].mean(axis=2).astype(np.uint8)
    return grey


def sparkline(values: NDArray[np.generic], width: int = 160, height: int = 32) -> bytes:
    """A line through the values of a 1-D array, as PNG; gaps where they are not finite."""
    return encode_png(_drawn(values, width, height))


def _drawn(values: NDArray[np.generic], width: int, height: int) -> NDArray[np.uint8]:
    numbers = values[:: max(1, len(values) // (4 * width))].astype(np.float64)
    scaled = _scaled(numbers, *_bounds([numbers])) * (height - 1)
    picture = np.full((height, width), 255, np.uint8)
    places = np.linspace(0, len(scaled) - 1, width)
    finite = np.isfinite(scaled)
    if finite.any():
        levels = np.interp(places, np.flatnonzero(finite), scaled[finite])
        gap = ~finite[places.round().astype(int)]
        tops = (height - 1 - levels).round().astype(int)
        for x in range(width):
            if not gap[x]:
                low, high = sorted((tops[x], tops[x - 1] if x and not gap[x - 1] else tops[x]))
                picture[low : high + 1, x] = 60
    return picture


def _bounds(arrays: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    finite = [part[np.isfinite(part)] for part in arrays]
    low = min((float(part.min()) for part in finite if part.size), default=0.0)
    high = max((float(part.max()) for part in finite if part.size), default=1.0)
    return low, high


def _scaled(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    # Halves, because the distance of two finite numbers need not be one.
    span = high / 2 - low / 2
    return (values / 2 - low / 2) / span if span > 0 else np.where(np.isfinite(values), 0.5, values)


def _stretched(images: Sequence[NDArray[np.generic]]) -> list[NDArray[np.uint8]]:
    numbers = [image.astype(np.float64) for image in images]
    low, high = _bounds(numbers)
    if high >= _DARK and all(image.dtype == np.uint8 for image in images):
        return [image.astype(np.uint8) for image in images]
    if all(image.dtype.kind == "f" for image in images) and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return [
        np.nan_to_num(_scaled(part, low, high) * 255, nan=0, posinf=255, neginf=0)
        .clip(0, 255)
        .astype(np.uint8)
        for part in numbers
    ]


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = max(1, _TILE // max(image.shape[:2]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _side_by_side(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    channels = max(image.shape[2] if image.ndim == 3 else 1 for image in images)
    tall = max(image.shape[0] for image in images)
    wide = sum(image.shape[1] + _GAP for image in images) - _GAP
    sheet = np.full((tall, wide, channels), 255, np.uint8)
    left = 0
    for image in images:
        height, width = image.shape[:2]
        colors = image.reshape(height, width, -1)
        sheet[:height, left : left + width, : colors.shape[2]] = colors
        if colors.shape[2] == 1:
            sheet[:height, left : left + width, :3] = colors
        left += width + _GAP
    return sheet[:, :, 0] if channels == 1 else sheet
