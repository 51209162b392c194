"""The code location that the browser walks through: real digits, what Bob publishes, and mistakes.

Loaded by Dagster in a folder with a ``subscription.yaml``.
"""

from collections.abc import Iterator
from typing import Annotated

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from atdata_core import Shape, packable
from atdata_core.atproto.records import DATASET_TYPES
from atdata_dagster import (
    build_dataset_checks,
    build_definitions,
    build_inbox_definitions,
    check_range,
    dataset_asset,
)
from definitions.assets import digit_embeddings, digits

TYPE = DATASET_TYPES[0]


@packable
class Day:
    """A day at a station: the temperature in each hour, in degrees Celsius."""

    celsius: Annotated[NDArray[np.float32], Shape(24)]
    station: str


@dataset_asset(Day)
def weather() -> Iterator[Day]:
    """Temperatures, one of them from a broken thermometer."""
    for number, station in enumerate(["north", "south", "west"]):
        celsius = np.sin(np.linspace(0, 2 * np.pi, 24)) * 5 + 10
        celsius[12] += 70 * (number == 2)
        yield Day(celsius=celsius.astype(np.float32), station=station)


@dataset_asset(Day)
def short_days() -> Iterator[Day]:
    """Temperatures of the day in March that has 23 hours."""
    yield Day(celsius=np.zeros(23, np.float32), station="north")


defs = dg.Definitions.merge(
    build_definitions(
        digits,
        digit_embeddings,
        weather,
        short_days,
        asset_checks=[
            *build_dataset_checks(weather, include=[check_range("celsius", -60, 60)]),
            *build_dataset_checks(digits, layer="atmosphere", include=["record"]),
        ],
    ),
    build_inbox_definitions(
        "subscription.yaml",
        collections=[TYPE],
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
    ),
)
