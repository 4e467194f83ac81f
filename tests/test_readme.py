"""Compares the README and docs/reference with the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from invoke_gateway.settings import Settings
from tests.cli.commands import flags_of
from tests.support.processes import bare_environment, free_port
from tests.support.tables import IMAGES, REFERENCE, TABLES, fill, make_badges

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_reference_is_that_of_the_code(name: str) -> None:
    page = (REFERENCE / f"{name}.md").read_text()
    assert fill(name, page) == page, "run: make reference"


def test_the_example_settings_are_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (REFERENCE / "settings.md").read_text(), re.DOTALL)
    settings = Settings.model_validate(yaml.safe_load(example))
    assert settings.accounts["default"].functions["checkout"].reserved_concurrent_executions == 50


def test_every_command_and_flag_that_it_shows_exists() -> None:
    shown = re.findall(r"invoke-gateway ([\w-]+)([^`\n]*)", "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)))
    assert len(shown) >= 5
    for command, arguments in shown:
        assert set(re.findall(r"--[a-z-]+", arguments)) <= flags_of(command, arguments), command


def test_the_targets_that_it_names_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", TEXT)) <= targets


def test_the_badges_are_those_of_the_project() -> None:
    for file, picture in make_badges().items():
        assert (IMAGES / file).read_text() == picture, "run: make reference"
        assert f"docs/images/{file}" in TEXT


def test_its_numbers_are_those_that_their_commands_printed() -> None:
    text, numbers = " ".join(TEXT.split()), (ROOT / "docs" / "explanation" / "numbers.md").read_text()
    row = {
        cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in numbers.splitlines() if "|" in line)
    }
    (head,) = re.findall(r"<!-- bench: peers -->\n\| \| (.+) \|", numbers)
    names = head.split(" | ")
    forwarded, refused = (dict(zip(names, row[f"{path}, µs"], strict=True)) for path in ("forwarded", "refused"))
    gateway, traefik, envoy, nginx = (
        round(float(forwarded[name])) for name in ("gateway", "Traefik", "Envoy", "nginx")
    )
    assert f"{gateway} µs of CPU for a forwarded call, between Envoy's {envoy} and Traefik's {traefik}." in text
    assert f" {round(float(refused['gateway']))} µs for a refused one" in text
    assert f"nginx takes {nginx} µs a call" in text
    results = (ROOT / "loadtests" / "results" / "bench.md").read_text().partition("## What shared counters add")[2]
    (added,) = re.findall(r"^\| gateway \| ([\d.]+) \| ([\d.]+) \|$", results, re.MULTILINE)
    least, most = sorted(round(float(microseconds)) for microseconds in added)
    assert f"add {least} to {most} µs of CPU to a call" in text
    for microseconds in added:
        assert f"{microseconds} µs" in numbers
    for number in ("11,030", "6,774", "0.12 s of CPU"):
        assert number in text
        assert number in numbers
    calls, *_ = re.findall(r"1 seed, (\d+) calls", (ROOT / "docs" / "guides" / "prove.md").read_text())
    assert f"Some {int(calls) // 100 * 100:,} calls" in text


def test_its_command_ends_the_gateway_and_waits_for_its_end(tmp_path: Path) -> None:
    (end,) = set(re.findall(r"`(kill %1; wait)`", TEXT))
    admin, environment = free_port(), bare_environment(tmp_path)
    serve = f"{sys.executable} -m invoke_gateway serve --listen 127.0.0.1:0 --admin 127.0.0.1:{admin} 2> gateway.log &"
    ready = f"until curl -sf http://127.0.0.1:{admin}/readyz; do kill -0 $! || exit 3; sleep 0.05; done"
    script = f"{serve}\n{ready}\n{end}\njobs -r\ntail -n 1 gateway.log"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"INFO stopped$", done.stdout.strip()), done.stdout


def test_its_length_is_that_of_a_page_that_is_read() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_its_commands_to_install_are_those_of_the_page_that_is_run() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    for command in ("pipx ensurepath", "uv tool update-shell", "pipx install", "uv tool install"):
        assert command in TEXT
        assert command in page


def test_its_test_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (name,) = re.findall(r"Save this as `(test_\w+\.py)`", TEXT)
    (tmp_path / name).write_text(example)
    environment = bare_environment(tmp_path) | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        name,
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
