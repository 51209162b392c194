"""What others publish as assets: their records observed, their datasets on this machine.

``records/<collection>``    observed by the sensor, one partition a record
``inbox/<collection>``      the same partitions, each a local dataset made from the record's
"""

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any

import dagster as dg

from atdata_core import Dataset, StrongRef
from atdata_core.atmosphere import AtmosphereClient, AtUri, DatasetLoader
from atdata_core.atproto.records import DATASET_TYPES
from atdata_core.errors import NotFoundError, VerificationError
from atdata_dagster.automation import build_inbound_freshness_checks, receive_what_is_observed
from atdata_dagster.definitions import default_resources
from atdata_dagster.partitions import (
    TEAM_ENTRIES,
    entry_partition,
    inbox_key,
    parse_record_partition,
    record_partition,
    record_partitions,
    records_key,
    team_entries_partitions,
)
from atdata_dagster.resources import CatalogueResource
from atdata_dagster.sensors import AUTOMATED, build_atmosphere_sensor

if TYPE_CHECKING:
    from atdata_core.following import Subscription

_GROUP = "inbox"
_INTERVAL_S = 30


def build_inbox_definitions(
    subscription: "Subscription | str | PathLike[str]",
    *,
    collections: Sequence[str] = DATASET_TYPES,
    fresh_within: timedelta | None = None,
    resources: Mapping[str, Any] | None = None,
    asset_options: Mapping[str, Any] | None = None,
    minimum_interval_seconds: int = _INTERVAL_S,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    **sensor_options: Any,
) -> dg.Definitions:
    """All that it takes to have others' datasets on this machine as they publish them.

    Two sensors are in it, both stopped until somebody starts them: ``atmosphere_records`` follows,
    and ``inbox_automation`` materializes what is new::

        defs = dg.Definitions.merge(
            build_definitions(digits), build_inbox_definitions("subscription.yaml")
        )

    Args:
        subscription: Who and what is followed, or a JSON or YAML file that says so and is read
            anew each time.
        collections: The types of records.
        fresh_within: With a time, a check tells whether anything was observed within it.
        resources: In place of, or beside, ``catalogue`` and the layers' IO managers.
        asset_options: Passed on to ``dg.asset`` for ``inbox/<collection>``.
        minimum_interval_seconds: The least time between two ticks of ``atmosphere_records``. Of
            ``inbox_automation`` too, if it is less than 30 seconds.
        default_status: Whether the two sensors run before somebody starts them.
        **sensor_options: Passed on to `build_atmosphere_sensor`.
    """
    inbox = [inbox_asset(each, subscription, **(asset_options or {})) for each in collections]
    automation = dg.AutomationConditionSensorDefinition(
        "inbox_automation",
        target=dg.AssetSelection.assets(*(each.key for each in inbox)),
        default_status=default_status,
        minimum_interval_seconds=min(minimum_interval_seconds, _INTERVAL_S),
        # A run for each partition: a backfill of several fails as a whole, and ends the runs of
        # the others, when one of its partitions is removed meanwhile.
        emit_backfills=False,
    )
    checks = (
        []
        if fresh_within is None
        else build_inbound_freshness_checks(fresh_within, collections=collections)
    )
    atmosphere = build_atmosphere_sensor(
        subscription,
        collections=collections,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        **sensor_options,
    )
    return dg.Definitions(
        assets=[*(records_asset(each) for each in collections), *inbox],
        asset_checks=checks,
        sensors=[atmosphere, automation],
        resources={**default_resources(), "catalogue": _CATALOGUE, **(resources or {})},
    )


_CATALOGUE = CatalogueResource()


