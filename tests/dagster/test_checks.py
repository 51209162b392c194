"""What the checks find in real layers, and what a failed one holds."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from numpy.typing import NDArray

from atdata_core import AtmosphereIndex, FileIndex, LocalIndex, packable
from atdata_core.atmosphere import AtmosphereClient
from atdata_core.errors import ConfigurationError, NotFoundError
from atdata_core.verification import VerificationLevel
from atdata_dagster import (
    DatasetChain,
    build_dataset_checks,
    build_definitions,
    build_freshness_checks,
    check_balance,
    check_range,
    check_samples,
    check_values,
    dataset_asset,
)
from atdata_dagster.assets import chain_checks
from atdata_dagster.looks import Subject, look_at_publication

LAYERS = ("local", "team", "atmosphere")


@packable
class Mark:
    """A number, and what it is called."""

    pixels: NDArray[np.uint8]
    label: int


def marks(count, offset=0):
    for i in range(count):
        yield Mark(pixels=np.array([i, offset], np.uint8), label=i % 3)


@packable
class Planned(Mark):
    """What no other test publishes."""


def make_chain(name, *, promote=("team", "atmosphere"), offset=0, kind=Mark, **options):
    @dataset_asset(kind, name=name, promote=promote, max_samples=4, **options)
    def make() -> Iterator[Mark]:
        for mark in marks(10, offset):
            yield kind(pixels=mark.pixels, label=mark.label)

    return make


def run(defs, instance, selection=None, ok=True):
    """Materializes and checks; the evaluations by layer and name."""
    job = dg.define_asset_job("job", selection=selection or dg.AssetSelection.all())
    defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    result = defs.resolve_job_def("job").execute_in_process(instance=instance, raise_on_error=False)
    assert result.success == ok
    return {
        ("/".join(e.asset_key.path[:-1]), e.check_name): e
        for e in result.get_asset_check_evaluations()
    }


def check_alone(chain, instance, include, *, layer="local", **options):
    """Runs checks of what is there already; the evaluations by name."""
    checks = build_dataset_checks(chain, layer=layer, include=include, **options)
    chains = [replace(chain, checks=())] if isinstance(chain, DatasetChain) else []
    defs = build_definitions(*chains, asset_checks=checks)
    keys = [spec.key for check in checks for spec in check.check_specs]
    found = run(defs, instance, dg.AssetSelection.checks(*keys))
    return {name: evaluation for (_, name), evaluation in found.items()}


def facts(evaluation):
    return {key: value.value for key, value in evaluation.metadata.items()}


def test_by_default_every_layer_is_checked_without_reading_a_shard(services, instance, fresh):
    found = run(build_definitions(make_chain(fresh)), instance)
    assert set(found) == {(layer, name) for layer in LAYERS for name in ("schema", "rows")} | {
        (layer, "same_content") for layer in ("team", "atmosphere")
    }
    assert all(evaluation.passed for evaluation in found.values())
    assert facts(found["team", "rows"])["dagster/row_count"] == 10
    assert facts(found["team", "same_content"])["atdata/shards"] == 3


def test_the_checks_of_a_layer_are_one_step_and_can_be_switched_off(fresh):
    assert len(make_chain(fresh).checks) == 3
    assert make_chain(fresh, checks=False).checks == ()
    [only] = make_chain(fresh, promote=(), checks=["shards"]).checks
    assert [spec.name for spec in only.check_specs] == ["shards"]


def test_checks_before_a_public_layer_block_and_others_do_not(fresh):
    def blocking(chain):
        return {
            spec.key.asset_key.path[0]: spec.blocking
            for check in chain.checks
            for spec in check.check_specs
        }

    assert blocking(make_chain(fresh)) == {"local": True, "team": True, "atmosphere": False}
    assert blocking(make_chain(fresh, promote=("team",))) == {"local": False, "team": False}
    [check] = build_dataset_checks(make_chain(fresh), include=["rows"], blocking=False)
    assert not next(iter(check.check_specs)).blocking


def test_a_failed_blocking_check_keeps_the_dataset_from_the_public(services, instance, fresh):
    chain = make_chain(fresh, checks=[check_range("pixels", 0, 5)])
    found = run(build_definitions(chain), instance, ok=False)
    assert not found["local", "pixels_range"].passed
    with LocalIndex() as team, pytest.raises(NotFoundError):
        team.get_dataset(fresh)


def test_rows_out_of_bounds_are_told_with_both_numbers(services, instance, fresh):
    chain = make_chain(fresh, promote=())
    run(build_definitions(chain), instance)
    few = check_alone(chain, instance, ["rows"], min_rows=11)["rows"]
    assert not few.passed
    assert "expected at least 11, got 10" in few.description
    many = check_alone(chain, instance, ["rows"], max_rows=9)["rows"]
    assert "expected at most 9, got 10" in many.description


def test_another_type_than_the_code_says_is_told_field_by_field(services, instance, fresh):
    run(build_definitions(make_chain(fresh, promote=())), instance)

    @packable
    class Other:
        pixels: NDArray[np.float32]
        label: int

    Other.__name__ = "Mark"
    found = check_alone(["local", fresh], instance, ["schema"], sample_type=Other, layer=None)
    assert not found["schema"].passed
    assert "pixels" in found["schema"].description
    assert "float32" in found["schema"].description
    assert check_alone(["local", fresh], instance, ["schema"], layer=None)["schema"].passed


@pytest.mark.parametrize("kind", ["other bytes", "cut short", "gone"])
def test_a_damaged_shard_is_named_with_what_was_expected(services, instance, fresh, kind):
    chain = make_chain(fresh, promote=())
    run(build_definitions(chain), instance)
    good = check_alone(chain, instance, ["shards", "present"])
    assert facts(good["shards"])["atdata/bytes"] == FileIndex().get_dataset(fresh).size
    shard = FileIndex().get_dataset(fresh).shards[1]
    path = Path(shard.url)
    if kind == "gone":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[600] ^= 1
        path.write_bytes(data[: len(data) - 1024] if kind == "cut short" else data)
    found = check_alone(chain, instance, ["shards", "present"])
    assert not found["shards"].passed
    assert f"shard 1 ({shard.url})" in found["shards"].description
    if kind == "other bytes":
        assert f"expected {shard.cid}, got bafkrei" in found["shards"].description
    assert found["present"].passed == (kind != "gone")
    assert facts(found["present"])["atdata/missing"] == (kind == "gone")


def test_an_object_that_is_gone_from_s3_is_missed(services, boto, instance, fresh):
    chain = make_chain(fresh, promote=("team",))
    run(build_definitions(chain), instance)
    assert check_alone(chain, instance, ["present", "shards"], layer="team")["present"].passed
    with LocalIndex() as team:
        shard = team.get_dataset(fresh).shards[2]
    bucket, _, key = shard.url.removeprefix("s3://").partition("/")
    boto.delete_object(Bucket=bucket, Key=key)
    found = check_alone(chain, instance, ["present", "shards"], layer="team")
    for evaluation in found.values():
        assert not evaluation.passed
        assert f"shard 2 ({shard.url})" in evaluation.description


def test_blobs_and_records_are_looked_up_as_anybody_would(services, instance, fresh):
    chain = make_chain(fresh, promote=("atmosphere",))
    run(build_definitions(chain), instance)
    names = ["present", "shards", "record", "same_content"]
    found = check_alone(chain, instance, names, layer="atmosphere")
    assert [found[name].passed for name in names] == [True] * 4
    assert facts(found["record"])["atdata/rows"] == 10
    assert facts(found["record"])["atdata/verification_level"] == VerificationLevel.BYTES


def test_a_dry_run_shows_what_would_be_published_and_publishes_nothing(services, instance, fresh):
    chain = make_chain(fresh, kind=Planned, license="CC0-1.0")
    assert ["publication" in {s.name for c in chain_checks(chain, ["publication"])
            for s in c.check_specs if s.asset_key == chain.key(layer)} for layer in LAYERS] == [
        False, True, False]  # fmt: skip
    before = dg.AssetSelection.assets(chain.key("local"), chain.key("team")).upstream()
    run(build_definitions(chain), instance, before)
    first = check_alone(chain, instance, ["publication"], layer="team")["publication"]
    assert first.passed
    assert "would publish a first record, its schema's record, 3 blobs" in first.description
    assert first.description.endswith("CC0-1.0")
    found = facts(first)
    assert (found["atdata/would_publish"], found["atdata/blobs"]) == (1, 3)
    assert found["atdata/schema_record"]["name"] == "Planned"
    with AtmosphereClient() as client:
        client.login(services.handle, services.env["ATDATA_APP_PASSWORD"])
        names = {entry.name for entry in AtmosphereIndex(client).list_datasets()}
        assert fresh not in names
        run(build_definitions(chain), instance)
        published = client.get_record(AtmosphereIndex(client).get_dataset(fresh).uri)
    left_out = {"createdAt", "schema", "$type"}
    said = {key: value for key, value in published.items() if key not in left_out}
    assert said == {k: v for k, v in found["atdata/record"].items() if k not in left_out}
    again = check_alone(chain, instance, ["publication"], layer="team")["publication"]
    assert again.passed
    assert f"{published.uri} says this already" in again.description
    assert facts(again)["atdata/would_publish"] == 0
    changed = make_chain(fresh, offset=1, kind=Planned, license="CC0-1.0")
    run(build_definitions(changed), instance, before)
    next_one = check_alone(changed, instance, ["publication"], layer="team")["publication"]
    assert f"would publish a record in place of {published.uri}" in next_one.description


def test_a_dry_run_tells_why_a_dataset_can_t_be_published(services, instance, fresh):
    chain = make_chain(fresh, promote=("atmosphere",))
    run(build_definitions(chain), instance, dg.AssetSelection.assets(chain.key("local")).upstream())
    with AtmosphereClient() as client:
        client.login(services.handle, services.env["ATDATA_APP_PASSWORD"])
        local = FileIndex()
        subject = Subject(
            fresh, local, local.get_dataset(fresh), Mark, public=AtmosphereIndex(client)
        )
        finding = look_at_publication(subject)
    assert f"{fresh} can't be published" in finding.problems[0]
    assert "address is of no use to others" in finding.problems[0]


def test_a_record_that_was_deleted_is_not_found(services, instance, fresh):
    chain = make_chain(fresh, promote=("atmosphere",))
    run(build_definitions(chain), instance)
    event = instance.get_latest_materialization_event(chain.key("atmosphere"))
    uri = event.asset_materialization.metadata["dagster/uri"].value
    with AtmosphereClient() as client:
        client.login(services.handle, services.env["ATDATA_APP_PASSWORD"])
        client.delete_record(uri)
    found = check_alone(chain, instance, ["record"], layer="atmosphere")["record"]
    assert not found.passed
    assert uri in found.description


def test_a_layer_that_stayed_behind_is_told_shard_by_shard(services, instance, fresh):
    chain = make_chain(fresh, promote=("team",))
    run(build_definitions(chain), instance)
    newer = make_chain(fresh, promote=("team",), offset=1)
    run(build_definitions(newer), instance, dg.AssetSelection.assets(newer.key()))
    found = check_alone(newer, instance, ["same_content"], layer="team")["same_content"]
    assert not found.passed
    local = FileIndex().get_dataset(fresh)
    assert f"expected {local.cid}" in found.description
    assert f"shard 0: CID differs (expected {local.shards[0].cid}" in found.description


def test_a_dataset_that_was_never_made_fails_its_checks(services, instance, fresh):
    found = check_alone(make_chain(fresh, promote=()), instance, ["rows"])["rows"]
    assert not found.passed
    assert fresh in found.description


def test_values_are_looked_at_one_by_one_and_the_wrong_one_is_named(services, instance, fresh):
    chain = make_chain(fresh, promote=())
    run(build_definitions(chain), instance)

    def small(mark):
        """Marks are small."""
        return mark.pixels.max() < 6 or f"largest pixel (expected < 6, got {mark.pixels.max()})"

    found = check_alone(chain, instance, [check_values(small), check_range("label", 0, 2)])
    shard = FileIndex().get_dataset(fresh).shards[1]
    assert found["small"].description.splitlines()[0] == (
        f"shard 1 ({shard.url}), sample 000000006: largest pixel (expected < 6, got 6)"
    )
    assert facts(found["small"])["atdata/samples_wrong"] == 4
    assert facts(found["small"])["atdata/samples_read"] == 10
    assert found["label_range"].passed


def test_batches_and_whole_streams_are_looked_at(services, instance, fresh):
    chain = make_chain(fresh, promote=())
    run(build_definitions(chain), instance)

    def mean(samples):
        values = [sample.label for sample in samples]
        return {"label_mean": sum(values) / len(values)}

    found = check_alone(
        chain,
        instance,
        [
            check_values(lambda batch: batch.pixels.max() < 4, name="batches", batch_size=4),
            check_samples(mean),
            check_samples(lambda samples: len(list(samples)) == 3, name="limited", limit=3),
            check_balance("label", 0.35),
        ],
    )
    assert facts(found["batches"])["atdata/samples_wrong"] == 2
    assert "sample 000000004 to 000000007" in found["batches"].description
    assert facts(found["mean"])["atdata/label_mean"] == 0.9
    assert found["limited"].passed
    assert not found["label_balance"].passed
    assert "label 0" in found["label_balance"].description
    assert "expected at most 0.35, got 0.400" in found["label_balance"].description


def test_nan_is_in_no_range(services, instance, fresh):
    @packable
    class Level:
        level: float

    @dataset_asset(Level, name=fresh, checks=[check_range("level", -1e9, 1e9)])
    def levels() -> Iterator[Level]:
        yield Level(1.0)
        yield Level(float("nan"))

    found = run(build_definitions(levels), instance)["local", "level_range"]
    assert not found.passed
    assert facts(found)["atdata/samples_wrong"] == 1


def test_partitions_are_checked_each_in_its_run_and_all_when_checked_alone(
    services, instance, fresh
):
    splits = dg.StaticPartitionsDefinition(["train", "test"])

    @dataset_asset(Mark, name=fresh, partitions_def=splits)
    def split(context: dg.AssetExecutionContext) -> Iterator[Mark]:
        yield from marks(2 if context.partition_key == "test" else 5)

    defs = build_definitions(split)
    job = dg.define_asset_job("job", selection=dg.AssetSelection.assets(split.key()))
    defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    for partition, rows in (("train", 5), ("test", 2)):
        result = defs.resolve_job_def("job").execute_in_process(
            instance=instance, partition_key=partition
        )
        found = {e.check_name: e for e in result.get_asset_check_evaluations()}
        assert facts(found["rows"])["dagster/row_count"] == rows
        assert facts(found["rows"])["atdata/partitions"] == 1
    alone = check_alone(split, instance, ["rows"], min_rows=3)["rows"]
    assert alone.description.startswith("partition test: ")
    assert facts(alone)["dagster/row_count"] == 7


def test_freshness_is_dagsters_own_check(services, instance, fresh):
    chain = make_chain(fresh, promote=(), checks=False)
    checks = build_freshness_checks(chain, lower_bound_delta=timedelta(hours=1))
    [evaluation] = run(build_definitions(chain, asset_checks=checks), instance).values()
    assert evaluation.passed


def test_an_unknown_check_is_refused(fresh):
    with pytest.raises(ConfigurationError, match="no such check") as caught:
        build_dataset_checks(make_chain(fresh), include=["rwos"])
    assert "schema, rows, same_content, present, shards" in str(caught.value)
    with pytest.raises(ConfigurationError, match="no such check"):
        build_dataset_checks(make_chain(fresh), layer="team", include=["record"])
    with pytest.raises(ConfigurationError, match="no such layer"):
        build_dataset_checks(make_chain(fresh, promote=()), layer="team")


def test_checks_run_in_processes_of_their_own(services, tmp_path, monkeypatch, fresh):
    """With the executor of real deployments, where nothing but the location's code is shared."""
    (tmp_path / "location.py").write_text(
        f"""
from collections.abc import Iterator
from atdata_core import packable
from atdata_dagster import build_definitions, check_values, dataset_asset

@packable
class Number:
    value: int

@dataset_asset(Number, name="{fresh}", promote=("team",), checks=["rows", "shards",
    check_values(lambda number: number.value < 9, name="small")])
def numbers() -> Iterator[Number]:
    yield from map(Number, range(9))

defs = build_definitions(numbers)
"""
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "asset", "materialize", "--select", "*"]
        + ["-f", "location.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with dg.DagsterInstance.get() as instance:
        summary = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [
                dg.AssetCheckKey(dg.AssetKey([layer, fresh]), name)
                for layer in ("local", "team")
                for name in ("rows", "shards", "small")
            ]
        )
    assert len(summary) == 6
    assert {str(record.status.value) for record in summary.values()} == {"SUCCEEDED"}
