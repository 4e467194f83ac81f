"""The overlays as kustomize builds them: by Kubernetes' schemas, against the settings, and against one another.

Of the shared overlay, the store and two gateways are started too, with the arguments, the settings and the variables of
the manifests. No cluster is here.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import redis
import yaml

from invoke_gateway.queue.sqlite.journal import CLOSE_SECONDS
from invoke_gateway.settings import Settings
from tests.support.processes import bare_environment, free_port, running, wait_until
from tests.support.sockets import Wire, fetch, invoke
from tests.support.stores import find_binary

from .files import IN_COMPOSE, IN_OVERLAYS, KUBERNETES, OVERLAYS, ROOT, container_of, find, kustomize, pod_of, run

EACH = pytest.mark.parametrize("overlay", OVERLAYS)
FOLDERS = pytest.mark.parametrize("folder", [*(f"overlays/{name}" for name in OVERLAYS), "monitoring"])
SETTINGS = pytest.mark.parametrize(
    "file", [IN_COMPOSE, *IN_OVERLAYS.values()], ids=["compose", *(f"kubernetes, {name}" for name in OVERLAYS)]
)
PASSWORD = "0123456789abcdef"


def overlay_of(name: str) -> list[dict[str, Any]]:
    return kustomize(f"overlays/{name}")


def settings_of(name: str) -> Settings:
    text = find(overlay_of(name), "ConfigMap", "gateway-settings")["data"]["gateway.yaml"]
    return Settings.model_validate(yaml.safe_load(text))


@FOLDERS
def test_each_manifest_suits_kubernetes_schema(folder: str) -> None:
    """The newest version that the package knows; no key that the schema does not have."""
    manifests = kustomize(folder)
    assert len(manifests) > 6
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@FOLDERS
def test_each_manifest_is_in_the_namespace(folder: str) -> None:
    for manifest in kustomize(folder):
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "invoke-gateway"
    for overlay in OVERLAYS:
        find(overlay_of(overlay), "Namespace", "invoke-gateway")


@FOLDERS
def test_no_container_may_become_root_or_write_to_its_image(folder: str) -> None:
    workloads = [one for one in kustomize(folder) if one["kind"] in ("Deployment", "StatefulSet")]
    pods = [one["spec"]["template"]["spec"] for one in workloads]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= container["resources"].keys()
            assert re.search(r":v?\d", container["image"]), "a version, not what is latest"


@SETTINGS
def test_the_gateway_accepts_its_settings(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    own = tmp_path / "gateway.yaml"
    own.write_text(text.replace("0.0.0.0:9001", "127.0.0.1:0").replace("0.0.0.0:9002", "127.0.0.1:0"))
    assert "ok" in run(sys.executable, "-m", "invoke_gateway", "check", str(own), home=tmp_path)


@EACH
def test_it_listens_on_the_ports_that_are_published_and_drains_within_its_time(overlay: str) -> None:
    """The time between SIGTERM and SIGKILL is longer than the pause before it and the drain."""
    settings = settings_of(overlay)
    pod = pod_of(overlay_of(overlay), "Deployment", "gateway")
    container = container_of(overlay_of(overlay), "Deployment", "gateway")
    assert (str(settings.listen), str(settings.admin)) == ("0.0.0.0:9001", "0.0.0.0:9002")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"invoke": settings.listen.port, "admin": settings.admin.port}
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    # The store of events may need as much after the drain.
    assert pod["terminationGracePeriodSeconds"] > pause + settings.drain_seconds + CLOSE_SECONDS
    probe = container["readinessProbe"]
    assert probe["httpGet"] == {"path": "/readyz", "port": "admin"}
    assert probe["timeoutSeconds"] > 1  # the first check of the backend may take a second
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert settings.buffer_bytes * 2 <= 1024**3
    assert settings.watch is True


@EACH
def test_it_has_a_folder_for_temporary_files(overlay: str) -> None:
    """The demo backend's events are in one, and the root is read-only."""
    mounts = container_of(overlay_of(overlay), "Deployment", "gateway")["volumeMounts"]
    assert "/tmp" in [mount["mountPath"] for mount in mounts if not mount.get("readOnly")]


