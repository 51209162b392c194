"""Datasets and schemas as assets, materialized through real layers."""

from collections.abc import Iterator

import dagster as dg
import numpy as np
import pytest
from numpy.typing import NDArray

from atdata_core import (
    Dataset,
    DatasetEntry,
    FileIndex,
    LocalIndex,
    S3DataStore,
    StrongRef,
    load_dataset,
    packable,
)
from atdata_core.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    SampleError,
    UnreachableError,
)
from atdata_dagster import (
    AtmosphereIOManager,
    AtmosphereResource,
    LocalIOManager,
    LocalResource,
    SampleStream,
    TeamIOManager,
    TeamResource,
    build_definitions,
    dataset_asset,
)


@packable
class Point:
    """A point in the plane."""

    xy: NDArray[np.float32]
    name: str


def points(count, offset=0):
    for i in range(count):
        yield Point(xy=np.array([i, offset], np.float32), name=f"p{i}")


def run(defs, instance, *, selection=None, resources=None, partition=None, ok=True):
    result = dg.materialize(
        list(defs.assets),
        selection=selection,
        resources=resources or defs.resources,
        instance=instance,
        partition_key=partition,
        raise_on_error=False,
    )
    assert result.success == ok
    return result


def facts(result, key):
    [event] = [
        e for e in result.get_asset_materialization_events() if e.asset_key.to_user_string() == key
    ]
    materialization = event.step_materialization_data.materialization
    return (
        {name: value.value for name, value in materialization.metadata.items()},
        materialization.tags["dagster/data_version"],
    )


def failure(result):
    """What the failed step raised, without Dagster's wrapping."""
    [event] = [e for e in result.all_events if e.is_step_failure]
    return event.step_failure_data.error.cause


@pytest.fixture
def chain(fresh):
    @dataset_asset(
        Point,
        name=fresh,
        promote=("team", "atmosphere"),
        license="CC0-1.0",
        dataset_tags=["test"],
        dataset_metadata={"source": "nowhere"},
        max_samples=4,
    )
    def make() -> Iterator[Point]:
        """Ten points."""
        yield from points(10)

    return make


def test_every_layer_names_the_same_content(services, chain, instance, fresh):
    result = run(build_definitions(chain), instance)
    versions = {facts(result, f"{layer}/{fresh}")[1] for layer in ("local", "team", "atmosphere")}
    assert versions == {FileIndex().get_dataset(fresh).cid}
    schemas = {
        facts(result, key)[1]
        for key in ("schema/Point", "team/schema/Point", "atmosphere/schema/Point")
    }
    assert schemas == {FileIndex().get_dataset(fresh).schema_cid}


def test_every_materialization_carries_dagsters_standard_metadata(services, chain, instance, fresh):
    result = run(build_definitions(chain), instance)
    kinds = {"local": "webdataset", "team": "s3", "atmosphere": "atproto"}
    for layer, kind in kinds.items():
        found, version = facts(result, f"{layer}/{fresh}")
        assert found["dagster/row_count"] == 10
        assert found["dagster/storage_kind"] == kind
        assert [c.name for c in found["dagster/column_schema"].columns] == ["xy", "name"]
        assert found["dagster/column_schema"].columns[0].type == "ndarray[float32]"
        assert found["atdata/cid"] == version
        assert found["atdata/shards"] == 3
        assert found["atdata/license"] == "CC0-1.0"
        assert len(found["atdata/shard_table"].records) == 3
    assert facts(result, f"team/{fresh}")[0]["dagster/uri"] == f"s3://atdata/{fresh}/"
    uri = facts(result, f"atmosphere/{fresh}")[0]["dagster/uri"]
    assert list(load_dataset(uri, Point)) == list(points(10))


