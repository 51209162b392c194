"""Components as users meet them: through ``dg``, on an example and on a scaffolded project."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tomllib
import traceback
from pathlib import Path

import dagster as dg
import pytest
import yaml

from atdata_core import (
    AtmosphereIndex,
    FileIndex,
    LocalIndex,
    PDSBlobStore,
    S3DataStore,
    packable,
)
from atdata_core.atproto.records import DATASET_TYPES
from atdata_core.errors import ConfigurationError
from atdata_core.following import Subscription
from atdata_dagster.components import (
    CatalogComponent,
    DatasetComponent,
    LayersComponent,
    SubscriptionComponent,
)
from atdata_dagster.components.resolving import (
    automation_of,
    import_path,
    parse_size,
    partitions_of,
)
from atdata_dagster.names import escape_partition
from atdata_dagster.partitions import inbox_key, record_partition
from tests.support.publisher import TYPE, Publisher

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "components"
LAYERS = ("local", "team", "atmosphere")
KINDS = (CatalogComponent, DatasetComponent, LayersComponent, SubscriptionComponent)
SCHEMAS = ["schema/Reading", "team/schema/Reading", "atmosphere/schema/Reading"]
DG = [sys.executable, "-c", "from dagster_dg_cli.cli import main; main()"]


@packable
class Item:
    """An item."""

    value: int


def items():
    """Four items."""
    return map(Item, range(4))


def bare(**more):
    """An environment without settings, in which `dg` finds this Python first."""
    kept = ("HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "COLUMNS": "200",
        **more,
    }


def run_dg(*arguments, cwd, ok=True, **environment):
    done = subprocess.run(
        [*DG, *arguments], cwd=cwd, env=bare(**environment), capture_output=True, text=True
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout if ok else done.stdout + done.stderr


def listed(cwd):
    found = json.loads(run_dg("list", "defs", "--json", cwd=cwd))
    return {asset["asset_key"]: asset for asset in found["assets"]}


@pytest.fixture
def project(tmp_path):
    """The example, where it can be written to."""
    target = tmp_path / "example"
    shutil.copytree(EXAMPLE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def load(project, monkeypatch):
    """The example's definitions, in this process."""
    monkeypatch.syspath_prepend(project)
    for name in [name for name in sys.modules if name.partition(".")[0] == "stations"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(project)
    return dg.load_from_defs_folder(path_within_project=project / "stations")


def test_dg_finds_the_components_and_shows_what_they_are_for():
    found = json.loads(run_dg("list", "components", "--json", cwd=ROOT))["items"]
    shown = {
        component["key"]: component["summary"]
        for component in found
        if component["key"].startswith("atdata_dagster")
    }
    assert set(shown) == {f"atdata_dagster.components.{kind.__name__}" for kind in KINDS}
    assert all(shown.values())


def test_components_load_with_the_base_dependencies_alone():
    extras = ("sklearn", "torch", "pyarrow", "pandas", "datasets", "dagster_dg_cli")
    heavy = ("boto3", "redis", "atproto", "httpx", "webdataset", *extras)
    code = (
        "import sys\n"
        f"for name in {extras!r}: sys.modules[name] = None\n"
        "import atdata_dagster.components\n"
        f"print([m for m in {heavy!r} if sys.modules.get(m)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_component_says_what_it_makes_and_documents_its_attributes():
    for kind in KINDS:
        spec = kind.get_spec()
        assert spec.description
        assert spec.produces
        fields = kind.get_model_cls().model_json_schema()["properties"]
        assert fields


def test_the_example_is_checked_and_listed_without_a_server(project):
    assert "validated successfully" in run_dg("check", "yaml", cwd=project)
    assert "loaded successfully" in run_dg("check", "defs", cwd=project)
    assets = listed(project)
    assert {
        *(f"{layer}/readings" for layer in LAYERS),
        *("local/daily", "team/daily", "schema/Reading", "atmosphere/schema/Reading"),
        *(f"{kind}/{TYPE}" for kind in ("records", "inbox")),
    } == set(assets) - {"team/schema/Reading"}
    assert assets["team/readings"]["owners"] == [{"team": "weather"}]
    automation = {key: asset.get("automation_condition") for key, asset in assets.items()}
    assert automation["team/readings"]["label"] == "promote_on_content_change"
    assert automation["atmosphere/readings"] is None


def test_mistakes_in_yaml_are_named(project):
    # Of several components of one type `dg check yaml` looks at one (1.13.27).
    shutil.rmtree(project / "stations" / "defs" / "daily")
    path = project / "stations" / "defs" / "readings" / "defs.yaml"
    mistakes = {
        "promote": "[teem]",
        "automation": "{team: sometimes}",
        "licence": "CC0-1.0",
        "partitions_def": "{type: static}",
    }
    kept = [
        old for old in path.read_text().splitlines() if old.strip().split(":")[0] not in mistakes
    ]
    path.write_text("\n".join([*kept, *(f"  {name}: {value}" for name, value in mistakes.items())]))
    said = run_dg("check", "yaml", cwd=project, ok=False)
    assert [name for name in mistakes if f"attributes.{name} " in said] == list(mistakes)


def test_a_secret_in_the_place_of_a_name_is_refused_and_not_repeated():
    secret = "redis://:Sw0rdf1sh@host/0"
    with pytest.raises(Exception, match="no name of an environment variable") as caught:
        LayersComponent.from_attributes_dict(attributes={"team": {"redis_url": secret}})
    assert "Sw0rdf1sh" not in "".join(traceback.format_exception(caught.value))


def test_the_catalogue_s_place_and_a_shared_folder_are_said_with_the_layers(tmp_path, monkeypatch):
    said = {
        "local": {"root": "OUR_ROOT", "shared": True},
        "catalogue": {"place": "OUR_CATALOGUE", "name": "weather"},
    }
    resources = LayersComponent.from_attributes_dict(attributes=said).build_resources()
    assert resources["local"].layer.is_shared
    monkeypatch.setenv("OUR_CATALOGUE", str(tmp_path / "catalogue.db"))
    with dg.build_resources({"catalogue": resources["catalogue"]}) as opened:
        assert opened.catalogue.name == "weather"
        with opened.catalogue.open() as catalogue:
            assert list(catalogue.records()) == []
    assert (tmp_path / "catalogue.db").exists()
    with pytest.raises(Exception, match="no name of an environment variable"):
        LayersComponent.from_attributes_dict(attributes={"catalogue": {"place": "redis://h/0"}})


def test_the_example_runs_through_all_layers(services, project, monkeypatch, instance):
    defs = load(project, monkeypatch)
    job = dg.define_asset_job(
        "readings", selection=[f"{layer}/readings" for layer in LAYERS] + SCHEMAS
    )
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    result = merged.resolve_job_def("readings").execute_in_process(instance=instance)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    local = FileIndex().get_dataset("readings")
    assert (local.rows, local.license, local.tags) == (3, "CC0-1.0", ("weather",))
    with LocalIndex() as team:
        assert team.get_dataset("readings").cid == local.cid


def test_partitions_in_two_dimensions_one_of_them_dynamic(services, project, monkeypatch, instance):
    defs = load(project, monkeypatch)
    instance.add_dynamic_partitions("stations", ["north"])
    job = dg.define_asset_job("daily", selection=["local/daily", "team/daily"])
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    schemas = dg.define_asset_job("schemas", selection=["schema/Reading", "team/schema/Reading"])
    merged = dg.Definitions.merge(merged, dg.Definitions(jobs=[schemas]))
    assert merged.resolve_job_def("schemas").execute_in_process(instance=instance).success
    key = dg.MultiPartitionKey({"day": "2026-01-03", "station": "north"})
    run = merged.resolve_job_def("daily")
    assert run.execute_in_process(instance=instance, partition_key=key).success
    with LocalIndex(data_store=S3DataStore()) as team:
        [reading] = team.open_dataset("daily/2026-01-03|north")
    assert reading.station == "north"
    assert reading.signal[0] == 20260103


@pytest.fixture
def alice(services):
    publisher = Publisher(services, f"c{secrets.token_hex(5)}")
    yield publisher
    publisher.close()


@pytest.mark.parametrize("layer", ["local", "team"])
def test_a_subscription_observes_a_record_and_makes_a_copy_of_it(
    project, monkeypatch, instance, fresh, alice, layer, tmp_path, redis_url
):
    index = AtmosphereIndex(alice.client, data_store=PDSBlobStore(alice.client))
    entry = index.write_samples(items(), name=fresh, sample_type=Item, tags=["weather"]).entry
    index.write_samples(items(), name=f"{fresh}-other", sample_type=Item, tags=["faces"])
    path = project / "stations" / "defs" / "others" / "defs.yaml"
    body = yaml.safe_load(path.read_text())
    body["attributes"] |= {"handles": [alice.account.handle], "layer": layer}
    path.write_text(yaml.safe_dump(body))
    monkeypatch.setenv("ATDATA_CATALOGUE", str(tmp_path / "catalogue.db"))
    monkeypatch.setenv("ATDATA_REDIS_URL", redis_url)
    defs = load(project, monkeypatch)
    sensor = defs.get_repository_def().get_sensor_def("atmosphere_records")
    catalogue = {"catalogue": defs.resources["catalogue"]}
    with dg.build_sensor_context(instance=instance, resources=catalogue) as context:
        done = sensor.evaluate_tick(context)
    partition = record_partition(alice.did, entry.uri.rpartition("/")[2])
    assert {e.partition: e.tags["dagster/data_version"] for e in done.asset_events} == {
        partition: entry.record_cid
    }
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, partition_key=partition, asset_selection=[inbox_key(TYPE)]
    )
    [made] = result.get_asset_materialization_events()
    facts = made.step_materialization_data.materialization
    assert facts.tags["dagster/data_version"] == entry.cid
    copies = FileIndex() if layer == "local" else LocalIndex(data_store=S3DataStore())
    with copies:
        name = f"inbox/{TYPE}/{escape_partition(partition)}"
        assert [item.value for item in copies.open_dataset(name, Item)] == [0, 1, 2, 3]


def test_what_a_subscription_says_is_what_is_followed():
    said = {
        "handles": ["alice.example.org"],
        "blocked": ["did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"],
        "collections": [TYPE],
        "tags": ["weather"],
        "max_bytes": "2MB",
        "level": "bytes",
        "quota": 7,
        "source": "jetstream:wss://stream.example.org/subscribe",
        "sweep_hours": 2.0,
    }
    found = SubscriptionComponent.from_attributes_dict(attributes=said).build_subscription()
    assert found == Subscription(**{**said, "max_bytes": 2_000_000})
    fields = SubscriptionComponent.get_model_cls().model_json_schema()["properties"]
    assert set(Subscription.model_fields) < set(fields)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "follows nobody"),
        ({"handles": ["not a handle"]}, "subscription is wrong at handles"),
        ({"dids": ["did:x"]}, "subscription is wrong at dids"),
        (
            {"relay": "https://bsky.network", "source": "telepathy"},
            "subscription is wrong at source",
        ),
        ({"handles": ["alice.example.org"], "max_bytes": "much"}, "no size"),
    ],
)
def test_a_subscription_that_can_t_be_is_refused(said, words):
    component = SubscriptionComponent.from_attributes_dict(attributes=said)
    with pytest.raises(ConfigurationError, match=words):
        component.build_subscription()