def _observable(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    # No other kind of asset drives automation by its observations; the tests tell if it breaks.
    with _beta():
        decorator: Callable[[Callable[..., Any]], Any] = dg.observable_source_asset(**options)
    return decorator


def _versions(found: Mapping[str, str], partitions: Iterable[str]) -> dg.DataVersionsByPartition:
    with _beta():
        return dg.DataVersionsByPartition(
            {k: found[k] for k in sorted(set(partitions) & set(found))}
        )


@contextlib.contextmanager
def _beta() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def records_asset(collection: str) -> Any:
    """The asset of what others publish of a type: observed by the sensor, or all at once by hand.

    Args:
        collection: The NSID of the type.
    """

    @_observable(
        key=records_key(collection),
        partitions_def=record_partitions(collection),
        required_resource_keys={"catalogue"},
        group_name=_GROUP,
        description=f"The records of type {collection} that are followed.",
    )
    def records(context: Any) -> dg.DataVersionsByPartition:
        name = str(record_partitions(collection).name)
        there = set(context.instance.get_dynamic_partitions(name))
        with context.resources.catalogue.open() as catalogue:
            found = {
                record_partition(record.did, record.rkey): record.cid
                for record in catalogue.records()
                if record.collection == collection
            }
        return _versions(found, there)

    return records


def team_entries_asset() -> Any:
    """The asset of what the team's index lists: observed by the sensor, or all at once by hand."""

    @_observable(
        key=TEAM_ENTRIES,
        partitions_def=team_entries_partitions(),
        required_resource_keys={"team"},
        group_name="team",
        description="The datasets that the team's index lists, whoever listed them.",
    )
    def team_entries(context: Any) -> dg.DataVersionsByPartition:
        there = set(context.instance.get_dynamic_partitions(str(team_entries_partitions().name)))
        entries = context.resources.team.layer.get_index().list_datasets()
        found = {entry_partition(e.name): e.cid or str(e.created_at) for e in entries}
        return _versions(found, there)

    return team_entries


def inbox_asset(
    collection: str, subscription: "Subscription | str | PathLike[str]", **asset_options: Any
) -> dg.AssetsDefinition:
    """The asset that makes a local dataset from each followed record of a type.

    The record is proven again, and its shards are hashed while they are copied. What is published
    from the dataset later says which record it was derived from.

    A run that automation asked for makes the version that was observed, once: where the record is
    another one by now, or gone, or was made already, it ends without a materialization, and what
    the sensor observes next asks again. A run that somebody asked for makes the record's version
    of now.

    Args:
        collection: The NSID of the type.
        subscription: Says how far a dataset has to be proven.
        **asset_options: Passed on to ``dg.asset``.
    """
    options: dict[str, Any] = {
        "io_manager_key": "local",
        "group_name": _GROUP,
        "kinds": {"atproto", "webdataset"},
        "automation_condition": receive_what_is_observed(),
        "description": f"Datasets on this machine, from the records of type {collection}.",
        **asset_options,
    }

    def inbox(context: dg.AssetExecutionContext) -> Iterator[dg.Output[Any]]:
        from atdata_core.following import Subscription

        did, rkey = parse_record_partition(context.partition_key)
        uri = str(AtUri(did, collection, rkey))
        dataset = _observed(context, uri, Subscription.load(subscription))
        if dataset is not None:
            yield dg.Output(_derived(dataset), metadata=_facts(dataset))

    asset = dg.asset(
        key=inbox_key(collection),
        partitions_def=record_partitions(collection),
        deps=[records_key(collection)],
        output_required=False,
        **options,
    )
    definition: dg.AssetsDefinition = asset(inbox)
    return definition


def _observed(
    context: dg.AssetExecutionContext, uri: str, said: "Subscription"
) -> Dataset[Any] | None:
    """The dataset to make, or None if there is nothing to do."""
    loader = DatasetLoader(AtmosphereClient(), verify=said.level)
    if not AUTOMATED.items() <= context.run.tags.items():
        return loader.to_dataset(uri)
    cid = _observed_cid(context)
    if cid is not None and cid == _made_cid(context):
        context.log.info("%s at %s was made already", uri, cid)
        return None
    try:
        return loader.to_dataset(uri, pin=cid)
    except VerificationError as error:
        if error.code != "changed":
            raise
        context.log.info("%s is another one than was observed; it will be observed anew", uri)
    except NotFoundError:
        if _is_there(uri, said):
            raise
        context.log.info("%s is gone", uri)
    return None


def _is_there(uri: str, said: "Subscription") -> bool:
    from atdata_core.discovery import fetch_record

    try:
        fetch_record(uri, level=said.least)
    except NotFoundError:
        return False
    return True


def _observed_cid(context: dg.AssetExecutionContext) -> str | None:
    key = records_key(context.asset_key.path[-1])
    found = context.instance.fetch_observations(_last(context, key), limit=1).records
    observation = found[0].event_log_entry.asset_observation if found else None
    return None if observation is None else observation.tags.get("dagster/data_version")


def _made_cid(context: dg.AssetExecutionContext) -> str | None:
    found = context.instance.fetch_materializations(_last(context, context.asset_key), limit=1)
    made = found.records[0].event_log_entry.asset_materialization if found.records else None
    fact = made.metadata.get("atdata/source_cid") if made is not None else None
    return None if fact is None else str(fact.value)


def _last(context: dg.AssetExecutionContext, key: dg.AssetKey) -> dg.AssetRecordsFilter:
    return dg.AssetRecordsFilter(asset_key=key, asset_partitions=[context.partition_key])


def _derived(dataset: Dataset[Any]) -> Dataset[Any]:
    entry = dataset.entry
    if entry is not None and entry.uri is not None and entry.record_cid is not None:
        source = StrongRef(entry.uri, entry.record_cid)
        dataset.entry = entry.replace(derived_from=(source,))
    return dataset


def _facts(dataset: Dataset[Any]) -> dict[str, Any]:
    proven = dataset.verification
    found = {} if proven is None else {"atdata/proven": str(proven.level), "atdata/rev": proven.rev}
    entry = dataset.entry
    if entry is not None:
        found |= {"atdata/source_uri": entry.uri, "atdata/source_cid": entry.record_cid}
    return {key: value for key, value in found.items() if value is not None}
