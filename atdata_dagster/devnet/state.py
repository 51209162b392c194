"""What a devnet remembers in its folder, and the lock that tells whether it runs."""

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    # Windows is refused later, in words.
    import fcntl

SERVICES = ("redis", "s3", "pds")
BLOB_LIMIT = 100 * 1024 * 1024
BUCKET = "atdata"
REGION = "us-east-1"
HANDLE = "alice.test"
# tempauth names an S3 key after its account and its user, with a colon between.
ACCESS_KEY = "atdata:devnet"
# The exit code of a supervisor that found another one.
ALREADY_RUNNING = 75
# Longer than the reaper leaves the services after a supervisor's sudden death.
REAPER_TIMEOUT = 15.0
PORTS = {
    "redis": ("redis",),
    "s3": ("s3", "s3-account", "s3-container", "s3-object"),
    "pds": ("pds", "plc"),
}
MAX_PDS = 20


class DevnetError(RuntimeError):
    """Something about the devnet that its user can act upon."""


@dataclass(frozen=True)
class Options:
    """What a devnet is started with."""

    blob_limit: int = BLOB_LIMIT
    rate_limits: bool = False
    services: tuple[str, ...] = SERVICES
    pds: int = 1
    restart: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The services, each PDS by a name of its own."""
        others = pds_names(self.pds)[1:] if "pds" in self.services else ()
        return (*self.services, *others)

    @property
    def port_names(self) -> list[str]:
        """What needs a port."""
        return [port for name in self.names for port in PORTS.get(name, (name,))]


def pds_names(count: int) -> tuple[str, ...]:
    """What so many PDSes are called."""
    return ("pds", *(f"pds-{number}" for number in range(2, count + 1)))


def handle_domain(name: str) -> str:
    """The domain of the handles of a PDS."""
    # None may end as another does: a PDS says of such a handle that it would know it.
    return ".test" if name == "pds" else f".{name.replace('-', '')}"


class Folder:
    """The folder of one devnet: where everything lies, and what is written there by hand.

    Attributes:
        path: The folder itself, absolute.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self.logs = self.path / "logs"
        self.local = self.path / "local"
        self.lock = self.path / "lock"
        self.reaper_lock = self.path / "reaper.lock"
        self._state = self.path / "state.json"
        self._run = self.path / "run.json"

    def create(self) -> None:
        """Makes the folder, which only its owner may look into."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.logs, self.local):
                folder.mkdir(exist_ok=True)
            # The folder holds secrets and lies in a checkout by default.
            (self.path / ".gitignore").write_text("*\n")
        except OSError as error:
            msg = f"can't write to {self.path}: {error.strerror}"
            raise DevnetError(msg) from error

    def data(self, service: str) -> Path:
        """The folder where a service keeps its data, made when missing."""
        folder = self.path / service
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def log(self, process: str) -> Path:
        """The log of a process."""
        return self.logs / f"{process}.log"

    def state(self) -> dict[str, Any]:
        """What is kept between starts: ports, keys, the account."""
        return _read(self._state)

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Keeps ports, keys and the account for the next start."""
        write_private(self._state, json.dumps(state, indent=1))

    def run(self) -> dict[str, Any]:
        """What the last supervisor said of itself; true only while it holds the lock."""
        return _read(self._run)

    def save_run(self, run: Mapping[str, Any]) -> None:
        """Tells the others what the supervisor does."""
        write_private(self._run, json.dumps(run, indent=1))

    def current(self) -> dict[str, Any]:
        """What the supervisor that runs now says of itself; nothing if there is none."""
        run = self.run() if self.running() else {}
        # A supervisor takes the lock first and tells of itself then: what is read in between
        # is from one that was killed.
        return run if _exists(run.get("supervisor", 0)) else {}

    def running(self) -> bool:
        """Whether a supervisor holds the lock; a pid alone could be anybody's."""
        return held(self.lock)


