"""The files of docs/deploy, as the tools read them that deploy them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import bare_environment
from tests.support.tools import KUBECTL, find_in_environment

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
GRAFANA = ROOT / "grafana"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("single", "shared")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNIT = DEPLOY / "systemd" / "invoke-gateway.service"
IN_COMPOSE = DEPLOY / "settings" / "gateway.yaml"
IN_OVERLAYS = {name: KUBERNETES / "overlays" / name / "settings" / "gateway.yaml" for name in OVERLAYS}

Manifest = dict[str, Any]


def run(*arguments: str, home: Path) -> str:
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60, env=bare_environment(home))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def kustomize(folder: str) -> list[Manifest]:
    """Returns the manifests that `kubectl apply -k` would send. Skips the test without a kubectl."""
    kubectl = find_in_environment(KUBECTL, "kubectl")
    done = subprocess.run([kubectl, "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns of nothing, such as a field that it will not support"
    return list(yaml.safe_load_all(done.stdout))


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [one for one in manifests if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pod_of(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return dict(find(manifests, kind, name)["spec"]["template"]["spec"])


def container_of(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (container,) = pod_of(manifests, kind, name)["containers"]
    return dict(container)
