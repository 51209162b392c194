"""What the README says to write works as it stands there."""

import re
import sys
from pathlib import Path

import dagster as dg
import pytest

import atdata_core as atdata

README = Path(__file__).parents[2] / "README.md"


def blocks():
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The README's code location, imported from a file as a user would have it."""
    (tmp_path / "readme_location.py").write_text(blocks()[0])
    monkeypatch.syspath_prepend(tmp_path)
    import readme_location

    yield readme_location
    del sys.modules["readme_location"]


def test_the_code_location_of_the_readme_runs_and_its_dataset_is_found_by_name(module, services):
    dg.Definitions.validate_loadable(module.defs)
    with dg.DagsterInstance.ephemeral() as instance:
        job = module.defs.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance).success
    text = blocks()[1].replace("@alice.example.org/readings", f"@{services.handle}/readings")
    assert "alice.example.org" not in text
    names = {}
    exec(text, names)
    assert names["batch"].signal.shape == (3, 8)
    local = atdata.FileIndex().open_dataset("calibrated", module.Reading)
    assert [sample.signal.mean() for sample in local] == [0, 0, 0]


def test_the_graph_of_the_readme_is_what_it_says(module):
    keys = {key.to_user_string() for key in module.defs.resolve_all_asset_keys()}
    assert {"schema/Reading", "local/readings", "team/readings", "atmosphere/readings"} <= keys


def test_the_commands_of_the_readme_are_in_the_makefile():
    makefile = (README.parent / "Makefile").read_text()
    for command in re.findall(r"`?make ([a-z]+)", README.read_text()):
        assert f"\n{command}: " in makefile
