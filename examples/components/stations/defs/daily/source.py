"""A day of a station."""

from collections.abc import Iterator

import dagster as dg
import numpy as np
from stations.defs.readings.source import Reading


def daily(context: dg.AssetExecutionContext) -> Iterator[Reading]:
    """What one station measured on one day."""
    key = context.partition_key.keys_by_dimension
    day = int(key["day"].replace("-", ""))
    yield Reading(signal=np.full(8, day, np.float32), station=key["station"])
