"""The journey of this location's datasets through all layers, and back from the public one."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg

from atdata_core import Dataset, FileIndex, load_dataset
from atdata_core.errors import AtdataError
from atdata_dagster import DatasetChain
from atdata_dagster.devnet import Devnet
from atdata_dagster.names import LAYERS
from definitions import defs
from definitions.assets import digit_embeddings, digits

_ROOT = Path(__file__).resolve().parent.parent
_DAGSTER_YAML = "telemetry: {enabled: false}\nnux: {enabled: false}\n"
_TAG = {"atdata/journey": "make-run"}
_CHAINS: tuple[DatasetChain, ...] = (digits, digit_embeddings)
_SERVICES = {
    "ATDATA_REDIS_URL": "Redis",
    "ATDATA_S3_BUCKET": "S3",
    "ATDATA_PDS_URL": "PDS",
}


def run(base: Path) -> int:
    """Materializes everything, prints a table of it, and loads the datasets back.

    Args:
        base: The folder for the services' data and Dagster's.

    Returns:
        The exit status.
    """
    with _services(base), _instance(base) as instance:
        result, seconds = _materialize(instance)
        if not result.success:
            _print_failure(result)
            return 1
        rows, changed, uploaded = _table(result, seconds)
        _print_table(rows)
        for chain in _CHAINS:
            _load_back(chain, result)
    if changed or uploaded:
        print(f"\n{uploaded:,} bytes were uploaded.")
    else:
        print("\nEverything was in place: 0 bytes uploaded, no new record.")
    print("See it in the Dagster UI: make dev")
    return 0


def open_ui(base: Path) -> int:
    """Runs ``dagster dev`` on the services until Ctrl-C; arguments and result as in `run`."""
    with _services(base), _instance(base):
        command = [sys.executable, "-m", "dagster", "dev", "-w", str(_ROOT / "workspace.yaml")]
        port = os.environ.get("PORT")
        command += ["-p", port] if port else []
        process = subprocess.Popen(command, cwd=_ROOT)  # noqa: S603 - our own command
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has sent the signal to Dagster too; it needs a moment to stop its
            # daemon and its code server.
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=30)
            return 130
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=10)


@contextlib.contextmanager
def _services(base: Path) -> Iterator[None]:
    """The devnet's settings in the environment, beside those that are there already."""
    if all(os.environ.get(name) for name in (*_SERVICES, "ATDATA_ROOT")):
        print("using the services that the environment names")
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    with Devnet(base / ".devnet").running() as net:
        own = {name: value for name in net.env if (value := os.environ.get(name))}
        if own:
            print(f"from the environment: {', '.join(own)}")
        os.environ.update({**net.env, **own})
        yield


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _instance(base: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of this folder's own, so that the UI shows what was run."""
    home = base / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(_DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags=_TAG)
        for stale in instance.get_runs(unfinished):
            instance.report_run_canceled(stale, message="The process was killed.")
        yield instance


def _materialize(
    instance: dg.DagsterInstance,
) -> tuple[dg.ExecuteInProcessResult, Mapping[str, float]]:
    job = defs.resolve_implicit_global_asset_job_def()
    count = len(list(defs.resolve_all_asset_keys()))
    print(f"materializing {count} assets …", flush=True)
    result = job.execute_in_process(
        instance=instance,
        tags=_TAG,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    stats = instance.get_run_step_stats(result.run_id)
    return result, {
        stat.step_key: stat.end_time - stat.start_time
        for stat in stats
        if stat.start_time and stat.end_time
    }


def _table(
    result: dg.ExecuteInProcessResult, seconds: Mapping[str, float]
) -> tuple[list[list[str]], bool, int]:
    """A row an asset, whether a dataset is new in a layer, and the bytes that left this machine."""
    rows: list[list[str]] = []
    changed, uploaded = False, 0
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        path = materialization.asset_key.path
        layer = path[0] if path[0] in LAYERS else "local"
        facts = {key: value.value for key, value in materialization.metadata.items()}
        if layer != "local":
            changed = changed or bool(facts.get("atdata/changed"))
            uploaded += int(str(facts.get("atdata/bytes_moved", 0)))
        rows.append(
            [
                layer,
                "/".join(path),
                _number(facts.get("dagster/row_count")),
                _number(facts.get("atdata/bytes")),
                str(facts.get("atdata/cid") or facts.get("atdata/schema_cid")),
                str(facts.get("dagster/uri")),
                f"{seconds.get(event.step_key or '', 0):.1f}",
            ]
        )
    return sorted(rows, key=lambda row: (LAYERS.index(row[0]), row[1])), changed, uploaded


def _print_table(rows: list[list[str]]) -> None:
    head = ["layer", "asset", "rows", "bytes", "CID", "URI", "seconds"]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print()
    for row in [head, *rows]:
        cells = [
            cell.rjust(width) if name in ("rows", "bytes", "seconds") else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
    print()


def _load_back(chain: DatasetChain, result: dg.ExecuteInProcessResult) -> None:
    """Loads a dataset from its AT URI alone and compares it with the local one."""
    [event] = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == chain.key("atmosphere")
    ]
    uri = str(event.step_materialization_data.materialization.metadata["dagster/uri"].value)
    started = time.monotonic()
    public = load_dataset(uri)
    local: Dataset[object] = FileIndex().open_dataset(chain.name, public.sample_type)
    count = 0
    for ours, theirs in zip(local, public, strict=True):
        if ours != theirs:
            raise AtdataError(f"sample {count} differs from the local one", where=uri)
        count += 1
    assert public.entry is not None
    assert local.entry is not None
    if public.entry.cid != local.entry.cid:
        raise AtdataError("dataset has another CID than the local one", where=uri)
    assert public.verification is not None
    print(
        f"{uri}\n  loaded {count:,} samples in {time.monotonic() - started:.1f} s, "
        f"proven to the level '{public.verification.level.name.lower()}' "
        f"(the account's signature, and {len(public.entry.shards)} shard(s) by their CIDs), "
        f"equal to {'/'.join(chain.key().path)}"
    )


def _print_failure(result: dg.ExecuteInProcessResult) -> None:
    for event in result.filter_events(lambda event: event.is_step_failure):
        error = event.step_failure_data.error
        # Dagster wraps what a step raised; what lies below ours is another library's.
        error = (error.cause or error) if error else None
        message = error.message.strip() if error else "failed"
        print(f"\nerror: {event.step_key}: {message}", file=sys.stderr)


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else ""
