"""Tables of the results, and the page `docs/performance.md` made of them.

``python -m benchmarks.report`` writes the page from ``benchmarks/results/full.json``.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import inbound
from benchmarks.environments import PEERS, PUBLIC, ROOT
from benchmarks.goals import AT_RANDOM, FAST, FIGURES, OPERATIONS, OVER_FASTEST, OVER_PUBLIC
from benchmarks.statistics import ratio, summary
from benchmarks.workloads import WORKLOADS

RESULTS = ROOT / "benchmarks" / "results"
FULL = RESULTS / "full.json"
PAGE = ROOT / "docs" / "performance.md"

_TITLES = {
    "ours": "atdata_core",
    "anew": "atdata_core, first passes",
    "limit": "limit",
    **{p.name: p.title for p in PEERS},
    "public_checksums": f"{PUBLIC.title}, checksums computed",
}
_HEAD = """# Performance

Made by `make bench`, not typed: `python -m benchmarks.report` writes this page from
`benchmarks/results/full.json`.
"""
_WORKLOADS = """
- **S**: 200,000 samples of 64 float32 and a whole number, in 20 files
- **I8**: 2,000 of an image of 224 x 224 x 3 uint8, a text and a number, in 8
- **I32**: 500 of the same in float32, in 8
- **E**: 50,000 of a text of 400 characters, 768 float32, and a text, in 10
"""
_HOW = """
One process, warm page cache. Every figure is the median of rounds; in a round each peer has its
turn with each operation, in a fresh process, for at most 1.5 s. A ratio is the median of the
ratios within the rounds, its spread in parentheses. Each peer reads what itself wrote. Right before
the clock starts (but for single samples at random), 512 MB of memory are touched, since a virtual
machine's host may have taken back what was free.

In that time what is small is read several times, as in training. atdata_core checks all headers of
a file in the first pass of a process over it, and remembers where the samples lie as long as nobody
touches the file. *First passes* is the same with nothing remembered. *limit* is no peer: the bytes
of our shards read by one core into one buffer that stays in its cache, or written, and nothing
else. Beside a goal stands what these two have over the same peer.

Our writer computes the CID of each shard. Public atdata's stores compute a checksum of each shard
that they write, its `write_samples` doesn't, and is the faster one: ours is held to both, to
`write_samples` with its own checksums after it, and to `write_samples` alone.
"""


def tables(result: Mapping[str, Any]) -> str:
    """All tables, as Markdown."""
    parts = [
        _goals(result) if result.get("rates") else "",
        _figures(result) if result.get("figures") else "",
        _comparisons(result) if result.get("services") else "",
        _rates(result) if result.get("rates") else "",
        _journey(result) if result.get("journey") else "",
        _inbound(result) if result.get("inbound") else "",
        _missing(result),
    ]
    return "\n".join(filter(None, parts))


def page(result: Mapping[str, Any]) -> str:
    """The page, as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    rounds = f"Medians of {' or '.join(map(str, _rounds(result)))} rounds."
    setting = f"\nMeasured on {result['machine']}. {rounds} Versions: {versions}.\n"
    return "".join([_HEAD, setting, _WORKLOADS, _HOW, "\n", tables(result)])


def _rounds(result: Mapping[str, Any]) -> list[int]:
    """How many rounds there were: parts may be measured at other times."""
    of_peers = (r["ours"] for rates in result.get("rates", {}).values() for r in rates.values())
    of_services = (each["ours"] for each in result.get("services", {}).values())
    return sorted({len(found) for part in (of_peers, of_services) for found in part})


def _goals(result: Mapping[str, Any]) -> str:
    rows = list(_goal_rows(result["rates"]))
    head = ["operation", "", "over", "ratio", "goal", "met", "first passes", "limit"]
    return "## Against others\n\n" + _table(head, rows)


def _goal_rows(rates: Mapping[str, Any]) -> Iterator[list[str]]:
    for operation, goals in OVER_PUBLIC.items():
        for workload, goal in goals.items():
            of = rates[workload][operation]
            for peer in ("public_checksums", PUBLIC.name):
                if of.get(peer):
                    yield _compared(operation, workload, of, peer, goal)
    for workload, goal in OVER_FASTEST.items():
        of = rates[workload]["batches"]
        there = [peer for peer in FAST if of.get(peer)]
        if there:
            fastest = max(there, key=lambda peer: summary(of[peer])["median"])
            yield _compared("batches", workload, of, fastest, goal)
    for workload, operations in rates.items():
        at_random = summary(operations["random"]["ours"])
        met = at_random["median"] >= AT_RANDOM
        rate = _rate(at_random)
        title, goal = OPERATIONS["random"], f"{AT_RANDOM:,}"
        yield [title, workload, "a second", rate, goal, _met(met), "", ""]


