"""What a running devnet offers, seen from a program that uses it."""

import base64
import http.client
import io
import json
import os
import shlex
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from atdata_dagster.devnet import Devnet, DevnetError, NotRunningError
from atdata_dagster.devnet.xrpc import call, log_in

NAMES = [
    "ATDATA_ROOT",
    "ATDATA_REDIS_URL",
    "ATDATA_S3_ENDPOINT",
    "ATDATA_S3_BUCKET",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "ATDATA_PDS_URL",
    "ATDATA_PLC_URL",
    "ATDATA_HANDLE",
    "ATDATA_APP_PASSWORD",
]


def port_of(net, name):
    return int(net.env[name].removesuffix("/0").rpartition(":")[2])


def test_the_environment_has_exactly_the_promised_names_in_order(net):
    assert list(net.env) == NAMES
    assert all(net.env.values())
    assert net.env["ATDATA_ROOT"] == str(net.folder / "local")
    assert Path(net.env["ATDATA_ROOT"]).is_dir()
    assert net.env["ATDATA_PDS_URL"].startswith("http://localhost:")
    assert net.env["ATDATA_PLC_URL"].startswith("http://localhost:")


def test_a_shell_gets_every_value_as_it_is_although_the_folder_has_a_quote(net, cli, tmp_path):
    printed = cli("env", "--dir", str(net.folder), cwd=tmp_path)
    assert printed.returncode == 0
    assert [line.partition("=")[0] for line in printed.stdout.splitlines()] == [
        f"export {name}" for name in NAMES
    ]
    show = (
        f"{shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps({{**os.environ}}))'"
    )
    shell = subprocess.run(
        ["sh", "-c", f"{printed.stdout}\n{show}"], capture_output=True, text=True, check=True
    )
    seen = json.loads(shell.stdout)
    assert {name: seen[name] for name in NAMES} == net.env


def test_every_listening_socket_is_on_loopback(net, processes):
    pids = processes.of(net)
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(str(descriptor.readlink()))
            except FileNotFoundError:
                continue
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                addresses.append(fields[1].partition(":")[0])
    assert len(addresses) == 7  # redis, 4 of swift, pds, plc
    assert set(addresses) == {"0100007F"}


def test_state_and_secrets_are_for_the_owner_only(net):
    secrets = [net.env["AWS_SECRET_ACCESS_KEY"], net.app_password, net.password]
    for file in net.folder.rglob("*"):
        if file.is_file() and not file.is_socket() and file.stat().st_size < 1_000_000:
            content = file.read_bytes()
            if any(secret.encode() in content for secret in secrets):
                assert file.stat().st_mode & 0o077 == 0, file
    assert net.folder.stat().st_mode & 0o077 == 0
    assert (net.folder / "state.json").stat().st_mode & 0o777 == 0o600
    assert (net.folder / ".gitignore").read_text() == "*\n"


def test_no_secret_can_be_read_off_a_command_line(net, processes):
    secrets = [net.env["AWS_SECRET_ACCESS_KEY"], net.app_password, net.admin_password]
    for pid in processes.of(net):
        command = Path(f"/proc/{pid}/cmdline").read_text()
        assert not any(secret in command for secret in secrets)


def test_the_default_account_logs_in_with_the_app_password_and_is_in_the_directory(net):
    session = log_in(port_of(net, "ATDATA_PDS_URL"), net.env["ATDATA_HANDLE"], net.app_password)
    assert session["did"] == net.did
    assert session["didDoc"]["service"][0]["serviceEndpoint"] == net.env["ATDATA_PDS_URL"]
    assert net.app_password != net.password
    with urllib.request.urlopen(f"{net.env['ATDATA_PLC_URL']}/{net.did}") as answer:
        assert net.did.encode() in answer.read()


def test_more_accounts_can_be_made(net):
    bob = net.create_account("bob")
    assert bob.handle == "bob.test"
    assert bob.did != net.did
    assert bob.password not in repr(bob)
    assert bob.app_password not in repr(bob)
    port = port_of(net, "ATDATA_PDS_URL")
    for password in (bob.password, bob.app_password):
        assert log_in(port, "bob.test", password)["did"] == bob.did
    with pytest.raises(DevnetError, match="Handle already taken"):
        net.create_account("bob")


def test_the_admin_password_is_the_administrators(net):
    port = port_of(net, "ATDATA_PDS_URL")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    basic = base64.b64encode(f"admin:{net.admin_password}".encode()).decode()
    connection.request(
        "GET",
        f"/xrpc/com.atproto.admin.getAccountInfo?did={net.did}",
        headers={"Authorization": f"Basic {basic}"},
    )
    assert connection.getresponse().status == 200
    connection.close()


