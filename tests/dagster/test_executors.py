"""The same definitions under every executor: steps share Redis, S3 and the PDS, and no disk.

Dagster's own memory is in Postgres, and each machine has a ``DAGSTER_HOME`` of its own.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from atdata_core import FileIndex, LocalIndex, S3DataStore, load_dataset
from tests.support.executing import EXECUTORS, Point, sample_points

ROOT = Path(__file__).parents[2]
LOCATION = ROOT / "tests" / "support" / "executing.py"
_BROKER_DB = 14


@pytest.fixture
def tmp_path(tmp_path_factory):
    """With a short name, since that of a socket in it may have 107 characters."""
    return tmp_path_factory.mktemp("m")


@pytest.fixture
def home(tmp_path, monkeypatch, postgres):
    """Dagster's own memory, in Postgres; the folder says where."""
    url = postgres.create(f"e{secrets.token_hex(8)}")
    folder = tmp_path / "home"
    folder.mkdir()
    said = f"telemetry: {{enabled: false}}\nstorage: {{postgres: {{postgres_url: '{url}'}}}}\n"
    (folder / "dagster.yaml").write_text(said)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


@pytest.fixture
def own_team(services, redis_url, bucket, monkeypatch):
    """Layers with nothing in them, and a queue of messages apart from the team's index."""
    from redis import Redis

    account = services.create_account(f"t{secrets.token_hex(5)}")
    broker = f"{redis_url.rpartition('/')[0]}/{_BROKER_DB}"
    with Redis.from_url(broker) as redis:
        redis.flushdb()
    for name, value in {
        "ATDATA_REDIS_URL": redis_url,
        "ATDATA_S3_BUCKET": bucket,
        "ATDATA_HANDLE": account.handle,
        "ATDATA_APP_PASSWORD": account.app_password,
        "BROKER_URL": broker,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }.items():
        monkeypatch.setenv(name, value)
    return account


def machine(tmp_path, number):
    """A folder that stands for the disk of a machine, and the settings of a process on it."""
    folder = tmp_path / f"machine-{number}"
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "home" / "dagster.yaml", home)
    return folder, {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "ATDATA_ROOT": os.environ.get("SHARED_FOLDER", str(folder / "data")),
        "TMPDIR": str(folder),
        "HOME": str(folder),
    }


@contextmanager
def workers(tmp_path, *numbers):
    """Celery's workers of those numbers, each a process on a machine of its own."""
    started = []
    try:
        for number in numbers:
            folder, env = machine(tmp_path, number)
            settings = folder / "dagster_celery_config.py"
            url = env["BROKER_URL"]
            # A busy worker leaves what waits to the others.
            settings.write_text(
                f"broker_url = result_backend = {url!r}\n"
                "worker_prefetch_multiplier = 1\ntask_acks_late = True\n"
            )
            env["PYTHONPATH"] = os.pathsep.join([str(folder), env["PYTHONPATH"]])
            command = ["-m", "celery", "-A", "dagster_celery.app", "worker", "-Q", "dagster"]
            command += ["-n", f"worker-{number}@%h", "--concurrency", "1", "--loglevel", "INFO"]
            log = (folder / "log").open("w")
            started.append(
                subprocess.Popen(
                    [sys.executable, *command],
                    cwd=folder,
                    env=env,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
            log.close()
        wait_until_ready([tmp_path / f"machine-{number}" / "log" for number in numbers], started)
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)


def wait_until_ready(logs, started):
    deadline = time.monotonic() + 120
    while not all(" ready." in log.read_text() for log in logs):
        assert all(process.poll() is None for process in started), logs[0].read_text()
        assert time.monotonic() < deadline, [log.read_text() for log in logs]
        time.sleep(0.2)


def execute(tmp_path, job, ok=True):
    """Runs a job as its user would, on a machine of its own; gives what was printed."""
    folder, env = machine(tmp_path, "of-the-run")
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "job", "execute", "-f", str(LOCATION), "-j", job],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def materialized(instance):
    """The run, and facts and data version of each materialization by asset."""
    run, *_ = instance.get_runs()
    found = {}
    for record in instance.get_records_for_run(run.run_id, limit=10_000).records:
        entry = record.event_log_entry
        materialization = entry.asset_materialization
        if materialization is not None:
            facts = {key: value.value for key, value in materialization.metadata.items()}
            version = materialization.tags["dagster/data_version"]
            found[materialization.asset_key.to_user_string()] = (facts, version)
    return run, found


def materialized_now():
    with dg.DagsterInstance.get() as instance:
        return materialized(instance)[1]


