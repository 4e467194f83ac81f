"""What the README says is what the code does."""

from __future__ import annotations

import re

import yaml

from invoke_gateway.settings import Settings
from tests.cli.commands import flags_of
from tests.support.tables import README, TABLES, fill

TEXT = README.read_text()


def test_the_tables_of_refusals_settings_and_metrics_are_those_of_the_code() -> None:
    assert fill(TEXT) == TEXT, "run: make readme"
    assert all(f"<!-- table: {name} -->" in TEXT for name in TABLES)


def test_the_example_settings_are_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
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
    targets = set(re.findall(r"^([a-z-]+):", (README.parent / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", TEXT)) <= targets
