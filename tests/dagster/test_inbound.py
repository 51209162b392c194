"""What others publish drives assets: observed once a version, made once, on this machine."""

import datetime
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from atdata_core import AtmosphereIndex, FileIndex, LocalIndex, PDSBlobStore, S3DataStore, StrongRef
from atdata_core.cid import dag_cbor_cid
from atdata_core.discovery import FileCatalogue
from atdata_core.errors import ConfigurationError, UnreachableError
from atdata_dagster import (
    CatalogueResource,
    TeamIOManager,
    TeamResource,
    build_atmosphere_sensor,
    build_chain_schedule,
    build_definitions,
    build_inbound_freshness_checks,
    build_inbox_definitions,
    build_team_index_sensor,
    dataset_asset,
    promote_on_content_change,
    team_entries_asset,
)
from atdata_dagster.names import escape_partition
from atdata_dagster.partitions import (
    inbox_key,
    parse_record_partition,
    record_partition,
    record_partitions,
    records_key,
)
from atdata_dagster.sensors import AUTOMATED
from tests.support.publisher import TYPE, Publisher
from tests.support.samples import Item, items

# What asks Dagster's automation in tests is beta.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")


@pytest.fixture
def alice(services):
    publisher = Publisher(services, f"s{secrets.token_hex(5)}")
    yield publisher
    publisher.close()


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "catalogue.db")


class Reader:
    """A Dagster instance that follows one account, tick by tick as its daemons would."""

    def __init__(self, instance, place, path, alice, **options):
        self.instance, self.path, self.alice = instance, path, alice
        self.say()
        self.defs = build_inbox_definitions(
            str(path),
            collections=[TYPE],
            resources={"catalogue": CatalogueResource(place=place)},
            **options,
        )
        self.catalogue = {"catalogue": CatalogueResource(place=place)}
        self.sensor = self.defs.get_repository_def().get_sensor_def("atmosphere_records")
        self.cursor = None
        self.automation = None

    def say(self, **said):
        body = {"dids": [self.alice.did], "collections": [TYPE], **said}
        self.path.write_text(json.dumps(body))

    def evaluate(self):
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=self.catalogue
        ) as context:
            return self.sensor.evaluate_tick(context)

    def tick(self):
        """What the sensor's daemon does with a tick, in its order."""
        done = self.evaluate()
        for event in done.asset_events:
            self.instance.report_runless_asset_event(event)
        for request in done.dynamic_partitions_requests or []:
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(
                    request.partitions_def_name, request.partition_keys
                )
            else:
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition(request.partitions_def_name, key)
        self.cursor = done.cursor
        return done

    def automate(self):
        """What automation asks for now, and runs."""
        told = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.automation)
        self.automation = told.cursor
        asked = sorted(told.get_requested_partitions(inbox_key(TYPE)))
        for partition in asked:
            self.run(partition, {"dagster/from_automation_condition": "true"})
        return asked

    def run(self, partition, tags=None, ok=True):
        job = self.defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=partition,
            asset_selection=[inbox_key(TYPE)],
            tags=tags,
            raise_on_error=ok,
        )
        assert result.success == ok
        return result

    @property
    def partitions(self):
        return set(self.instance.get_dynamic_partitions(record_partitions(TYPE).name))

    def made(self):
        """Each materialization: partition and the CID of the record."""
        key = dg.AssetRecordsFilter(asset_key=inbox_key(TYPE))
        found = self.instance.fetch_materializations(key, limit=1000).records
        events = [each.event_log_entry.asset_materialization for each in found]
        return [(e.partition, e.metadata["atdata/source_cid"].value) for e in reversed(events)]


@pytest.fixture
def reader(services, instance, place, tmp_path, alice):
    return Reader(instance, place, tmp_path / "subscription.json", alice)


@pytest.fixture
def kept_reader(services, kept_instance, place, tmp_path, alice):
    return Reader(kept_instance, place, tmp_path / "subscription.json", alice)


STORAGES = pytest.mark.parametrize("kept_instance", ["sqlite", "postgres"], indirect=True)


def publish(alice, name, count=3, **said):
    index = AtmosphereIndex(alice.client, data_store=PDSBlobStore(alice.client))
    entry = index.write_samples(iter(items(count)), name=name, sample_type=Item, **said).entry
    return entry, record_partition(alice.did, entry.uri.rpartition("/")[2])


def versions(done):
    return {e.partition: e.tags["dagster/data_version"] for e in done.asset_events}


