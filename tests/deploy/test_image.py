"""The Dockerfile: by its linter, and against what it copies and what the gateway needs in a container."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from invoke_gateway.queue.location import find_file
from invoke_gateway.settings import Settings
from tests.support.processes import bare_environment, free_port, running, wait_until
from tests.support.sockets import fetch
from tests.support.tools import HADOLINT, find_in_environment

from .files import COMPOSE, DEPLOY, DOCKERFILE, IN_COMPOSE, OVERLAYS, ROOT, container_of, find, kustomize, pod_of, run

JOINED = DOCKERFILE.replace("\\\n", "")
(USER,) = re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)


def test_hadolint_accepts_it(tmp_path: Path) -> None:
    assert run(find_in_environment(HADOLINT, "hadolint"), str(DEPLOY / "Dockerfile"), home=tmp_path) == ""


def test_each_rule_that_is_ignored_has_its_reason() -> None:
    for line in re.findall(r"^# hadolint .*$", DOCKERFILE, re.MULTILINE):
        assert re.fullmatch(r"# hadolint ignore=DL\d{4} # \w.*", line)


def copied() -> list[str]:
    """What is taken from the source tree."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    return [name for line in lines for name in line.split()]


def test_what_it_copies_is_there_and_is_all_of_the_context() -> None:
    assert all((ROOT / name).exists() for name in copied())
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied())
    assert "**/__pycache__" in ignored


def test_what_a_build_reads_is_copied() -> None:
    """What pyproject.toml names as a file: the packages with their build hook, the README and the licence."""
    text = (ROOT / "pyproject.toml").read_text()
    named = {*re.findall(r'path = "([^"]+)"', text), *re.findall(r'license-files = \["([^"]+)"\]', text)}
    named |= {path.partition("/")[0] for path in re.findall(r'^packages = \["([^"]+)"', text, re.MULTILINE)}
    assert named == {"README.md", "LICENSE", "gateway", "gateway/build_compiled.py"}
    assert {path.partition("/")[0] for path in named} <= set(copied())


def test_it_has_two_stages_and_the_second_one_builds_nothing() -> None:
    first, second = re.split(r"^FROM ", JOINED, flags=re.MULTILINE)[1:]
    assert first.splitlines()[0].removesuffix(" AS build") == second.splitlines()[0], "one Python for both"
    assert "pip install '.[sqs]'" in first
    (folder,) = re.findall(r"-m venv (\S+)", first)
    assert f"COPY --from=build {folder} {folder}\n" in second, "an environment works only where it was made"
    assert f"ENV PATH={folder}/bin:$PATH\n" in second
    assert "pip" not in re.sub(r"^#.*$", "", second, flags=re.MULTILINE)
    assert second.index(f"USER {USER}") < second.index("ENTRYPOINT")
    assert int(USER) > 0


def health_check() -> list[str]:
    (command,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", JOINED, re.MULTILINE)
    return list(json.loads(command))


@pytest.mark.parametrize("source", ["Dockerfile", "compose.yaml"])
def test_the_health_check_succeeds_beside_a_gateway_only(source: str, tmp_path: Path) -> None:
    """It is the command itself that is run, with a port of the test's."""
    test = COMPOSE["services"]["gateway"]["healthcheck"]["test"]
    program, *arguments = health_check() if source == "Dockerfile" else test[1:]
    assert program == "python"
    settings = Settings.model_validate(yaml.safe_load(IN_COMPOSE.read_text()))
    port = free_port()
    command = [sys.executable, *(each.replace(f":{settings.admin.port}/", f":{port}/") for each in arguments)]
    assert f":{port}/" in command[-1]

    def succeeds() -> bool:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    assert not succeeds()
    serve = [sys.executable, "-m", "invoke_gateway", "serve", "--backend", "demo", "--listen", "127.0.0.1:0"]
    log = tmp_path / "log"
    with running([*serve, "--admin", f"127.0.0.1:{port}"], log, bare_environment(tmp_path), ROOT) as process:
        process.wait_until(lambda: "admin on" in log.read_text(), "admin on …")
        wait_until(lambda: fetch(port, "/readyz").status == 200, "it is ready")
        assert succeeds()
    assert not succeeds()


def test_events_are_kept_on_a_volume_that_the_gateways_user_may_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all the same folder: the one that the gateway takes without `async.store`."""
    (state,) = re.findall(r"^ENV XDG_STATE_HOME=(\S+)$", DOCKERFILE, re.MULTILINE)
    monkeypatch.setenv("XDG_STATE_HOME", state)
    parsed = Settings.model_validate(yaml.safe_load(IN_COMPOSE.read_text()))
    assert parsed.event_store is None
    file, is_temporary = find_file(None, parsed.listen.port)
    assert not is_temporary
    assert f"RUN install -d -m 0700 -o {USER} -g {USER} {file.parent}\n" in DOCKERFILE
    assert f"VOLUME {file.parent}\n" in DOCKERFILE
    assert f"state:{file.parent}" in COMPOSE["services"]["gateway"]["volumes"]
    assert str(file) in (DEPLOY / "README.md").read_text()
    single = kustomize("overlays/single")
    mounts = container_of(single, "Deployment", "gateway")["volumeMounts"]
    (mounted,) = [mount for mount in mounts if mount["mountPath"] == str(file.parent)]
    (volume,) = [one for one in pod_of(single, "Deployment", "gateway")["volumes"] if one["name"] == mounted["name"]]
    find(single, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_runs_it_as_the_same_user(overlay: str) -> None:
    context = pod_of(kustomize(f"overlays/{overlay}"), "Deployment", "gateway")["securityContext"]
    assert {context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {int(USER)}
    assert context["runAsNonRoot"] is True
