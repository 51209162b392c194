"""How datasets are declared: keys of one's own, partitions, specs, and what is there already."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from numpy.typing import NDArray

from atdata_core import Dataset, DatasetEntry, FileIndex, LocalIndex, S3DataStore, Schema, packable
from atdata_core.cid import dag_cbor_cid
from atdata_core.errors import ConfigurationError, NotFoundError
from atdata_dagster import (
    DatasetAsset,
    DatasetTranslator,
    LocalIOManager,
    LocalResource,
    SampleStream,
    build_dataset_specs,
    build_definitions,
    dataset_asset,
    dataset_multi_asset,
    external_dataset_asset,
)


@packable
class Step:
    """A step, and whose."""

    foot: NDArray[np.float32]
    who: str


def steps(count, who="a"):
    for i in range(count):
        yield Step(foot=np.full(3, i, np.float32), who=who)


class Ours(DatasetTranslator):
    def get_asset_spec(self, data: DatasetAsset) -> dg.AssetSpec:
        spec = super().get_asset_spec(data)
        return spec.replace_attributes(
            key=dg.AssetKey(["lab", f"{data.kind}-{data.layer}", data.name]),
            group_name="lab",
            owners=["team:lab"],
            tags={**spec.tags, "domain": "gait"},
            automation_condition=dg.AutomationCondition.eager() if data.layer == "team" else None,
        )


def run(defs, instance, *, selection=None, partition=None, tags=None, ok=True):
    job = dg.define_asset_job("job", selection=selection or "*")
    defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    result = defs.resolve_job_def("job").execute_in_process(
        instance=instance, partition_key=partition, tags=tags, raise_on_error=False
    )
    assert result.success == ok
    return result


def materializations(result):
    return {
        (
            event.asset_key.to_user_string(),
            event.step_materialization_data.materialization.partition,
        ): event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    }


def failure(result):
    [event] = [e for e in result.all_events if e.is_step_failure]
    return event.step_failure_data.error.cause


def make(name, count=5, **options):
    @dataset_asset(Step, name=name, **options)
    def walk() -> Iterator[Step]:
        """Some steps."""
        yield from steps(count)

    return walk


def specs_of(defs):
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


# --- translators


def test_a_translator_says_what_assets_are_and_datasets_keep_their_names(services, instance, fresh):
    chain = make(fresh, promote=("team", "atmosphere"))

    @dg.asset(ins={"walk": dg.AssetIn(key=["lab", "dataset-team", fresh])}, io_manager_key="memory")
    def reader(walk: Dataset) -> None:
        assert len(list(walk)) == 5

    defs = build_definitions(
        chain, translator=Ours(), assets=[reader], resources={"memory": dg.mem_io_manager}
    )
    specs = specs_of(defs)
    layers = ("local", "team", "atmosphere")
    assert {f"lab/schema-{layer}/Step" for layer in layers} < set(specs)
    spec = specs[f"lab/dataset-team/{fresh}"]
    assert spec.group_name == "lab"
    assert list(spec.owners) == ["team:lab"]
    assert spec.tags["domain"] == "gait"
    assert spec.kinds == {"redis", "s3"}
    assert spec.automation_condition is not None
    assert spec.description == "Some steps."
    result = run(defs, instance)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert FileIndex().get_dataset(fresh).rows == 5
    with LocalIndex() as team:
        assert team.get_dataset(fresh).rows == 5


def test_a_translated_dataset_feeds_the_parameter_of_its_name(services, instance, fresh):
    @dataset_asset(Step, name=f"{fresh}_source", translator=Ours())
    def source() -> Iterator[Step]:
        yield from steps(3)

    names = {}
    exec(
        f"def double({fresh}_source: Dataset[Step]) -> None:\n"
        f"    return (Step(s.foot * 2, s.who) for s in {fresh}_source)",
        {"Dataset": Dataset, "Step": Step},
        names,
    )
    twice = dataset_asset(Step, name=f"{fresh}_twice", translator=Ours())(names["double"])
    run(build_definitions(source, twice), instance)
    found = list(FileIndex().open_dataset(f"{fresh}_twice", Step))
    assert [float(step.foot[0]) for step in found] == [0, 2, 4]


def test_options_of_the_author_reach_each_dataset_of_the_chain(fresh):
    condition = dg.AutomationCondition.on_missing()
    chain = make(
        fresh,
        promote=("team", "atmosphere"),
        owners=["team:a"],
        tags={"x": "y"},
        metadata={"note": "n"},
        automation_condition={"team": condition},
        retry_policy=dg.RetryPolicy(max_retries=2),
        group_name="walks",
    )
    specs = specs_of(build_definitions(chain))
    for layer in ("local", "team", "atmosphere"):
        spec = specs[f"{layer}/{fresh}"]
        assert list(spec.owners) == ["team:a"]
        assert spec.tags["x"] == "y"
        assert spec.metadata["note"] == "n"
        assert spec.group_name == "walks"
        assert (spec.automation_condition is not None) == (layer == "team")
        assert chain.datasets[layer].op.retry_policy.max_retries == 2


def test_the_code_version_is_the_sample_type_s(fresh):
    specs = specs_of(build_definitions(make(fresh, promote=("team",))))
    cid = Schema.of(Step).cid
    for key in ("schema/Step", f"local/{fresh}", f"team/{fresh}"):
        assert specs[key].code_version == cid
    own = specs_of(build_definitions(make(fresh, code_version="7")))
    assert own[f"local/{fresh}"].code_version == "7"


@pytest.mark.parametrize(
    "layers",
    [
        {"promote": ("team", "atmosphere")},
        {"first": "team", "promote": ("atmosphere",)},
        {"first": "atmosphere"},
    ],
)
def test_specs_alone_describe_the_same_graph(fresh, layers):
    specs = {spec.key: spec for spec in build_dataset_specs(Step, name=fresh, **layers)}
    graph = build_definitions(make(fresh, **layers)).resolve_asset_graph()
    assert set(specs) == graph.get_all_asset_keys()
    for key, spec in specs.items():
        assert {dep.asset_key for dep in spec.deps} == set(graph.get(key).parent_keys)
        assert spec.kinds == graph.get(key).kinds
        assert spec.group_name == graph.get(key).group_name
    dg.Definitions.validate_loadable(dg.Definitions(assets=list(specs.values())))
    with pytest.raises(ConfigurationError, match="can't be promoted"):
        build_dataset_specs(Step, name=fresh, promote=("atmosphere", "team"))


def test_a_chain_begins_in_the_layer_that_its_author_says(services, instance, fresh):
    source = make(fresh, first="team")

    @dataset_multi_asset({f"{fresh}_a": Step}, first="team", ins={"walk": source.key()})
    def halves(walk: Dataset[Step]):
        return {f"{fresh}_a": walk}

    @dataset_asset(Step, name=f"{fresh}_b", first="team", ins={"walk": source.key()})
    def named(walk: Dataset[Step]) -> Dataset[Step]:
        return walk

    result = run(build_definitions(source, *halves, named), instance)
    names = [f"team/{fresh}", f"team/{fresh}_a", f"team/{fresh}_b"]
    found = materializations(result)
    assert {key for key, _ in found} == {"team/schema/Step", *names}
    assert len({found[name, None].tags["dagster/data_version"] for name in names}) == 1
    checked = {
        str(each.asset_key.to_user_string()) for each in result.get_asset_check_evaluations()
    }
    assert checked == set(names)
    assert source.datasets["team"].specs_by_key[source.key()].kinds == {"redis", "s3"}
    nodes = {asset.node_def.name: asset.op.pool for asset in (*source, *halves[0])}
    assert set(nodes.values()) == {"atdata_redis", "atdata_s3"}
    with pytest.raises(ConfigurationError, match="no such layer"):
        make(fresh, first="teem")
    with pytest.raises(ConfigurationError, match="can't be promoted"):
        make(fresh, first="team", promote=("local",))


def test_a_schema_is_taken_from_the_chain_that_begins_with_it(fresh):
    promoted, begun = make(f"{fresh}_a", promote=("team",)), make(f"{fresh}_b", first="team")
    for chains in ((promoted, begun), (begun, promoted)):
        graph = build_definitions(*chains).resolve_asset_graph()
        assert graph.get(dg.AssetKey(["team", "schema", "Step"])).parent_keys == set()


def test_a_filtered_dataset_is_a_new_one_with_what_is_said_of_it(services, instance, fresh):
    source = make(fresh)

    @dataset_asset(Step, name=f"{fresh}_few", ins={"walk": source.key()}, license="MIT")
    def few(walk: Dataset[Step]) -> Dataset[Step]:
        """A few steps."""
        return walk.filter(lambda step: step.foot[0] < 2)

    result = run(build_definitions(source, few), instance)
    entry = FileIndex().get_dataset(f"{fresh}_few")
    assert (entry.rows, entry.license, entry.description) == (2, "MIT", "A few steps.")
    assert "atdata/preview" in materializations(result)[f"local/{fresh}_few", None].metadata


# --- several datasets in one step


def several(fresh, made, **options):
    @dataset_multi_asset({f"{fresh}_a": Step, f"{fresh}_b": Step}, **options)
    def walks(context: dg.AssetExecutionContext):
        """Two walks."""

        def walk(name, count):
            made.append(name)
            yield from steps(count, name)

        return {f"{fresh}_a": walk("a", 2), f"{fresh}_b": walk("b", 3)}

    return walks


def test_one_function_makes_several_datasets(services, instance, fresh):
    chains = several(fresh, [], promote=("team",), owners=["team:a"], license="MIT")
    defs = build_definitions(*chains)
    assert list(specs_of(defs)[f"local/{fresh}_b"].owners) == ["team:a"]
    result = run(defs, instance)
    assert len(result.get_asset_check_evaluations()) == 10
    assert all(check.passed for check in result.get_asset_check_evaluations())
    with LocalIndex() as team:
        for name, rows in (("a", 2), ("b", 3)):
            local = FileIndex().get_dataset(f"{fresh}_{name}")
            assert (local.rows, local.license, local.description) == (rows, "MIT", "Two walks.")
            assert team.get_dataset(f"{fresh}_{name}").cid == local.cid
            made = materializations(result)[f"local/{fresh}_{name}", None]
            assert made.tags["dagster/data_version"] == local.cid


def test_only_the_selected_ones_of_several_are_made(services, instance, fresh):
    made = []
    defs = build_definitions(*several(fresh, made), translator=Ours())
    key = f"lab/dataset-local/{fresh}_b"
    result = run(defs, instance, selection=["lab/schema-local/Step", key])
    assert made == ["b"]
    assert (key, None) in materializations(result)
    with pytest.raises(NotFoundError):
        FileIndex().get_dataset(f"{fresh}_a")


def test_a_stream_that_is_missing_is_named(services, instance, fresh):
    @dataset_multi_asset({f"{fresh}_a": Step, f"{fresh}_b": Step})
    def walks():
        return {f"{fresh}_a": steps(1)}

    error = failure(run(build_definitions(*walks), instance, ok=False))
    assert f"expected a dict with the keys {fresh}_a, {fresh}_b, got {fresh}_a" in error.message


# --- partitions


def by_key(context):
    """A stream for each partition of the run, each of another length."""
    return {key: steps(len(str(key)), str(key)) for key in context.partition_keys}


def partitioned(name, partitions, **options):
    @dataset_asset(Step, name=name, partitions_def=partitions, **options)
    def walks(context: dg.AssetExecutionContext):
        return by_key(context)

    return walks


@pytest.mark.filterwarnings("ignore:Parameter .backfill_policy.")
def test_several_partitions_in_one_run_are_stored_each_with_its_own_metadata(
    services, instance, fresh
):
    days = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-04")
    chain = partitioned(
        fresh, days, promote=("team",), backfill_policy=dg.BackfillPolicy.single_run()
    )
    defs = build_definitions(chain)
    run(defs, instance, selection=["schema/Step", "team/schema/Step"])
    result = run(
        defs,
        instance,
        selection=[f"local/{fresh}", f"team/{fresh}"],
        tags={
            "dagster/asset_partition_range_start": "2026-01-01",
            "dagster/asset_partition_range_end": "2026-01-03",
        },
    )
    found = materializations(result)
    keys = ["2026-01-01", "2026-01-02", "2026-01-03"]
    with LocalIndex(data_store=S3DataStore()) as team:
        for layer, index in (("local", FileIndex()), ("team", team)):
            entries = {key: index.get_dataset(f"{fresh}/{key}") for key in keys}
            for key in keys:
                [first, *rest] = index.open_dataset(f"{fresh}/{key}", Step)
                assert first.who == key
                assert len(rest) == 9
                metadata = found[f"{layer}/{fresh}", key].metadata
                assert metadata["atdata/cid"].value == entries[key].cid
                assert metadata["dagster/row_count"].value == 10
            version = found[f"{layer}/{fresh}", keys[0]].tags["dagster/data_version"]
            assert version == dag_cbor_cid({k: {"$link": e.cid} for k, e in entries.items()})


def test_two_dimensions_are_stored_apart(services, instance, fresh):
    grid = dg.MultiPartitionsDefinition(
        {
            "split": dg.StaticPartitionsDefinition(["train", "test"]),
            "day": dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-03"),
        }
    )
    chain = partitioned(fresh, grid, promote=("team",))
    defs = build_definitions(chain)
    run(defs, instance, selection=["schema/Step", "team/schema/Step"])
    for split in ("train", "test"):
        run(
            defs,
            instance,
            selection=[f"local/{fresh}", f"team/{fresh}"],
            partition=dg.MultiPartitionKey({"split": split, "day": "2026-01-02"}),
        )
    names = {e.name for e in FileIndex().list_datasets() if e.name.startswith(fresh)}
    assert names == {f"{fresh}/2026-01-02|train", f"{fresh}/2026-01-02|test"}
    with LocalIndex(data_store=S3DataStore()) as team:
        [first, *_] = team.open_dataset(f"{fresh}/2026-01-02|test", Step)
    assert first.who == "2026-01-02|test"


def test_dynamic_partitions_may_be_called_anything(services, instance, fresh):
    partitions = dg.DynamicPartitionsDefinition(name=f"who_{fresh}")
    chain = partitioned(fresh, partitions, promote=("team",))
    defs = build_definitions(chain)
    run(defs, instance, selection=["schema/Step", "team/schema/Step"])
    keys = ["did:plc:abc/3kx", "../../etc", "é 日本"]
    instance.add_dynamic_partitions(partitions.name, keys)
    for key in keys:
        run(defs, instance, selection=[f"local/{fresh}", f"team/{fresh}"], partition=key)
    with LocalIndex(data_store=S3DataStore()) as team:
        for index in (FileIndex(), team):
            names = {e.name for e in index.list_datasets() if e.name.startswith(f"{fresh}/")}
            assert len(names) == 3
            assert {next(iter(index.open_dataset(name, Step))).who for name in names} == set(keys)


def test_time_partitions_are_read_as_a_dict_by_key(services, instance, fresh):
    hours = dg.HourlyPartitionsDefinition(
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        end_date=datetime(2026, 1, 1, 3, tzinfo=UTC),
    )
    chain = partitioned(fresh, hours)
    seen = {}

    @dg.asset(
        ins={"walks": dg.AssetIn(key=chain.key(), partition_mapping=dg.AllPartitionMapping())},
        io_manager_key="memory",
    )
    def reader(walks) -> None:
        seen.update({key: len(walk) for key, walk in walks.items()})

    defs = build_definitions(chain, assets=[reader], resources={"memory": dg.mem_io_manager})
    run(defs, instance, selection=["schema/Step"])
    for key in hours.get_partition_keys():
        run(defs, instance, selection=[f"local/{fresh}"], partition=key)
    run(defs, instance, selection=["reader"])
    assert seen == {key: len(key) for key in hours.get_partition_keys()}


@pytest.mark.filterwarnings("ignore:Parameter .backfill_policy.")
def test_one_stream_for_several_partitions_is_refused(services, instance, fresh):
    splits = dg.StaticPartitionsDefinition(["a", "b"])
    chain = make(fresh, partitions_def=splits, backfill_policy=dg.BackfillPolicy.single_run())
    defs = build_definitions(chain)
    run(defs, instance, selection=["schema/Step"])
    both = {
        "dagster/asset_partition_range_start": "a",
        "dagster/asset_partition_range_end": "b",
    }
    error = failure(run(defs, instance, selection=[f"local/{fresh}"], tags=both, ok=False))
    assert "a dict with a stream for each of 2 partition keys" in error.message
    assert "BackfillPolicy.multi_run()" in error.message


def test_a_dict_with_other_keys_than_the_run_s_is_refused(services, instance, fresh):
    @dataset_asset(Step, name=fresh, partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
    def walks(context: dg.AssetExecutionContext):
        return {"b": steps(1)}

    defs = build_definitions(walks)
    run(defs, instance, selection=["schema/Step"])
    error = failure(run(defs, instance, selection=[f"local/{fresh}"], partition="a", ok=False))
    assert error.cls_name == ConfigurationError.__name__
    assert "expected 'a', got 'b'" in error.message
    with pytest.raises(NotFoundError):
        FileIndex().get_dataset(f"{fresh}/b")


# --- datasets that are there already


def tars(folder, name, count):
    index = FileIndex(folder / name)
    index.write_samples(steps(count), name="x", sample_type=Step, max_samples=2)
    return sorted(str(path) for path in (folder / name).rglob("*.tar"))


def test_tar_files_are_observed_read_and_promoted(services, instance, fresh, tmp_path):
    files = tars(tmp_path, "files", 5)
    chain = external_dataset_asset(
        Step,
        name=fresh,
        files=str(tmp_path / "files" / "datasets" / "x" / "*.tar"),
        promote=("team",),
        owners=["team:them"],
        description="Theirs.",
    )

    @dataset_asset(Step, name=f"{fresh}_own", ins={"theirs": chain.key()})
    def own(theirs: Dataset[Step]) -> Iterator[Step]:
        yield from theirs

    defs = build_definitions(chain, own)
    assert list(specs_of(defs)[f"local/{fresh}"].owners) == ["team:them"]
    [observed] = run(defs, instance, selection=[chain.key()]).get_asset_observation_events()
    observation = observed.asset_observation_data.asset_observation
    made = {f"team/{fresh}", f"local/{fresh}_own"}
    result = run(defs, instance, selection=[*made, "schema/Step"])
    found = materializations(result)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    version = observation.tags["dagster/data_version"]
    assert observation.metadata["dagster/row_count"].value == 5
    assert observation.metadata["atdata/shards"].value == len(files) == 3
    with LocalIndex(data_store=S3DataStore()) as team:
        assert team.get_dataset(fresh).cid == version
        assert len(list(team.open_dataset(fresh, Step))) == 5
    assert found[f"local/{fresh}_own", None].metadata["dagster/row_count"].value == 5


def test_what_is_made_of_observed_files_is_out_of_date_when_they_change(
    services, instance, fresh, tmp_path
):
    [path] = tars(tmp_path, "one", 2)
    chain = external_dataset_asset(Step, name=fresh, files=[path], promote=("team",))
    defs = build_definitions(chain)

    def observe():
        [event] = run(defs, instance, selection=[chain.key()]).get_asset_observation_events()
        return event.asset_observation_data.asset_observation.tags["dagster/data_version"]

    first = observe()
    assert observe() == first
    [other] = tars(tmp_path, "other", 1)
    Path(path).write_bytes(Path(other).read_bytes())
    assert observe() != first


def test_an_entry_of_an_index_is_observed_and_read(services, instance, fresh):
    with LocalIndex(data_store=S3DataStore()) as team:
        entry = team.write_samples(steps(4), name=fresh, sample_type=Step).entry
    chain = external_dataset_asset(Step, name=fresh, layer="team", promote=("atmosphere",))
    seen = {}

    @dg.asset(ins={"entry": dg.AssetIn(key=chain.key("team"))}, io_manager_key="memory")
    def looker(entry: DatasetEntry) -> None:
        seen["cid"] = entry.cid

    defs = build_definitions(chain, assets=[looker], resources={"memory": dg.mem_io_manager})
    run(defs, instance, selection=["looker", f"atmosphere/{fresh}"])
    assert seen["cid"] == entry.cid
    [observed] = run(defs, instance, selection=[chain.key("team")]).get_asset_observation_events()
    observation = observed.asset_observation_data.asset_observation
    assert observation.tags["dagster/data_version"] == entry.cid


def test_impossible_external_datasets_are_refused(fresh):
    with pytest.raises(ConfigurationError, match="in the local layer"):
        external_dataset_asset(Step, name=fresh, files="x.tar", layer="team")
    with pytest.raises(ConfigurationError, match="can't be promoted"):
        external_dataset_asset(Step, name=fresh, layer="team", promote=("team",))


def test_files_without_a_type_are_refused_with_a_remedy(services, instance, fresh, tmp_path):
    chain = external_dataset_asset(Step, name=fresh, files=tars(tmp_path, "some", 1))

    @dg.asset(ins={"theirs": dg.AssetIn(key=chain.key())})
    def reader(theirs) -> None:
        raise AssertionError

    defs = build_definitions(chain, assets=[reader])
    error = failure(run(defs, instance, selection=["reader"], ok=False))
    assert "Annotate it: Dataset[MySample]" in error.message


def test_a_stream_by_hand_takes_dicts_too(services, instance, fresh):
    @dg.asset(
        key=["local", fresh],
        io_manager_key="local",
        partitions_def=dg.StaticPartitionsDefinition(["a"]),
    )
    def by_hand() -> dg.Output:
        return dg.Output({"a": SampleStream(Step, steps(2))})

    run(build_definitions(assets=[by_hand]), instance, partition="a")
    assert FileIndex().get_dataset(f"{fresh}/a").rows == 2


@pytest.mark.filterwarnings("ignore:.*migrate_io_storage")
def test_what_lies_in_one_folder_is_migrated_to_another_by_dagster_itself(
    services, instance, fresh, tmp_path
):
    plain = make(fresh)
    split = partitioned(f"{fresh}_split", dg.StaticPartitionsDefinition(["a", "bb"]))
    defs = build_definitions(plain, split)
    run(defs, instance, selection=["schema/Step", f"local/{fresh}"])
    for key in ("a", "bb"):
        run(defs, instance, selection=[f"local/{fresh}_split"], partition=key)
    target = LocalIOManager(layer=LocalResource(root=str(tmp_path)))
    dg.migrate_io_storage(definitions=defs, destination_io_manager=target, instance=instance)
    names = (fresh, f"{fresh}_split/a", f"{fresh}_split/bb")
    moved = FileIndex(tmp_path)
    for name in names:
        assert moved.get_dataset(name).cid == FileIndex().get_dataset(name).cid
        assert len(list(moved.open_dataset(name, Step))) == moved.get_dataset(name).rows
