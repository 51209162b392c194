"""Several PDSes with one directory, and services that are started anew."""

import os
import signal
import time
from contextlib import suppress

import pytest

from atdata_dagster.devnet import Devnet, DevnetError
from atdata_dagster.devnet.xrpc import XrpcError, call, log_in


def port(url):
    return int(url.removesuffix("/0").rpartition(":")[2])


@pytest.fixture(scope="module")
def net(software, tmp_path_factory):
    net = Devnet(tmp_path_factory.mktemp("several"), services=["redis", "pds"], pds=2, restart=True)
    with net.running():
        yield net


def test_each_account_lives_on_its_pds_and_is_in_the_one_directory(net):
    one, two = net.pds_urls
    assert one == net.env["ATDATA_PDS_URL"] != two
    bob, eve = net.create_account("bob"), net.create_account("eve", pds=2)
    assert (bob.handle, bob.pds) == ("bob.test", one)
    assert (eve.handle, eve.pds) == ("eve.pds2", two)
    assert log_in(port(two), eve.handle, eve.app_password)["did"] == eve.did
    with pytest.raises(XrpcError):
        log_in(port(one), eve.handle, eve.app_password)
    for account in (bob, eve):
        document = call_plc(net, account.did)
        assert document["service"][0]["serviceEndpoint"] == account.pds
        for url in (one, two):
            found = call(port(url), f"com.atproto.identity.resolveHandle?handle={account.handle}")
            assert found["did"] == account.did
    with pytest.raises(XrpcError):
        call(port(one), "com.atproto.identity.resolveHandle?handle=nobody.pds2")


def call_plc(net, did):
    import json
    import urllib.request

    with urllib.request.urlopen(f"{net.env['ATDATA_PLC_URL']}/{did}") as answer:
        return json.load(answer)


def test_status_and_pids_tell_of_each(net, processes):
    names = [service.name for service in net.status().services]
    assert names == ["redis", "pds", "plc", "pds-2"]
    assert net.status().ok
    assert net.pid("plc") == net.pid("pds") != net.pid("pds-2")
    assert len(processes.of(net)) == 5  # with supervisor and reaper


@pytest.mark.parametrize("name", ["pds-2", "pds", "redis"])
def test_what_is_killed_is_started_anew_where_it_was(net, processes, name):
    before, urls, pid = net.env, net.pds_urls, net.pid(name)
    eve = net.create_account(f"e{name.replace('-', '')}", pds=2)
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while (net.pid(name) == pid or not net.status().ok) and time.monotonic() < end:
        time.sleep(0.1)
    assert net.status().ok
    assert (net.env, net.pds_urls) == (before, urls)
    session = None
    while session is None and time.monotonic() < end:
        with suppress(XrpcError):
            session = log_in(port(urls[1]), eve.handle, eve.app_password)
    assert session["did"] == eve.did


def test_a_number_of_pdses_that_cannot_be_is_said(net, tmp_path):
    with pytest.raises(DevnetError, match="0 PDSes can't be started; 1 to 20 can"):
        Devnet(tmp_path, pds=0)
    with pytest.raises(DevnetError, match="has no PDS number 3; it has 2"):
        net.create_account("x", pds=3)
    with pytest.raises(DevnetError, match="runs with other options"):
        Devnet(net.folder, services=["redis", "pds"], pds=3).up()
    with Devnet(net.folder, services=["redis", "pds"]).running() as joined:
        assert joined.pds_urls == net.pds_urls


def test_the_command_line_starts_several(software, cli, tmp_path, stopped):
    stopped(Devnet(tmp_path / ".devnet"))
    up = cli("up", "--pds", "3", cwd=tmp_path)
    assert up.returncode == 0, up.stderr
    lines = [line.split() for line in cli("status", cwd=tmp_path).stdout.splitlines()]
    assert [line[0] for line in lines] == ["redis", "s3", "pds", "plc", "pds-2", "pds-3"]
    assert cli("down", cwd=tmp_path).returncode == 0
    assert cli("up", "--pds", "99", cwd=tmp_path).returncode == 1
