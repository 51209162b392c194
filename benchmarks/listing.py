"""Entries in Redis: ours beside the public package's, each in a fresh process.

``python -m benchmarks.listing URL COUNT`` measures ours.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from atdata_core.entry import DatasetEntry
from atdata_core.indexes.local import LocalIndex
from atdata_core.shard import Shard
from benchmarks.environments import PUBLIC, ROOT, python_of
from benchmarks.peers.ours import Small

_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
_CASES = {
    "redis_insert": ("entries into Redis, {count:,}", 6),
    "redis_list": ("all {count:,} entries listed", 10),
    "redis_name": ("one of {count:,} looked up by name", 500),
}
_DATABASE = 14


def measure(url: str, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Rates of both; the public package's only if it can be installed, and not when quick."""
    count = 1000 if quick else 10_000
    url = f"{url.rpartition('/')[0]}/{_DATABASE}"
    python = None if quick else python_of(PUBLIC)
    if python is None:
        return {}
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(_measured(str(python), "benchmarks.peers.public_index", url, count, 5))
        ours.append(_measured(sys.executable, "benchmarks.listing", url, count))
    return {
        name: {
            "title": title.format(count=count),
            "over": "public atdata",
            "unit": "/s",
            "goal": goal,
            "ours": [many / seconds[place] for seconds in ours],
            "theirs": [many / seconds[place] for seconds in theirs],
        }
        for place, (name, (title, goal)) in enumerate(_CASES.items())
        for many in [1 if name == "redis_name" else count]
    }


def _own(url: str, count: int) -> list[float]:
    with LocalIndex(url) as index:
        index.redis.flushdb()
        started = time.perf_counter()
        ref = index.publish_schema(Small)
        index.insert_entries(
            DatasetEntry(
                name=f"data-{number:06d}",
                schema_ref=ref,
                shards=(Shard(f"/data/{number:06d}.tar", _CID, 1000 + number, 10),),
                metadata={"number": number},
            )
            for number in range(count)
        )
        inserted = time.perf_counter()
        found: list[DatasetEntry] = index.list_datasets()
        listed = time.perf_counter()
        assert len(found) == count
        for number in range(1000):
            name = f"data-{count * number // 1000:06d}"
            assert index.get_dataset(name).name == name
        return [inserted - started, listed - inserted, (time.perf_counter() - listed) / 1000]


def _measured(python: str, module: str, *arguments: object) -> list[float]:
    done = subprocess.run(
        [python, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    seconds: list[float] = json.loads(line.removeprefix("RESULT "))
    return seconds


if __name__ == "__main__":
    print("RESULT " + json.dumps(_own(sys.argv[1], int(sys.argv[2]))))
