"""What docs/guides/faults.md says is what the code does."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import yaml

from invoke_gateway.admin.fault_scripts import KEYS, STEP_KEYS, read_script
from invoke_gateway.cli.fault_steps import parse_step
from invoke_gateway.policy.invoke_errors import ERROR_NAMES, THROTTLE_REASONS, find_error, takes_reason
from tests.cli.commands import flags_of

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "faults.md").read_text()


def test_it_names_every_key_and_no_other() -> None:
    assert re.findall(r"^\| `([a-z_]+)`", TEXT, re.MULTILINE) == [*KEYS, *STEP_KEYS]


def test_it_lists_every_error_beside_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", TEXT, re.MULTILINE)
    listed = {(int(status), name) for status, names in rows for name in re.findall(r"`(\w+)`", names)}
    errors = [find_error(name, THROTTLE_REASONS[0] if takes_reason(name) else None) for name in ERROR_NAMES]
    assert listed == {(error.status, error.code) for error in errors if error is not None}
    assert all(f"`{reason}`" in TEXT.rpartition("`Reason` of")[2] for reason in THROTTLE_REASONS)


def test_every_command_and_flag_that_it_shows_exists_and_its_steps_are_read() -> None:
    shown = re.findall(r"^\$ invoke-gateway (\w+)(.*)", TEXT, re.MULTILINE)
    assert {command for command, _ in shown} == {"serve", "fault"}
    for command, arguments in shown:
        assert set(re.findall(r"--[a-z-]+", arguments)) <= flags_of(command), command
    (words,) = [shlex.split(arguments)[1:] for command, arguments in shown if "pass" in arguments]
    assert read_script(json.dumps({"steps": [parse_step(step) for step in words]}).encode()).steps


def test_its_scripts_are_scripts() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert read_script(json.dumps(yaml.safe_load(example)).encode()).seed == 7
    assert [read_script(body.encode()).function for body in re.findall(r"/faults .*-d '(.*)'", TEXT)] == ["echo"]