def test_a_subscription_s_sensors_run_if_it_says_so_and_its_copies_are_what_a_subclass_says():
    class Ours(SubscriptionComponent):
        def get_asset_spec(self, spec):
            return spec.replace_attributes(owners=["team:ours"])

    said = {"handles": ["alice.example.org"], "running": True, "fresh_within_hours": 6}
    defs = Ours.from_attributes_dict(attributes=said).build_defs(None)
    assert [sensor.default_status for sensor in defs.sensors] == [
        dg.DefaultSensorStatus.RUNNING
    ] * 2
    specs = {spec.key: spec for spec in with_layers(defs).resolve_all_asset_specs()}
    for collection in DATASET_TYPES:
        assert list(specs[inbox_key(collection)].owners) == ["team:ours"]
    assert len(defs.asset_checks) == len(DATASET_TYPES)


def catalog(layer, **attributes):
    return CatalogComponent.from_attributes_dict(attributes={"layer": layer, **attributes})


def with_layers(defs):
    layers = LayersComponent.from_attributes_dict(attributes={})
    return dg.Definitions.merge(defs, dg.Definitions(resources=layers.build_resources()))


def shown(component, path):
    component.write_state_to_path(path)
    defs = with_layers(component.build_defs_from_state(None, path))
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


@pytest.mark.parametrize("layer", ["local", "team"])
def test_a_catalogue_shows_what_an_index_lists(services, fresh, tmp_path, layer):
    index = FileIndex() if layer == "local" else LocalIndex(data_store=S3DataStore())
    with index:
        index.write_samples(
            items(), name=f"{fresh}/one", sample_type=Item, license="MIT", description="*Odd* <b>"
        )
    specs = shown(catalog(layer, prefix=fresh), tmp_path / "state" / "x.json")
    spec = specs[f"{layer}/{fresh}/one"]
    assert spec.metadata["dagster/row_count"] == 4
    assert [column.name for column in spec.metadata["dagster/column_schema"].columns] == ["value"]
    assert spec.metadata["atdata/license"] == "MIT"
    assert spec.description == r"\*Odd\* &lt;b&gt;"


