"""Sensors: what others publish, and what changes in the team's index, as observations.

Each reads on where it ended, within a number of events and of seconds, and says in its tick what
it did. Whatever was observed before it was killed is observed again, which does no harm: an
observable asset's version is the same then, and nothing is asked to run.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import dagster as dg

from atdata_core.atproto.records import DATASET_TYPES
from atdata_core.indexes import LocalIndex
from atdata_core.indexes.changes import TeamChanges
from atdata_dagster.partitions import (
    TEAM_ENTRIES,
    entry_partition,
    record_partition,
    record_partitions,
    records_key,
    team_entries_partitions,
)

if TYPE_CHECKING:
    from atdata_core.discovery import Catalogue, Row
    from atdata_core.following import Report, Subscription

_CURSOR_VERSION = 1


def build_atmosphere_sensor(
    subscription: "Subscription | str | PathLike[str]",
    *,
    name: str = "atmosphere_records",
    collections: Sequence[str] = DATASET_TYPES,
    max_events: int = 200,
    budget_s: float = 20.0,
    minimum_interval_seconds: int = 30,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    **options: Any,
) -> dg.SensorDefinition:
    """A sensor that follows what others publish.

    For each record that is new or another one than before it observes the asset
    ``records/<collection>`` at the record's partition, with the record's CID as data version; it
    adds the partitions of new records and removes those of records that are gone or hidden. What
    was found is kept in the catalogue of the resource ``catalogue``, with the cursor of its
    source; the sensor's own cursor is a number of that catalogue.

    A tick fails if the source, or every server, can't be reached. One server among many that
    doesn't answer is told in the tick and in the log, and tried again.

    Args:
        subscription: Who and what is followed, or a JSON or YAML file that says so and is read
            anew at each tick.
        name: The sensor's name. Another name has another cursor.
        collections: The types of records to observe.
        max_events: The most events to take up, and to observe, in a tick. Dagster writes them one
            by one, at 15 to 40 ms each with SQLite.
        budget_s: The seconds after which a tick asks nobody any more. Dagster ends a tick after
            sixty, and the last answer may take thirty.
        minimum_interval_seconds: The least time between two ticks.
        default_status: Whether it runs before somebody starts it.
        **options: Passed on to ``dg.sensor``.
    """

    @dg.sensor(
        name=name,
        description="Observes what others publish on the AT Protocol.",
        required_resource_keys={"catalogue"},
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        **options,
    )
    def atmosphere(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from atdata_core.following import follow

        with context.resources.catalogue.open() as catalogue:
            report = follow(subscription, catalogue, budget_s=budget_s, max_events=max_events)
            for did, why in {**report.waiting, **report.failed}.items():
                context.log.warning("%s was not read whole: %s", did, why)
            return _observe_records(context, catalogue, report, tuple(collections), max_events)

    return atmosphere


@dataclass
class _Place:
    """Up to where a catalogue was observed, as the sensor's cursor keeps it."""

    epoch: str
    number: int
    rebuild: bool

    @classmethod
    def read(cls, text: str | None, epoch: str) -> "_Place":
        """What a cursor says; one of another version or catalogue means to begin anew."""
        try:
            body = json.loads(text or "null")
            if (body["v"], body["epoch"]) == (_CURSOR_VERSION, epoch):
                return cls(epoch, int(body["number"]), bool(body["rebuild"]))
        except (ValueError, KeyError, TypeError):
            pass
        return cls(epoch, 0, rebuild=True)

    def write(self) -> str:
        return json.dumps({"v": _CURSOR_VERSION, **self.__dict__})


def _observe_records(
    context: dg.SensorEvaluationContext,
    catalogue: "Catalogue",
    report: "Report",
    collections: tuple[str, ...],
    max_events: int,
) -> dg.SensorResult:
    place = _Place.read(context.cursor, catalogue.epoch)
    began_anew = place.rebuild and place.number == 0
    rows = catalogue.changes(place.number, max_events)
    whole = len(rows) < max_events
    place.number = rows[-1].number if rows else place.number
    events: list[dg.AssetObservation] = []
    requests: list[Any] = []
    removed = 0
    for collection in collections:
        partitions = record_partitions(collection)
        there = set(context.instance.get_dynamic_partitions(str(partitions.name)))
        mine = [row for row in rows if row.key.collection == collection]
        shown = {_partition(row): row for row in mine if row.visible}
        gone = {_partition(row) for row in mine if not row.visible} & there
        if place.rebuild and whole and report.caught_up:
            gone |= there - _visible(catalogue, collection)
        new = sorted(set(shown) - there)
        if new:
            # Before they are observed: an observation of a partition that isn't there yet could be
            # passed over by automation.
            context.instance.add_dynamic_partitions(str(partitions.name), new)
            requests.append(partitions.build_add_request(new))
        if gone:
            requests.append(partitions.build_delete_request(sorted(gone)))
            removed += len(gone)
        events += [_observation(collection, each, row) for each, row in shown.items()]
    place.rebuild = place.rebuild and not (whole and report.caught_up)
    told = [str(report), f"{len(events)} records observed, {removed} partitions removed"]
    told += ["the cursor began anew"] if began_anew else []
    told += [] if whole else ["more are to be observed"]
    return dg.SensorResult(
        asset_events=events,
        dynamic_partitions_requests=requests,
        cursor=place.write(),
        skip_reason="; ".join(told),
    )


