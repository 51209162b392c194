"""What the page on Dagster says to write works as it stands there."""

import sys

import dagster as dg
import pytest
import yaml

from atdata_core import FileIndex
from atdata_dagster import components
from tests.support import pages

PAGE = pages.read("docs/dagster.md")


def blocks(language):
    return pages.blocks("docs/dagster.md", language)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The page's code location, imported from a file as a user would have it."""
    (tmp_path / "page_location.py").write_text("\n\n".join(blocks("python")))
    monkeypatch.syspath_prepend(tmp_path)
    import page_location

    yield page_location
    del sys.modules["page_location"]


def run(module, instance, selection, partition=None):
    job = dg.define_asset_job("job", selection=selection)
    defs = dg.Definitions.merge(module.defs, dg.Definitions(jobs=[job]))
    result = defs.resolve_job_def("job").execute_in_process(
        instance=instance, partition_key=partition
    )
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def test_the_code_of_the_page_runs(services, module, instance):
    dg.Definitions.validate_loadable(module.defs)
    schemas = ["schema/Scan", "team/schema/Scan", "atmosphere/schema/Scan"]
    layers = ["local/scans", "team/scans", "atmosphere/scans", "local/rusty"]
    layers += ["local/train", "local/test"]
    checks = run(module, instance, [*schemas, *layers])
    assert {"schema", "rows", "same_content", "shards", "image_range", "disease_balance"} < set(
        checks
    )
    assert all(check.passed for check in checks.values())
    assert FileIndex().get_dataset("rusty").rows == 10
    assert [FileIndex().get_dataset(name).rows for name in ("train", "test")] == [15, 15]
    instance.add_dynamic_partitions("sites", ["did:plc:x/1"])
    run(module, instance, ["local/by_site", "team/by_site"], "did:plc:x/1")
    run(module, instance, ["local/splits"], "train")
    assert FileIndex().get_dataset("splits/train").rows == 1


def test_the_translator_of_the_page_gives_every_asset_its_prefix(module):
    from atdata_dagster import build_definitions

    defs = build_definitions(module.scans, module.rusty, translator=module.Leaves())
    for spec in defs.resolve_all_asset_specs():
        assert spec.key.path[0] == "leaves"
        assert spec.tags["domain"] == "plants"


def test_the_yaml_of_the_page_fits_its_component():
    for text in blocks("yaml"):
        body = yaml.safe_load(text)
        kind = getattr(components, body["type"].rpartition(".")[2])
        kind.get_model_cls().model_validate(body["attributes"])


def test_the_page_names_every_component_and_check():
    for name in components.__all__:
        assert f"`{name}`" in PAGE
    for name in ("schema", "rows", "same_content", "present", "shards", "record"):
        assert f"| `{name}` |" in PAGE
