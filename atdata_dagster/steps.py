"""What IO managers do to the step that they run in: its log, metadata, data version, retries."""

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from atdata_core import Shard
from atdata_core.errors import AtdataError, RateLimitedError
from atdata_dagster.history import latest_materialization

MAX_WAIT_S = 3600.0
"""The longest time that a step waits because a server asks for it; beyond, it fails."""

_DEFAULT_WAIT_S = 30.0
_MAX_RETRIES = 5
_REPORT_EVERY_S = 10.0


def set_data_version(context: dg.OutputContext, version: str) -> None:
    """Makes `version` the data version of what an IO manager stores.

    Dagster has no public call for it (https://github.com/dagster-io/dagster/issues/15584); the
    step's context has one, and this module is the only one that uses it.
    """
    step = _step_of(context)
    if step is not None:
        step.set_data_version(context.asset_key, dg.DataVersion(version))


def last_materialization(
    context: dg.OutputContext | dg.InputContext, key: dg.AssetKey, partition: str | None
) -> dg.AssetMaterialization | None:
    """What Dagster remembers of an asset, or of one of its partitions; None outside of a step."""
    step = _step_of(context)
    return None if step is None else latest_materialization(step.instance, key, partition)


def _step_of(context: dg.OutputContext | dg.InputContext) -> Any:
    """The context of the step; None where there is none, as in ``dg.migrate_io_storage``."""
    try:
        return context.step_context
    except dg.DagsterInvariantViolationError:
        return None


def add_metadata(
    context: dg.OutputContext, metadata: Mapping[str, Any], partition: str | None
) -> None:
    """Adds metadata to the materialization of an asset, or of one of its partitions."""
    step = _step_of(context)
    if step is not None and partition is not None:
        step.add_asset_metadata(metadata, context.asset_key, partition)
    elif partition is None:
        context.add_output_metadata(dict(metadata))


def ask_again_later(error: RateLimitedError) -> Exception:
    """What to raise where a server asks to wait: the step is run again after that time.

    Args:
        error: What the server said. A wait over `MAX_WAIT_S` is no retry but a failure.
    """
    wait = _DEFAULT_WAIT_S if error.retry_after is None else error.retry_after
    if wait > MAX_WAIT_S:
        return error
    return dg.RetryRequested(max_retries=_MAX_RETRIES, seconds_to_wait=wait)


def say_why(context: dg.OutputContext | dg.InputContext, error: AtdataError) -> None:
    """Writes an error into the step's log by itself: Dagster shows it under a wall of frames."""
    context.log.error(str(error))


class ProgressLog:
    """Tells a step's log how far a long copy has come, at most every ten seconds.

    Args:
        context: Whose log.
        total: The number of shards, if it is known.
    """

    def __init__(self, context: dg.OutputContext, total: int | None) -> None:
        self._log = context.log
        self._total = total
        self._start = self._told = time.monotonic()
        self._shards = self._bytes = 0

    def __call__(self, shard: Shard, moved: bool) -> None:
        """One more shard is in its place."""
        self._shards += 1
        self._bytes += (shard.size or 0) if moved else 0
        now = time.monotonic()
        if now - self._told < _REPORT_EVERY_S:
            return
        self._told = now
        rate = self._bytes / (now - self._start) / 1e6
        self._log.info(
            f"{self._shards}{f' of {self._total}' if self._total else ''} shards, "
            f"{self._bytes:,} bytes, {rate:.1f} MB/s{self._left(now)}"
        )

    def _left(self, now: float) -> str:
        if not self._total:
            return ""
        seconds = (now - self._start) / self._shards * (self._total - self._shards)
        minutes, seconds = divmod(round(seconds), 60)
        return f", {minutes} min {seconds} s left" if minutes else f", {seconds} s left"
