"""What `make run` does, from start to end, killed, and again."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from atdata_dagster.devnet import Devnet

ROOT = Path(__file__).parents[2]


def environment():
    settings = ("ATDATA_", "AWS_", "DAGSTER_")
    kept = "ATDATA_DEVNET"
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(settings) or name.startswith(kept)
    }


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "definitions", "run", "--dir", str(folder)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def state(folder):
    """What lies in each layer, past the library; without the times and the account's DID."""
    import boto3
    from redis import Redis

    with Devnet(folder / ".devnet").running() as net:
        env = net.env
        local = sorted(
            str(path.relative_to(env["ATDATA_ROOT"]))
            for path in Path(env["ATDATA_ROOT"]).rglob("*")
            if path.is_file()
        )
        with Redis.from_url(env["ATDATA_REDIS_URL"]) as redis:
            keys = sorted(key.decode() for key in redis.scan_iter())
            names = {
                name.decode(): redis.hget(b"LocalDatasetEntry:" + key, "content_cid").decode()
                for name, key in redis.hgetall("atdata:names").items()
            }
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=env["ATDATA_S3_ENDPOINT"],
            region_name=env["AWS_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        )
        listing = client.list_objects_v2(Bucket=env["ATDATA_S3_BUCKET"])
        client.close()
        records = []
        for collection in ("sampleSchema", "record"):
            url = (
                f"{env['ATDATA_PDS_URL']}/xrpc/com.atproto.repo.listRecords?repo={net.did}"
                f"&collection=ac.foundation.dataset.{collection}&limit=100"
            )
            with urllib.request.urlopen(url) as answer:
                for record in json.load(answer)["records"]:
                    value = record["value"]
                    for changing in ("createdAt", "schema", "schemaRef"):
                        value.pop(changing, None)
                    records.append(json.dumps(value, sort_keys=True))
        return {
            "local": local,
            "names": names,
            "keys": [key for key in keys if not key.startswith("LocalDatasetEntry:")],
            "objects": sorted(item["Key"] for item in listing["Contents"]),
            "records": sorted(records),
        }


@pytest.fixture(scope="module")
def clean(services, tmp_path_factory):
    """One run without a mishap: its folder, what it printed, and what lies in each layer."""
    folder = tmp_path_factory.mktemp("clean")
    output = finish(start(folder))
    return folder, output, state(folder)


@pytest.mark.timeout(600)
def test_a_run_shows_every_asset_and_loads_the_public_ones_back(clean):
    _, output, _ = clean
    for asset in ("local/digits", "team/digits", "atmosphere/digits", "atmosphere/schema/Digit"):
        assert asset in output
    assert output.count("loaded 1,797 samples") == 2
    assert output.count("proven to the level 'bytes'") == 2
    assert "equal to local/digit_embeddings" in output
    assert "7,370,752 bytes were uploaded." in output
    assert "make dev" in output


@pytest.mark.timeout(600)
def test_a_second_run_finds_everything_in_place(clean):
    folder, _, before = clean
    output = finish(start(folder))
    assert "Everything was in place: 0 bytes uploaded, no new record." in output
    assert state(folder) == before


@pytest.mark.timeout(600)
def test_a_killed_run_leaves_no_process_and_ends_as_a_clean_one(clean, tmp_path):
    reached = (
        ".devnet/local/datasets/digits/*.tar",  # in the middle of the first dataset
        ".devnet/s3/disks/**/*.data",  # in the middle of the team layer
        ".devnet/pds/blobs/did:*/*",  # in the middle of the public one
    )
    for marker in reached:
        process = start(tmp_path)
        deadline = time.monotonic() + 120
        while not any(tmp_path.glob(marker)):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        lock_is_free(tmp_path / ".devnet")
    finish(start(tmp_path))
    assert state(tmp_path) == clean[2]


def lock_is_free(folder):
    """Waits until the services of a killed run have ended."""
    for _ in range(100):
        done = subprocess.run(
            [sys.executable, "-m", "atdata_dagster.devnet", "status", "--dir", str(folder)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
        )
        if done.returncode == 3:
            return
        time.sleep(0.1)
    raise AssertionError("services of a killed run are still there")
