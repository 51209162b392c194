"""What many rounds come to."""

import statistics
from collections.abc import Sequence
from typing import Any


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median and spread of some figures, with the figures."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "rounds": list(values),
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """The ratios of two in the same round, as `summary`."""
    return summary([one / other for one, other in zip(ours, theirs, strict=True)])