def test_what_a_catalogue_shows_can_be_read(services, fresh, tmp_path, instance):
    with LocalIndex(data_store=S3DataStore()) as team:
        team.write_samples(items(), name=fresh, sample_type=Item)
    component = catalog("team", prefix=fresh)
    component.write_state_to_path(tmp_path / "state")
    defs = component.build_defs_from_state(None, tmp_path / "state")

    @dg.asset(ins={"found": dg.AssetIn(key=["team", fresh])}, io_manager_key="memory")
    def reader(found) -> None:
        assert [item.value for item in found] == [0, 1, 2, 3]

    own = dg.Definitions(assets=[reader], resources={"memory": dg.mem_io_manager})
    job = with_layers(dg.Definitions.merge(defs, own)).resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance).success


def test_a_catalogue_of_somebody_else_s_records(services, fresh, tmp_path, account, client):
    from atdata_core import AtmosphereIndex, PDSBlobStore

    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    entry = index.write_samples(items(), name=fresh, sample_type=Item).entry
    specs = shown(catalog("atmosphere", repo=account.handle), tmp_path / "state")
    spec = specs[f"atmosphere/{account.handle}/{fresh}"]
    assert spec.metadata["dagster/uri"] == entry.uri
    assert spec.metadata["atdata/name"] == entry.uri