def test_without_a_store_there_is_one_gateway_and_never_two() -> None:
    deployment = find(overlay_of("single"), "Deployment", "gateway")["spec"]
    assert settings_of("single").counters == "memory"
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert not [one for one in overlay_of("single") if one["kind"] == "PodDisruptionBudget"], "it would block a drain"


def test_with_a_store_there_are_several_on_different_nodes_and_one_is_always_there() -> None:
    manifests = overlay_of("shared")
    deployment = find(manifests, "Deployment", "gateway")["spec"]
    assert deployment["replicas"] >= 2
    assert deployment["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    labels = deployment["template"]["metadata"]["labels"]
    budget = find(manifests, "PodDisruptionBudget", "gateway")["spec"]
    assert budget["maxUnavailable"] < deployment["replicas"]
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for selector in (budget["selector"], *(one["labelSelector"] for one in spread)):
        assert selector["matchLabels"] == labels
    claims = [volume for volume in deployment["template"]["spec"]["volumes"] if "persistentVolumeClaim" in volume]
    assert claims == [], "gateways never share a file of events"
    assert settings_of("shared").event_store == settings_of("shared").counters


@FOLDERS
def test_a_service_leads_to_a_port_of_pods_that_are_there(folder: str) -> None:
    manifests = kustomize(folder)
    services = [one for one in manifests if one["kind"] == "Service"]
    pods = [one["spec"]["template"] for one in manifests if one["kind"] in ("Deployment", "StatefulSet")]
    assert services
    for service in services:
        (pod,) = [pod for pod in pods if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@FOLDERS
def test_what_a_pod_refers_to_is_there_or_the_kustomization_says_how_to_make_it(folder: str) -> None:
    manifests = kustomize(folder)
    text = yaml.safe_dump_all(manifests)
    wanted = set(re.findall(r"configMap:\n\s+name: ([\w-]+)", text))
    wanted |= set(re.findall(r"claimName: ([\w-]+)", text))
    there = {one["metadata"]["name"] for one in manifests if one["kind"] in ("ConfigMap", "PersistentVolumeClaim")}
    assert wanted
    assert wanted <= there
    secrets = set(re.findall(r"secretKeyRef:\n\s+key: \w+\n\s+name: ([\w-]+)", text))
    says = (KUBERNETES / folder / "kustomization.yaml").read_text()
    assert secrets == set(re.findall(r"create secret generic ([\w-]+)", says))


@EACH
def test_only_prometheus_may_reach_the_admin_listener(overlay: str) -> None:
    invoked, admin = find(overlay_of(overlay), "NetworkPolicy", "gateway")["spec"]["ingress"]
    assert [port["port"] for port in invoked["ports"]] == [9001]
    assert [port["port"] for port in admin["ports"]] == [9002]
    (allowed,) = admin["from"]
    pod = find(kustomize("monitoring"), "Deployment", "prometheus")["spec"]["template"]
    assert allowed["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_only_gateways_may_reach_the_store() -> None:
    manifests = overlay_of("shared")
    policy = find(manifests, "NetworkPolicy", "valkey")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= _labels(manifests, "StatefulSet", "valkey").items()
    ((rule,),) = [one["from"] for one in policy["ingress"]]
    assert rule["podSelector"]["matchLabels"].items() <= _labels(manifests, "Deployment", "gateway").items()
    assert [port["port"] for port in policy["ingress"][0]["ports"]] == [6379]


def _labels(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, str]:
    return dict(find(manifests, kind, name)["spec"]["template"]["metadata"]["labels"])


def expand(text: str, variables: dict[str, str]) -> str:
    """Replaces $(NAME) as Kubernetes does."""
    return re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], text)


def expand_container(kind: str, name: str, address: str) -> tuple[list[str], dict[str, str]]:
    """Returns the arguments and the variables of a container, with the store at another address."""
    container = container_of(overlay_of("shared"), kind, name)
    entries = container["env"]
    secret = {entry["name"]: PASSWORD for entry in entries if "valueFrom" in entry}
    values = {entry["name"]: expand(entry["value"], secret) for entry in entries if "value" in entry}
    variables = {key: value.replace("valkey:6379", address) for key, value in values.items()}
    return [expand(one, secret) for one in container["args"]], variables


def test_two_gateways_of_the_shared_overlay_enforce_one_limit(tmp_path: Path) -> None:
    """Only ports and folders are the test's."""
    port = free_port()
    (server, *arguments), _ = expand_container("StatefulSet", "valkey", "")
    assert server == "valkey-server"
    data = arguments.index("--dir") + 1
    mounts = container_of(overlay_of("shared"), "StatefulSet", "valkey")["volumeMounts"]
    assert arguments[data] == mounts[0]["mountPath"]
    arguments[data] = str(tmp_path)
    own = ["--bind", "127.0.0.1", "--port", str(port)]
    text = find(overlay_of("shared"), "ConfigMap", "gateway-settings")["data"]["gateway.yaml"]
    text = text.replace("0.0.0.0:9001", "127.0.0.1:0").replace("0.0.0.0:9002", "127.0.0.1:0")
    file = tmp_path / "gateway.yaml"
    file.write_text(text.replace("valkey:6379", f"127.0.0.1:{port}"))
    (command, *_), variables = expand_container("Deployment", "gateway", f"127.0.0.1:{port}")
    with ExitStack() as stack:
        start = [str(find_binary("valkey")), *arguments, *own]
        valkey = stack.enter_context(running(start, tmp_path / "store.log", bare_environment(tmp_path), tmp_path))
        client = stack.enter_context(redis.Redis(port=port, password=PASSWORD, decode_responses=True))
        valkey.wait_until(lambda: _answers(client), "Valkey answers")
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        # Else the gateways would wait for a lease, for others that may run calls.
        run_id = client.info()["run_id"][:16]
        client.hset("invoke-gateway:{000000000000}:state", mapping={"run": run_id, "refill": 0})
        ports = []
        for number in range(2):
            log = tmp_path / f"gateway-{number}.log"
            serve = [sys.executable, "-m", "invoke_gateway", command, "--config", str(file)]
            process = stack.enter_context(running(serve, log, {**bare_environment(tmp_path), **variables}, ROOT))
            process.wait_until(lambda log=log: "admin on" in log.read_text(), "admin on …")
            found = [re.search(rf"{name} on http://\S+?:(\d+)", log.read_text()) for name in ("Invoke API", "admin")]
            ports.append([int(one[1]) for one in found if one])
        for _, admin in ports:
            wait_until(lambda admin=admin: fetch(admin, "/readyz").status == 200, "the gateway is ready")
        (first, first_admin), (second, _) = ports
        hold = json.dumps({"function": "sleep", "slots": 10}).encode()
        with Wire(first_admin) as wire:
            held = wire.send(invoke("", hold, "Content-Type: application/json", path="/holds")).answer()
        assert held.json["slots"] == 10, held
        with Wire(second) as wire:
            refused = wire.send(invoke("sleep", b"{}")).answer()
        assert refused.status == 429
        assert refused.json["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        with Wire(first) as wire:
            event = invoke("echo", b"{}", "X-Amz-Invocation-Type: Event")
            assert wire.send(event).answer().status == 202
        assert client.keys("{invoke-gateway:events}:*")
        assert client.config_get("append*")["appendfsync"] == "always"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def _answers(client: Any) -> bool:
    with suppress(redis.ConnectionError):
        return bool(client.ping())
    return False