def test_what_is_said_of_a_dataset_travels_with_it(services, chain, instance, fresh):
    result = run(build_definitions(chain), instance)
    uri = facts(result, f"atmosphere/{fresh}")[0]["dagster/uri"]
    with LocalIndex() as team:
        entries = [FileIndex().get_dataset(fresh), team.get_dataset(fresh)]
    for entry in (*entries, load_dataset(uri).entry):
        assert entry.description == "Ten points."
        assert entry.license == "CC0-1.0"
        assert entry.tags == ("test",)
        assert entry.metadata == {"source": "nowhere"}


def test_materializing_equal_content_again_writes_nothing(services, chain, instance, fresh):
    defs = build_definitions(chain)
    first, second = run(defs, instance), run(defs, instance)
    for layer in ("local", "team", "atmosphere"):
        before, after = (facts(result, f"{layer}/{fresh}") for result in (first, second))
        assert before[0]["atdata/changed"]
        assert not after[0]["atdata/changed"]
        assert after[0]["atdata/bytes_moved"] == 0
        assert before[1] == after[1]
        assert before[0]["dagster/uri"] == after[0]["dagster/uri"]


def test_a_new_version_links_to_the_one_before(services, instance, fresh):
    def version(offset):
        @dataset_asset(Point, name=fresh, promote=("team", "atmosphere"))
        def make() -> Iterator[Point]:
            yield from points(3, offset)

        return run(build_definitions(make), instance)

    first, second = version(0), version(1)
    old = facts(first, f"local/{fresh}")[1]
    for layer in ("local", "team"):
        assert facts(second, f"{layer}/{fresh}")[0]["atdata/previous"] == old
    uris = [facts(result, f"atmosphere/{fresh}")[0]["dagster/uri"] for result in (first, second)]
    assert facts(second, f"atmosphere/{fresh}")[0]["atdata/previous"] == uris[0]
    assert list(load_dataset(uris[0], Point)) == list(points(3, 0))
    assert list(load_dataset(uris[1], Point)) == list(points(3, 1))


def test_what_is_made_of_published_datasets_says_so(services, chain, instance, fresh):
    @dataset_asset(
        Point,
        name=f"{fresh}_half",
        promote=("atmosphere",),
        ins={"whole": f"atmosphere/{fresh}"},
    )
    def half(whole: Dataset[Point]) -> Iterator[Point]:
        yield from whole.head(5)

    @dataset_asset(Point, name=f"{fresh}_quarter", ins={"half": f"local/{fresh}_half"})
    def quarter(half: Dataset[Point]) -> Iterator[Point]:
        yield next(iter(half))

    result = run(build_definitions(chain, half, quarter), instance)
    source, _ = facts(result, f"atmosphere/{fresh}")
    made, _ = facts(result, f"atmosphere/{fresh}_half")
    link = StrongRef(source["dagster/uri"], source["atdata/record_cid"])
    assert load_dataset(made["dagster/uri"]).entry.derived_from == (link,)
    assert FileIndex().get_dataset(f"{fresh}_quarter").derived_from == (link,)
    assert made["atdata/derived_from"] == source["dagster/uri"]


def test_a_parameter_is_fed_by_the_local_dataset_of_its_name(services, instance, fresh):
    @dataset_asset(Point, name=fresh)
    def upstream() -> Iterator[Point]:
        yield from points(5)

    @dataset_asset(Point, name=f"{fresh}_even", ins={"upstream": f"local/{fresh}"})
    def even(context: dg.AssetExecutionContext, upstream: Dataset[Point]) -> Iterator[Point]:
        context.log.info("reading")
        assert len(upstream) == 5
        assert upstream.sample_type is Point
        for number, point in enumerate(upstream):
            if number % 2 == 0:
                yield point

    run(build_definitions(upstream, even), instance)
    found = list(FileIndex().open_dataset(f"{fresh}_even", Point))
    assert found == [p for i, p in enumerate(points(5)) if i % 2 == 0]