def test_without_state_a_catalogue_is_empty_and_asks_no_server():
    defs = catalog("team").build_defs_from_state(None, None)
    assert list(defs.resolve_all_asset_specs()) == []


def test_dg_refreshes_the_catalogue_of_the_example(services, project, monkeypatch):
    with LocalIndex(data_store=S3DataStore()) as team:
        team.write_samples(items(), name="shared/items", sample_type=Item)
    settings = {name: os.environ[name] for name in services.env}
    run_dg("utils", "refresh-defs-state", cwd=project, **settings)
    assert "team/shared/items" in listed(project)


def test_a_scaffolded_project_loads_and_runs(services, tmp_path, monkeypatch, instance):
    project = tmp_path / "mine"
    (project / "mine" / "defs").mkdir(parents=True)
    text = (EXAMPLE / "pyproject.toml").read_text().replace("stations", "mine")
    (project / "pyproject.toml").write_text(text)
    for name in ("__init__.py", "definitions.py", "defs/__init__.py"):
        shutil.copy(EXAMPLE / "stations" / name, project / "mine" / name)
    prefix = "atdata_dagster.components"
    run_dg("scaffold", "defs", f"{prefix}.LayersComponent", "layers", cwd=project)
    run_dg(
        *("scaffold", "defs", f"{prefix}.DatasetComponent", "numbers", "--promote", "team"),
        cwd=project,
    )
    run_dg("scaffold", "defs", f"{prefix}.CatalogComponent", "cat", "--layer", "local", cwd=project)
    run_dg(
        *("scaffold", "defs", f"{prefix}.SubscriptionComponent", "others"),
        *("--handles", "alice.example.org, bob.example.org", "--layer", "team"),
        cwd=project,
    )
    written = yaml.safe_load((project / "mine" / "defs" / "others" / "defs.yaml").read_text())
    assert written["attributes"] == {
        "handles": ["alice.example.org", "bob.example.org"],
        "layer": "team",
    }
    written = yaml.safe_load((project / "mine" / "defs" / "numbers" / "defs.yaml").read_text())
    assert written["attributes"] == {
        "name": "numbers",
        "sample_type": ".source.Sample",
        "source": ".source.samples",
        "promote": ["team"],
    }
    assert "validated successfully" in run_dg("check", "yaml", cwd=project)
    assert {"local/numbers", "team/numbers", "schema/Sample", f"inbox/{TYPE}"} <= set(
        listed(project)
    )
    monkeypatch.syspath_prepend(project)
    monkeypatch.chdir(project)
    defs = dg.load_from_defs_folder(path_within_project=project / "mine")
    job = defs.resolve_implicit_global_asset_job_def()
    numbers = [dg.AssetKey(["local", "numbers"]), dg.AssetKey(["schema", "Sample"])]
    assert job.execute_in_process(instance=instance, asset_selection=numbers).success
    assert FileIndex().get_dataset("numbers").rows == 10


