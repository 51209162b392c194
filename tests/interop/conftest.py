"""The public package ``atdata``, in an environment of its own, to write and read beside ours."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REQUIREMENTS = ("atdata==0.7.0b1", "atproto==0.0.73", "webdataset==1.0.2")


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


@pytest.fixture(scope="session")
def peer_python():
    """The interpreter of an environment with the public package; installed once a user."""
    python = newer_python()
    if python is None:
        pytest.skip("the public atdata needs Python 3.12 or newer, and this machine has none")
    key = hashlib.sha256(" ".join([python, *REQUIREMENTS]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "atdata-interop"
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / key
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            subprocess.run([python, "-m", "venv", "--clear", home], check=True)
            pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "--disable-pip-version-check", *REQUIREMENTS], check=True)
            (home / "ready").touch()
    return home / "bin" / "python"


@pytest.fixture(scope="session")
def peer(peer_python, tmp_path_factory):
    """Runs a script with the public package: ``peer(script, **arguments)`` -> what it answers.

    The script finds its arguments in `args`, and answers by `answer(value)`.
    """
    folder = tmp_path_factory.mktemp("peer")
    head = (
        "import json, sys\n"
        "args = json.load(sys.stdin)\n"
        "def answer(value): print('ANSWER' + json.dumps(value))\n"
    )

    def run(script, **arguments):
        path = folder / f"{hashlib.sha256(script.encode()).hexdigest()[:12]}.py"
        path.write_text(head + script)
        done = subprocess.run(
            [peer_python, "-W", "ignore", path],
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        [line] = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
        return json.loads(line.removeprefix("ANSWER"))

    return run