def test_a_plain_asset_reads_a_dataset_or_its_entry(services, chain, instance, fresh):
    seen = {}

    @dg.asset(ins={"points": dg.AssetIn(key=chain.key("team"))}, io_manager_key="memory")
    def reader(points: Dataset) -> None:
        seen["rows"] = sum(1 for _ in points)

    @dg.asset(ins={"entry": dg.AssetIn(key=chain.key("team"))}, io_manager_key="memory")
    def looker(entry: DatasetEntry) -> None:
        seen["entry"] = entry

    defs = build_definitions(
        chain, assets=[reader, looker], resources={"memory": dg.mem_io_manager}
    )
    run(defs, instance)
    assert seen["rows"] == 10
    assert seen["entry"].name == fresh


def test_a_plain_asset_writes_a_stream(services, instance, fresh):
    @dg.asset(key=["team", fresh], io_manager_key="team")
    def straight() -> dg.Output:
        return dg.Output(SampleStream(Point, points(7)))

    run(build_definitions(assets=[straight]), instance)
    with LocalIndex(data_store=S3DataStore()) as team:
        assert list(team.open_dataset(fresh, Point)) == list(points(7))


def test_a_stream_goes_straight_to_the_atmosphere(services, instance, fresh):
    @dg.asset(key=["atmosphere", fresh], io_manager_key="atmosphere")
    def straight() -> dg.Output:
        return dg.Output(SampleStream(Point, points(6)))

    result = run(build_definitions(assets=[straight]), instance)
    uri = facts(result, f"atmosphere/{fresh}")[0]["dagster/uri"]
    assert list(load_dataset(uri, Point)) == list(points(6))


def test_partitions_are_stored_apart_and_read_together(services, instance, fresh):
    partitions = dg.StaticPartitionsDefinition(["train", "test"])
    seen = {}

    @dataset_asset(Point, name=fresh, promote=("team",), partitions_def=partitions)
    def split(context: dg.AssetExecutionContext) -> Iterator[Point]:
        yield from points(2 if context.partition_key == "test" else 5)

    @dg.asset(
        ins={
            "splits": dg.AssetIn(key=split.key("team"), partition_mapping=dg.AllPartitionMapping())
        },
        io_manager_key="memory",
    )
    def reader(splits) -> None:
        seen.update({key: len(dataset) for key, dataset in splits.items()})

    defs = build_definitions(split, assets=[reader], resources={"memory": dg.mem_io_manager})
    schema_keys = ["schema/Point", "team/schema/Point"]
    run(defs, instance, selection=schema_keys)
    for partition in ("train", "test"):
        selection = [f"local/{fresh}", f"team/{fresh}"]
        run(defs, instance, selection=selection, partition=partition)
    run(defs, instance, selection=["reader"])
    assert seen == {"train": 5, "test": 2}
    assert FileIndex().get_dataset(f"{fresh}/test").rows == 2


def test_two_datasets_of_one_type_share_its_schema(services, instance, fresh):
    @dataset_asset(Point, name=f"{fresh}_a", promote=("team",))
    def one() -> Iterator[Point]:
        yield from points(1)

    @dataset_asset(Point, name=f"{fresh}_b")
    def other() -> Iterator[Point]:
        yield from points(2)

    defs = build_definitions(one, other)
    keys = [key.to_user_string() for key in defs.resolve_all_asset_keys()]
    assert sorted(keys) == sorted(
        [
            "schema/Point",
            f"local/{fresh}_a",
            "team/schema/Point",
            f"team/{fresh}_a",
            f"local/{fresh}_b",
        ]
    )
    run(defs, instance)


def test_two_types_of_one_name_are_refused(fresh):
    @packable
    class Other:
        z: int

    Other.__name__ = "Point"

    def none():
        return iter(())

    one = dataset_asset(Point, name=f"{fresh}_a")(none)
    other = dataset_asset(Other, name=f"{fresh}_b")(none)
    with pytest.raises(ConfigurationError, match="same name and different fields"):
        build_definitions(one, other)


def test_without_settings_the_error_names_variable_and_remedy(chain, instance, fresh):
    error = failure(run(build_definitions(chain), instance, selection=["schema/Point"], ok=False))
    assert error.cls_name == ConfigurationError.__name__
    assert "ATDATA_ROOT is not set" in error.message
    assert "atdata_dagster.devnet up" in error.message


