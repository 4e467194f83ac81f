"""Compares the README and docs/reference with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from invoke_gateway.settings import Settings
from tests.cli.commands import flags_of
from tests.support.tables import REFERENCE, TABLES, fill

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
    shown = re.findall(
        r"invoke-gateway ([\w-]+)([^`\n]*)", "\n".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))
    )
    assert len(shown) >= 5
    for command, arguments in shown:
        assert set(re.findall(r"--[a-z-]+", arguments)) <= flags_of(command, arguments), command


def test_the_targets_that_it_names_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", TEXT)) <= targets
