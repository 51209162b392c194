"""What the README says to write and to type works as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def blocks(language):
    text = README.read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands():
    """What the README says to type, comments left out."""
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line.removeprefix("$ ").partition("  #")[0] for line in lines]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The README's code location, imported from a file as a user would have it."""
    (tmp_path / "readme_location.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    import readme_location

    yield readme_location
    del sys.modules["readme_location"]


def test_the_graph_of_the_readme_is_what_it_says(module):
    dg.Definitions.validate_loadable(module.defs)
    keys = {key.to_user_string() for key in module.defs.resolve_all_asset_keys()}
    assert {"schema/Reading", "local/readings", "team/readings", "atmosphere/readings"} <= keys


def test_a_first_dataset_takes_twenty_lines():
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) <= 20


@pytest.mark.timeout(900)  # the first of all tests that need services may have to install them
def test_the_readme_is_followed_to_the_letter_in_an_empty_folder(tmp_path):
    install, *rest = commands()
    assert install.startswith("pip install atdata-dagster")
    # The package of this checkout in place of the registry's; what it needs is there already.
    site = tmp_path / "site"
    python = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*python, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, check=True, capture_output=True)
    [built] = tmp_path.glob("*.whl")
    target = [*python, "install", "--no-deps", "--target", str(site), str(built)]
    subprocess.run(target, check=True, capture_output=True)

    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "readings.py").write_text(blocks("python")[0])
    (folder / "load.py").write_text(blocks("python")[1])
    typed = [line for line in rest if not line.startswith("make ")]
    assert typed[-1] == "dagster dev -f readings.py"  # which doesn't end
    typed[-1] = "dagster definitions validate -f readings.py"
    script = [
        "set -e",
        "trap 'python -m atdata_dagster.devnet down' EXIT",
        *typed,
        "python load.py",
    ]
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("ATDATA_", "AWS_", "DAGSTER_"))
    }
    cache = os.environ.get("ATDATA_DEVNET_CACHE")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=kept
        | {"PATH": path, "PYTHONPATH": str(site)}
        | ({"ATDATA_DEVNET_CACHE": cache} if cache else {}),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "(3, 8) ['north', 'south', 'west']" in ran.stdout
    assert "\nBYTES\n- did:plc:" in ran.stdout


def test_the_commands_of_the_readme_are_in_the_makefile():
    makefile = (README.parent / "Makefile").read_text()
    for command in re.findall(r"(?:\$ |also: |, )make ([a-z]+)", README.read_text("utf-8")):
        assert f"\n{command}: " in makefile
