"""The process that owns a devnet's services: starts them, watches them, stops them."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from atdata_dagster.devnet.install import clean_environment, locate
from atdata_dagster.devnet.services import Process, Service, Setting, build
from atdata_dagster.devnet.state import (
    ALREADY_RUNNING,
    REAPER_TIMEOUT,
    DevnetError,
    Folder,
    Options,
    choose_ports,
    fresh_state,
    try_lock,
    wait_free,
)

START_TIMEOUT = 120.0
STOP_TIMEOUT = 8.0
RESTART_S = 1.0


class Stopped(Exception):  # noqa: N818 - no error: somebody wants us to stop
    """The supervisor was asked to stop."""


class Supervisor:
    """Owns the services of one devnet.

    Attributes:
        folder: The devnet's folder.
        options: What to start it with.
        tied: Whether to stop when standard input ends.
    """

    def __init__(self, folder: Folder, options: Options, *, tied: bool) -> None:
        self.folder = folder
        self.options = options
        self.tied = tied
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.started: dict[str, float] = {}
        self.ready = False
        self.services: dict[str, Service] = {}
        self.reaper: subprocess.Popen[bytes] | None = None
        self.stopping = False
        self.inode = folder.lock.stat().st_ino

    def run(self) -> int:
        """Runs until it is told to stop or a service ends.

        Returns:
            The exit code.
        """
        with self._wakeups() as wakeups:
            self._tell("starting")
            try:
                try:
                    self._start(wakeups)
                except DevnetError:
                    # Between the choice of a port and its use somebody else may take it.
                    if not self._lost_ports():
                        raise
                    self._start(wakeups)
                self._tell("ready")
                while not self._lost():
                    if self.options.restart:
                        self._restart()
                    self._pause(wakeups, RESTART_S if self.options.restart else 2.0)
                failure = ""
            except Stopped:
                failure = ""
            except DevnetError as error:
                failure = str(error)
            except Exception as error:  # noqa: BLE001 - the reason must reach `status`
                failure = f"the supervisor failed: {type(error).__name__}: {error}"
            self._tell("stopping", failure)
            self._stop()
            self._tell("failed" if failure else "stopped", failure)
            return 1 if failure else 0

    def _start(self, wakeups: int) -> None:
        # The last supervisor may have died suddenly: its services have our ports and files.
        if not wait_free(self.folder.reaper_lock, REAPER_TIMEOUT):
            msg = "services of an earlier start are still ending; try again in a while"
            raise DevnetError(msg)
        state = self.folder.state()
        if not state and (self.folder.path / "pds" / "account.sqlite").exists():
            msg = (
                f"{self.folder.path} has accounts, but state.json with their keys is gone; "
                "remove the folder to start from nothing"
            )
            raise DevnetError(msg)
        state = {**fresh_state(), **state}
        chosen = choose_ports(self.options.port_names, state["ports"])
        state["ports"] = {**state["ports"], **chosen}
        self.folder.save_state(state)
        self._start_reaper()
        setting = Setting(self.folder, state, self.options, locate())
        waiting: dict[str, Service] = {}
        # The PDS first: it takes longest.
        for name in sorted(self.options.names):
            service = build(name, setting)
            self.services[name] = service
            for process in service.processes:
                self._spawn(process)
            waiting[name] = service
        end = time.monotonic() + START_TIMEOUT
        while waiting:
            for name, service in list(waiting.items()):
                if service.ready():
                    del waiting[name]
                self._pause(wakeups, 0)
            if waiting and time.monotonic() > end:
                late = next(iter(waiting.values())).processes[0].name
                msg = f"{', '.join(waiting)} not ready after {START_TIMEOUT:.0f} s"
                raise DevnetError(msg + self._last_lines(late))
            if waiting:
                self._pause(wakeups, 0.03)
        self.folder.save_state(state)

    def _lost_ports(self) -> bool:
        """Ends a start that failed, and tells whether it was for a port."""
        if self.reaper is None:
            return False
        self._stop()
        self.children.clear()
        self.services.clear()
        self.reaper = None
        known = self.folder.state()["ports"]
        chosen = choose_ports(self.options.port_names, known)
        return any(known[name] != port for name, port in chosen.items())

    def _start_reaper(self) -> None:
        program = Path(__file__).with_name("reaper.py")
        self.reaper = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", str(program), str(self.folder.reaper_lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self.reaper.stdout is not None
        if not self.reaper.stdout.read(1):
            msg = "the process that ends the services with the supervisor does not start"
            raise DevnetError(msg)

    def _spawn(self, process: Process) -> None:
        assert self.reaper is not None
        self.started[process.name] = time.monotonic()
        log = self.folder.log(process.name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            try:
                self.children[process.name] = subprocess.Popen(  # noqa: S603 - our own
                    process.command,
                    cwd=self.folder.path,
                    env=clean_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    process_group=self.reaper.pid,
                )
            except OSError as error:
                msg = f"{process.name} can't be started: {error}"
                raise DevnetError(msg) from error

    def _pause(self, wakeups: int, seconds: float) -> None:
        """Waits for something to happen, and tells by exceptions what did."""
        watched = [wakeups, 0] if self.tied else [wakeups]
        readable, _, _ = select.select(watched, [], [], 0 if self.stopping else seconds)
        if wakeups in readable:
            os.read(wakeups, 4096)
        if self.stopping or (0 in readable and not os.read(0, 1)):
            raise Stopped
        for name, child in self.children.items():
            if (code := child.poll()) is not None and not (self.ready and self.options.restart):
                how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
                msg = f"{name} (pid {child.pid}) ended on its own, {how}"
                raise DevnetError(msg + self._last_lines(name))
        if self.reaper is not None and self.reaper.poll() is not None:
            msg = f"the reaper (pid {self.reaper.pid}) was ended by somebody"
            raise DevnetError(msg)

    def _restart(self) -> None:
        """Starts what ended on its own, each process once in `RESTART_S` at the most."""
        for service in self.services.values():
            for process in service.processes:
                ended = self.children[process.name].poll() is not None
                if ended and time.monotonic() > self.started[process.name] + RESTART_S:
                    self._spawn(process)
                    self._tell("ready")

    def _last_lines(self, name: str) -> str:
        log = self.folder.log(name)
        lines = log.read_text(errors="replace").rstrip().splitlines()[-8:] if log.exists() else []
        return "".join(f"\n    {line[:300]}" for line in lines) + f"\n    (log: {log})"

    def _stop(self) -> None:
        for child in self.children.values():
            child.terminate()
        end = time.monotonic() + STOP_TIMEOUT
        for child in self.children.values():
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self.reaper is not None:
            # Ends what the services themselves may have started, and the reaper.
            with suppress(OSError):
                os.write(self._reaper_input(), b"\n")
            try:
                self.reaper.wait(2.0)
            except subprocess.TimeoutExpired:
                os.killpg(self.reaper.pid, signal.SIGKILL)
                self.reaper.wait()

    def _reaper_input(self) -> int:
        assert self.reaper is not None
        assert self.reaper.stdin is not None
        return self.reaper.stdin.fileno()

    def _lost(self) -> bool:
        """Whether the folder was removed, after which nobody could find or stop us."""
        try:
            return self.folder.lock.stat().st_ino != self.inode
        except OSError:
            return True

    def _tell(self, phase: str, failure: str = "") -> None:
        self.ready = phase == "ready"
        if self._lost():
            return
        pids = {name: child.pid for name, child in self.children.items()}
        if self.reaper is not None:
            pids["reaper"] = self.reaper.pid
        services = [
            {"name": name, "address": address, "pid": pids.get(service.processes[0].name, 0)}
            for service in map(self.services.get, self.options.names)
            if service is not None
            for name, address in service.addresses.items()
        ]
        self.folder.save_run(
            {
                "supervisor": os.getpid(),
                "phase": phase,
                "failure": failure,
                "tied": self.tied,
                "options": asdict(self.options),
                "services": services,
                "pids": pids,
            }
        )

    @contextmanager
    def _wakeups(self) -> Iterator[int]:
        """A descriptor that can be read when a signal came: one to stop, or a child's end."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(-1)
            os.close(reading)
            os.close(writing)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True


def main(folder: str, options: str, tied: str) -> int:
    """Runs a supervisor, unless the folder has one.

    Args:
        folder: The devnet's folder.
        options: The options, as JSON.
        tied: Whether to stop when standard input ends: "tied" or anything else.

    Returns:
        The exit code; `ALREADY_RUNNING` when there is one.
    """
    where = Folder(folder)
    end = time.monotonic() + 0.5
    # Who only looks whether the lock is held has it for a moment too.
    while try_lock(where.lock) is None:
        if time.monotonic() > end:
            return ALREADY_RUNNING
        time.sleep(0.01)
    # The lock is never given back: it goes with this process, and not a moment earlier.
    given = json.loads(options)
    wanted = Options(**{**given, "services": tuple(given["services"])})
    return Supervisor(where, wanted, tied=tied == "tied").run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
