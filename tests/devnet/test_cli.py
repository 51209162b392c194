"""The command line, from the first start to the last stop."""

import http.client
import json
import os
import socket
import urllib.request

from atdata_dagster.devnet import Devnet
from atdata_dagster.devnet.xrpc import call, log_in


def test_nothing_runs_in_a_new_folder(cli, tmp_path):
    status = cli("status", cwd=tmp_path)
    assert (status.returncode, "stopped" in status.stdout) == (3, True)
    env = cli("env", cwd=tmp_path)
    assert (env.returncode, env.stdout) == (3, "")
    assert env.stderr.startswith("devnet: ")
    assert "`up`" in env.stderr
    down = cli("down", cwd=tmp_path)
    assert (down.returncode, "no devnet runs" in down.stdout) == (0, True)
    assert list(tmp_path.iterdir()) == []


def test_help_tells_of_every_command(cli, tmp_path):
    shown = cli("--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert all(
        name in shown.stdout for name in ("up", "down", "status", "env", "account", "registry")
    )
    assert cli("env", "--help", cwd=tmp_path).returncode == 0
    assert cli(cwd=tmp_path).returncode == 2


def test_a_folder_that_cannot_be_made_is_said(cli, tmp_path):
    (tmp_path / "file").touch()
    up = cli("up", "--dir", "file/devnet", cwd=tmp_path)
    assert up.returncode == 1
    assert up.stderr.startswith("devnet: can't write to ")


def test_a_restart_finds_identity_and_data_again(software, cli, tmp_path, processes, stopped):
    net = Devnet(tmp_path / ".devnet")
    stopped(net)
    first = cli("up", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "devnet is up" in first.stdout
    assert "devnet env)" in first.stdout
    again = cli("up", cwd=tmp_path)
    assert (again.returncode, "already up" in again.stdout) == (0, True)

    account = cli("account", "bob", cwd=tmp_path)
    name, password = account.stdout.splitlines()
    assert name == "export ATDATA_HANDLE='bob.test'"
    assert password.startswith("export ATDATA_APP_PASSWORD='")
    taken = cli("account", "bob", cwd=tmp_path)
    assert (taken.returncode, taken.stdout) == (1, "")
    assert taken.stderr.startswith("devnet: ")
    assert "taken" in taken.stderr

    status = cli("status", cwd=tmp_path)
    assert status.returncode == 0
    lines = [line.split() for line in status.stdout.splitlines()]
    assert {line[0]: line[-1] for line in lines} == dict.fromkeys(
        ["redis", "s3", "pds", "plc"], "ok"
    )
    did, env, document = net.did, net.env, did_document(net)
    blob, record = publish(net)
    redis_command(net, "SET answer 42")
    put_object(net)

    pids = processes.of(net)
    down = cli("down", cwd=tmp_path)
    assert (down.returncode, "is down" in down.stdout) == (0, True)
    assert processes.wait_gone(pids, 0.5) == []
    assert cli("status", cwd=tmp_path).returncode == 3
    assert cli("env", cwd=tmp_path).returncode == 3

    assert cli("up", cwd=tmp_path).returncode == 0
    assert (net.did, net.env, did_document(net)) == (did, env, document)
    assert redis_command(net, "GET answer") == b"$2\r\n42\r\n"
    assert get_object(net) == b"an object"
    assert get_record(net)["value"] == record
    assert get_blob(net, blob) == b"a blob"
    assert cli("down", cwd=tmp_path).returncode == 0


def did_document(net):
    with urllib.request.urlopen(f"{net.env['ATDATA_PLC_URL']}/{net.did}") as answer:
        return json.load(answer)


def pds_port(net):
    return int(net.env["ATDATA_PDS_URL"].rpartition(":")[2])


def publish(net):
    port = pds_port(net)
    token = log_in(port, net.handle, net.app_password)["accessJwt"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "text/plain", "Authorization": f"Bearer {token}"}
    connection.request("POST", "/xrpc/com.atproto.repo.uploadBlob", body=b"a blob", headers=headers)
    blob = json.loads(connection.getresponse().read())["blob"]
    connection.close()
    record = {"$type": "org.example.thing", "file": blob}
    body = {"repo": net.did, "collection": "org.example.thing", "rkey": "one", "record": record}
    call(port, "com.atproto.repo.putRecord", body, token)
    return blob["ref"]["$link"], record


def get_record(net):
    return call(
        pds_port(net),
        f"com.atproto.repo.getRecord?repo={net.did}&collection=org.example.thing&rkey=one",
    )


def get_blob(net, cid):
    connection = http.client.HTTPConnection("127.0.0.1", pds_port(net), timeout=10)
    connection.request("GET", f"/xrpc/com.atproto.sync.getBlob?did={net.did}&cid={cid}")
    content = connection.getresponse().read()
    connection.close()
    return content


def redis_command(net, command):
    port = int(net.env["ATDATA_REDIS_URL"].removesuffix("/0").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(1000)


def bucket(net):
    import boto3
    from botocore.config import Config

    assert os.environ.get("AWS_ACCESS_KEY_ID") != net.env["AWS_ACCESS_KEY_ID"]
    return boto3.client(
        "s3",
        endpoint_url=net.env["ATDATA_S3_ENDPOINT"],
        aws_access_key_id=net.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=net.env["AWS_SECRET_ACCESS_KEY"],
        region_name=net.env["AWS_REGION"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def put_object(net):
    client = bucket(net)
    client.put_object(Bucket="atdata", Key="key", Body=b"an object")
    client.close()


def get_object(net):
    client = bucket(net)
    content = client.get_object(Bucket="atdata", Key="key")["Body"].read()
    client.close()
    return content
