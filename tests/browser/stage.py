"""A Dagster UI with something to see: datasets in all layers, what others publish, mistakes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np

from atdata_core import AtmosphereIndex, PDSBlobStore
from atdata_core.atmosphere import AtmosphereClient
from atdata_dagster import build_definitions, dataset_asset
from definitions.assets import Digit
from tests.browser.location import defs

ROOT = Path(__file__).parents[2]
_DAGSTER_YAML = "telemetry: {enabled: false}\nnux: {enabled: false}\n"
# Dagster can't be stopped where SIGINT is ignored, as in what a shell runs in the background.
_DAGSTER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from dagster.__main__ import main
main()
"""
_WORKSPACE = {
    "load_from": [
        {"python_module": {"module_name": "tests.browser.location", "location_name": "atdata"}}
    ]
}


@dataclass(frozen=True)
class Stage:
    """What a browser walks through.

    Args:
        folder: Where its data are.
        url: The UI's origin.
        did: The account that publishes here.
        theirs: The AT URI of the dataset that another account published.
        instance: Dagster's memory.
        failed: The run that failed.
    """

    folder: Path
    url: str
    did: str
    theirs: str
    instance: dg.DagsterInstance
    failed: str


@contextlib.contextmanager
def stage(folder, net, mine, theirs):
    """`dagster dev` on the services of a devnet, after some runs.

    Args:
        folder: Where Dagster's data go, and what the local layer holds.
        net: The devnet.
        mine: The account that publishes the datasets of the location.
        theirs: The account that the location follows.
    """
    (folder / "subscription.yaml").write_text(f"handles: [{theirs.handle}]\n")
    (folder / "workspace.yaml").write_text(json.dumps(_WORKSPACE))
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text(_DAGSTER_YAML)
    settings = {
        "DAGSTER_HOME": str(folder / "home"),
        "ATDATA_ROOT": str(folder / "local"),
        "ATDATA_CATALOGUE": str(folder / "catalogue.db"),
        # Datasets of other tests have names, too.
        "ATDATA_REDIS_URL": f"{net.env['ATDATA_REDIS_URL'].rpartition('/')[0]}/14",
        "ATDATA_HANDLE": mine.handle,
        "ATDATA_APP_PASSWORD": mine.app_password,
    }
    with _environment({**net.env, **settings}):
        uri = _publish(theirs)
        with _dagster_dev(folder) as (url, is_up), dg.DagsterInstance.get() as instance:
            failed = _run_everything(instance)
            is_up()
            yield Stage(folder, url, mine.did, uri, instance, failed)


def _digits(count):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for image, label in zip(bunch.images[:count], bunch.target[:count], strict=True):
        yield Digit(image=image.astype(np.uint8), label=int(label))


def _publish(account):
    with AtmosphereClient(os.environ["ATDATA_PDS_URL"]) as client:
        client.login(account.handle, account.app_password)
        index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
        return index.write_samples(
            _digits(100),
            name="hundred_digits",
            sample_type=Digit,
            license="CC-BY-4.0",
            description="A hundred digits.",
        ).entry.uri


def _run_everything(instance):
    @dataset_asset(Digit, name="digits", promote=("team", "atmosphere"), license="CC-BY-4.0")
    def before():
        """The first version of the digits, of which there were fewer."""
        yield from _digits(1000)

    everything, wrong = dg.AssetSelection.all(), dg.AssetSelection.assets("local/short_days")
    assert _run(build_definitions(before), instance, everything).success
    ours = everything - dg.AssetSelection.groups("inbox") - wrong
    assert _run(defs, instance, ours).success
    failed = _run(defs, instance, wrong)
    assert not failed.success
    return failed.run_id


def _run(definitions, instance, selection):
    job = dg.define_asset_job("walk", selection)
    whole = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    return whole.resolve_job_def("walk").execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


@contextlib.contextmanager
def _environment(settings):
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _dagster_dev(folder):
    """Webserver and daemon; yields the origin, and a function that waits until it answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    log = (folder / "dagster.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-c", _DAGSTER, "dev", "-h", "127.0.0.1", "-p", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"

    def is_up():
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                return urllib.request.urlopen(f"{url}/server_info", timeout=10).close()
            said = Path(log.name).read_text()
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.3)

    try:
        yield url, is_up
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
