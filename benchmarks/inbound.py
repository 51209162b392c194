"""Following as Dagster does it: from a record's creation to its dataset here, and what ticks cost.

    python -m benchmarks inbound

The PDS and ``dagster dev`` are real, and on this machine. Both sensors have the intervals that
they have by themselves: 30 seconds.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from atdata_core.discovery import FileCatalogue, repo_state
from atdata_dagster import CatalogueResource, build_inbox_definitions
from atdata_dagster.devnet import Devnet
from atdata_dagster.partitions import inbox_key, records_key
from benchmarks.endurance_publishers import COLLECTION, Publisher

_PATIENCE_S = 300.0
_PER_CALL = 200


def measure(*, quick: bool) -> dict[str, Any]:
    """Seconds of each stage for each record, and what a tick costs with nothing and much to do."""
    with (
        tempfile.TemporaryDirectory(prefix="atdata-inbound-") as temporary,
        Devnet(Path(temporary) / "net", services=["pds"]).running() as net,
    ):
        os.environ.update(net.env)
        folder = Path(temporary)
        return {
            "idle": _idle(net, folder / "idle", 10 if quick else 50),
            "flood": _flood(net, folder / "flood", 1_000 if quick else 10_000),
            "latency": _latency(net, folder / "latency", 3 if quick else 9),
            "load": round(os.getloadavg()[1], 1),
        }


def _account(net: Devnet) -> Publisher:
    return Publisher(net, f"b{os.urandom(4).hex()}", 1, 1.0)


def _subscription(folder: Path, publisher: Publisher, **said: Any) -> Path:
    folder.mkdir(parents=True)
    path = folder / "subscription.json"
    body = {"dids": [publisher.account.did], "collections": [COLLECTION], **said}
    path.write_text(json.dumps(body))
    return path


class Ticks:
    """A sensor that is evaluated here, again and again, on an instance of its own."""

    def __init__(self, folder: Path, subscription: Path, **options: Any) -> None:
        self.folder = folder
        self.catalogue = CatalogueResource(place=str(folder / "catalogue.db"))
        defs = build_inbox_definitions(
            str(subscription),
            collections=[COLLECTION],
            resources={"catalogue": self.catalogue},
            **options,
        )
        self.sensor: Any = defs.get_repository_def().get_sensor_def("atmosphere_records")
        self.cursor: str | None = None

    def tick(self, instance: dg.DagsterInstance) -> float:
        """One tick; the seconds that it took."""
        started = time.monotonic()
        with dg.build_sensor_context(
            instance=instance, cursor=self.cursor, resources={"catalogue": self.catalogue}
        ) as context:
            self.cursor = self.sensor.evaluate_tick(context).cursor
        return time.monotonic() - started

    def listed(self) -> int:
        with FileCatalogue(self.folder / "catalogue.db") as catalogue:
            return len(list(catalogue.records()))


@contextlib.contextmanager
def _instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    off = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(folder), off) as instance:
        yield instance


def _idle(net: Devnet, folder: Path, count: int) -> dict[str, list[float]]:
    """Milliseconds of ticks that find nothing, and of the one request that they make."""
    publisher = _account(net)
    publisher.step()
    ticks = Ticks(folder, _subscription(folder, publisher))
    found: dict[str, list[float]] = {"tick_ms": [], "request_ms": []}
    with _instance(folder) as instance:
        for _ in range(3):
            ticks.tick(instance)
        for _ in range(count):
            found["tick_ms"].append(ticks.tick(instance) * 1000)
            started = time.monotonic()
            repo_state(publisher.account.did)
            found["request_ms"].append((time.monotonic() - started) * 1000)
    return found


def _flood(net: Devnet, folder: Path, count: int) -> dict[str, Any]:
    """Seconds of ticks with many records waiting, and how many are listed after each."""
    publisher = _account(net)
    publisher.step()
    [like] = publisher.live.values()
    _create_many(publisher, like, count - 1)
    budget_s = 20.0
    options = {"budget_s": budget_s, "max_events": count}
    ticks = Ticks(folder, _subscription(folder, publisher, quota=count), **options)
    seconds, listed = [], []
    with _instance(folder) as instance:
        for _ in range(3):
            seconds.append(ticks.tick(instance))
            listed.append(ticks.listed())
    return {"records": count, "budget_s": budget_s, "seconds": seconds, "listed": listed}


def _create_many(publisher: Publisher, like: dict[str, Any], count: int) -> None:
    at = urlsplit(publisher.account.pds)
    login = {
        "identifier": publisher.account.handle,
        "password": publisher.account.app_password,
    }
    token = _post(at.port or 0, "com.atproto.server.createSession", login)["accessJwt"]
    for start in range(0, count, _PER_CALL):
        writes = [
            {
                "$type": "com.atproto.repo.applyWrites#create",
                "collection": COLLECTION,
                "rkey": f"m{number}",
                "value": {**like, "name": f"many-{number}"},
            }
            for number in range(start, min(count, start + _PER_CALL))
        ]
        body = {"repo": publisher.account.did, "writes": writes}
        _post(at.port or 0, "com.atproto.repo.applyWrites", body, token)


def _post(port: int, method: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    connection.request("POST", f"/xrpc/{method}", json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{method}: {answer.status} {text[:300]!r}")
    found: dict[str, Any] = json.loads(text)
    return found


def _latency(net: Devnet, folder: Path, count: int) -> dict[str, list[float]]:
    """Seconds of each stage, one for each record."""
    publisher = _account(net)
    publisher.step()
    [like] = publisher.live.values()
    subscription = _subscription(folder, publisher)
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    env = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "INBOUND_SUBSCRIPTION": str(subscription),
        "INBOUND_CATALOGUE": str(folder / "catalogue.db"),
        "ATDATA_ROOT": str(folder / "local"),
    }
    created: dict[str, float] = {}
    with dg.DagsterInstance.from_config(str(home)) as instance, _dagster_dev(env, folder / "log"):
        history = History(instance)
        # The first one was there before: when it is here, all is running.
        history.wait(1)
        chance = random.Random(1)
        for number in range(count):
            time.sleep(chance.uniform(10, 40))
            publisher.client.put_record(COLLECTION, f"n{number}", {**like, "name": f"n{number}"})
            created[f"{publisher.account.did}/n{number}"] = time.time()
        history.wait(1 + count)
        return history.stages(created)


@contextlib.contextmanager
def _dagster_dev(env: dict[str, str], log: Path) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["dagster", "dev", "-m", "benchmarks.inbound_location", "-h", "127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "-p", str(port)],
            env=env,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield
        except BaseException:
            print(log.read_text(errors="replace")[-5000:], file=sys.stderr)
            raise
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class History:
    """What an instance has written down of one following."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def wait(self, count: int) -> None:
        """Waits for so many datasets."""
        end = time.monotonic() + _PATIENCE_S
        while len(self._made()) < count:
            if time.monotonic() > end:
                raise RuntimeError(f"{len(self._made())} of {count} datasets after {_PATIENCE_S} s")
            time.sleep(1)

    def _made(self) -> dict[str, tuple[str, float]]:
        found = self.instance.fetch_materializations(inbox_key(COLLECTION), limit=1000).records
        return {str(each.partition_key): (each.run_id, each.timestamp) for each in found}

    def _observed(self) -> dict[str, float]:
        found = self.instance.fetch_observations(records_key(COLLECTION), limit=1000).records
        return {str(each.partition_key): each.timestamp for each in found}

    def _ticks(self, sensor: str) -> list[float]:
        """When the ticks of a sensor began, in order."""
        [state] = [
            each for each in self.instance.all_instigator_state() if each.instigator_name == sensor
        ]
        found = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2000)
        return sorted(each.timestamp for each in found)

    def stages(self, created: dict[str, float]) -> dict[str, list[float]]:
        """Seconds of each stage, one for each record of which it is told when it was created."""
        made, observed = self._made(), self._observed()
        sensor, automation = self._ticks("atmosphere_records"), self._ticks("inbox_automation")
        names = ("wait for a tick", "tick", "wait for automation", "automation", "launch", "run")
        stages: dict[str, list[float]] = {name: [] for name in (*names, "all")}
        for partition, at in created.items():
            run_id, done = made[partition]
            record = self.instance.get_run_record_by_id(run_id)
            assert record is not None
            asked = record.create_timestamp.timestamp()
            times = [
                at,
                max(at, _last(sensor, observed[partition])),
                observed[partition],
                max(observed[partition], _last(automation, asked)),
                asked,
                record.start_time or done,
                done,
            ]
            for name, start, end in zip(names, times, times[1:], strict=False):
                stages[name].append(end - start)
            stages["all"].append(done - at)
        return stages


def _last(times: list[float], before: float) -> float:
    return max((each for each in times if each <= before), default=before)


def rows(found: dict[str, Any]) -> list[list[str]]:
    """The measurement as rows of a table: what, and how much."""
    flood, idle, latency = found["flood"], found["idle"], found["latency"]
    beyond = median(idle["tick_ms"]) - median(idle["request_ms"])
    table = [
        ["a tick that finds nothing, beyond its request", f"{beyond:.0f} ms"],
        [
            f"ticks of {flood['budget_s']:.0f} s with {flood['records']:,} records waiting",
            ", ".join(
                f"{seconds:.1f} s ({listed:,} listed)"
                for seconds, listed in zip(flood["seconds"], flood["listed"], strict=True)
            ),
        ],
    ]
    seconds = latency["all"]
    text = f"{median(seconds):.0f} s ({min(seconds):.0f} to {max(seconds):.0f})"
    table.append([f"from a record's creation to its dataset, {len(seconds)} times", text])
    for name, each in latency.items():
        if name != "all":
            table.append([f"of that: {name}", f"{median(each):.1f} s"])
    table.append(["processes that wanted to run meanwhile, on the average", str(found["load"])])
    return table
