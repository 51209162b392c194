"""What happens when something is killed, taken or damaged."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from atdata_dagster.devnet import Devnet, DevnetError
from atdata_dagster.devnet.xrpc import call, log_in

CHECKOUT = Path(__file__).parents[2]


def port_of(net, name):
    return int(net.env[name].removesuffix("/0").rpartition(":")[2])


def test_killed_supervisor_then_taken_ports(software, tmp_path, processes, stopped):
    net = Devnet(tmp_path)
    stopped(net)
    net.up()
    before, did = net.env, net.did
    bob = net.create_account("bob")
    pids = processes.of(net)
    assert len(pids) == 8  # the supervisor, the reaper, redis, 4 of swift, the PDS
    os.kill(net.pid("supervisor"), signal.SIGKILL)
    assert processes.wait_gone(pids, 10) == []
    assert net.status().phase == "killed"
    assert not net.status().ok
    assert not net.down()

    with ExitStack() as stack:
        for name in ("ATDATA_PDS_URL", "ATDATA_PLC_URL", "ATDATA_S3_ENDPOINT", "ATDATA_REDIS_URL"):
            port = int(before[name].removesuffix("/0").rpartition(":")[2])
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        net.up()
    moved = {name for name, value in net.env.items() if value != before[name]}
    assert moved == {
        "ATDATA_PDS_URL",
        "ATDATA_PLC_URL",
        "ATDATA_S3_ENDPOINT",
        "ATDATA_REDIS_URL",
    }
    assert net.did == did
    for each in (did, bob.did):
        with urllib.request.urlopen(f"{net.env['ATDATA_PLC_URL']}/{each}") as answer:
            assert f'"{net.env["ATDATA_PDS_URL"]}"'.encode() in answer.read()
    port = port_of(net, "ATDATA_PDS_URL")
    session = log_in(port, "bob.test", bob.app_password)
    assert session["didDoc"]["service"][0]["serviceEndpoint"] == net.env["ATDATA_PDS_URL"]
    assert call(port, f"com.atproto.repo.describeRepo?repo={did}")["handleIsCorrect"]


def test_a_new_start_waits_for_what_a_killed_supervisor_left(
    software, tmp_path, processes, stopped
):
    net = Devnet(tmp_path, services=["redis"])
    stopped(net)
    net.up()
    before, pids, supervisor = net.env, processes.of(net), net.pid("supervisor")
    with socket.create_connection(("127.0.0.1", port_of(net, "ATDATA_REDIS_URL"))) as client:
        # It doesn't end when it is asked to, and has its port and its files until it is killed.
        client.sendall(b"EVAL 'while true do end' 0\r\n")
        time.sleep(0.1)
        os.kill(supervisor, signal.SIGKILL)
        processes.wait_gone([supervisor], 5)
        assert net.up()
    assert [pid for pid in pids if processes.alive(pid)] == []
    assert net.env == before


def test_a_devnet_whose_folder_is_removed_ends(software, tmp_path, processes):
    net = Devnet(tmp_path / "net", services=["redis"])
    net.up()
    pids = processes.of(net)
    (tmp_path / "net").rename(tmp_path / "elsewhere")
    assert processes.wait_gone(pids, 5) == []
    assert net.status().phase == "stopped"


TIED = """
import sys, time
from atdata_dagster.devnet import Devnet
with Devnet(sys.argv[1]).running():
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_killed_program_takes_its_devnet_along(software, tmp_path, processes):
    net = Devnet(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", TIED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout.readline() == "ready\n"
        pids = processes.of(net)
        program.kill()
        program.wait()
        assert processes.wait_gone(pids, 10) == []
    assert net.status().phase == "stopped"


@pytest.mark.parametrize("name", ["redis", "s3-object"])
def test_a_service_that_dies_is_reported(software, tmp_path, processes, stopped, cli, name):
    net = Devnet(tmp_path / ".devnet", services=["redis", "s3"])
    stopped(net)
    net.up()
    pids, pid = processes.of(net), net.pid(name)
    os.kill(pid, signal.SIGKILL)
    assert processes.wait_gone(pids, 10) == []
    status = cli("status", cwd=tmp_path)
    assert status.returncode == 3
    assert f"{name} (pid {pid}) ended on its own, by signal 9" in status.stdout
    assert str(net.folder / "logs" / f"{name}.log") in status.stdout


def test_a_dead_reaper_ends_the_devnet(software, tmp_path, processes):
    with Devnet(tmp_path, services=["redis"]).running() as net:
        pids = processes.of(net)
        os.kill(net.pid("reaper"), signal.SIGKILL)
        assert processes.wait_gone(pids, 10) == []
        assert "reaper" in net.status().reason


def test_a_service_that_does_not_start_is_reported_with_its_last_words(software, tmp_path):
    net = Devnet(tmp_path, services=["redis"])
    with net.running():
        pass
    for file in (tmp_path / "redis" / "appendonlydir").glob("*.manifest"):
        file.write_text("nonsense\n")
    with (
        pytest.raises(DevnetError, match=r"redis \(pid \d+\) ended on its own(?s:.*)AOF manifest"),
        net.running(),
    ):
        pass
    assert net.status().phase == "failed"


# Says at first that a port is free which isn't, as when somebody takes it in between.
UNLUCKY = """
import sys
from atdata_dagster.devnet import supervisor
honest = supervisor.choose_ports
def unlucky(names, known):
    supervisor.choose_ports = honest
    return {"redis": int(sys.argv[1])}
supervisor.choose_ports = unlucky
sys.exit(supervisor.main(sys.argv[2], sys.argv[3], "detached"))
"""


def test_a_port_that_is_taken_just_before_its_use_is_replaced(software, tmp_path, stopped):
    net = Devnet(tmp_path, services=["redis"])
    stopped(net)
    with net.running():
        options = json.dumps(net._folder.current()["options"])
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        subprocess.Popen(
            [sys.executable, "-c", UNLUCKY, str(taken.getsockname()[1]), str(tmp_path), options],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        ) as supervisor,
    ):
        while net.status().phase in {"stopped", "starting"} and supervisor.poll() is None:
            time.sleep(0.05)
        assert net.status().ok
        assert net.pid("supervisor") == supervisor.pid
        assert port_of(net, "ATDATA_REDIS_URL") != taken.getsockname()[1]
        net.down()


