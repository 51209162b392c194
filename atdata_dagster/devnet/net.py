"""The devnet as Python sees it."""

import os
import secrets
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from atdata_dagster.devnet.launch import end, start, stop
from atdata_dagster.devnet.state import (
    BLOB_LIMIT,
    MAX_PDS,
    SERVICES,
    DevnetError,
    Folder,
    Options,
    exports,
    handle_domain,
    options_of,
    pds_names,
)
from atdata_dagster.devnet.xrpc import call, create_app_password


class NotRunningError(DevnetError):
    """The devnet does not run, or is not ready yet."""


@dataclass(frozen=True)
class Account:
    """An account on a PDS of the devnet.

    Attributes:
        handle: Its handle, under `.test` on the first PDS, `.pds2` on the second, and so on.
        did: Its identifier.
        password: Its own password.
        app_password: An app password, the kind to give to programs.
        pds: The origin of the PDS that it lives on.
    """

    handle: str
    did: str
    password: str = field(repr=False)
    app_password: str = field(repr=False)
    pds: str = ""


@dataclass(frozen=True)
class ServiceStatus:
    """What is known of one service.

    Attributes:
        name: What it is called.
        address: Where it listens.
        pid: Its process, 0 when it has none.
        ok: Whether it takes connections.
    """

    name: str
    address: str
    pid: int
    ok: bool


@dataclass(frozen=True)
class Status:
    """What is known of a devnet.

    Attributes:
        phase: "ready", "starting", "stopping", "failed", "killed" or "stopped".
        reason: Why it failed, if it did.
        tied: Whether it ends with the program that started it.
        services: Its services; empty when none runs.
    """

    phase: str
    reason: str
    tied: bool
    services: tuple[ServiceStatus, ...]

    @property
    def ok(self) -> bool:
        """Whether all services run."""
        return self.phase == "ready" and all(service.ok for service in self.services)


