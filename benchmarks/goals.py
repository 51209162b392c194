"""What shall be reached, as ratios within a round or as figures of their own."""

from typing import NamedTuple

OPERATIONS = {
    "batches": "batches of 32, arrays stacked",
    "singles": "one by one",
    "shuffled": "shuffled",
    "shuffled_batches": "shuffled, batches of 32",
    "write": "write, CIDs computed",
    "random": "`dataset[i]` at random",
}

OVER_PUBLIC = {
    "batches": {"S": 120, "I8": 9, "I32": 6, "E": 32},
    "singles": {"S": 80, "I8": 5, "I32": 3, "E": 32},
    "shuffled": {"S": 90, "I8": 3, "I32": 2, "E": 40},
    "write": {"S": 30, "I8": 3.3, "I32": 2, "E": 13},
}
"""Over the public package, by operation and workload."""

OVER_FASTEST = {"S": 1.5, "I8": 2.5, "I32": 1, "E": 1.2}
"""Batches, over the fastest of these on each workload."""
FAST = ("lance", "litdata", "mosaicml", "hf")

AT_RANDOM = 100_000
"""Samples a second."""


class Limit(NamedTuple):
    """A figure that is measured as it is.

    Args:
        title: What it is.
        unit: Of the figure.
        goal: What it shall be; None: it is there to be known.
        at_least: Whether more is better.
    """

    title: str
    unit: str
    goal: float | None
    at_least: bool = True


FIGURES = {
    "first_batch_ms": Limit("first batch after open", "ms", 10, False),
    "len_ms": Limit("`len` of a listed dataset (no shard is opened)", "ms", 10, False),
    "reader_mb": Limit("reader's memory above resting, one shard of 300 MB", "MB", 100, False),
    "reader_s3_mb": Limit(
        "reader's memory above resting, shards of 25 MB from S3, two fetched ahead",
        "MB",
        100,
        False,
    ),
    "proof_ms": Limit("a record's proof checked: hashes, tree, signature", "ms", 5, False),
    "hash_gb_s": Limit("shards hashed", "GB/s", 0.5),
    "verified_share": Limit(
        "share of hashing in the first pass over images from an index", "%", None
    ),
    "step_ms": Limit("a Dagster step beyond the core call in it, over SQLite", "ms", 150, False),
    "import_ms": Limit(
        "import of all of `atdata_dagster` beyond Dagster and NumPy, CPU", "ms", 100, False
    ),
    "writer_mb": Limit("writer's memory above resting, shards of 25 MB", "MB", 50, False),
}