@pytest.mark.parametrize(
    ("resources", "layer", "expected", "words"),
    [
        (
            {"team": lambda: TeamIOManager(layer=TeamResource(redis_url="redis://127.0.0.1:9/0"))},
            "team",
            UnreachableError,
            ["127.0.0.1:9", "ATDATA_REDIS_URL"],
        ),
        (
            {"team": lambda: TeamIOManager(layer=TeamResource(s3_bucket="no-such-bucket"))},
            "team",
            None,
            ["no such bucket", "no-such-bucket", "ATDATA_S3_BUCKET"],
        ),
        (
            {
                "atmosphere": lambda: AtmosphereIOManager(
                    layer=AtmosphereResource(app_password="wrong-word-here-okay")
                )
            },
            "atmosphere",
            AuthenticationError,
            ["alice.test", "ATDATA_APP_PASSWORD"],
        ),
    ],
    ids=["unreachable Redis", "mistyped bucket", "wrong app password"],
)
def test_a_broken_layer_is_one_clear_error(
    services, chain, instance, fresh, resources, layer, expected, words
):
    defs = build_definitions(chain, resources={k: make() for k, make in resources.items()})
    before = {"team": ["local"], "atmosphere": ["local", "team"]}[layer]
    selection = [f"{name}/{fresh}" for name in before]
    schemas = ["schema/Point", *(f"{name}/schema/Point" for name in before if name != "local")]
    good = build_definitions(chain)
    run(good, instance, selection=[*selection, *schemas, f"{layer}/schema/Point"])
    error = failure(run(defs, instance, selection=[f"{layer}/{fresh}"], ok=False))
    if expected is not None:
        assert error.cls_name == expected.__name__
    for word in words:
        assert word in error.message
    assert "wrong-word-here" not in error.message
    with good.resources[layer].layer.make_index() as index, pytest.raises(NotFoundError):
        index.get_dataset(fresh)


def test_a_bad_sample_leaves_no_dataset(services, instance, fresh, tmp_path):
    @dataset_asset(Point, name=fresh, max_samples=2)
    def broken() -> Iterator[Point]:
        yield from points(5)
        yield Point(xy=np.array([1, 2], np.float64), name="wrong")

    local = LocalIOManager(layer=LocalResource(root=str(tmp_path)))
    defs = build_definitions(broken, resources={"local": local})
    error = failure(run(defs, instance, ok=False))
    assert error.cls_name == SampleError.__name__
    for word in (fresh, "shard 2", "sample 000000005", "field 'xy'", "float32", "float64"):
        assert word in error.message
    with pytest.raises(NotFoundError):
        FileIndex(tmp_path).get_dataset(fresh)
    left = [path.name for path in (tmp_path / "datasets" / ".scratch").iterdir()]
    assert left == [".lock"]


def test_a_dataset_that_was_never_made_says_which_asset_makes_it(services, instance, chain, fresh):
    error = failure(run(build_definitions(chain), instance, selection=[f"team/{fresh}"], ok=False))
    assert error.cls_name == NotFoundError.__name__
    assert f"Materialize local/{fresh} first" in error.message


def test_an_unknown_layer_is_refused():
    def one():
        return points(1)

    with pytest.raises(ConfigurationError, match="can't be promoted"):
        dataset_asset(Point, promote=("atmosphere", "team"))(one)


def test_secrets_are_masked_in_the_configuration_that_dagster_keeps():
    fields = TeamResource.to_config_schema().as_field().config_type.fields
    assert {name for name, field in fields.items() if field.is_secret} == {
        "redis_url",
        "aws_access_key_id",
        "aws_secret_access_key",
    }
    fields = AtmosphereResource.to_config_schema().as_field().config_type.fields
    assert {name for name, field in fields.items() if field.is_secret} == {"app_password"}