@STORAGES
def test_a_new_record_becomes_a_local_dataset_that_says_where_it_is_from(kept_reader, alice, fresh):
    reader = kept_reader
    entry, partition = publish(alice, fresh, license="CC0-1.0", tags=["red"])
    assert reader.automate() == []
    done = reader.tick()
    assert versions(done) == {partition: entry.record_cid}
    assert reader.partitions == {partition}
    assert "1 records observed" in done.skip_message
    assert reader.automate() == [partition]
    name = f"inbox/{TYPE}/{escape_partition(partition)}"
    local = FileIndex().open_dataset(name, Item)
    assert list(local) == items(3)
    assert local.entry.derived_from == (StrongRef(entry.uri, entry.record_cid),)
    assert (local.entry.license, local.entry.tags) == ("CC0-1.0", ("red",))
    assert local.entry.cid == entry.cid
    assert reader.made() == [(partition, entry.record_cid)]
    [made] = reader.instance.fetch_materializations(inbox_key(TYPE), limit=9).records
    facts = made.event_log_entry.asset_materialization
    assert facts.tags["dagster/data_version"] == entry.cid
    assert facts.metadata["atdata/source_uri"].value == entry.uri
    assert facts.metadata["atdata/proven"].value == "bytes"


def test_what_is_published_from_it_says_what_it_was_derived_from(reader, alice, fresh, services):
    entry, partition = publish(alice, fresh)
    reader.tick()
    reader.automate()
    local = FileIndex()
    found = local.get_dataset(f"inbox/{TYPE}/{escape_partition(partition)}")
    with AtmosphereIndex(alice.client, data_store=PDSBlobStore(alice.client)) as index:
        ours = index.insert_dataset(local.open_dataset(found), name=f"{fresh}-copy")
        assert index.get_dataset(ours.uri).derived_from == (entry.strong_ref,)


@STORAGES
def test_nothing_is_made_twice_and_a_change_is_made_once(kept_reader, alice, fresh):
    reader = kept_reader
    entry, partition = publish(alice, fresh)
    reader.tick()
    reader.automate()
    for _ in range(3):
        assert versions(reader.tick()) == {}
        assert reader.automate() == []
    reader.cursor = None  # as if the tick's cursor had not been kept
    assert versions(reader.tick()) == {partition: entry.record_cid}
    assert reader.automate() == []
    assert len(reader.made()) == 1
    record = alice.client.get_record(entry.uri)
    changed = {**record, "description": "another word"}
    alice.client.put_record(TYPE, entry.uri.rpartition("/")[2], changed)
    [cid] = versions(reader.tick()).values()
    assert reader.automate() == [partition]
    assert reader.automate() == []
    assert reader.made() == [(partition, entry.record_cid), (partition, cid)]


@STORAGES
def test_a_tick_that_was_killed_before_its_cursor_is_told_again(kept_reader, alice, fresh):
    reader = kept_reader
    entry, partition = publish(alice, fresh)
    lost = reader.evaluate()
    assert versions(lost) == {partition: entry.record_cid}
    assert versions(reader.tick()) == {partition: entry.record_cid}
    assert reader.automate() == [partition]


def test_a_run_for_a_version_that_is_gone_makes_nothing(reader, alice, fresh):
    entry, partition = publish(alice, fresh)
    reader.tick()
    record = alice.client.get_record(entry.uri)
    alice.client.put_record(TYPE, entry.uri.rpartition("/")[2], {**record, "description": "new"})
    assert reader.automate() == [partition]
    assert reader.made() == []
    [cid] = versions(reader.tick()).values()
    assert reader.automate() == [partition]
    assert reader.made() == [(partition, cid)]
    alice.client.delete_record(entry.uri)
    tags = {"dagster/from_automation_condition": "true"}
    reader.instance.report_runless_asset_event(
        dg.AssetObservation(
            records_key(TYPE), partition=partition, tags={"dagster/data_version": dag_cbor_cid({})}
        )
    )
    reader.run(partition, tags)
    assert len(reader.made()) == 1
    reader.run(partition, ok=False)  # whoever asks for it by hand is told


def test_what_is_observed_while_a_run_is_on_its_way_is_made_after_it(reader, alice, fresh):
    entry, partition = publish(alice, fresh)
    reader.tick()
    reader.automate()
    rkey = entry.uri.rpartition("/")[2]
    record = alice.client.get_record(entry.uri)
    alice.client.put_record(TYPE, rkey, {**record, "description": "second"})
    [second] = versions(reader.tick()).values()
    thirds = []

    def change(partition, tags=None):
        Reader.run(reader, partition, tags)
        alice.client.put_record(TYPE, rkey, {**record, "description": "third"})
        thirds.extend(versions(reader.tick()).values())

    reader.run = change
    assert reader.automate() == [partition]
    del reader.run
    assert reader.automate() == [partition]
    assert reader.automate() == []
    assert [cid for _, cid in reader.made()] == [entry.record_cid, second, *thirds]