def test_all_commands_call_this_repository_s_location_the_same(tmp_path):
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    [entry] = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert entry["python_file"]["location_name"] == config["code_location_name"] == "atdata"
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        cwd=ROOT,
        env=bare(DAGSTER_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "code location atdata" in done.stdout + done.stderr
    assert "validated successfully" in run_dg("check", "yaml", cwd=ROOT)
    assert {"local/digits", "atmosphere/digit_embeddings"} <= set(listed(ROOT))


def test_a_subclass_says_what_its_assets_are():
    class Ours(DatasetComponent):
        def get_asset_spec(self, data):
            spec = super().get_asset_spec(data)
            return spec.replace_attributes(owners=["team:ours"])

    component = Ours.from_attributes_dict(
        attributes={"name": "x", "sample_type": f"{__name__}.Item", "source": f"{__name__}.items"}
    )
    sys.modules.setdefault(__name__, sys.modules[Item.__module__])
    chain = component.build_chain()
    assert [list(spec.owners) for asset in chain for spec in asset.specs] == [["team:ours"]] * 2


def test_words_of_yaml_mean_what_they_say():
    assert parse_size("16MiB") == 16 * 2**20
    assert parse_size(1000) == parse_size("1 kB") == 1000
    with pytest.raises(ConfigurationError, match="no size"):
        parse_size("large")
    assert automation_of("manual") is None
    assert automation_of("on_content_change").get_label() == "promote_on_content_change"
    assert import_path("json.dumps") is json.dumps
    for path in ("json.nothing", "no_such_module.x", "json", "x y.z"):
        with pytest.raises(ConfigurationError):
            import_path(path)
    assert partitions_of(None) is None


@pytest.mark.filterwarnings("ignore:.*multi_observable_source_asset", "ignore:.*include_sources")
def test_automation_on_content_change_starts_when_content_changes(instance):
    state = {"version": "1"}

    @dg.multi_observable_source_asset(specs=[dg.AssetSpec("source")])
    def source():
        yield dg.ObserveResult(asset_key="source", data_version=dg.DataVersion(state["version"]))

    @dg.asset(deps=[source], automation_condition=automation_of("on_content_change"))
    def promoted() -> None: ...

    defs = dg.Definitions(assets=[source, promoted])

    def observe(cursor):
        job = defs.resolve_implicit_global_asset_job_def()
        job.execute_in_process(instance=instance, asset_selection=[source.key])
        total = 0
        for _ in range(2):
            result = dg.evaluate_automation_conditions(defs, instance=instance, cursor=cursor)
            total += result.total_requested
            cursor = result.cursor
        return total, cursor

    _, cursor = observe(None)
    dg.materialize([promoted, source], selection=[promoted], instance=instance)
    requested, cursor = observe(cursor)
    assert requested == 0
    state["version"] = "2"
    requested, cursor = observe(cursor)
    assert requested == 1
