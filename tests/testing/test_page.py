"""What docs/guides/testing.md says is what the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest_invoke_gateway
from invoke_gateway.testing import InvokeGateway, running_gateway

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "guides" / "testing.md").read_text()


def rows(heading: str) -> list[str]:
    """The first cells of the table under a heading."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.split(" | ")[0].strip("| ") for line in section.splitlines() if line.startswith("| `")]


def test_the_examples_are_the_files_that_are_run() -> None:
    for file in ("test_retries.py", "test_events.py"):
        assert f"```python\n{(DOCS / 'examples' / file).read_text()}```\n" in TEXT, file


def test_the_fixtures_are_those_of_the_plugin() -> None:
    fixtures = {name for name in vars(pytest_invoke_gateway) if "invoke_gateway" in name}
    assert {cell.strip("`") for cell in rows("Fixtures")} == fixtures


def test_what_a_gateway_can_do_is_all_there_with_its_arguments() -> None:
    described = {cell for row in rows("The gateway's API") for cell in re.findall(r"`([^`]+)`", row)}
    public = {name for name in vars(InvokeGateway) if not name.startswith("_")} - {"check"}
    assert {call.partition("(")[0] for call in described} == public
    for call in described:
        name, _, arguments = call.partition("(")
        if arguments:
            parameters = inspect.signature(getattr(InvokeGateway, name)).parameters
            written = [argument.strip(" )") for argument in arguments.split(",") if argument.strip(" )")]
            assert [each.partition("=")[0].lstrip("*") for each in written] == [*parameters][1:], call


def test_the_short_forms_are_the_arguments() -> None:
    short = {cell.strip("`").partition("=")[0] for cell in rows("Settings")}
    assert short == {*inspect.signature(running_gateway).parameters} - {"settings"}