def test_a_run_by_hand_makes_what_is_there_now(reader, alice, fresh):
    entry, partition = publish(alice, fresh)
    reader.tick()
    reader.run(partition)
    reader.run(partition)
    assert reader.made() == [(partition, entry.record_cid)] * 2


@STORAGES
def test_partitions_come_and_go_with_their_records(kept_reader, alice, fresh):
    reader = kept_reader
    one, first = publish(alice, f"{fresh}-1")
    _, second = publish(alice, f"{fresh}-2")
    reader.tick()
    assert reader.partitions == {first, second}
    reader.automate()
    alice.client.delete_record(one.uri)
    done = reader.tick()
    assert reader.partitions == {second}
    assert "1 partitions removed" in done.skip_message
    alice.deactivate()
    assert "1 accounts with another status" in reader.tick().skip_message
    assert reader.partitions == set()
    alice.activate()
    reader.tick()
    assert reader.partitions == {second}
    assert reader.automate() == []
    assert len(reader.made()) == 2


def test_queued_runs_for_a_record_that_goes_are_taken_out_of_the_queue(
    services, place, tmp_path, alice, fresh
):
    # Nothing public makes a queued run without a daemon.
    from dagster._core.remote_origin import (  # noqa: TID251
        RegisteredCodeLocationOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )

    queued = {"telemetry": {"enabled": False}, "run_queue": {"max_concurrent_runs": 1}}
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    with dg.DagsterInstance.local_temp(str(tmp_path), queued) as instance:
        reader = Reader(instance, place, tmp_path / "subscription.json", alice)
        one, first = publish(alice, f"{fresh}-1")
        _, second = publish(alice, f"{fresh}-2")
        reader.tick()
        job = reader.defs.resolve_implicit_global_asset_job_def()
        runs = {}
        for partition in (first, second):
            for selection in (frozenset({inbox_key(TYPE)}), None):
                tags = {"dagster/partition": partition, **AUTOMATED}
                run = instance.create_run_for_job(
                    job,
                    tags=tags,
                    asset_selection=selection,
                    remote_job_origin=RemoteJobOrigin(repository, job.name),
                )
                enqueued = dg.DagsterEvent("PIPELINE_ENQUEUED", job.name)
                instance.report_dagster_event(enqueued, run.run_id)
                runs.setdefault(partition, []).append(run.run_id)
        alice.client.delete_record(one.uri)
        reader.tick()  # the daemon removes the partition after it
        reader.tick()
        status = {
            partition: [instance.get_run_by_id(run).status for run in found]
            for partition, found in runs.items()
        }
    canceled, waits = dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.QUEUED
    assert status == {first: [canceled, waits], second: [waits, waits]}


def test_few_events_a_tick_come_to_the_same(services, instance, place, tmp_path, alice):
    reader = Reader(instance, place, tmp_path / "s.json", alice, max_events=2)
    for number in range(5):
        alice.put(f"r{number}")
    ticks = []
    for _ in range(12):
        ticks.append(reader.tick())
        if len(reader.partitions) == 5:
            break
    assert len(reader.partitions) == 5
    assert all(len(tick.asset_events) <= 2 for tick in ticks)
    assert all(tick.skip_message for tick in ticks)


def test_a_catalogue_that_was_lost_is_built_anew(reader, alice, fresh, place):
    entry, _ = publish(alice, fresh)
    reader.tick()
    reader.automate()
    with FileCatalogue(place) as catalogue:
        before = catalogue.epoch
    alice.client.delete_record(entry.uri)
    other, second = publish(alice, f"{fresh}-2")
    Path(place).unlink()
    done = reader.tick()
    assert json.loads(done.cursor)["epoch"] != before
    assert "the cursor began anew" in done.skip_message
    assert versions(done) == {second: other.record_cid}
    assert reader.partitions == {second}


@pytest.mark.parametrize("cursor", ["nonsense", '{"v": 99}', "[]", '{"v": 1}', "null"])
def test_a_cursor_that_isnt_understood_means_to_begin_anew(reader, alice, cursor):
    alice.put("one")
    reader.tick()
    reader.cursor = cursor
    assert len(reader.tick().asset_events) == 1
    assert json.loads(reader.cursor)["v"] == 1


