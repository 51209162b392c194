"""What the endurance run is up against: services that are killed at random."""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter

from atdata_dagster.devnet import Devnet


class Chaos(threading.Thread):
    """Kills services of a devnet that starts them anew, one at a time.

    Args:
        net: The devnet.
        names: The services.
        pause_s: The mean time between two.
        seed: Of all that is random.
    """

    def __init__(self, net: Devnet, names: list[str], pause_s: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.net = net
        self.names = names
        self.pause_s = pause_s
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.kills: Counter[str] = Counter()

    def run(self) -> None:
        while not self.stopping.wait(self.random.uniform(0.5, 1.5) * self.pause_s):
            name = self.random.choice(self.names)
            with contextlib.suppress(ProcessLookupError):  # it is just being started anew
                os.kill(self.net.pid(name), signal.SIGKILL)
                self.kills[name] += 1

    def stop(self) -> None:
        """Ends the killing, and waits until all services are up."""
        self.stopping.set()
        if self.ident is not None:
            self.join()
        end = time.monotonic() + 60
        while not self.net.status().ok and time.monotonic() < end:
            time.sleep(0.2)
