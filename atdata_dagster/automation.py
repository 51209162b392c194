"""When assets are materialized without anybody asking."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from atdata_core.atproto.records import DATASET_TYPES
from atdata_dagster.chain import DatasetChain
from atdata_dagster.names import Layer
from atdata_dagster.partitions import records_key


def promote_on_content_change() -> dg.AutomationCondition[Any]:
    """The condition that promotes a dataset when its content is another one, and its checks pass.

    Materializing equal content again promotes nothing; where a blocking check fails, the dataset
    stays where it is until it passes::

        @dataset_asset(Digit, promote=("team",), automation_condition=promote_on_content_change())

    Returns:
        A ``dg.AutomationCondition``. It is looked at once an automation sensor runs.
    """
    condition = dg.AutomationCondition
    changed = condition.eager().replace("newly_updated", condition.data_version_changed())
    passed = condition.all_deps_blocking_checks_passed()
    return (changed & passed).with_label("promote_on_content_change")


def receive_what_is_observed(retry_cron: str = "0 * * * *") -> Any:
    """The condition that makes a dataset of each record that is new, or another one than before.

    It is much as ``dg.AutomationCondition.eager()``, which would lose three things: what was
    observed before automation was started; what is observed while a run for the version before is
    on its way, since `eager` takes that run for an answer to it; and what a failed run was for. An
    equal version asks for nothing: the assets of records are observable ones.

    Args:
        retry_cron: When to ask again for what failed.

    Returns:
        A ``dg.AutomationCondition``.
    """
    condition = dg.AutomationCondition
    came = condition.newly_missing() | condition.any_deps_updated()
    # What comes in the very tick after a request is no part of it.
    handled = (condition.newly_requested() | condition.initial_evaluation()) & ~came
    left = condition.initial_evaluation() & condition.missing()
    failed = condition.execution_failed() & condition.cron_tick_passed(retry_cron)
    ready = (
        ~condition.any_deps_missing() & ~condition.any_deps_in_progress() & ~condition.in_progress()
    )
    wanted = came.since(handled) | left | failed
    return (wanted & ready).with_label("receive_what_is_observed")


def build_chain_schedule(
    chain: DatasetChain,
    cron_schedule: str,
    *,
    layers: Sequence[Layer] | None = None,
    name: str | None = None,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
    **options: Any,
) -> dg.ScheduleDefinition:
    """A schedule that materializes a dataset through its layers, in one run.

    Args:
        chain: What `dataset_asset` gave.
        cron_schedule: When, as ``0 6 * * *``.
        layers: The layers to go through; by default all of the chain.
        name: The schedule's name; by default ``<dataset>_schedule``.
        default_status: Whether it runs before somebody starts it.
        **options: Passed on to ``dg.ScheduleDefinition``, such as ``execution_timezone``.
    """
    wanted = list(chain.datasets) if layers is None else list(layers)
    schemas = [chain.schemas[layer].key for layer in wanted if layer in chain.schemas]
    keys = [*schemas, *map(chain.key, wanted)]
    label = name or f"{chain.name.replace('/', '_').replace('-', '_')}_schedule"
    job = dg.define_asset_job(f"{label}_job", selection=dg.AssetSelection.assets(*keys))
    return dg.ScheduleDefinition(
        name=label,
        job=job,
        cron_schedule=cron_schedule,
        default_status=default_status,
        **options,
    )


def build_inbound_freshness_checks(
    within: timedelta,
    *,
    collections: Sequence[str] = DATASET_TYPES,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> list[dg.AssetChecksDefinition]:
    """Checks that something was observed of what others publish within a time.

    Args:
        within: The time.
        collections: The types of records.
        severity: What it means if nothing was.
    """
    return [_freshness_check(records_key(each), within, severity) for each in collections]


def _freshness_check(
    key: dg.AssetKey, within: timedelta, severity: dg.AssetCheckSeverity
) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key,
        name="observed_recently",
        description=f"Something was observed within {within}.",
    )
    def observed_recently(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        found = context.instance.fetch_observations(key, limit=1).records
        last = found[0].timestamp if found else None
        fresh = last is not None and time.time() - last <= within.total_seconds()
        told = {} if last is None else {"atdata/last_observed": dg.MetadataValue.timestamp(last)}
        return dg.AssetCheckResult(passed=fresh, severity=severity, metadata=told)

    return observed_recently
