"""The public package's index in Redis: a script that `benchmarks.listing` runs.

It times inserting entries, listing them, and looking some up by name, and prints seconds.
"""

import json
import sys
import time
import warnings

import atdata
from numpy.typing import NDArray
from redis import Redis

warnings.simplefilter("ignore")


@atdata.packable
class Small:
    x: NDArray
    label: int


def main() -> None:
    url, count, looked_up = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    redis = Redis.from_url(url)
    redis.flushdb()
    index = atdata.Index(redis=redis, atmosphere=None)
    started = time.perf_counter()
    for number in range(count):
        dataset = atdata.Dataset[Small](f"/data/{number:06d}.tar")
        index.insert_dataset(dataset, name=f"data-{number:06d}", metadata={"number": number})
    inserted = time.perf_counter()
    found = index.list_datasets()
    listed = time.perf_counter()
    assert len(found) == count
    for number in range(looked_up):
        name = f"data-{count * number // looked_up:06d}"
        assert index.get_entry_by_name(name).name == name
    done = time.perf_counter()
    seconds = [inserted - started, listed - inserted, (done - listed) / looked_up]
    print("RESULT " + json.dumps(seconds))


if __name__ == "__main__":
    main()
