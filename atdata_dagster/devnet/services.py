"""The three services: what each is started with, and how to tell that it is ready."""

import base64
import hashlib
import hmac
import http.client
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

from atdata_dagster.devnet.install import Software
from atdata_dagster.devnet.state import (
    ACCESS_KEY,
    BUCKET,
    DevnetError,
    Folder,
    Options,
    handle_domain,
    pds_names,
    write_private,
)
from atdata_dagster.devnet.swift import configure
from atdata_dagster.devnet.xrpc import XrpcError, call, create_app_password, log_in

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Process:
    """One program of a service.

    Attributes:
        name: What its log is called.
        command: The program and its arguments.
    """

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """What every service is built from.

    Attributes:
        folder: The devnet's folder.
        state: Ports and keys; a service may add to it while it gets ready.
        options: What the devnet was started with.
        software: Where the programs are installed.
    """

    folder: Folder
    state: dict[str, Any]
    options: Options
    software: Software

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each listening socket."""
        ports: Mapping[str, int] = self.state["ports"]
        return ports


@dataclass(frozen=True)
class Service:
    """A service of the devnet.

    Attributes:
        addresses: What it offers: a name and where that listens.
        processes: Its programs; the first is the one that listens to users.
        ready: Makes it ready if it answers; False means to ask again soon.
    """

    addresses: Mapping[str, str]
    processes: tuple[Process, ...]
    ready: Callable[[], bool]


def redis(setting: Setting) -> Service:
    """A Valkey that keeps every write in its append-only file.

    Args:
        setting: What to build it from.
    """
    port = setting.ports["redis"]
    data = setting.folder.data("redis")
    command = f"--bind {LOOPBACK} --port {port} --appendonly yes --daemonize no".split()
    return Service(
        {"redis": f"redis://{LOOPBACK}:{port}/0"},
        (Process("redis", (setting.software.valkey, *command, "--save", "", "--dir", str(data))),),
        lambda: _pings(port),
    )


def _pings(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def s3(setting: Setting) -> Service:
    """OpenStack Swift on one disk, behind its S3 API.

    Args:
        setting: What to build it from.
    """
    ports = setting.ports
    commands = configure(setting.folder.data("s3"), ports, setting.state, setting.software.python)
    secret = setting.state["s3_secret"]
    return Service(
        {"s3": f"http://{LOOPBACK}:{ports['s3']}"},
        tuple(Process(name, command) for name, command in commands),
        lambda: _has_bucket(ports["s3"], secret),
    )


def _has_bucket(port: int, secret: str) -> bool:
    listing, body = _s3_request(port, secret, "GET", "/")
    if listing in {401, 403}:
        msg = f"the S3 service at port {port} refuses its own key: {body[:300]!r}"
        raise DevnetError(msg)
    if listing != http.client.OK:
        return False
    if f"<Name>{BUCKET}</Name>".encode() in body:
        return True
    return _s3_request(port, secret, "PUT", f"/{BUCKET}")[0] == http.client.OK


def _s3_request(port: int, secret: str, method: str, path: str) -> tuple[int, bytes]:
    # Version 2 of the signature is a few lines; Swift takes it as well as version 4.
    date = formatdate(usegmt=True)
    digest = hmac.digest(secret.encode(), f"{method}\n\n\n{date}\n{path}".encode(), hashlib.sha1)
    signature = base64.b64encode(digest).decode()
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request(
            method, path, headers={"Date": date, "Authorization": f"AWS {ACCESS_KEY}:{signature}"}
        )
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def pds(setting: Setting, name: str = "pds") -> Service:
    """The reference PDS; the first one has the PLC directory of all, in the same Node process.

    Args:
        setting: What to build it from.
        name: Which PDS.
    """
    port, plc = setting.ports[name], setting.ports["plc"]
    data = setting.folder.data(name)
    state = setting.state
    first = name == "pds"
    names = pds_names(setting.options.pds)
    config = {
        "modules": setting.software.modules,
        "dir": str(data),
        "host": LOOPBACK,
        "port": port,
        "plcPort": plc,
        "directory": first,
        "handleDomain": handle_domain(name),
        "others": {handle_domain(n): setting.ports[n] for n in names if n != name},
        "blobLimit": setting.options.blob_limit,
        "rateLimits": setting.options.rate_limits,
        "secrets": {
            "jwtSecret": state["jwt_secret"],
            "dpopSecret": state["dpop_secret"],
            "adminPassword": state["admin_password"],
            "plcRotationKeyK256PrivateKeyHex": state["rotation_key"],
        },
    }
    program = Path(__file__).with_name("atproto.mjs")
    # Not on the command line: every user of the machine could read the secrets there.
    write_private(data / "config.json", json.dumps(config))
    directory = {"plc": f"http://localhost:{plc}"} if first else {}
    return Service(
        {name: f"http://localhost:{port}", **directory},
        (Process(name, (setting.software.node, str(program), str(data / "config.json"))),),
        (lambda: _has_account(setting, port)) if first else (lambda: _answers(port)),
    )


def _answers(port: int) -> bool:
    try:
        call(port, "_health")
    except XrpcError:
        return False
    return True


def _has_account(setting: Setting, port: int) -> bool:
    state = setting.state
    if not _answers(port):
        return False
    session = _open_account(port, state)
    state["did"] = session["did"]
    try:
        if state["app_password"]:
            log_in(port, state["handle"], state["app_password"])
            return True
    except XrpcError as error:
        if error.status != http.client.UNAUTHORIZED:
            raise
    state["app_password"] = create_app_password(port, session["accessJwt"])
    setting.folder.save_state(state)
    return True


def _open_account(port: int, state: Mapping[str, Any]) -> dict[str, Any]:
    handle, password = state["handle"], state["password"]
    if not state["did"]:
        body = {
            "handle": handle,
            "email": f"{handle.partition('.')[0]}@example.com",
            "password": password,
        }
        try:
            return call(port, "com.atproto.server.createAccount", body)
        except XrpcError as error:
            # It is there already when an earlier start was killed right after this.
            if error.status != http.client.BAD_REQUEST:
                raise
    try:
        return log_in(port, handle, password)
    except XrpcError as error:
        if error.status != http.client.UNAUTHORIZED:
            raise
        msg = f"{handle} has another password now than the devnet's folder remembers"
        raise DevnetError(msg) from error


def build(name: str, setting: Setting) -> Service:
    """A service by its name.

    Args:
        name: One of `Options.names`.
        setting: What to build it from.
    """
    if name.startswith("pds"):
        return pds(setting, name)
    return {"redis": redis, "s3": s3}[name](setting)
