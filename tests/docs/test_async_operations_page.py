"""What docs/guides/async-operations.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from invoke_gateway.queue.outcomes.history import ENDS
from tests.cli.commands import flags_of

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "async-operations.md").read_text()


def test_it_lists_every_end_and_no_other() -> None:
    table = TEXT.partition("| End | Means |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE) == list(ENDS)


def test_every_flag_that_it_shows_exists() -> None:
    for command, arguments in re.findall(r"\$ invoke-gateway (\w+)(.*)", TEXT):
        words, _, _ = arguments.partition("#")
        assert set(re.findall(r"--[a-z-]+", words)) <= flags_of(command, words.strip()), arguments