def test_the_subscription_is_read_at_each_tick(reader, alice, fresh):
    alice.put("red", tags=["red"])
    alice.put("blue", tags=["blue"])
    reader.say(tags=["red"])
    reader.tick()
    assert reader.partitions == {record_partition(alice.did, "red")}
    reader.say(tags=["blue"])
    reader.tick()
    assert reader.partitions == {record_partition(alice.did, "blue")}
    reader.path.write_text("{")
    with pytest.raises(ConfigurationError, match="not JSON"):
        reader.tick()


def test_an_outage_is_a_tick_that_fails(reader, alice, monkeypatch):
    alice.put("one")
    reader.tick()
    reader.say(source="firehose:ws://localhost:1")
    with pytest.raises(UnreachableError, match="no answer from the server"):
        reader.tick()
    reader.say()
    assert reader.tick().skip_message


def test_everything_is_stopped_until_somebody_starts_it(reader):
    stopped = dg.DefaultSensorStatus.STOPPED
    names = {"atmosphere_records", "inbox_automation"}
    assert {s.name for s in reader.defs.sensors} == names
    assert all(
        reader.defs.get_repository_def().get_sensor_def(n).default_status == stopped for n in names
    )
    assert build_team_index_sensor().default_status == stopped
    assert build_atmosphere_sensor("x").default_status == stopped


@pytest.mark.parametrize(("given", "automation"), [({}, 30), ({"s": 5}, 5), ({"s": 300}, 30)])
def test_automation_is_asked_as_often_as_the_sensor(given, automation):
    options = {"minimum_interval_seconds": given["s"]} if given else {}
    sensors = build_inbox_definitions("s.yaml", **options).sensors
    found = {sensor.name: sensor.minimum_interval_seconds for sensor in sensors}
    assert found == {"atmosphere_records": given.get("s", 30), "inbox_automation": automation}


def test_all_can_be_observed_by_hand(reader, alice, instance):
    alice.put("one")
    reader.tick()
    job = dg.define_asset_job("look", selection=[records_key(TYPE)])
    defs = dg.Definitions(assets=reader.defs.assets, jobs=[job], resources=reader.defs.resources)
    done = defs.resolve_job_def("look").execute_in_process(instance=instance)
    [event] = done.get_asset_observation_events()
    tags = event.asset_observation_data.asset_observation.tags
    assert tags["dagster/data_version"] == alice.held()["one"]


@pytest.mark.parametrize("rkey", ["3kabc", "a...b", "....", "a:b~c_d-e", "x" * 512])
def test_any_record_key_makes_a_partition_and_a_folder(rkey, tmp_path):
    did = "did:web:localhost%3A80"
    key = record_partition(did, rkey)
    assert parse_record_partition(key) == (did, rkey)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("p", [key])
    assert "..." not in key
    (tmp_path / escape_partition(key)).mkdir()
    assert escape_partition(key) != escape_partition(key + "y")


def test_definitions_merge_with_those_of_datasets(reader, fresh, tmp_path):
    @dataset_asset(Item, name=fresh, promote=("team",))
    def make() -> Iterator[Item]:
        yield from items(1)

    merged = dg.Definitions.merge(
        build_definitions(make),
        build_inbox_definitions("s.yaml", fresh_within=datetime.timedelta(hours=1)),
    )
    dg.Definitions.validate_loadable(merged)
    keys = {key.to_user_string() for key in merged.resolve_all_asset_keys()}
    assert {f"local/{fresh}", f"records/{TYPE}", f"inbox/{TYPE}"} <= keys


def test_a_check_tells_that_nothing_came_for_long(reader, alice, instance):
    alice.put("one")
    checks = build_inbound_freshness_checks(datetime.timedelta(hours=1), collections=[TYPE])

    defs = dg.Definitions(
        assets=reader.defs.assets, asset_checks=checks, resources=reader.defs.resources
    )
    names = {key for check in checks for key in check.check_keys}

    def passed():
        job = defs.resolve_implicit_global_asset_job_def()
        job = job.get_subset(asset_check_selection=names)
        [evaluation] = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        return evaluation.passed

    assert not passed()
    reader.tick()
    assert passed()


@dataset_asset(
    Item, name="promoted", promote=("team",), automation_condition=promote_on_content_change()
)
def promoted() -> Iterator[Item]:
    yield from items(2)