def celery_steps(instance, run):
    """The worker that each step was executed by."""
    found = {}
    for record in instance.get_records_for_run(run.run_id, limit=10_000).records:
        event = record.event_log_entry.dagster_event
        if event is not None and "in celery worker" in (event.message or ""):
            facts = event.engine_event_data.metadata
            found[event.step_key] = facts["Celery worker"].value
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The content's CIDs as the core alone makes them, without Dagster and without a service."""
    index = FileIndex(tmp_path_factory.mktemp("plain"))
    whole = list(sample_points())
    return {
        "points": index.write_samples(
            whole, name="points", sample_type=Point, max_samples=4
        ).entry.cid,
        "evens": index.write_samples(whole[::2], name="evens", sample_type=Point).entry.cid,
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_chain_names_the_same_content_under_every_executor(
    executor, own_team, home, tmp_path, expected
):
    if executor == "celery":
        with workers(tmp_path, 1, 2):
            execute(tmp_path, f"travel_{executor}")
    else:
        execute(tmp_path, f"travel_{executor}")
    with dg.DagsterInstance.get() as instance:
        run, found = materialized(instance)
        steps = celery_steps(instance, run)
    assert {key: version for key, (_, version) in found.items() if "schema" not in key} == {
        "team/points": expected["points"],
        "team/evens": expected["evens"],
        "atmosphere/points": expected["points"],
    }
    # Nothing was there before: each executor's steps wrote it all.
    moved = [facts.get("atdata/bytes_moved") for facts, _ in found.values()]
    assert [number > 0 for number in moved if number is not None] == [True] * 3
    with LocalIndex(data_store=S3DataStore()) as team:
        names = [point.name for point in team.open_dataset("evens", Point).ordered()]
    assert names == ["p0", "p2", "p4", "p6", "p8"]
    uri = found["atmosphere/points"][0]["dagster/uri"]
    assert len(load_dataset(uri, Point)) == 10
    # No step left anything on the disk of its machine.
    assert not list(tmp_path.glob("machine-*/data"))
    if executor == "celery":
        assert {"team__points", "team__evens", "atmosphere__points"} <= set(steps)
        assert {worker.partition("@")[0] for worker in steps.values()} == {"worker-1", "worker-2"}
    else:
        assert steps == {}


def failures(instance):
    """What failed in the last run: the class and text of the error, by step."""
    run, *_ = instance.get_runs()
    found = {}
    for record in instance.get_records_for_run(run.run_id, limit=10_000).records:
        event = record.event_log_entry.dagster_event
        if event is not None and event.is_step_failure:
            error = event.step_failure_data.error.cause
            found[event.step_key] = (error.cls_name, error.message)
    return found


@pytest.mark.timeout(900)
def test_a_folder_of_one_machine_is_refused_where_steps_run_on_several(own_team, home, tmp_path):
    with workers(tmp_path, 1):
        execute(tmp_path, "keep_celery", ok=False)
    with dg.DagsterInstance.get() as instance:
        assert set(failures(instance)) == {"schema__Point"}
        name, text = failures(instance)["schema__Point"]
        assert not materialized(instance)[1]
    assert name == "ConfigurationError"
    for word in (
        *("schema/Point", "local layer is a folder of one machine", "executor 'celery'"),
        *(socket.gethostname(), 'first="team"', "LocalResource(shared=True)", "ATDATA_ROOT_SHARED"),
    ):
        assert word in text
    assert not list(tmp_path.glob("machine-*/data"))


@pytest.mark.timeout(900)
def test_what_lies_on_another_machine_is_named_with_it(own_team, home, tmp_path, monkeypatch):
    # Somebody says that the folder is shared, and it isn't.
    monkeypatch.setenv("ATDATA_ROOT_SHARED", "1")
    with workers(tmp_path, 1):
        execute(tmp_path, "keep_celery")
    with workers(tmp_path, 2):
        execute(tmp_path, "pass_on_celery", ok=False)
    host = socket.gethostname()
    with dg.DagsterInstance.get() as instance:
        [(step, (name, text))] = failures(instance).items()
    assert (step, name) == ("team__kept", "NotFoundError")
    for word in (
        *("local/kept", f"expected it at {host}:{tmp_path}/machine-2/data"),
        *(f"got it at {host}:{tmp_path}/machine-1/data", 'first="team"'),
    ):
        assert word in text


@pytest.mark.timeout(900)
def test_a_folder_that_all_machines_mount_is_used_once_its_owner_says_so(
    own_team, home, tmp_path, monkeypatch
):
    monkeypatch.setenv("ATDATA_ROOT_SHARED", "1")
    monkeypatch.setenv("SHARED_FOLDER", str(tmp_path / "mount"))
    with workers(tmp_path, 1):
        execute(tmp_path, "keep_celery")
        here, _ = materialized_now()["local/kept"]
    with workers(tmp_path, 2):
        execute(tmp_path, "pass_on_celery")
    there, _ = materialized_now()["team/kept"]
    assert here["atdata/place"] == f"{socket.gethostname()}:{tmp_path / 'mount'}"
    assert there["atdata/cid"] == here["atdata/cid"]