def test_the_pds_takes_blobs_of_a_hundred_mebibytes_by_default(net):
    assert call(port_of(net, "ATDATA_PDS_URL"), "com.atproto.server.describeServer")
    token = log_in(port_of(net, "ATDATA_PDS_URL"), net.handle, net.app_password)["accessJwt"]

    def upload(size):
        connection = http.client.HTTPConnection(
            "127.0.0.1", port_of(net, "ATDATA_PDS_URL"), timeout=60
        )
        headers = {"Content-Type": "application/x-tar", "Authorization": f"Bearer {token}"}
        try:
            connection.request(
                "POST", "/xrpc/com.atproto.repo.uploadBlob", body=bytes(size), headers=headers
            )
            return connection.getresponse().status
        finally:
            connection.close()

    assert upload(100 * 1024 * 1024) == 200


def rate_limit(net):
    """What the PDS says of the limit at a login, which is the most limited call."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(net, "ATDATA_PDS_URL"), timeout=9)
    body = json.dumps({"identifier": net.handle, "password": net.app_password})
    path = "/xrpc/com.atproto.server.createSession"
    connection.request("POST", path, body=body, headers={"Content-Type": "application/json"})
    response = connection.getresponse()
    connection.close()
    assert response.status == 200
    return response.getheader("RateLimit-Limit")


def test_the_pds_does_not_limit_rates_by_default(net):
    assert rate_limit(net) is None


def test_s3_refuses_strangers(net):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{net.env['ATDATA_S3_ENDPOINT']}/atdata")
    refused.value.close()
    assert 400 <= refused.value.code < 500


def test_s3_keeps_big_objects_and_parts(net):
    client = s3_client(net)
    from boto3.s3.transfer import TransferConfig

    content = os.urandom(1024 * 1024) * 24
    client.upload_fileobj(
        io.BytesIO(content),
        "atdata",
        "parts",
        Config=TransferConfig(multipart_threshold=1, multipart_chunksize=8 * 1024 * 1024),
    )
    client.put_object(Bucket="atdata", Key="whole", Body=content)
    for key in ("parts", "whole"):
        assert client.get_object(Bucket="atdata", Key=key)["Body"].read() == content
    listed = client.list_objects_v2(Bucket="atdata")["Contents"]
    assert [each["Key"] for each in listed] == ["parts", "whole"]
    client.close()


def s3_client(net):
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=net.env["ATDATA_S3_ENDPOINT"],
        aws_access_key_id=net.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=net.env["AWS_SECRET_ACCESS_KEY"],
        region_name=net.env["AWS_REGION"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def test_a_running_devnet_is_joined_and_left_running(net):
    supervisor = net.pid("supervisor")
    with Devnet(net.folder).running() as joined:
        assert joined.env == net.env
        assert joined.pid("supervisor") == supervisor
    assert net.status().ok
    assert not Devnet(net.folder).up()


def test_a_running_devnet_is_not_joined_with_other_options(net):
    other = Devnet(net.folder, blob_limit=1000)
    with pytest.raises(DevnetError, match="other options"), other.running():
        pass


def test_pids_are_those_of_the_services(net, processes):
    assert net.pid("plc") == net.pid("pds")
    names = ["redis", "s3", "s3-account", "s3-container", "s3-object", "pds", "reaper"]
    pids = {net.pid(name) for name in names}
    assert len(pids) == len(names)
    assert pids <= processes.of(net)
    with pytest.raises(DevnetError, match="no process 'mysql'"):
        net.pid("mysql")


def test_only_what_is_asked_for_is_started(software, tmp_path):
    with Devnet(tmp_path, services=["redis"]).running() as net:
        assert list(net.env) == ["ATDATA_ROOT", "ATDATA_REDIS_URL"]
        assert [service.name for service in net.status().services] == ["redis"]
        with socket.create_connection(("127.0.0.1", port_of(net, "ATDATA_REDIS_URL"))) as client:
            client.sendall(b"CONFIG GET appendonly\r\n")
            assert b"yes" in client.recv(100)
    with pytest.raises(NotRunningError):
        _ = net.env
    with pytest.raises(DevnetError, match="unknown services: mysql"):
        Devnet(tmp_path, services=["mysql"])


def test_a_pds_can_have_a_small_limit_for_blobs_and_limited_rates(software, tmp_path):
    options = {"blob_limit": 1000, "rate_limits": True, "services": ["pds"]}
    with Devnet(tmp_path, **options).running() as net:
        port = port_of(net, "ATDATA_PDS_URL")
        token = log_in(port, net.handle, net.app_password)["accessJwt"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Content-Type": "text/plain", "Authorization": f"Bearer {token}"}
        connection.request(
            "POST", "/xrpc/com.atproto.repo.uploadBlob", body=bytes(1001), headers=headers
        )
        response = connection.getresponse()
        assert response.status == 413
        connection.close()
        assert rate_limit(net) == "30"
