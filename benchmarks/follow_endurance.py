"""Publishers write, change and delete at random while followers are killed at random.

    python -m benchmarks.follow_endurance [--daemon] [--seconds 120] [--publishers 4] …

In the end the catalogue, the partitions and the datasets made must be what the PDS holds. With
``--daemon`` Dagster's own daemon follows and runs; without it a process that does what the daemon
does with a sensor's tick, in its order, and this one asks automation and runs.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from atdata_core.discovery import open_catalogue
from atdata_dagster.devnet import Devnet
from atdata_dagster.partitions import inbox_key, record_partition, record_partitions, records_key
from benchmarks.endurance_chaos import Chaos
from benchmarks.endurance_publishers import COLLECTION, Publisher

_AUTOMATED = {"dagster/from_automation_condition": "true"}


@dataclass
class Outcome:
    """What was found in the end."""

    records: int = 0
    lost: list[str] = field(default_factory=list)
    ghosts: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    writes: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    service_kills: Counter[str] = field(default_factory=Counter)
    failed_writes: int = 0
    made: int = 0

    def __str__(self) -> str:
        return (
            f"{len(self.lost)} lost, {len(self.ghosts)} ghosts, "
            f"{len(self.twice)} materialized twice"
        )


class Reader:
    """The side that follows: a Dagster home, a catalogue, a subscription."""

    def __init__(
        self, folder: Path, said: dict[str, Any], catalogue: str, storage: str = ""
    ) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        (self.home / "dagster.yaml").write_text(
            "telemetry: {enabled: false}\nconcurrency: {runs: {max_concurrent_runs: 2}}\n"
            # Runs that are killed with their daemon are failed ones then, and asked for again.
            "run_monitoring: {enabled: true, poll_interval_seconds: 5, start_timeout_seconds: 90, "
            "max_runtime_seconds: 120}\n"
            + (f"storage: {{postgres: {{postgres_url: '{storage}'}}}}\n" if storage else "")
        )
        subscription = folder / "subscription.json"
        subscription.write_text(json.dumps(said))
        self.env = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "ENDURANCE_SUBSCRIPTION": str(subscription),
            "ENDURANCE_CATALOGUE": catalogue,
            "ATDATA_ROOT": str(folder / "local"),
        }
        self.log = folder / "follower.log"
        self.catalogue = catalogue
        self.process: subprocess.Popen[bytes] | None = None
        # Its files are made by one process, before others use them.
        self.instance = dg.DagsterInstance.from_config(str(self.home))
        self.instance.all_instigator_state()
        self.partitions()

    def start(self, command: list[str]) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """The follower and all that it started, at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def materialized(self) -> list[tuple[str, str]]:
        """Each materialization: the partition, and the CID of the record."""
        key = dg.AssetRecordsFilter(asset_key=inbox_key(COLLECTION))
        found = self.instance.fetch_materializations(key, limit=10_000).records
        events = [each.event_log_entry.asset_materialization for each in found]
        return [(str(e.partition), str(e.metadata["atdata/source_cid"].value)) for e in events if e]

    def partitions(self) -> set[str]:
        return set(self.instance.get_dynamic_partitions(str(record_partitions(COLLECTION).name)))

    def observed(self, partition: str) -> str | None:
        wanted = dg.AssetRecordsFilter(
            asset_key=records_key(COLLECTION), asset_partitions=[partition]
        )
        found = self.instance.fetch_observations(wanted, limit=1).records
        event = found[0].event_log_entry.asset_observation if found else None
        return None if event is None else event.tags.get("dagster/data_version")

    def listed(self) -> dict[str, str]:
        with open_catalogue(self.catalogue) as catalogue:
            return {record_partition(r.did, r.rkey): r.cid for r in catalogue.records()}