def test_promotion_follows_content_and_waits_for_checks(instance):
    state = {"ok": True}

    @dg.asset_check(asset=promoted.key(), blocking=True)
    def good() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=state["ok"])

    defs = build_definitions(promoted, asset_checks=[good])
    cursor = None

    def asked():
        nonlocal cursor
        for _ in range(2):
            told = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
            cursor = told.cursor
            if told.total_requested:
                return told.get_num_requested(promoted.key("team"))
        return 0

    def made(version, ok=True):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(promoted.key(), tags={"dagster/data_version": version})
        )
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=promoted.key(), check_name="good", passed=ok)
        )

    instance.report_runless_asset_event(dg.AssetMaterialization(promoted.datasets["team"].key))
    for chain in promoted.schemas.values():
        instance.report_runless_asset_event(dg.AssetMaterialization(chain.key))
    made("v0")
    asked()
    made("v1")
    assert asked() == 1
    instance.report_runless_asset_event(dg.AssetMaterialization(promoted.datasets["team"].key))
    assert asked() == 0
    made("v1")
    assert asked() == 0  # equal content
    made("v2", ok=False)
    assert asked() == 0
    made("v2", ok=True)
    assert asked() == 1


def test_a_schedule_runs_the_whole_chain():
    schedule = build_chain_schedule(promoted, "0 6 * * *", execution_timezone="Europe/Berlin")
    assert schedule.name == "promoted_schedule"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    defs = build_definitions(promoted, schedules=[schedule])
    job = defs.resolve_job_def("promoted_schedule_job")
    keys = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert keys == {"schema/Item", "local/promoted", "team/schema/Item", "team/promoted"}
    only = build_chain_schedule(promoted, "@daily", layers=["team"], name="only")
    dg.Definitions.validate_loadable(build_definitions(promoted, schedules=[only]))


TEAM = TeamIOManager(layer=TeamResource())


class TeamReader:
    def __init__(self, instance, **options):
        self.instance = instance
        self.sensor = build_team_index_sensor(**options)
        defs = build_definitions(assets=[team_entries_asset()], sensors=[self.sensor])
        dg.Definitions.validate_loadable(defs)
        self.cursor = None

    def tick(self):
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"team": TEAM}
        ) as context:
            done = self.sensor.evaluate_tick(context)
        self.cursor = done.cursor
        return versions(done), done.skip_message


@pytest.fixture
def team(services, redis_url, bucket, monkeypatch):
    monkeypatch.setenv("ATDATA_REDIS_URL", redis_url)
    monkeypatch.setenv("ATDATA_S3_BUCKET", bucket)
    with LocalIndex(redis_url, S3DataStore(bucket=bucket)) as index:
        yield index


def write(team, name, count=2):
    return team.write_samples(iter(items(count)), name=name, sample_type=Item).entry


def test_changes_of_the_team_index_are_observed(team, instance):
    old = write(team, "old")
    reader = TeamReader(instance, max_events=2)
    assert reader.tick()[0] == {"old": old.cid}
    assert reader.tick()[0] == {}
    new, odd = write(team, "new"), write(team, "a/b")
    assert reader.tick()[0] == {"new": new.cid, "a%2Fb": odd.cid}
    write(team, "new")  # the same again is no change
    assert reader.tick()[0] == {}
    changed = write(team, "new", 5)
    assert reader.tick()[0] == {"new": changed.cid}
    for number in range(5):
        write(team, f"n{number}")
    seen = {}
    for _ in range(4):
        found, why = reader.tick()
        assert why
        assert len(found) <= 2
        seen |= found
    assert set(seen) == {f"n{number}" for number in range(5)}
    assert set(instance.get_dynamic_partitions("atdata_team_entries")) >= {"old", "new", "a%2Fb"}


@pytest.mark.parametrize("lose", ["trim", "flush", "version"])
def test_a_stream_that_forgot_is_noticed(team, redis, instance, lose):
    reader = TeamReader(instance)
    write(team, "a")
    reader.tick()
    write(team, "b")
    write(team, "c")
    if lose == "trim":
        redis.xtrim("atdata:changes", maxlen=1, approximate=False)
    elif lose == "flush":
        redis.delete("atdata:changes")
    else:
        reader.cursor = json.dumps({"v": 99})
    found, why = reader.tick()
    assert set(found) == {"a", "b", "c"}
    assert "changes were missed, all datasets are observed" in why
    assert reader.tick()[0] == {}
    write(team, "d")
    assert set(reader.tick()[0]) == {"d"}


def test_schemas_are_in_the_stream_too(team):
    start = team.changes(None).cursor
    write(team, "a")
    read = team.changes(start)
    assert [(change.kind, change.name) for change in read.changes] == [
        ("schema", "Item@1.0.0"),
        ("dataset", "a"),
    ]
    assert (read.gap, read.more) == (False, False)
    assert team.changes(start, limit=1).more
    assert np.all([change.cid for change in read.changes])


def test_a_redis_that_is_down_is_a_tick_that_fails(services, instance, monkeypatch):
    monkeypatch.setenv("ATDATA_REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(UnreachableError):
        TeamReader(instance).tick()
