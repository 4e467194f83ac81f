"""The end of a run lists what was skipped because a program is not here, and the command that installs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.tools import AMTOOL, CHROMIUM, EMULATOR, NODE, NPM, PROMETHEUS, PROMTOOL, TOOLS, summarize

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _debian_and_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(tools.os, "geteuid", lambda: 0)


def test_nothing_is_said_when_nothing_was_skipped() -> None:
    assert summarize({}) == ""


def test_all_of_them_are_in_one_line_with_one_command() -> None:
    line = summarize({CHROMIUM.name: 12, PROMTOOL.name: 3, PROMETHEUS.name: 20, NODE.name: 5, NPM.name: 1})
    assert line == (
        "Skipped, because these are not here: Chromium (12), Prometheus (20), promtool (3), Node (5), npm (1). "
        "To run them too: apt-get install chromium prometheus nodejs npm"
    )


def test_what_cannot_be_installed_has_no_command() -> None:
    assert summarize({EMULATOR.name: 2}).endswith("not here: AWS's Runtime Interface Emulator (2).")
    assert summarize({EMULATOR.name: 2, AMTOOL.name: 1}).endswith("apt-get install prometheus-alertmanager")


def test_who_is_not_root_reads_a_command_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.os, "geteuid", lambda: 1000)
    assert summarize({CHROMIUM.name: 1}).endswith(": sudo apt-get install chromium")


def test_where_there_is_no_apt_only_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    assert summarize({CHROMIUM.name: 1, NODE.name: 1}).endswith(": install chromium, nodejs")


def test_ci_installs_every_one_that_can_be_installed() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    asked_for = dict(re.findall(r"^need (\S+) (\S+)$", script, re.MULTILINE))
    assert asked_for.items() >= {tool.programs[0]: tool.package for tool in TOOLS if tool.package}.items()


@pytest.mark.parametrize("processes", [0, 2])
def test_a_run_without_them_ends_with_the_line(processes: int, tmp_path: Path) -> None:
    """Real tests, in this process and in xdist's workers, with nothing on the PATH but a package manager."""
    (tmp_path / "apt-get").write_text("")
    (tmp_path / "apt-get").chmod(0o755)
    command = [sys.executable, "-m", "pytest", "--numprocesses", str(processes), "-p", "no:cacheprovider"]
    command += ["tests/page/test_page.py::test_a_hold_is_marked_as_one"]
    command += ["tests/grafana/test_rules.py::test_alertmanager_takes_its_example"]
    command += ["tests/grafana/test_rules.py::test_prometheus_takes_the_configuration_and_the_rules"]
    environment = {**os.environ, "PATH": str(tmp_path), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Skipped, because")]
    assert line.startswith("Skipped, because these are not here: Chromium (1), promtool (1), amtool (1). ")
    assert line.endswith("apt-get install chromium prometheus prometheus-alertmanager")
