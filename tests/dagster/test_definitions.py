"""The code location loads anywhere, with nothing running and nothing set."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

ROOT = Path(__file__).parents[2]


def bare_environment(home):
    keep = ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in keep if name in os.environ},
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def test_definitions_are_loadable_in_process():
    from definitions import defs

    dg.Definitions.validate_loadable(defs)


def test_workspace_validates_from_another_directory_with_nothing_running(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", ROOT / "workspace.yaml"],
        cwd=tmp_path,
        env=bare_environment(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "code location atdata" in done.stdout + done.stderr


def test_the_graph_is_the_chain_through_the_layers():
    from definitions import defs

    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        f"{layer}{name}"
        for name in ("digits", "digit_embeddings")
        for layer in ("local/", "team/", "atmosphere/")
    } | {
        f"{layer}schema/{name}"
        for name in ("Digit", "DigitEmbedding")
        for layer in ("", "team/", "atmosphere/")
    }

    def parents(key):
        return {
            parent.to_user_string()
            for parent in graph.get(dg.AssetKey.from_user_string(key)).parent_keys
        }

    assert parents("local/digits") == {"schema/Digit"}
    assert parents("team/digits") == {"local/digits", "team/schema/Digit"}
    assert parents("atmosphere/digits") == {"team/digits", "atmosphere/schema/Digit"}
    assert parents("local/digit_embeddings") == {"local/digits", "schema/DigitEmbedding"}


@pytest.mark.parametrize("package", ["atdata_core", "atdata_dagster"])
def test_importing_loads_nothing_heavy(package):
    heavy = ("boto3", "botocore", "redis", "atproto", "httpx", "webdataset", "pyarrow", "torch")
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_the_definitions_loads_nothing_heavy_either():
    heavy = ("boto3", "botocore", "redis", "atproto", "webdataset", "pyarrow", "torch", "sklearn")
    code = f"import sys, definitions; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
