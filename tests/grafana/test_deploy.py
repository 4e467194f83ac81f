"""The files in docs/deploy: by their schemas, by the tools that read their parts, and against one another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from invoke_gateway.queue.location import find_file
from invoke_gateway.queue.sqlite.journal import CLOSE_SECONDS
from invoke_gateway.settings import Settings
from tests.support.processes import bare_environment
from tests.support.tools import PROMTOOL

from .expressions import ROOT

DEPLOY = ROOT / "docs" / "deploy"
GRAFANA = ROOT / "grafana"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
MANIFESTS = [document for file in FILES for document in yaml.safe_load_all(file.read_text())]
EACH = pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda manifest: f"{manifest['kind']} {manifest['metadata']['name']}"
)


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in MANIFESTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return dict(found)


GATEWAY = named("Deployment", "gateway")["spec"]["template"]["spec"]
IN_COMPOSE = (DEPLOY / "settings" / "gateway.yaml").read_text()
IN_KUBERNETES = named("ConfigMap", "gateway-settings")["data"]["gateway.yaml"]
SETTINGS = pytest.mark.parametrize("text", [IN_COMPOSE, IN_KUBERNETES], ids=["compose", "kubernetes"])


def run(*arguments: str, home: Path) -> str:
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60, env=bare_environment(home))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_compose_file_suits_the_compose_specification(tmp_path: Path) -> None:
    tool = str(Path(sys.executable).with_name("check-jsonschema"))
    run(tool, "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"), home=tmp_path)


@EACH
def test_a_manifest_suits_kubernetes_schema(manifest: dict[str, Any]) -> None:
    """The newest version that the package knows; no key that the schema does not."""
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@EACH
def test_a_manifest_is_in_the_namespace(manifest: dict[str, Any]) -> None:
    if manifest["kind"] != "Namespace":
        assert manifest["metadata"]["namespace"] == named("Namespace", "invoke-gateway")["metadata"]["name"]


@SETTINGS
def test_the_gateway_takes_its_settings(text: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text.replace("0.0.0.0:9001", "127.0.0.1:0").replace("0.0.0.0:9002", "127.0.0.1:0"))
    assert "ok" in run(sys.executable, "-m", "invoke_gateway", "check", str(file), home=tmp_path)


@SETTINGS
def test_it_listens_on_the_ports_that_are_published_and_drains_within_its_time(text: str) -> None:
    """The time between SIGTERM and SIGKILL is longer than the drain, in Kubernetes after the pause before it."""
    settings = Settings.model_validate(yaml.safe_load(text))
    assert (str(settings.listen), str(settings.admin)) == ("0.0.0.0:9001", "0.0.0.0:9002")
    ports = {port["name"]: port["containerPort"] for port in GATEWAY["containers"][0]["ports"]}
    assert ports == {"invoke": settings.listen.port, "admin": settings.admin.port}
    assert {int(port.split(":")[-1]) for port in COMPOSE["services"]["gateway"]["ports"]} == set(ports.values())
    at_most = settings.drain_seconds + CLOSE_SECONDS  # the store of events may need as much after the drain
    assert int(COMPOSE["services"]["gateway"]["stop_grace_period"].rstrip("s")) > at_most
    pause = int(GATEWAY["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert GATEWAY["terminationGracePeriodSeconds"] > pause + at_most
    probe = GATEWAY["containers"][0]["readinessProbe"]
    assert probe["httpGet"] == {"path": "/readyz", "port": "admin"}
    assert probe["timeoutSeconds"] > 1  # the first look at the backend may take a second
    assert settings.buffer_bytes * 2 <= 1024**3 == _bytes(GATEWAY["containers"][0]["resources"]["limits"]["memory"])


def test_there_is_one_gateway_and_never_two() -> None:
    """It counts in its own process."""
    deployment = named("Deployment", "gateway")["spec"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")
    assert COMPOSE["services"]["gateway"]["deploy"]["replicas"] == 1


def test_events_are_kept_on_a_volume_that_the_gateways_user_may_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all three the same folder: the one that the gateway takes without `async.store`."""
    text = (DEPLOY / "Dockerfile").read_text()
    ((name, value),) = re.findall(r"^ENV (\w+)=(\S+)$", text, re.MULTILINE)
    monkeypatch.setenv(name, value)
    for settings in (IN_COMPOSE, IN_KUBERNETES):
        parsed = Settings.model_validate(yaml.safe_load(settings))
        assert parsed.event_store is None
        file, is_temporary = find_file(None, parsed.listen.port)
        assert not is_temporary
    (user,) = re.findall(r"^USER (\d+):\1$", text, re.MULTILINE)
    assert f"RUN install -d -m 0700 -o {user} -g {user} {file.parent}\n" in text
    assert f"VOLUME {file.parent}\n" in text
    assert f"state:{file.parent}" in COMPOSE["services"]["gateway"]["volumes"]
    (mounted,) = [mount for mount in GATEWAY["containers"][0]["volumeMounts"] if mount["mountPath"] == str(file.parent)]
    (volume,) = [volume for volume in GATEWAY["volumes"] if volume["name"] == mounted["name"]]
    named("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert GATEWAY["securityContext"]["fsGroup"] == GATEWAY["securityContext"]["runAsUser"] == int(user)
    assert str(file) in (DEPLOY / "README.md").read_text()


def test_ports_of_this_machine_are_open_to_this_machine_only() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_only_prometheus_may_reach_the_admin_listener() -> None:
    invoke, admin = named("NetworkPolicy", "gateway")["spec"]["ingress"]
    assert [port["port"] for port in invoke["ports"]] == [9001]
    assert [port["port"] for port in admin["ports"]] == [9002]
    (allowed,) = admin["from"]
    labels = named("Deployment", "prometheus")["spec"]["template"]["metadata"]["labels"]
    assert allowed["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    "service", [one for one in MANIFESTS if one["kind"] == "Service"], ids=lambda service: service["metadata"]["name"]
)
def test_a_service_leads_to_a_port_of_pods_that_are_there(service: dict[str, Any]) -> None:
    pods = [one["spec"]["template"] for one in MANIFESTS if one["kind"] == "Deployment"]
    (pod,) = [pod for pod in pods if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
    ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_a_pod_mounts_is_there_or_its_file_says_how_to_make_it(file: Path) -> None:
    text = file.read_text()
    wanted = set(re.findall(r"(configMap|secretKeyRef|persistentVolumeClaim): \{(?:claimN|n)ame: ([\w-]+)", text))
    kinds = {"configMap": "ConfigMap", "persistentVolumeClaim": "PersistentVolumeClaim", "secretKeyRef": "Secret"}
    there = {(one["kind"], one["metadata"]["name"]) for one in MANIFESTS}
    made = {("ConfigMap", name) for name in re.findall(r"create configmap ([\w-]+)", text)}
    made |= {("Secret", name) for name in re.findall(r"create secret generic ([\w-]+)", text)}
    assert wanted
    assert {(kinds[kind], name) for kind, name in wanted} <= there | made
    for path in re.findall(r"--from-file=([\w./-]+)", text):
        assert (ROOT / path).exists()


def test_what_the_compose_file_mounts_and_builds_is_there() -> None:
    volumes = [volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service["volumes"]]
    paths = [volume for volume in volumes if volume.startswith(".")]
    assert len(paths) == 5
    assert all((DEPLOY / path).exists() for path in paths)
    assert set(volumes) - set(paths) == set(COMPOSE["volumes"])
    build = COMPOSE["services"]["gateway"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_what_the_image_is_made_of_is_there() -> None:
    copied = re.findall(r"^COPY (.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert names
    assert all((ROOT / name).exists() for name in names)


def test_prometheus_has_the_job_that_the_rules_ask_for(tmp_path: Path) -> None:
    ours = (GRAFANA / "prometheus.yml").read_text()
    compose = (DEPLOY / "prometheus.yml").read_text()
    kubernetes = named("ConfigMap", "prometheus")["data"]["prometheus.yml"]
    jobs = {yaml.safe_load(text)["scrape_configs"][0]["job_name"] for text in (ours, compose, kubernetes)}
    assert jobs == {"invoke-gateway"}
    PROMTOOL.require()
    for text in (compose, kubernetes):
        file = tmp_path / "prometheus.yml"
        file.write_text(text)
        run("promtool", "check", "config", "--syntax-only", str(file), home=tmp_path)


def test_what_prometheus_scrapes_is_the_admin_listener() -> None:
    (compose,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"]
    assert compose["targets"] == ["gateway:9002"]
    config = yaml.safe_load(named("ConfigMap", "prometheus")["data"]["prometheus.yml"])
    (kubernetes,) = config["scrape_configs"][0]["static_configs"]
    service, namespace, _ = kubernetes["targets"][0].split(".")
    found = named("Service", service)
    assert (found["metadata"]["namespace"], found["spec"]["ports"][0]["port"]) == (namespace, 9002)


def test_grafana_finds_the_dashboards_and_prometheus() -> None:
    """The folder is the provider's, and the variable the data source's."""
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "invoke-gateway.yml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    source = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    variable = source["datasources"][0]["url"].removeprefix("$")
    service = COMPOSE["services"]["grafana"]
    assert f"../../grafana/dashboards:{folder}:ro" in service["volumes"]
    assert service["environment"][variable] == "http://prometheus:9090"
    (container,) = named("Deployment", "grafana")["spec"]["template"]["spec"]["containers"]
    assert folder in [mount["mountPath"] for mount in container["volumeMounts"]]
    (value,) = [entry["value"] for entry in container["env"] if entry["name"] == variable]
    assert value == "http://prometheus.invoke-gateway.svc:9090"


def test_all_say_that_they_are_checked_by_schema_only() -> None:
    for file in (DEPLOY / "compose.yaml", *FILES):
        assert re.search(r"^#.* ?Checked against .* only: nobody", file.read_text(), re.MULTILINE), file
    assert "checked by schema only" in (DEPLOY / "README.md").read_text()


def _bytes(quantity: str) -> int:
    assert quantity.endswith("Gi")
    return int(quantity.removesuffix("Gi")) * 1024**3
