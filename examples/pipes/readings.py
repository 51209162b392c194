"""What a reading is, and how readings are taken. Both machines have this file."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from atdata_core import packable


@packable
class Reading:
    """What one station measured."""

    signal: NDArray[np.float32]
    station: str


def measure() -> Iterator[Reading]:
    """What three stations measured."""
    for number, station in enumerate(("north", "south", "west"), 1):
        yield Reading(signal=np.arange(64, dtype=np.float32) * number, station=station)
