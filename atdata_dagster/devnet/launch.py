"""Starting and stopping the supervisor of a devnet, from another process."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from atdata_dagster.devnet.install import ensure_installed
from atdata_dagster.devnet.state import (
    ALREADY_RUNNING,
    REAPER_TIMEOUT,
    DevnetError,
    Folder,
    Options,
    options_of,
    wait_free,
)

UP_TIMEOUT = 180.0
DOWN_TIMEOUT = 20.0

# Kept, since Python complains of a process that is forgotten while it runs.
_DETACHED: "list[subprocess.Popen[bytes]]" = []


def start(folder: Folder, options: Options, *, tied: bool) -> "subprocess.Popen[bytes] | None":
    """Starts a devnet and waits until it is ready, unless one runs in the folder.

    Args:
        folder: The devnet's folder.
        options: What to start it with.
        tied: Whether it shall end with this process.

    Returns:
        The supervisor, or None when one ran already.

    Raises:
        DevnetError: It can't be installed or started, or runs with other options.
    """
    folder.create()
    end_of_patience = time.monotonic() + UP_TIMEOUT
    while True:
        if not folder.running():
            ensure_installed(_to_stderr)
            process = _spawn(folder, options, tied=tied)
            try:
                if _wait_ready(folder, process):
                    if not tied:
                        _DETACHED.append(process)
                    return process
            except BaseException:
                end(process)
                raise
        elif folder.current().get("phase") == "ready":
            _check_options(folder, options)
            return None
        elif time.monotonic() > end_of_patience:
            msg = f"the devnet in {folder.path} does not get ready; try `down`"
            raise DevnetError(msg)
        time.sleep(0.03)


def stop(folder: Folder) -> bool:
    """Stops a devnet and waits until all its processes are gone.

    Args:
        folder: The devnet's folder.

    Returns:
        Whether one ran.

    Raises:
        DevnetError: Its processes don't end.
    """
    found = folder.running()
    end_of_patience = time.monotonic() + DOWN_TIMEOUT
    asked = 0
    while folder.running():
        pid = folder.current().get("supervisor", 0)
        if asked and time.monotonic() > end_of_patience:
            # The reaper ends the services then.
            os.kill(asked, signal.SIGKILL)
            wait_free(folder.lock, 2.0)
            break
        if pid and not asked:
            os.kill(pid, signal.SIGTERM)
            asked = pid
        time.sleep(0.02)
    if not wait_free(folder.reaper_lock, REAPER_TIMEOUT):
        msg = f"processes of the devnet in {folder.path} do not end"
        raise DevnetError(msg)
    _DETACHED[:] = [process for process in _DETACHED if process.poll() is None]
    return found


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a supervisor that this process started, and waits for it.

    Args:
        process: The supervisor.
    """
    if process.stdin is not None:
        process.stdin.close()
    # The pipe alone would not do while a forked child of ours has it too.
    process.terminate()
    try:
        process.wait(DOWN_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _spawn(folder: Folder, options: Options, *, tied: bool) -> "subprocess.Popen[bytes]":
    with folder.log("supervisor").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-P", "-m", "atdata_dagster.devnet.supervisor"),
                *(str(folder.path), json.dumps(asdict(options)), "tied" if tied else "detached"),
            ],
            cwd=folder.path,
            # A checkout that isn't installed is found as well.
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_ready(folder: Folder, process: "subprocess.Popen[bytes]") -> bool:
    # False: another one was faster.
    while True:
        code = process.poll()
        run = folder.run()
        if run.get("supervisor") == process.pid:
            if run["phase"] == "ready" and code is None:
                return True
            if run["phase"] == "failed":
                raise DevnetError(run["failure"])
        if code == ALREADY_RUNNING:
            end(process)
            return False
        if code is not None:
            log = folder.log("supervisor").read_text(errors="replace").strip()
            msg = f"the supervisor ended with code {code}: {log[-500:] or 'it was stopped'}"
            raise DevnetError(msg)
        time.sleep(0.03)


def _check_options(folder: Folder, wanted: Options) -> None:
    running = options_of(folder.current())
    same = (running.blob_limit, running.rate_limits) == (wanted.blob_limit, wanted.rate_limits)
    same = same and running.restart >= wanted.restart
    if not same or not set(wanted.names) <= set(running.names):
        msg = f"the devnet in {folder.path} runs with other options ({running}); stop it first"
        raise DevnetError(msg)


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
