"""The page on Kubernetes, as far as it can be held to its word without a cluster."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster_celery import celery_executor
from dagster_k8s import K8sRunLauncher, construct_dagster_k8s_job, k8s_job_executor
from kubernetes.client import ApiClient

from atdata_core import LocalIndex, S3DataStore
from atdata_dagster.places import ELSEWHERE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text("utf-8")
[CODE] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
[DOCKERFILE] = re.findall(r"```dockerfile\n(.*?)```", PAGE, flags=re.DOTALL)
MANIFESTS, HELM, INSTANCE = (
    list(yaml.safe_load_all(text)) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
)
SETS = {manifest["metadata"]["name"]: manifest for manifest in MANIFESTS}
VARIABLES = {
    name for each in MANIFESTS for name in {**each.get("stringData", {}), **each.get("data", {})}
}
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
"""


@pytest.fixture
def instance_of_page(tmp_path):
    """Dagster's instance as the page's `dagster.yaml` says, but for the way to a cluster."""
    [config] = INSTANCE
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    way = {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "kubeconfig")}
    launcher = {**config["run_launcher"], "config": {**config["run_launcher"]["config"], **way}}
    text = yaml.safe_dump({**config, "run_launcher": launcher, "telemetry": {"enabled": False}})
    (tmp_path / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def test_every_variable_is_a_setting_and_those_that_are_needed_are_there():
    known = set(re.findall(r"`((?:ATDATA|AWS)_[A-Z0-9_]+)`", SETTINGS))
    assert known >= VARIABLES
    needed = [row for row in SETTINGS.splitlines() if "an error that says so" in row]
    names = {name for row in needed for name in re.findall(r"`(ATDATA_[A-Z0-9_]+)`", row)}
    assert names - VARIABLES == {"ATDATA_ROOT"}
    assert "`ATDATA_ROOT`" in PAGE
    named = set(re.findall(r"ATDATA_[A-Z0-9_]+", PAGE))
    assert named <= known


def test_secrets_are_in_secrets():
    for name, manifest in SETS.items():
        held = manifest.get("stringData", manifest.get("data"))
        secret = {each for each in held if re.search("PASSWORD|SECRET|ACCESS_KEY|REDIS_URL", each)}
        assert manifest["apiVersion"] == "v1"
        assert manifest["metadata"]["namespace"] == "dagster"
        assert (manifest["kind"] == "Secret") == bool(secret), name


def test_the_definitions_run_with_the_variables_of_the_page_alone(
    services, bucket, tmp_path, monkeypatch, instance
):
    given = {name: os.environ[name] for name in VARIABLES}
    for name in [name for name in os.environ if name.startswith(("ATDATA_", "AWS_"))]:
        if not name.startswith("ATDATA_DEVNET"):
            monkeypatch.delenv(name)
    for name, value in {**given, "ATDATA_S3_BUCKET": bucket}.items():
        monkeypatch.setenv(name, value)
    # The directory of this machine's accounts, which the world has in public.
    monkeypatch.setenv("ATDATA_PLC_URL", services.env["ATDATA_PLC_URL"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kubernetes_page.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    import kubernetes_page

    defs = kubernetes_page.defs
    assert defs.executor.name == "k8s"
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.executor_def.name == "k8s"
    assert job.execute_in_process(instance=instance).success
    with LocalIndex(data_store=S3DataStore()) as team:
        assert team.get_dataset("northern").rows == 1
    del sys.modules["kubernetes_page"]


def test_dagster_loads_the_instance_and_makes_a_pod_of_it(instance_of_page):
    launcher = instance_of_page.run_launcher
    assert isinstance(launcher, K8sRunLauncher)
    assert instance_of_page.run_monitoring_enabled
    run = instance_of_page.create_run_for_job(_job())
    context = launcher.get_container_context_for_run(run)
    config = context.get_k8s_job_config("registry.example.org/our-datasets:1.0", launcher)
    job = construct_dagster_k8s_job(
        config, ["dagster"], "job", context.run_k8s_config, pod_name="pod"
    )
    spec = ApiClient().sanitize_for_serialization(job)["spec"]["template"]["spec"]
    [container] = spec["containers"]
    sources = {
        source[kind]["name"]
        for source in container["envFrom"]
        for kind in ("secretRef", "configMapRef")
        if kind in source
    }
    assert sources >= set(SETS)
    assert {"name": "scratch", "mountPath": "/tmp"} in container["volumeMounts"]
    assert {"name": "scratch", "emptyDir": {"sizeLimit": "2Gi"}} in spec["volumes"]
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    assert spec["serviceAccountName"] == "dagster"


def _job():
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def job():
        nothing()

    return job


def test_a_mistake_in_the_instance_would_be_noticed(tmp_path):
    [config] = INSTANCE
    for wrong in ({"run_monitorin": {}}, {"concurrency": {"pools": {"granularity": "thread"}}}):
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({**config, **wrong}))
        with pytest.raises(dg.DagsterInvalidConfigError):
            dg.DagsterInstance.from_config(str(tmp_path))


def test_helm_says_what_the_instance_says():
    [helm], [instance] = HELM, INSTANCE
    [location] = helm["dagster-user-deployments"]["deployments"]
    launcher = instance["run_launcher"]["config"]
    image = location["image"]
    assert f"{image['repository']}:{image['tag']}" == launcher["job_image"]
    assert [each["name"] for each in location["envSecrets"]] == launcher["env_secrets"]
    assert [each["name"] for each in location["envConfigMaps"]] == launcher["env_config_maps"]
    assert {*launcher["env_secrets"], *launcher["env_config_maps"]} == set(SETS)
    runs = helm["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    assert _snake(runs) == launcher["run_k8s_config"]
    pools = _snake(helm["concurrency"]["pools"])
    assert pools == instance["concurrency"]["pools"]
    monitoring = _snake(helm["dagsterDaemon"]["runMonitoring"])
    assert monitoring.items() <= instance["run_monitoring"].items()


def _snake(value):
    if isinstance(value, dict):
        return {
            re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", k): _snake(v) for k, v in value.items()
        }
    return [_snake(each) for each in value] if isinstance(value, list) else value


def test_commands_and_image_are_such_as_there_are(tmp_path):
    [helm] = HELM
    [location] = helm["dagster-user-deployments"]["deployments"]
    option, module = location["dagsterApiGrpcArgs"]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    shown = _dagster(["api", "grpc", "--help"], environment)
    assert option in shown
    assert f"COPY {module}.py" in DOCKERFILE
    [command] = re.findall(r"`dagster (instance concurrency set [^`]+)`", PAGE)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    _dagster(command.split(), environment)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        [limit] = instance.event_log_storage.get_pool_limits()
    assert (limit.name, limit.limit) == ("atdata_pds", 2)
    classifiers = (ROOT / "pyproject.toml").read_text()
    [python] = re.findall(r"FROM python:(\S+)-slim", DOCKERFILE)
    assert f"Python :: {python}" in classifiers
    assert "atdata-dagster dagster-k8s" in DOCKERFILE


def _dagster(arguments, environment):
    command = [sys.executable, "-m", "dagster", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_both_executors_are_known_by_the_names_that_they_register():
    assert {k8s_job_executor.name, celery_executor.name} <= ELSEWHERE