def test_two_starts_at_once_make_one_devnet(software, tmp_path, stopped):
    nets = [Devnet(tmp_path, services=["redis", "s3"]) for _ in range(4)]
    stopped(nets[0])
    with ThreadPoolExecutor(4) as pool:
        # Who comes second waits as well until the devnet can be used.
        started = list(pool.map(lambda net: (net.up(), net.status().ok, len(net.env)), nets))
    assert sorted(each[0] for each in started) == [False, False, False, True]
    assert all(each[1:] == (True, 7) for each in started)


def test_a_hung_supervisor_is_stopped_all_the_same(software, tmp_path, processes, monkeypatch):
    monkeypatch.setattr("atdata_dagster.devnet.launch.DOWN_TIMEOUT", 1.0)
    net = Devnet(tmp_path, services=["redis"])
    net.up()
    pids = processes.of(net)
    os.kill(net.pid("supervisor"), signal.SIGSTOP)
    assert net.down()
    assert processes.wait_gone(pids, 5) == []


def test_keys_that_are_gone_are_said(software, tmp_path):
    (tmp_path / "pds").mkdir()
    (tmp_path / "pds" / "account.sqlite").touch()
    with (
        pytest.raises(DevnetError, match=r"state\.json with their keys is gone"),
        Devnet(tmp_path, services=["redis"]).running(),
    ):
        pass


def test_state_that_is_damaged_is_said(software, tmp_path):
    (tmp_path / "state.json").write_text("{")
    with (
        pytest.raises(DevnetError, match=r"state\.json can't be read"),
        Devnet(tmp_path, services=["redis"]).running(),
    ):
        pass
