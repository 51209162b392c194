"""Operating: secrets stay so, servers are asked gently, a long step tells its progress."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from atdata_core import Shard, packable
from atdata_dagster import (
    AtmosphereIOManager,
    AtmosphereResource,
    TeamIOManager,
    TeamResource,
    dataset_asset,
)
from atdata_dagster.steps import ProgressLog
from tests.support.liar import HANDLE, Liar

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "components"
SECRETS = {
    "redis_url": "redis://:Sw0rdf1sh-redis@127.0.0.1:9/0",
    "aws_access_key_id": "Sw0rdf1sh-id",
    "aws_secret_access_key": "Sw0rdf1sh-key",
    "app_password": "Sw0rdf1sh-app",
}
LOCATION = f"""
from atdata_dagster import *

team = TeamResource(
    redis_url={SECRETS["redis_url"]!r},
    aws_access_key_id={SECRETS["aws_access_key_id"]!r},
    aws_secret_access_key={SECRETS["aws_secret_access_key"]!r},
    s3_bucket="an-open-word",
)
public = AtmosphereResource(handle="alice.test", app_password={SECRETS["app_password"]!r})
defs = build_definitions(
    resources={{
        "team": TeamIOManager(layer=team),
        "atmosphere": AtmosphereIOManager(layer=public),
        "bare_team": team,
        "bare_public": public,
    }}
)
"""
QUERY = """
{ repositoriesOrError { ... on RepositoryConnection { nodes {
    location { name }
    allTopLevelResourceDetails {
        name resourceType description
        configFields { name isRequired defaultValueAsJson description }
        configuredValues { key value type }
        nestedResources { name type resource { name } }
    } } } } }
"""


@packable
class Note:
    """A note."""

    text: str


def make(fresh, **options):
    @dataset_asset(Note, name=fresh, promote=("team", "atmosphere"), **options)
    def notes() -> Iterator[Note]:
        yield from map(Note, "abc")

    return notes


# --- secrets


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextlib.contextmanager
def webserver(folder, **environment):
    """Dagster's own webserver on a workspace; a function that asks it."""
    port = free_port()
    env = {"PATH": os.environ["PATH"], "DAGSTER_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    env |= {"DAGSTER_DISABLE_TELEMETRY": "1", **environment}
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        [*command, "-w", str(folder / "workspace.yaml")],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def ask(query):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                ask("{ version }")
                break
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.3)
        yield ask
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_no_secret_shows_in_the_ui_be_it_from_python_or_from_yaml(tmp_path):
    (tmp_path / "location.py").write_text(LOCATION)
    example = {"module_name": "stations.definitions", "working_directory": str(EXAMPLE)}
    (tmp_path / "workspace.yaml").write_text(
        json.dumps(
            {
                "load_from": [
                    {"python_file": {"relative_path": "location.py", "location_name": "python"}},
                    {"python_module": {**example, "location_name": "yaml"}},
                ]
            }
        )
    )
    variables = {
        "ATDATA_REDIS_URL": SECRETS["redis_url"],
        "ATDATA_APP_PASSWORD": SECRETS["app_password"],
    }
    with webserver(tmp_path, **variables) as ask:
        answer = ask(QUERY)
    nodes = json.loads(answer)["data"]["repositoriesOrError"]["nodes"]
    assert {node["location"]["name"] for node in nodes} == {"python", "yaml"}
    found = {
        (node["location"]["name"], resource["name"]): resource
        for node in nodes
        for resource in node["allTopLevelResourceDetails"]
    }
    assert {("python", "bare_team"), ("python", "team"), ("yaml", "team")} <= set(found)
    assert "an-open-word" in answer
    assert "Sw0rdf1sh" not in answer


def test_secrets_are_masked_when_a_resource_is_printed():
    team = TeamResource(
        **{name: value for name, value in SECRETS.items() if name != "app_password"},
        s3_bucket="an-open-word",
    )
    public = AtmosphereResource(handle="a.test", app_password=SECRETS["app_password"])
    for shown in (team, public, TeamIOManager(layer=team), AtmosphereIOManager(layer=public)):
        for text in (repr(shown), str(shown)):
            assert "Sw0rdf1sh" not in text
            assert "'********'" in text
    assert "an-open-word" in repr(team)
    assert "app_password=None" in repr(AtmosphereResource())


# --- servers


def pools(chain):
    return {
        "/".join(asset.key.path[:-1]): asset.op.pool for asset in chain if asset.op.pool is not None
    }


def test_what_is_promoted_waits_in_the_pool_of_its_server(fresh):
    assert pools(make(fresh)) == {
        "team": "atdata_s3",
        "atmosphere": "atdata_pds",
        "team/schema": "atdata_redis",
        "atmosphere/schema": "atdata_pds",
    }
    assert pools(make(fresh, pools=None)) == {}
    own = pools(make(fresh, pools={"team": "ours"}))
    assert own["team"] == "ours"
    assert "atmosphere" not in own
    assert pools(make(fresh, pool="one"))["local"] == "one"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "2"}, 2), ({"Retry-After": "86400"}, None)],
    ids=["a moment", "a day"],
)
def test_a_server_that_asks_to_wait_is_asked_again_after_that_time(
    fresh, instance, monkeypatch, tmp_path, headers, seconds
):
    """The step fails at once only if the wait would be too long."""
    with Liar() as liar:
        monkeypatch.setenv("ATDATA_PLC_URL", liar.url)
        path = "com.atproto.repo.putRecord"

        def busy(_query):
            liar.forget(path)
            return {"error": "RateLimitExceeded", "message": "slow down"}

        liar.answer(path, busy, 429, headers)
        public = AtmosphereResource(
            pds_url=liar.url, handle=HANDLE, app_password="aaaa-bbbb-cccc-dddd"
        )

        @dg.asset(key=["atmosphere", "schema", "Note"], io_manager_key="atmosphere")
        def schema() -> dg.Output:
            return dg.Output(Note)

        started = time.monotonic()
        result = dg.materialize(
            [schema],
            instance=instance,
            resources={"atmosphere": AtmosphereIOManager(layer=public)},
            raise_on_error=False,
        )
    retried = [event for event in result.all_events if event.is_step_up_for_retry]
    if seconds is None:
        assert not retried
        assert not result.success
        return
    assert result.success
    assert len(retried) == 1
    assert retried[0].event_specific_data.seconds_to_wait == pytest.approx(seconds, abs=1)
    assert time.monotonic() - started >= seconds - 1


# --- progress


def test_a_long_copy_tells_how_much_time_is_left(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("atdata_dagster.steps.time.monotonic", lambda: clock[0])
    told = []

    class Context:
        class log:  # noqa: N801
            info = told.append

    progress = ProgressLog(Context, 100)
    for _ in range(20):
        clock[0] += 4
        progress(Shard("x", size=8_000_000), True)
    assert told[0] == "3 of 100 shards, 24,000,000 bytes, 2.0 MB/s, 6 min 28 s left"
    assert len(told) == 6
    unknown = ProgressLog(Context, None)
    clock[0] += 11
    unknown(Shard("x", size=1_000_000), False)
    assert told[-1] == "1 shards, 0 bytes, 0.0 MB/s"
