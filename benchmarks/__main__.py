"""``make bench``: atdata_core beside its peers and beside what the machine can do, in one run.

``QUICK=1`` leaves out the peers, first passes, and ``inbound``, which waits for sensors, takes
fewer samples, and measures the figures once.
``python -m benchmarks peers figures`` measures only these parts; they take the place of the former
ones in the results.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import inbound, journey, report, services
from benchmarks.environments import PEERS, PUBLIC, ROOT, python_of
from benchmarks.goals import FIGURES
from benchmarks.runner import Runner

_ROUNDS, _QUICK_ROUNDS = 5, 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measures atdata_core.")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="by default all")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--data", type=Path, help="a folder for data, kept for the next run")
    given = parser.parse_args()
    rounds = given.rounds or (_QUICK_ROUNDS if given.quick else _ROUNDS)
    saved = report.RESULTS / "quick.json" if given.quick else report.FULL
    result = report.load(saved) if saved.exists() else {}
    result["rounds"] = rounds
    with tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=ROOT) as temporary:
        folder = given.data or Path(temporary)
        for part in given.parts or (_QUICK if given.quick else PARTS):
            print(f"{part} …", file=sys.stderr, flush=True)
            PARTS[part](result, folder, rounds, given.quick)
            result["machine"] = _machine()
            report.RESULTS.mkdir(exist_ok=True)
            saved.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(report.tables(result))
    if not given.quick:
        report.PAGE.write_text(report.page(result), "utf-8")
    return 0


def _peers(result: dict[str, Any], folder: Path, rounds: int, quick: bool) -> None:
    own = ("ours", "limit") if quick else ("ours", "anew", "limit")
    pythons = dict.fromkeys(own, sys.executable)
    missing = {}
    for peer in () if quick else PEERS:
        python = python_of(peer)
        if python is None:
            missing[peer.title] = "can't be installed here"
        else:
            pythons[peer.name] = str(python)
    if PUBLIC.name in pythons:
        pythons["public_checksums"] = pythons[PUBLIC.name]
    runner = Runner(pythons, folder, quick=quick)
    runner.prepare()
    rates: dict[str, Any] = {}
    for (peer, operation, workload), each in runner.rounds(rounds).items():
        rates.setdefault(workload, {}).setdefault(operation, {})[peer] = each
    result["rates"] = rates
    result["missing"] = missing | runner.problems
    result["versions"] = {"Python": platform.python_version(), **_versions(pythons)}


def _figures(result: dict[str, Any], folder: Path, rounds: int, quick: bool) -> None:
    target = folder / "figures"
    target.mkdir(parents=True, exist_ok=True)
    times = 1 if quick else rounds
    result["figures"] = {name: [_figure(name, target) for _ in range(times)] for name in FIGURES}


def _figure(name: str, folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.figures", name, str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return float(json.loads(line.removeprefix("RESULT ")))


def _services(result: dict[str, Any], folder: Path, rounds: int, quick: bool) -> None:
    result["services"] = services.measure(folder, rounds, quick=quick)


def _journey(result: dict[str, Any], folder: Path, rounds: int, quick: bool) -> None:
    result["journey"] = journey.measure(quick=quick)


def _inbound(result: dict[str, Any], folder: Path, rounds: int, quick: bool) -> None:
    result["inbound"] = inbound.measure(quick=quick)


PARTS: dict[str, Callable[[dict[str, Any], Path, int, bool], None]] = {
    "peers": _peers,
    "figures": _figures,
    "services": _services,
    "journey": _journey,
    "inbound": _inbound,
}
_QUICK = [part for part in PARTS if part != "inbound"]


def _machine() -> str:
    system = f"{platform.system()} {platform.machine()}"
    load = os.getloadavg()[2]
    return f"{os.cpu_count()} cores ({system}), on which {load:.1f} processes wanted to run at once"


def _versions(pythons: dict[str, str]) -> dict[str, str]:
    """The version of each peer, and of the NumPy beside it."""
    script = (
        "import sys; from importlib.metadata import version; "
        "print(version(sys.argv[1]), '(Python', sys.version.split()[0] + ', NumPy', "
        "version('numpy') + ')')"
    )
    versions = {}
    for peer in PEERS:
        if peer.name in pythons:
            package = peer.requirements[0].partition("==")[0]
            command = [pythons[peer.name], "-c", script, package]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            versions[peer.title] = done.stdout.strip()
    return versions


if __name__ == "__main__":
    sys.exit(main())
