"""What all tests share: an environment without settings, and real services started once.

A test that needs no service starts none. A service that doesn't start fails the tests that need
it; nothing is skipped.
"""

import os
import secrets
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    # For `tests.support`; at the end, so that an installed package is the one that is tested.
    sys.path.append(str(ROOT))

# The same examples in every run, and no deadline: two cores are shared with servers.
settings.register_profile(
    "repo",
    derandomize=True,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("repo")

_KEPT = ("ATDATA_DEVNET", "ATDATA_INTEROP_VECTORS", "AWS_CA_BUNDLE")
_TEST_DB = 15


def _settings():
    names = (name for name in os.environ if name.startswith(("ATDATA_", "AWS_")))
    return [name for name in names if not name.startswith(_KEPT)]


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory):
    """The user's settings and profiles are out of sight, for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _settings():
            patch.delenv(name)
        nowhere = str(tmp_path_factory.getbasetemp() / "no-such-file")
        patch.setenv("AWS_CONFIG_FILE", nowhere)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(autouse=True)
def no_settings(request, own_environment, monkeypatch):
    """A test sees the settings of the services only if it asks for them."""
    if "services" not in request.fixturenames:
        for name in _settings():
            if name.startswith("ATDATA_") or name in ("AWS_ACCESS_KEY_ID", "AWS_REGION"):
                monkeypatch.delenv(name)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)


@pytest.fixture(scope="session")
def services(own_environment, tmp_path_factory):
    """A running devnet, with Redis, S3 and PDS; the environment leads to it."""
    from atdata_dagster.devnet import Devnet

    with (
        Devnet(tmp_path_factory.mktemp("services") / "net").running() as net,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in net.env.items():
            patch.setenv(name, value)
        yield net


def pytest_xdist_auto_num_workers():
    """One worker more than there are cores, since many tests wait for servers."""
    return min(4, 1 + (os.cpu_count() or 1))


# What takes longest is begun first, so that no worker is left alone with it in the end.
_LONGEST = ("executors", "journey", "components", "inbound", "walk", "tutorial", "readme")
_LONGEST += ("endurance", "supervision", "several_pds", "cli", "operating", "checks", "manifests")


def pytest_collection_modifyitems(items):
    turns = {f"test_{name}.py": turn for turn, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: turns.get(item.path.name, len(turns)))
    # The first of them may have to install the services.
    for item in items:
        if "services" in item.fixturenames and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="module")
def account(services):
    """An account of this module's own on the PDS."""
    return services.create_account(f"t{secrets.token_hex(5)}")


@pytest.fixture(scope="module")
def client(account):
    """That account, logged in."""
    from atdata_core.atmosphere import AtmosphereClient

    with AtmosphereClient() as client:
        client.login(account.handle, account.app_password)
        yield client


@pytest.fixture
def liar(monkeypatch):
    """A PLC directory, PDS and relay in one, which lies when told so; settings lead to it."""
    from atdata_core.atproto.identity import forget_identities
    from tests.support.liar import Liar

    forget_identities()
    with Liar() as server:
        monkeypatch.setenv("ATDATA_PLC_URL", server.url)
        monkeypatch.setenv("ATDATA_PDS_URL", server.url)
        yield server


@pytest.fixture
def redis_url(services):
    """A Redis database without a key in it."""
    from redis import Redis

    url = f"{services.env['ATDATA_REDIS_URL'].rpartition('/')[0]}/{_TEST_DB}"
    with Redis.from_url(url) as redis:
        redis.flushdb()
    return url


@pytest.fixture
def redis(redis_url):
    """The same database, for a look past the library."""
    from redis import Redis

    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture(scope="session")
def boto(services):
    """S3, for a look past the library."""
    import boto3
    from botocore.config import Config

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=services.env["ATDATA_S3_ENDPOINT"],
        region_name=services.env["AWS_REGION"],
        aws_access_key_id=services.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=services.env["AWS_SECRET_ACCESS_KEY"],
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    yield client
    client.close()


@pytest.fixture
def bucket(boto):
    """A new bucket."""
    name = f"test-{secrets.token_hex(8)}"
    boto.create_bucket(Bucket=name)
    return name


@pytest.fixture
def rng():
    """Random numbers, the same in every run."""
    return np.random.default_rng(7)
