"""Prometheus, Alertmanager and Grafana of docs/deploy: they read the project's files, and find one another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.tools import AMTOOL, PROMTOOL

from .files import DEPLOY, GRAFANA, KUBERNETES, container_of, find, kustomize, pod_of, run

IN_COMPOSE = DEPLOY / "prometheus.yml"
IN_KUBERNETES = KUBERNETES / "monitoring" / "settings" / "prometheus.yml"
BOTH = pytest.mark.parametrize("file", [IN_COMPOSE, IN_KUBERNETES], ids=["compose", "kubernetes"])


def mounted(name: str) -> dict[str, dict[str, str]]:
    """The files of each folder that a pod mounts from a ConfigMap."""
    manifests = kustomize("monitoring")
    maps = {
        volume["name"]: find(manifests, "ConfigMap", volume["configMap"]["name"])["data"]
        for volume in pod_of(manifests, "Deployment", name)["volumes"]
        if "configMap" in volume
    }
    mounts = container_of(manifests, "Deployment", name)["volumeMounts"]
    return {mount["mountPath"]: maps[mount["name"]] for mount in mounts if mount["name"] in maps}


@BOTH
def test_prometheus_accepts_its_configuration_and_has_the_job_that_the_rules_ask_for(
    file: Path, tmp_path: Path
) -> None:
    jobs = {
        yaml.safe_load(each.read_text())["scrape_configs"][0]["job_name"] for each in (file, GRAFANA / "prometheus.yml")
    }
    assert jobs == {"invoke-gateway"}
    PROMTOOL.require()
    run("promtool", "check", "config", "--syntax-only", str(file), home=tmp_path)


def test_in_compose_it_scrapes_the_admin_listener_and_reaches_alertmanager() -> None:
    config = yaml.safe_load(IN_COMPOSE.read_text())
    (target,) = config["scrape_configs"][0]["static_configs"]
    assert target["targets"] == ["gateway:9002"]
    (alerts,) = config["alerting"]["alertmanagers"][0]["static_configs"]
    assert alerts["targets"] == ["alertmanager:9093"]


@pytest.mark.parametrize("overlay", ["single", "shared"])
def test_in_kubernetes_it_scrapes_each_gateway(overlay: str) -> None:
    """The Service has no address of its own, so its name has those of the pods, ready or not."""
    config = yaml.safe_load(IN_KUBERNETES.read_text())
    (discovery,) = config["scrape_configs"][0]["dns_sd_configs"]
    service, namespace, _ = discovery["names"][0].split(".")
    found = find(kustomize(f"overlays/{overlay}"), "Service", service)
    assert found["metadata"]["namespace"] == namespace
    assert (found["spec"]["clusterIP"], found["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert found["spec"]["ports"][0]["port"] == discovery["port"] == 9002
    assert discovery["type"] == "A"


def test_in_kubernetes_it_reaches_alertmanager() -> None:
    (alerts,) = yaml.safe_load(IN_KUBERNETES.read_text())["alerting"]["alertmanagers"][0]["static_configs"]
    name, _, port = alerts["targets"][0].partition(":")
    service = find(kustomize("monitoring"), "Service", name.split(".")[0])
    assert service["metadata"]["namespace"] == name.split(".")[1]
    assert str(service["spec"]["ports"][0]["port"]) == port


def test_each_pod_has_the_files_of_the_project() -> None:
    prometheus = mounted("prometheus")
    assert prometheus["/etc/prometheus-rules"] == {"rules.yml": (GRAFANA / "rules.yml").read_text()}
    assert prometheus["/etc/prometheus"] == {"prometheus.yml": IN_KUBERNETES.read_text()}
    assert yaml.safe_load(IN_KUBERNETES.read_text())["rule_files"] == ["/etc/prometheus-rules/rules.yml"]
    assert mounted("alertmanager")["/etc/alertmanager"] == {
        "alertmanager.yml": (GRAFANA / "alertmanager.yml").read_text()
    }
    dashboards = {file.name: file.read_text() for file in (GRAFANA / "dashboards").glob("*.json")}
    assert len(dashboards) >= 4
    grafana = mounted("grafana")
    provider = yaml.safe_load(grafana["/etc/grafana/provisioning/dashboards"]["invoke-gateway.yml"])
    assert grafana[provider["providers"][0]["options"]["path"]] == dashboards
    assert len("".join(dashboards.values()).encode()) < 1024**2, "which is the most that a ConfigMap holds"


def test_grafana_finds_prometheus() -> None:
    """The variable is the one of the data source."""
    source = yaml.safe_load(mounted("grafana")["/etc/grafana/provisioning/datasources"]["prometheus.yml"])
    variable = source["datasources"][0]["url"].removeprefix("$")
    entries = container_of(kustomize("monitoring"), "Deployment", "grafana")["env"]
    (url,) = [entry["value"] for entry in entries if entry["name"] == variable]
    service = find(kustomize("monitoring"), "Service", "prometheus")
    assert url == f"http://prometheus.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"


def test_alertmanager_accepts_its_configuration(tmp_path: Path) -> None:
    AMTOOL.require()
    run("amtool", "check-config", str(GRAFANA / "alertmanager.yml"), home=tmp_path)
