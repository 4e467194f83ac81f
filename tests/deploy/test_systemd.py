"""The unit of systemd: by systemd's own checks, and against the gateway's settings, signals and exit statuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from invoke_gateway.cli.main import main
from invoke_gateway.queue.location import find_file
from invoke_gateway.queue.sqlite.journal import CLOSE_SECONDS
from invoke_gateway.settings import Settings
from tests.support.processes import bare_environment
from tests.support.tools import SYSTEMD

from .files import DEPLOY, UNIT, run

TEXT = UNIT.read_text()
PROGRAM = "/opt/invoke-gateway/bin/invoke-gateway"
MOST_EXPOSURE = 15  # of 100: the least that systemd calls "OK" is below 50


def values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", TEXT, re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> str:
    """The unit with this environment's command, because systemd checks that its programs are there."""
    file = tmp_path / UNIT.name
    file.write_text(TEXT.replace(PROGRAM, str(Path(sys.executable).with_name("invoke-gateway"))))
    return str(file)


def verify(unit: str, home: Path) -> str:
    """Returns what systemd reports; nothing where it finds no mistake."""
    command = [SYSTEMD.require(), "verify", unit]
    done = subprocess.run(command, env=bare_environment(home), capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_systemd_accepts_it(unit: str, tmp_path: Path) -> None:
    assert verify(unit, tmp_path) == ""


@pytest.mark.parametrize(
    ("correct", "mistake", "reported"),
    [
        ("ProtectSystem=strict", "ProtectSystem=very", "protect system value"),
        ("DynamicUser=yes", "DynamikUser=yes", "DynamikUser"),
        ("@system-service", "@no-such-group", "system call group"),
        ("ExecStart=/", "ExecStart=/no-such-folder/", "not executable"),
    ],
)
def test_a_mistake_in_it_would_be_found(correct: str, mistake: str, reported: str, unit: str, tmp_path: Path) -> None:
    file = Path(unit)
    assert correct in file.read_text()
    file.write_text(file.read_text().replace(correct, mistake))
    assert reported in verify(unit, tmp_path)


def test_it_is_hardened(unit: str, tmp_path: Path) -> None:
    flags = ("--offline=true", "--no-pager", f"--threshold={MOST_EXPOSURE}")
    printed = run(SYSTEMD.require(), "security", *flags, unit, home=tmp_path)
    assert "Overall exposure level" in printed
    assert values("DynamicUser") == ["yes"]


def test_events_are_in_its_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    (state,) = values("StateDirectory")
    assert values("Environment") == ["XDG_STATE_HOME=%S"]
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib")  # which is %S for services of the system
    file, _ = find_file(None, Settings().listen.port)
    assert file.parent == Path("/var/lib") / state


def test_it_has_time_to_drain() -> None:
    (stop,) = values("TimeoutStopSec")
    assert int(stop) > Settings().drain_seconds + CLOSE_SECONDS
    assert not values("KillSignal"), "SIGTERM, which drains"


def test_a_reload_checks_the_file_before_the_signal() -> None:
    (start,) = values("ExecStart")
    file = start.split()[-1]
    assert values("ExecReload") == [f"{PROGRAM} check {file}", "/bin/kill -HUP $MAINPID"]
    assert Path(file).parent.name == values("ConfigurationDirectory")[0]


def test_mistakes_in_the_settings_are_no_reason_to_restart(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("listen: nowhere\n")
    status = CliRunner().invoke(main, ["serve", "--config", str(file)]).exit_code
    assert values("RestartPreventExitStatus") == [str(status)]


def test_the_page_installs_the_program_that_it_starts() -> None:
    page = (DEPLOY / "README.md").read_text()
    folder = str(Path(PROGRAM).parents[1])
    assert f"python3 -m venv {folder}" in page
    for path in (str(UNIT.relative_to(DEPLOY)), values("ExecStart")[0].split()[-1], "/etc/systemd/system"):
        assert path in page