def _compared(
    operation: str, workload: str, of: Mapping[str, list[float]], peer: str, goal: float
) -> list[str]:
    found = ratio(of["ours"], of[peer])
    beside = [
        f"x{ratio(of[name], of[peer])['median']:.3g}" if of.get(name) else ""
        for name in ("anew", "limit")
    ]
    return [
        *(OPERATIONS[operation], workload, _TITLES[peer], _times(found)),
        *(f"≥ {goal:g}", _met(found["median"] >= goal), *beside),
    ]


def _figures(result: Mapping[str, Any]) -> str:
    rows = []
    for name, limit in FIGURES.items():
        if name in result["figures"]:
            found = summary(result["figures"][name])
            text = f"{found['median']:.3g} ({found['min']:.3g} to {found['max']:.3g}) {limit.unit}"
            if limit.goal is None:
                rows.append([limit.title, text, "", ""])
                continue
            sign = "≥" if limit.at_least else "<"
            met = (found["median"] >= limit.goal) == limit.at_least
            rows.append([limit.title, text, f"{sign} {limit.goal:g} {limit.unit}", _met(met)])
    return "## By themselves\n\n" + _table(["", "", "goal", "met"], rows)


def _comparisons(result: Mapping[str, Any]) -> str:
    rows = []
    for each in result["services"].values():
        found = ratio(each["ours"], each["theirs"])
        ours, theirs = summary(each["ours"])["median"], summary(each["theirs"])["median"]
        rows.append(
            [
                *(each["title"], f"{_short(ours)} {each['unit']}"),
                *(each["over"], f"{_short(theirs)} {each['unit']}"),
                *(_times(found), f"≥ {each['goal']:g}", _met(found["median"] >= each["goal"])),
            ]
        )
    head = ["", "atdata_core", "over", "which has", "ratio", "goal", "met"]
    return "## Services\n\nOn one machine with the servers.\n\n" + _table(head, rows)


def _rates(result: Mapping[str, Any]) -> str:
    parts = ["## Samples a second\n"]
    for operation, title in OPERATIONS.items():
        of = {workload: rates.get(operation, {}) for workload, rates in result["rates"].items()}
        peers = [peer for peer in _TITLES if any(rates.get(peer) for rates in of.values())]
        rows = [
            [_TITLES[peer], *(_rate(summary(r[peer])) if r.get(peer) else "-" for r in of.values())]
            for peer in peers
        ]
        if not rows:  # measured before there was this operation
            continue
        parts += [f"### {title[0].upper() + title[1:] if title[0] != '`' else title}\n"]
        parts += [_table(["", *WORKLOADS], rows)]
    return "\n".join(parts)


def _journey(result: Mapping[str, Any]) -> str:
    journey = result["journey"]
    rows = [
        [layer, f"{journey['seconds'][layer]} s", f"{rate} MB/s"]
        for layer, rate in journey["mb_per_second"].items()
    ]
    size = journey["dataset_bytes"] / 1e9
    text = (
        f"## A journey\n\n{size:g} GB of images through all layers as Dagster assets, in one "
        f"process: {journey['peak_above_resting_mb']} MB above resting.\n\n"
    )
    return text + _table(["layer", "", ""], rows)


def _inbound(result: Mapping[str, Any]) -> str:
    text = (
        "## Following\n\nA PDS and `dagster dev` on one machine, both sensors with the 30 seconds "
        "that they have by themselves between two ticks. Medians.\n\n"
    )
    return text + _table(["", ""], inbound.rows(result["inbound"]))


def _missing(result: Mapping[str, Any]) -> str:
    missing = result.get("missing") or {}
    if not missing:
        return ""
    lines = [f"- {name}: {reason}" for name, reason in missing.items()]
    return "## Not measured\n\n" + "\n".join(lines) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


def _times(found: Mapping[str, Any]) -> str:
    return f"x{_short(found['median'])} ({_short(found['min'])} to {_short(found['max'])})"


def _rate(found: Mapping[str, Any]) -> str:
    return f"{_short(found['median'])} ({_short(found['min'])} to {_short(found['max'])})"


def _short(number: float) -> str:
    """Three digits, with k and M for thousands and millions."""
    for limit, letter in ((1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{_digits(number / (1000 if letter == 'k' else limit))}{letter}"
    return _digits(number)


def _digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def load(path: Path = FULL) -> Any:
    """Results as they were saved."""
    return json.loads(path.read_text("utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(load()), "utf-8")
