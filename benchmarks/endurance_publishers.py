"""The side of the endurance run that publishes: accounts that write at random, on several PDSes."""

import random
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata_core import AtmosphereIndex, PDSBlobStore, packable
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.discovery import list_repo_datasets
from atdata_core.errors import AtdataError
from atdata_dagster.devnet import Devnet
from atdata_dagster.partitions import record_partition

COLLECTION = "ac.foundation.dataset.record"
_KINDS = ("create", "change", "delete")
# So many records share a shard, since it is the records that are many.
_SHARING = 10


@packable
class Point:
    xy: NDArray[np.float32]


class Publisher(threading.Thread):
    """An account that creates, changes and deletes records until it is told to stop.

    Args:
        net: Where it lives.
        name: What it is called.
        seed: Of all that it does at random.
        pause_s: The mean pause between two writes.
        pds: The number of its PDS.
        creations: After how many creations it stops by itself.
        weights: How often it creates, changes and deletes, beside each other.
    """

    def __init__(
        self,
        net: Devnet,
        name: str,
        seed: int,
        pause_s: float,
        pds: int = 1,
        creations: int | None = None,
        weights: tuple[int, int, int] = (4, 4, 2),
    ) -> None:
        super().__init__(daemon=True)
        self.account = net.create_account(name, pds)
        self.client = AtmosphereClient(self.account.pds)
        self.client.login(self.account.handle, self.account.app_password)
        self.random = random.Random(seed)
        self.pause_s = pause_s
        self.creations = creations
        self.weights = weights
        self.stopping = threading.Event()
        self.live: dict[str, dict[str, Any]] = {}
        self.writes: Counter[str] = Counter()
        self.failures = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stopping.is_set() and self.writes["create"] != self.creations:
                try:
                    self.step()
                except AtdataError:
                    # Its PDS was killed; what came of the last write is known when it is back.
                    self.failures += 1
                    self.look()
                self.stopping.wait(self.random.expovariate(1 / self.pause_s))
        except Exception as error:  # noqa: BLE001 - told at the end by whoever waits
            self.failure = error

    def step(self) -> None:
        kind = self.random.choices(_KINDS, self.weights)[0]
        if kind == "create" or not self.live:
            kind = "create"
            self._create(sum(self.writes.values()))
        else:
            uri = self.random.choice(sorted(self.live))
            if kind == "delete":
                self.client.delete_record(uri)
                del self.live[uri]
            else:
                changed = {**self.live[uri], "description": f"change {sum(self.writes.values())}"}
                self.client.put_record(COLLECTION, uri.rpartition("/")[2], changed)
                self.live[uri] = changed
        self.writes[kind] += 1

    def _create(self, number: int) -> None:
        if self.live and number % _SHARING:
            like = self.live[self.random.choice(sorted(self.live))]
            record = {**like, "name": f"{self.account.handle.partition('.')[0]}-{number}"}
            uri = str(self.client.put_record(COLLECTION, f"r{number}", record))
            self.live[uri] = record
            return
        samples = (Point(xy=np.array([number, i], np.float32)) for i in range(3))
        index = AtmosphereIndex(self.client, data_store=PDSBlobStore(self.client))
        name = f"{self.account.handle.partition('.')[0]}-{number}"
        entry = index.write_samples(samples, name=name, sample_type=Point).entry
        self.live[str(entry.uri)] = dict(self.client.get_record(str(entry.uri)))

    def look(self) -> None:
        """Reads what there is, as soon as its PDS answers."""
        while True:
            try:
                found = list_repo_datasets(self.account.did, collections=[COLLECTION])
            except AtdataError:
                time.sleep(0.5)
                continue
            assert not found.dropped
            assert not found.truncated
            self.live = {record.uri: dict(record.value) for record in found.records}
            self.cids = {record_partition(r.did, r.rkey): r.cid for r in found.records}
            return

    def held(self) -> dict[str, str]:
        """What its PDS holds, by partition."""
        self.look()
        return self.cids
