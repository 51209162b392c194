"""What is read and written: four kinds of samples."""

import random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH = 32


@dataclass(frozen=True)
class Workload:
    """One kind of samples.

    Args:
        name: What it is called.
        fields: By name, the dtype and shape of an array, or the Python type.
        count: How many samples.
        quick: How many where it has to be quick.
        shards: In how many files.
        variety: So many samples differ; then they come again.
    """

    name: str
    fields: Mapping[str, tuple[str, tuple[int, ...]] | type]
    count: int
    quick: int
    shards: int
    variety: int

    def rows(self) -> list[dict[str, Any]]:
        """The samples that differ, as maps from field to value."""
        rng = np.random.default_rng(7)
        letters = random.Random(7)
        return [
            {name: _value(kind, name, row, rng, letters) for name, kind in self.fields.items()}
            for row in range(self.variety)
        ]

    @property
    def arrays(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The array fields."""
        return {name: kind for name, kind in self.fields.items() if isinstance(kind, tuple)}


def _value(kind: Any, name: str, row: int, rng: Any, letters: random.Random) -> Any:
    if isinstance(kind, tuple):
        dtype, shape = kind
        if dtype == "uint8":
            return rng.integers(0, 256, shape, np.uint8)
        return rng.random(shape, np.dtype(dtype))
    if kind is str:
        length = letters.randint(350, 450) if name == "text" else 12
        return "".join(letters.choices(string.ascii_letters + " ", k=length))
    return kind(row * 1000 + 1)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("S", {"x": ("float32", (64,)), "label": int}, 200_000, 40_000, 20, 2000),
        Workload(
            "I8",
            {"image": ("uint8", (224, 224, 3)), "name": str, "score": float},
            *(2000, 800, 8, 100),
        ),
        Workload(
            "I32",
            {"image": ("float32", (224, 224, 3)), "name": str, "score": float},
            *(500, 200, 8, 40),
        ),
        Workload(
            "E",
            {"text": str, "vector": ("float32", (768,)), "source": str},
            50_000,
            10_000,
            10,
            500,
        ),
    )
}