def _exists(pid: int) -> bool:
    if not pid:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        msg = f"{path} can't be read ({error}); remove the folder to start from nothing"
        raise DevnetError(msg) from error
    return content if isinstance(content, dict) else {}


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all.

    Args:
        path: The file.
        text: What it shall hold.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def try_lock(path: Path) -> int | None:
    """Takes a file lock if nobody has it.

    Args:
        path: The lock's file, made when missing.

    Returns:
        The descriptor that holds the lock until it is closed, or None. Programs started from
        here don't inherit it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def held(path: Path) -> bool:
    """Whether somebody has this file lock.

    Args:
        path: The lock's file.
    """
    # Shared, so that two who look at once don't take each other for the holder.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def wait_free(path: Path, timeout: float) -> bool:
    """Waits until nobody has this file lock.

    Args:
        path: The lock's file.
        timeout: Seconds to wait at most.

    Returns:
        Whether it is free now.
    """
    end = time.monotonic() + timeout
    while held(path):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def fresh_state() -> dict[str, Any]:
    """Keys and passwords for a folder that has none yet."""
    return {
        "ports": {},
        "s3_secret": secrets.token_hex(20),
        "swift_hash": secrets.token_hex(16),
        "handle": HANDLE,
        "password": secrets.token_urlsafe(18),
        "admin_password": secrets.token_hex(16),
        "jwt_secret": secrets.token_hex(16),
        "dpop_secret": secrets.token_hex(32),
        "rotation_key": secrets.token_hex(32),
        "app_password": "",
        "did": "",
    }


def choose_ports(names: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """Gives each name a free loopback port: the one it had, if nobody else has it now.

    Args:
        names: What needs a port.
        known: The ports of the last start.
    """
    with _sockets() as opened:
        chosen = {}
        # A process that was killed this instant may have its port a moment longer.
        end = time.monotonic() + 1.0
        for name in names:
            port = known.get(name, 0)
            while name not in chosen:
                probe = socket.socket()
                opened.append(probe)
                # Without it a port is "taken" for a minute by connections long closed.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                    chosen[name] = probe.getsockname()[1]
                except OSError:
                    if time.monotonic() > end:
                        port = 0
                    time.sleep(0.05)
        return chosen


@contextmanager
def _sockets() -> Iterator[list[socket.socket]]:
    # Kept open until all ports are chosen, or one could be given out twice.
    opened: list[socket.socket] = []
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


def exports(folder: Folder, state: Mapping[str, Any], services: Iterable[str]) -> dict[str, str]:
    """The environment that leads a program to a devnet.

    Args:
        folder: The devnet's folder.
        state: What it keeps.
        services: The services that run; those that don't are left out.
    """
    ports = state["ports"]
    known = {"ATDATA_ROOT": str(folder.local)}
    if "redis" in services:
        known["ATDATA_REDIS_URL"] = f"redis://127.0.0.1:{ports['redis']}/0"
    if "s3" in services:
        known["ATDATA_S3_ENDPOINT"] = f"http://127.0.0.1:{ports['s3']}"
        known["ATDATA_S3_BUCKET"] = BUCKET
        known["AWS_ACCESS_KEY_ID"] = ACCESS_KEY
        known["AWS_SECRET_ACCESS_KEY"] = state["s3_secret"]
        known["AWS_REGION"] = REGION
    if "pds" in services:
        # A DID document with an IP address for a host is refused by the PDS itself.
        known["ATDATA_PDS_URL"] = f"http://localhost:{ports['pds']}"
        known["ATDATA_PLC_URL"] = f"http://localhost:{ports['plc']}"
        known["ATDATA_HANDLE"] = state["handle"]
        known["ATDATA_APP_PASSWORD"] = state["app_password"]
    return known


def options_of(run: Mapping[str, Any]) -> Options:
    """The options that a running devnet was started with."""
    kept = run.get("options", {})
    return Options(**{**asdict(Options()), **kept, "services": tuple(kept.get("services", ()))})
