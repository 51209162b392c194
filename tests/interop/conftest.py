"""The public package ``atdata``, in an environment of its own, to write and read beside ours."""

import dataclasses
import fcntl
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.environments import PUBLIC, newer_python


def python_with(peer):
    """The interpreter of an environment with the public package; installed once a user."""
    base = newer_python()
    if base is None:
        pytest.skip("the public atdata needs Python 3.12 or newer, and this machine has none")
    wanted = [base, *peer.requirements, peer.constraints.read_text()]
    key = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "atdata-interop"
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / key
    python = home / "bin" / "python"
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            subprocess.run([base, "-m", "venv", "--clear", home], check=True)
            # What is imported is compiled then; of all there is, pip would be at it as long again.
            subprocess.run([*peer.install(python), "--no-compile"], check=True)
            (home / "ready").touch()
    return python


class Peer:
    """Runs scripts with a version of the public package: ``peer(script, **arguments)``.

    A script finds its arguments in `args`, and answers by `answer(value)`.
    """

    HEAD = (
        "import json, sys\n"
        "args = json.load(sys.stdin)\n"
        "def answer(value): print('ANSWER' + json.dumps(value))\n"
    )

    def __init__(self, peer, folder):
        self._python = python_with(peer)
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
            env={**os.environ, "HOME": str(self._folder), "PYTHONDONTWRITEBYTECODE": ""},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        [line] = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
        return json.loads(line.removeprefix("ANSWER"))


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """The public package as it is today."""
    return Peer(PUBLIC, tmp_path_factory.mktemp("peer"))


@pytest.fixture(scope="session")
def seed_peer(tmp_path_factory):
    """The public package of the time of the tutorial in tests/seed."""
    requirements = ("atdata==0.2.3b1", *PUBLIC.requirements[1:])
    public = dataclasses.replace(PUBLIC, requirements=requirements)
    return Peer(public, tmp_path_factory.mktemp("seed-peer"))


@pytest.fixture(scope="module")
def login(account, services):
    """What a script needs to log in to the account on the PDS."""
    return {
        "handle": account.handle,
        "password": account.app_password,
        "pds": services.env["ATDATA_PDS_URL"],
    }
