"""What the README says to write and to type works as it stands there."""

import re
import subprocess
import sys

import dagster as dg
import pytest

from tests.support import pages
from tests.support.pages import ROOT

README = ROOT / "README.md"


def blocks(language):
    return pages.blocks("README.md", language)


def commands():
    """What the README says to type, comments left out."""
    return [line for block in blocks("console") for line in pages.typed(block)]


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
    env = pages.environment(PYTHONPATH=str(site))
    ran = pages.run([*typed, "python load.py"], folder, env)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "(3, 8) ['north', 'south', 'west']" in ran.stdout
    assert "\nBYTES\n- did:plc:" in ran.stdout


def test_the_commands_of_the_readme_are_in_the_makefile():
    makefile = (README.parent / "Makefile").read_text()
    for command in re.findall(r"(?:\$ |also: |, )make ([a-z]+)", README.read_text("utf-8")):
        assert f"\n{command}: " in makefile