class Automation:
    """Asks automation what to run, and runs it here."""

    def __init__(self, reader: Reader) -> None:
        # Read by the location when it is imported.
        os.environ.update({k: v for k, v in reader.env.items() if k.startswith(("END", "ATDATA"))})
        from benchmarks.endurance_location import defs

        self.defs = defs
        self.job = defs.resolve_implicit_global_asset_job_def()
        self.reader = reader
        self.cursor: Any = None

    def step(self) -> int:
        instance = self.reader.instance
        told = dg.evaluate_automation_conditions(self.defs, instance, cursor=self.cursor)
        self.cursor = told.cursor
        asked = sorted(told.get_requested_partitions(inbox_key(COLLECTION)))
        for partition in asked:
            # The record may have gone since it was asked for, and its partition with it.
            with contextlib.suppress(dg.DagsterUnknownPartitionError):
                self.job.execute_in_process(
                    instance=instance,
                    partition_key=partition,
                    asset_selection=[inbox_key(COLLECTION)],
                    tags=_AUTOMATED,
                    raise_on_error=False,
                )
        return len(asked)


def endure(
    net: Devnet,
    folder: Path,
    *,
    source: str = "poll",
    publishers: int = 3,
    seconds: float = 20.0,
    pause_s: float = 0.5,
    daemon: bool = False,
    seed: int = 1,
    catalogue: str | None = None,
    patience_s: float = 180.0,
    pds: int = 1,
    creations: int | None = None,
    weights: tuple[int, int, int] = (4, 4, 2),
    service_life_s: float | None = None,
    storage: str = "",
) -> Outcome:
    """Runs it all on a devnet, and compares.

    Args:
        net: A devnet that runs; the environment leads to it.
        folder: Where the follower keeps what it has.
        source: ``poll`` or ``firehose``.
        publishers: How many accounts publish.
        seconds: How long they do.
        pause_s: The mean pause between two writes of one of them.
        daemon: Whether Dagster's own daemon follows and runs.
        seed: Of all that is random.
        catalogue: The catalogue's place; by default a file in `folder`.
        patience_s: How long the follower may take afterwards.
        pds: On how many PDSes they do, of the devnet's.
        creations: How many records all together create at the most, where it ends before the time.
        weights: How often they create, change and delete, beside each other.
        service_life_s: How long the services live until one is killed, on the average; by default
            for ever. The devnet has to start them anew.
        storage: The address of a Postgres for Dagster; by default it has SQLite.
    """
    chance = random.Random(seed)
    each_creates = None if creations is None else -(-creations // publishers)
    made = [
        Publisher(
            *(net, f"e{seed}x{os.urandom(3).hex()}", seed * 100 + n, pause_s),
            *(n % pds + 1, each_creates, weights),
        )
        for n in range(publishers)
    ]
    addresses = [f"firehose:{url.replace('http', 'ws')}" for url in net.pds_urls[:pds]]
    said = {
        "dids": [each.account.did for each in made],
        "collections": [COLLECTION],
        "source": "poll" if source == "poll" else addresses,
    }
    reader = Reader(folder, said, catalogue or str(folder / "catalogue.db"), storage)
    daemon_command = ["dagster._daemon", "run", "-m", "benchmarks.endurance_location"]
    command = daemon_command if daemon else ["benchmarks.endurance_follower"]
    automation = None if daemon else Automation(reader)
    outcome = Outcome()
    victims = ["redis", "pds", *(f"pds-{number}" for number in range(2, pds + 1))]
    chaos = Chaos(net, victims, service_life_s or 1.0, seed)
    for each in made:
        each.start()
    if service_life_s is not None:
        chaos.start()
    try:
        working = _working(made, seconds)
        _while_it_lasts(reader, command, automation, working, chance, outcome, daemon)
        for each in made:
            each.stopping.set()
        chaos.stop()
        for each in made:
            each.join()
            if each.failure is not None:
                raise each.failure
            outcome.writes += each.writes
            outcome.failed_writes += each.failures
        outcome.service_kills = chaos.kills
        held = {key: cid for each in made for key, cid in each.held().items()}
        print(f"written: {dict(outcome.writes)}; waiting for the follower", flush=True)
        reader.start(command)
        _wait(lambda: _is_settled(reader, held, automation), patience_s, 5.0 if daemon else 0.5)
    finally:
        reader.kill()
        chaos.stopping.set()
        for each in made:
            each.stopping.set()
            each.client.close()
    with reader.instance:
        return _compare(reader, held, outcome)


def _working(made: list[Publisher], seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end and any(each.is_alive() for each in made)


def _while_it_lasts(
    reader: Reader,
    command: list[str],
    automation: Automation | None,
    working: Callable[[], bool],
    chance: random.Random,
    outcome: Outcome,
    daemon: bool,
) -> None:
    while working():
        reader.start(command)
        life = chance.uniform(30, 120) if daemon else chance.uniform(2, 5)
        death = time.monotonic() + life
        while working() and time.monotonic() < death:
            if automation is not None:
                automation.step()
            time.sleep(0.2)
        reader.kill()
        outcome.kills += 1


def _is_settled(reader: Reader, held: dict[str, str], automation: Automation | None) -> bool:
    if automation is not None and automation.step():
        return False
    made = dict(reversed(reader.materialized()))
    return (
        reader.listed() == held
        and reader.partitions() == set(held)
        and all(made.get(key) == cid for key, cid in held.items())
    )


def _wait(settled: Callable[[], bool], patience_s: float, pause_s: float) -> None:
    end = time.monotonic() + patience_s
    while not settled() and time.monotonic() < end:
        time.sleep(pause_s)


def _compare(reader: Reader, held: dict[str, str], outcome: Outcome) -> Outcome:
    made = reader.materialized()
    latest = dict(reversed(made))
    listed, partitions = reader.listed(), reader.partitions()
    outcome.records, outcome.made = len(held), len(made)
    for key, cid in held.items():
        found = (listed.get(key), reader.observed(key), latest.get(key))
        if found != (cid, cid, cid) or key not in partitions:
            outcome.lost.append(f"{key}: {cid} on the PDS; listed, observed, made: {found}")
    outcome.ghosts = sorted({*listed, *partitions} - set(held))
    outcome.twice = [f"{key} at {cid}" for (key, cid), n in Counter(made).items() if n > 1]
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.follow_endurance")
    parser.add_argument("--daemon", action="store_true", help="Dagster's own daemon follows")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--publishers", type=int, default=4)
    parser.add_argument("--pause", type=float, default=2.0)
    parser.add_argument("--source", choices=("poll", "firehose"), default="firehose")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pds", type=int, default=1, help="how many PDSes")
    parser.add_argument("--creations", type=int, help="ends after so many records were created")
    parser.add_argument("--weights", type=int, nargs=3, default=(4, 4, 2), metavar="N")
    parser.add_argument("--chaos", type=float, metavar="SECONDS", help="kill services so often")
    parser.add_argument("--postgres", action="store_true", help="Dagster keeps all in Postgres")
    parser.add_argument("--patience", type=float, default=600.0, metavar="SECONDS")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atdata-endurance-")))
        storage = ""
        if options.postgres:
            from tests.support.postgres import Postgres

            storage = stack.enter_context(Postgres()).create("endurance")
        devnet = Devnet(folder / "net", services=["redis", "pds"], pds=options.pds, restart=True)
        net = stack.enter_context(devnet.running())
        os.environ.update(net.env)
        outcome = endure(
            net,
            folder / "reader",
            source=options.source,
            publishers=options.publishers,
            seconds=options.seconds,
            pause_s=options.pause,
            daemon=options.daemon,
            seed=options.seed,
            catalogue=net.env["ATDATA_REDIS_URL"],
            patience_s=options.patience,
            pds=options.pds,
            creations=options.creations,
            weights=tuple(options.weights),
            service_life_s=options.chaos,
            storage=storage,
        )
        if outcome.lost or outcome.ghosts or outcome.twice:
            print((folder / "reader" / "follower.log").read_text()[-20000:])
    for each in (*outcome.lost, *outcome.ghosts, *outcome.twice):
        print(each)
    writes = ", ".join(f"{n} {kind}" for kind, n in sorted(outcome.writes.items()))
    kills = ", ".join(f"{name} {n}" for name, n in sorted(outcome.service_kills.items()))
    print(
        f"{writes} by {options.publishers} accounts on {options.pds} PDSes, "
        f"{outcome.failed_writes} writes failed; killed: followers {outcome.kills}"
        f"{', ' if kills else ''}{kills}; {outcome.made} datasets made"
    )
    print(f"{outcome.records} records at the end: {outcome}")
    return 1 if outcome.lost or outcome.ghosts or outcome.twice else 0


if __name__ == "__main__":
    sys.exit(main())
