"""The compose files: by their schema, and against the files that they mount and build."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from invoke_gateway.cli.main import main
from invoke_gateway.queue.sqlite.journal import CLOSE_SECONDS
from invoke_gateway.settings import Settings

from .files import COMPOSE, DEPLOY, GRAFANA, IN_COMPOSE, ROOT, run

FILES = sorted(DEPLOY.glob("compose*.yaml"))
GATEWAY = COMPOSE["services"]["gateway"]
BACKEND = yaml.safe_load((DEPLOY / "compose.backend.yaml").read_text())["services"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_compose_file_suits_the_compose_specification(file: Path, tmp_path: Path) -> None:
    tool = str(Path(sys.executable).with_name("check-jsonschema"))
    run(tool, "--builtin-schema", "vendor.compose-spec", str(file), home=tmp_path)


def test_the_ports_and_the_time_to_stop_are_those_of_the_settings() -> None:
    """The time between SIGTERM and SIGKILL is longer than the drain."""
    settings = Settings.model_validate(yaml.safe_load(IN_COMPOSE.read_text()))
    assert (str(settings.listen), str(settings.admin)) == ("0.0.0.0:9001", "0.0.0.0:9002")
    published = {int(port.split(":")[-1]) for port in GATEWAY["ports"]}
    assert published == {settings.listen.port, settings.admin.port}
    assert int(GATEWAY["stop_grace_period"].rstrip("s")) > settings.drain_seconds + CLOSE_SECONDS
    assert settings.buffer_bytes * 2 <= 1024**3
    assert GATEWAY["deploy"]["resources"]["limits"]["memory"] == "1G"


def test_there_is_one_gateway() -> None:
    """Its counters are in the process."""
    assert GATEWAY["deploy"]["replicas"] == 1


def test_ports_of_this_machine_are_open_to_this_machine_only() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in BACKEND["backend"], "or calls could bypass the gateway"


def test_the_backend_is_set_by_a_variable_that_the_gateway_reads() -> None:
    """In both files the same one."""
    name, token = GATEWAY["environment"]
    assert list(BACKEND["gateway"]["environment"]) == [name]
    assert GATEWAY["environment"][token] == "${ADMIN_TOKEN:-}"
    made = CliRunner().invoke(main, ["check", "--env", str(IN_COMPOSE)], env={token: "not a token"})
    assert token in made.output, "the gateway reads it"
    refused = CliRunner().invoke(main, ["serve", "--config", str(IN_COMPOSE)], env={name: "ftp://backend"})
    assert refused.exit_code == 2
    assert name in refused.output, "the value of the variable is what is refused"
    assert GATEWAY["environment"][name] == "${BACKEND:-demo}"
    assert BACKEND["gateway"]["environment"][name].startswith("http://backend:${BACKEND_PORT:?")


def test_what_the_compose_file_mounts_and_builds_is_there() -> None:
    volumes = [volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service["volumes"]]
    paths = [volume for volume in volumes if volume.startswith(".")]
    assert len(paths) == 6
    assert all((DEPLOY / path).exists() for path in paths)
    assert set(volumes) - set(paths) == set(COMPOSE["volumes"])
    build = GATEWAY["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_where_the_root_is_read_only_there_is_a_folder_for_temporary_files() -> None:
    """The demo backend's events are in one."""
    assert GATEWAY["read_only"] is True
    assert GATEWAY["tmpfs"] == ["/tmp"]


def test_grafana_finds_the_dashboards_and_prometheus() -> None:
    """The folder is the provider's, and the variable the data source's."""
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "invoke-gateway.yml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    source = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    service = COMPOSE["services"]["grafana"]
    assert f"../../grafana/dashboards:{folder}:ro" in service["volumes"]
    assert service["environment"][source["datasources"][0]["url"].removeprefix("$")] == "http://prometheus:9090"


def test_it_is_said_that_they_are_checked_by_schema_only() -> None:
    for file in FILES:
        assert re.search(r"^# Checked against .* only: no container has been started\.", file.read_text(), re.MULTILINE)
    page = (ROOT / "docs" / "deploy" / "README.md").read_text()
    assert "No image has been built" in page
    assert "No container has been started" in page
