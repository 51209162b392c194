"""The public package ``atdata``, in an environment of its own, to write and read beside ours."""

import fcntl
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.environments import PUBLIC, newer_python


def installed(name, wanted, commands):
    """A folder that some commands fill, each told its path; they run once a user."""
    key = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "atdata-interop"
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"{name}-{key}"
    with (cache / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            for command in commands(home):
                subprocess.run(command, check=True)
            (home / "ready").touch()
    return home


def public_python():
    """The interpreter of an environment with the public package as it is today."""
    base = newer_python()
    if base is None:
        pytest.skip("the public atdata needs Python 3.12 or newer, and this machine has none")

    def commands(home):
        yield [base, "-m", "venv", "--clear", home]
        # What is imported is compiled then. (Compiling all there is, pip takes 62 s, so 43.)
        yield [*PUBLIC.install(home / "bin" / "python"), "--no-compile"]

    wanted = [base, *PUBLIC.requirements, PUBLIC.constraints.read_text()]
    return installed("public", wanted, commands) / "bin" / "python"


def former(python, version):
    """A folder with another version of the package alone; it needs nothing that isn't there."""
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = [str(python), version]
    return installed(
        "former",
        wanted,
        lambda home: [[*pip, "--no-deps", "--upgrade", "--target", home, f"atdata=={version}"]],
    )


class Peer:
    """Runs scripts with a version of the public package: ``peer(script, **arguments)``.

    A script finds its arguments in `args`, and answers by `answer(value)`.
    """

    HEAD = (
        "import json, sys\n"
        "args = json.load(sys.stdin)\n"
        "def answer(value): print('ANSWER' + json.dumps(value))\n"
    )

    def __init__(self, folder, version=None):
        self._python = public_python()
        self._path = str(former(self._python, version)) if version else ""
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
            env={
                **os.environ,
                "HOME": str(self._folder),
                "PYTHONPATH": self._path,
                "PYTHONDONTWRITEBYTECODE": "",
            },
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        [line] = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
        return json.loads(line.removeprefix("ANSWER"))


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """The public package as it is today."""
    return Peer(tmp_path_factory.mktemp("peer"))


@pytest.fixture(scope="session")
def seed_peer(tmp_path_factory):
    """The public package of the time of the tutorial in tests/seed."""
    peer = Peer(tmp_path_factory.mktemp("seed-peer"), "0.2.3b1")
    version = peer("from importlib.metadata import version\nanswer(version('atdata'))")
    assert version == "0.2.3b1"
    return peer


@pytest.fixture(scope="module")
def login(account, services):
    """What a script needs to log in to the account on the PDS."""
    return {
        "handle": account.handle,
        "password": account.app_password,
        "pds": services.env["ATDATA_PDS_URL"],
    }
