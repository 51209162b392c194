"""The public package ``atdata``, in an environment of its own, to write and read beside ours."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

BESIDE = ("atproto==0.0.73", "webdataset==1.0.2")


def newer_python():
    """A Python that the public package runs on (3.12 or newer), or None."""
    names = [shutil.which(f"python3.{minor}") for minor in (12, 13, 14)]
    pyenv = Path.home() / ".pyenv" / "versions"
    found = sorted(pyenv.glob("3.1[2-4].*/bin/python3")) if pyenv.is_dir() else []
    for candidate in [*filter(None, names), *map(str, found)]:
        done = subprocess.run(
            [candidate, "-c", "import sys, venv; print(sys.version_info >= (3, 12))"],
            capture_output=True,
            text=True,
        )
        if done.stdout.strip() == "True":
            return candidate
    return None


def python_with(version):
    """The interpreter of an environment with the public package; installed once a user."""
    python = newer_python()
    if python is None:
        pytest.skip("the public atdata needs Python 3.12 or newer, and this machine has none")
    requirements = (f"atdata=={version}", *BESIDE)
    key = hashlib.sha256(" ".join([python, *requirements]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "atdata-interop"
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / key
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            subprocess.run([python, "-m", "venv", "--clear", home], check=True)
            pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "--disable-pip-version-check", *requirements], check=True)
            (home / "ready").touch()
    return home / "bin" / "python"


class Peer:
    """Runs scripts with a version of the public package: ``peer(script, **arguments)``.

    A script finds its arguments in `args`, and answers by `answer(value)`.
    """

    HEAD = (
        "import json, sys\n"
        "args = json.load(sys.stdin)\n"
        "def answer(value): print('ANSWER' + json.dumps(value))\n"
    )

    def __init__(self, version, folder):
        self._python = python_with(version)
        self._folder = folder

    def __call__(self, script, **arguments):
        path = self._folder / f"{hashlib.sha256(script.encode()).hexdigest()[:12]}.py"
        path.write_text(self.HEAD + script)
        done = subprocess.run(
            [self._python, "-W", "ignore", path],
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
            cwd=self._folder,
            env={**os.environ, "HOME": str(self._folder)},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        [line] = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
        return json.loads(line.removeprefix("ANSWER"))


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """The public package as it is today."""
    return Peer("0.7.0b1", tmp_path_factory.mktemp("peer"))


@pytest.fixture(scope="session")
def seed_peer(tmp_path_factory):
    """The public package of the time of the tutorial in tests/seed."""
    return Peer("0.2.3b1", tmp_path_factory.mktemp("seed-peer"))


@pytest.fixture(scope="module")
def login(account, services):
    """What a script needs to log in to the account on the PDS."""
    return {
        "handle": account.handle,
        "password": account.app_password,
        "pds": services.env["ATDATA_PDS_URL"],
    }
