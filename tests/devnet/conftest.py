import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atdata_dagster.devnet import Devnet
from atdata_dagster.devnet.install import ensure_installed

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]


def pytest_collection_modifyitems(items):
    # The first test to need the services may have to install them, which is a matter of the
    # registries' mood.
    for item in items:
        if item.path.is_relative_to(HERE) and "software" in item.fixturenames:
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def software():
    return ensure_installed(sys.stderr.write)


@pytest.fixture(scope="session")
def net(software, tmp_path_factory):
    """A whole devnet for tests that don't stop it."""
    with Devnet(tmp_path_factory.mktemp("net") / "dev net's").running() as running:
        yield running


@pytest.fixture
def cli():
    """Runs the command line in a folder, as a person would."""

    def run(*arguments, cwd, env=None):
        return subprocess.run(
            [sys.executable, "-m", "atdata_dagster.devnet", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **(env or {})},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def stopped():
    """Stops devnets when the test is over, however it went."""
    nets = []
    yield nets.append
    for net in nets:
        net.down()


class Processes:
    """Processes as the kernel tells of them."""

    @staticmethod
    def _stat(pid):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return stat.rpartition(")")[2].split()

    def alive(self, pid):
        stat = self._stat(pid)
        return stat is not None and stat[0] not in "ZX"

    def of(self, net):
        """All processes of a devnet: by group, and by the folder on the command line."""
        group, folder = net.pid("reaper"), str(net.folder).encode()
        found = set()
        for path in Path("/proc").glob("[0-9]*"):
            pid = int(path.name)
            try:
                command = (path / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            stat = self._stat(pid)
            if stat and pid != os.getpid() and (int(stat[2]) == group or folder in command):
                found.add(pid)
        return found

    def wait_gone(self, pids, seconds):
        end = time.monotonic() + seconds
        while (left := [pid for pid in pids if self.alive(pid)]) and time.monotonic() < end:
            time.sleep(0.05)
        return left


@pytest.fixture
def processes():
    return Processes()