def _partition(row: "Row") -> str:
    return record_partition(row.key.did, row.key.rkey)


def _visible(catalogue: "Catalogue", collection: str) -> set[str]:
    return {
        record_partition(record.did, record.rkey)
        for record in catalogue.records()
        if record.collection == collection
    }


def _observation(collection: str, partition: str, row: "Row") -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key=records_key(collection),
        partition=partition,
        tags={"dagster/data_version": row.cid},
        metadata={
            "dagster/last_updated_timestamp": dg.MetadataValue.timestamp(time.time()),
            "dagster/uri": row.key.uri,
            "atdata/record_cid": row.cid,
            "atdata/rev": row.rev,
            "atdata/proven": row.note,
        },
    )


def build_team_index_sensor(
    *,
    name: str = "team_index_changes",
    max_events: int = 200,
    minimum_interval_seconds: int = 30,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    **options: Any,
) -> dg.SensorDefinition:
    """A sensor that follows what changes in the team's index, whoever changes it.

    For each dataset that a name stands for anew it observes the asset ``team_entries`` at the
    dataset's partition, with the content's CID as data version. At first, and whenever the index
    has forgotten what came after the last tick, all datasets are observed.

    Args:
        name: The sensor's name. Another name has another cursor.
        max_events: The most changes to observe in a tick.
        minimum_interval_seconds: The least time between two ticks.
        default_status: Whether it runs before somebody starts it.
        **options: Passed on to ``dg.sensor``.
    """

    @dg.sensor(
        name=name,
        description="Observes what changes in the team's index.",
        required_resource_keys={"team"},
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        **options,
    )
    def team_index(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with context.resources.team.layer.make_index() as index:
            return _observe_entries(context, index, max_events)

    return team_index


def _observe_entries(
    context: dg.SensorEvaluationContext, index: LocalIndex, max_events: int
) -> dg.SensorResult:
    place = _read_place(context.cursor)
    told = []
    if place["after"] is None:
        read: TeamChanges = index.changes(place["stream"], max_events)
        place["stream"] = read.cursor
        versions = {
            each.name: each.cid or each.entry_id for each in read.changes if each.kind == "dataset"
        }
        told.append(f"{len(read.changes)} changes read")
        if read.gap:
            place["after"] = ""
            told.append("changes were missed, all datasets are observed")
        told += ["there are more"] if read.more else []
    if place["after"] is not None:
        # What the index lists, by name, some at a time; the stream is read on from before that.
        entries = [e for e in index.list_datasets() if e.name > place["after"]]
        versions = {e.name: e.cid or str(e.created_at) for e in entries[:max_events]}
        place["after"] = entries[max_events - 1].name if len(entries) > max_events else None
    partitions = team_entries_partitions()
    there = set(context.instance.get_dynamic_partitions(str(partitions.name)))
    keys = {entry_partition(each): version for each, version in versions.items()}
    new = sorted(set(keys) - there)
    if new:
        context.instance.add_dynamic_partitions(str(partitions.name), new)
    told.append(f"{len(keys)} datasets observed")
    return dg.SensorResult(
        asset_events=[_entry_observation(each, version) for each, version in keys.items()],
        dynamic_partitions_requests=[partitions.build_add_request(new)] if new else [],
        cursor=json.dumps({"v": _CURSOR_VERSION, **place}),
        skip_reason="; ".join(told),
    )


def _read_place(text: str | None) -> dict[str, Any]:
    try:
        body = json.loads(text or "null")
        if body["v"] == _CURSOR_VERSION:
            return {"stream": body["stream"], "after": body["after"]}
    except (ValueError, KeyError, TypeError):
        pass
    return {"stream": None, "after": None}


def _entry_observation(partition: str, version: str) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key=TEAM_ENTRIES,
        partition=partition,
        tags={"dagster/data_version": version},
        metadata={"dagster/last_updated_timestamp": dg.MetadataValue.timestamp(time.time())},
    )