class Devnet:
    """The services of one folder.

    Args:
        folder: Where data, keys, ports and logs are kept.
        blob_limit: The largest blob that the PDS takes, in bytes.
        rate_limits: Whether the PDS limits how often it is asked, as a public one does.
        services: Which services to start, of "redis", "s3" and "pds".
        pds: How many PDSes, all with the one directory. The first one has the default account, and
            is where the environment leads to.
        restart: Whether a service that ends on its own is started anew, at the same port and with
            its data, after a second or so; otherwise all of them end with it.

    Raises:
        DevnetError: A service is unknown, there are too many PDSes, or the machine runs Windows.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] = ".devnet",
        *,
        blob_limit: int = BLOB_LIMIT,
        rate_limits: bool = False,
        services: Collection[str] = SERVICES,
        pds: int = 1,
        restart: bool = False,
    ) -> None:
        if sys.platform == "win32":
            msg = "the devnet needs Linux or macOS; on Windows, run it inside WSL"
            raise DevnetError(msg)
        if unknown := sorted(set(services) - set(SERVICES)):
            msg = f"unknown services: {', '.join(unknown)}; there are {', '.join(SERVICES)}"
            raise DevnetError(msg)
        if not 1 <= pds <= MAX_PDS:
            msg = f"{pds} PDSes can't be started; 1 to {MAX_PDS} can"
            raise DevnetError(msg)
        self._folder = Folder(folder)
        wanted = tuple(name for name in SERVICES if name in services)
        self._options = Options(blob_limit, rate_limits, wanted, pds, restart)

    @property
    def folder(self) -> Path:
        """The folder, absolute."""
        return self._folder.path

    def up(self) -> bool:
        """Starts the services, to run until `down` even when this process ends.

        Returns:
            Whether they were started; False when they ran already.

        Raises:
            DevnetError: They can't be installed or started.
        """
        return start(self._folder, self._options, tied=False) is not None

    def down(self) -> bool:
        """Stops the services and waits until all their processes are gone.

        Returns:
            Whether there was something to stop.

        Raises:
            DevnetError: They don't end.
        """
        return stop(self._folder)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Runs the services as long as the context, and never longer than this process.

        A devnet that runs in the folder already is joined, and left running; it ends when
        whoever started it ends it.

        Yields:
            This devnet, running.

        Raises:
            DevnetError: The services can't be installed or started, or run with other options.
        """
        process = start(self._folder, self._options, tied=True)
        try:
            yield self
        finally:
            if process is not None:
                end(process)

    def status(self) -> Status:
        """Looks how the services are."""
        run = self._folder.run()
        if not self._folder.running():
            phase, reason = run.get("phase", "stopped"), run.get("failure", "")
            if phase not in {"failed", "stopped"}:
                phase = "killed"
                reason = "the supervisor was killed, and the services ended with it"
            return Status(phase, reason, False, ())
        run = self._folder.current()
        services = tuple(
            ServiceStatus(each["name"], each["address"], each["pid"], _listens(each["address"]))
            for each in run.get("services", ())
        )
        return Status(run.get("phase", "starting"), "", run.get("tied", False), services)

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that lead a program to the running services.

        Raises:
            NotRunningError: The services don't run.
        """
        return exports(self._folder, self._state(), self._ready()["options"]["services"])

    @property
    def did(self) -> str:
        """The identifier of the default account."""
        return str(self._state()["did"])

    @property
    def handle(self) -> str:
        """The handle of the default account."""
        return str(self._state()["handle"])

    @property
    def password(self) -> str:
        """The password of the default account itself, which can do more than the app password."""
        return str(self._state()["password"])

    @property
    def app_password(self) -> str:
        """The app password of the default account."""
        return str(self._state()["app_password"])

    @property
    def admin_password(self) -> str:
        """The password of the PDS's administrator, whose user name is "admin"."""
        return str(self._state()["admin_password"])

    def pid(self, name: str) -> int:
        """The process of a service.

        Args:
            name: "redis", "s3", "pds", "pds-2" and so on, or "plc", or one of "supervisor",
                "reaper", "s3-account", "s3-container" and "s3-object".

        Raises:
            NotRunningError: The services don't run.
            DevnetError: There is no such process.
        """
        run = self._ready()
        pids = {**run["pids"], "supervisor": run["supervisor"]}
        pids["plc"] = pids.get("pds", 0)
        if not pids.get(name):
            msg = f"the devnet has no process {name!r}; it has {', '.join(sorted(pids))}"
            raise DevnetError(msg)
        return int(pids[name])

    @property
    def pds_urls(self) -> tuple[str, ...]:
        """The origin of each PDS.

        Raises:
            NotRunningError: The services don't run.
        """
        ports, options = self._state()["ports"], options_of(self._ready())
        names = pds_names(options.pds) if "pds" in options.services else ()
        return tuple(f"http://localhost:{ports[name]}" for name in names)

    def create_account(self, name: str, pds: int = 1) -> Account:
        """Makes another account on a PDS.

        Args:
            name: The first part of its handle; a whole handle is taken as it is.
            pds: The number of the PDS, from 1 on.

        Raises:
            NotRunningError: The services don't run.
            DevnetError: The PDS refuses, for one because the handle is taken, or there is none.
        """
        urls = self.pds_urls
        if not 1 <= pds <= len(urls):
            msg = f"the devnet in {self.folder} has no PDS number {pds}; it has {len(urls)}"
            raise DevnetError(msg)
        url = urls[pds - 1]
        port = urlsplit(url).port or 0
        domain = handle_domain(pds_names(pds)[-1])
        handle = name if "." in name else f"{name}{domain}"
        password = secrets.token_urlsafe(18)
        email = f"{handle.replace('.', '-')}@example.com"
        body = {"handle": handle, "email": email, "password": password}
        session = call(port, "com.atproto.server.createAccount", body)
        app_password = create_app_password(port, session["accessJwt"])
        return Account(handle, session["did"], password, app_password, url)

    def _ready(self) -> dict[str, Any]:
        run = self._folder.current()
        if run.get("phase") != "ready":
            phase = run.get("phase", "not running")
            msg = f"the devnet in {self.folder} is {phase}; start it with `up`"
            raise NotRunningError(msg)
        return run

    def _state(self) -> dict[str, Any]:
        self._ready()
        return self._folder.state()


def _listens(address: str) -> bool:
    port = urlsplit(address).port or 0
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
