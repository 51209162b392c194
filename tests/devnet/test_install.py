"""Installing the services' software: once, whole, and with a word when it fails."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from atdata_dagster.devnet import DevnetError
from atdata_dagster.devnet import install as module

PACKAGE = Path(module.__file__).parent


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """Steps that only leave a mark."""
    monkeypatch.setenv("ATDATA_DEVNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module.Software, "node", "node")
    monkeypatch.setattr(module.Software, "npm", "npm")
    done = []

    def step(what, software, lock, command):
        done.append(what)
        folder = software.home / "venv" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "python").exists():
            (folder / "python").symlink_to(sys.executable)

    monkeypatch.setattr(module, "_run", step)
    return done


def test_an_unreachable_index_is_said_in_one_message(cli, tmp_path):
    cache = tmp_path / "cache"
    unreachable = {
        "ATDATA_DEVNET_CACHE": str(cache),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
    }
    up = cli("up", cwd=tmp_path, env=unreachable)
    assert up.returncode == 1
    assert up.stdout == ""
    progress, _, message = up.stderr.partition("devnet: ")
    assert "(1/3)… " in progress
    assert "(2/3)… failed" in progress
    assert "can't install valkey + swift + node, from the Python package index" in message
    assert "stopped at certifi==" in message
    assert "No matching distribution found for" in message
    assert "`up` starts over when run again" in message
    assert "Traceback" not in up.stderr
    assert not list(cache.glob("*/installed.json"))
    # And nothing was started.
    assert not (tmp_path / ".devnet" / "run.json").exists()


def test_an_unreachable_npm_registry_is_said(software, tmp_path):
    # The second step's result is at hand, so only the third is run.
    log = tmp_path / "log"
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_bytes((PACKAGE / name).read_bytes())
    environment = {
        **os.environ,
        "npm_config_registry": "http://127.0.0.1:9/",
        "npm_config_cache": str(tmp_path / "cache"),
        "npm_config_fetch_retries": "0",
    }
    with log.open("w") as output:
        done = subprocess.run(
            [software.node, software.npm, "ci", "--ignore-scripts", "--loglevel=error"],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    assert done.returncode
    message = module._explain("the PDS", done.returncode, log)
    assert "ECONNREFUSED" in message
    assert "`up` starts over when run again" in message
    assert len(message.splitlines()) < 8


def test_it_is_installed_once(steps, tmp_path):
    said = []
    first = module.ensure_installed(said.append)
    assert first.whole()
    assert len(steps) == 3
    assert [text for text in said if "/3)" in text] == said[::2]
    assert all(text.endswith(" s\n") for text in said[1::2])
    assert module.ensure_installed(said.append) == first
    assert len(steps) == 3


def test_what_stopped_half_way_is_made_anew(steps):
    home = module.locate().home
    (home / "venv").mkdir(parents=True)
    (home / "venv" / "half").touch()
    module.ensure_installed(lambda text: None)
    assert len(steps) == 3
    assert not (home / "venv" / "half").exists()


def test_a_python_that_is_gone_means_a_new_installation(steps):
    software = module.ensure_installed(lambda text: None)
    Path(software.python).unlink()
    Path(software.python).symlink_to("/nowhere/python3")
    assert not software.whole()
    module.ensure_installed(lambda text: None)
    assert software.whole()
    assert len(steps) == 6


def test_two_installations_at_once_are_one(steps, monkeypatch):
    entered, go_on, said = threading.Event(), threading.Event(), []
    plain = module._run

    def slow(*arguments):
        entered.set()
        go_on.wait(10)
        plain(*arguments)

    monkeypatch.setattr(module, "_run", slow)
    threads = [
        threading.Thread(target=module.ensure_installed, args=(lambda text: None,)),
        threading.Thread(target=module.ensure_installed, args=(said.append,)),
    ]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    while not said:
        threads[1].join(0.02)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(steps) == 3
    assert said == ["another installation of the services is going on, waiting for it…\n"]


def test_a_cache_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATDATA_DEVNET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DevnetError, match="ATDATA_DEVNET_CACHE can name another folder"):
        module.ensure_installed(lambda text: None)


def test_where_it_goes(monkeypatch, tmp_path):
    monkeypatch.delenv("ATDATA_DEVNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert module.locate().home.parent == tmp_path / "atdata-devnet"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert module.locate().home.parent == Path.home() / ".cache" / "atdata-devnet"
    monkeypatch.setenv("ATDATA_DEVNET_CACHE", str(tmp_path / "own"))
    assert module.locate().home.parent == tmp_path / "own"


def test_every_package_is_pinned_and_no_registry_is_named():
    pins = (PACKAGE / "requirements.txt").read_text().splitlines()
    assert all("==" in pin for pin in pins if not pin.startswith("#"))
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages["node_modules/better-sqlite3"]["version"] == "13.2.0"
    assert all("integrity" in each for each in packages.values())
    assert not any("resolved" in each for each in packages.values())


def test_the_command_line_is_quick_and_imports_only_the_standard_library():
    listing = (
        "import sys, atdata_dagster.devnet.__main__, atdata_dagster.devnet.supervisor\n"
        "print(*{name.partition('.')[0] for name in sys.modules}"
        " - set(sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", listing],
        env={"PYTHONPATH": str(PACKAGE.parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) <= {"__main__", "atdata_dagster"}
