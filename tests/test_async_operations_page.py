"""What docs/guides/async-operations.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from invoke_gateway.queue.history import ENDS
from tests.cli.commands import flags_of
from tests.support.tools import CURL
from tests.test_async_page import lines_of, run, split

TEXT = (Path(__file__).parent.parent / "docs" / "guides" / "async-operations.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.timeout(150)
def test_its_transcript_of_the_history_is_what_happens(tmp_path: Path) -> None:
    CURL.require()
    (block,) = [block for block in BLOCKS if "queue history" in block]
    said = split(block)
    printed = run([command for command, _ in said], tmp_path)
    assert len(printed) == len(said)
    for (command, expected), got in zip(said, printed, strict=True):
        assert lines_of(got) == lines_of(expected), command


def test_it_lists_every_end_and_no_other() -> None:
    table = TEXT.partition("| End | Means |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE) == list(ENDS)


def test_every_flag_that_it_shows_exists() -> None:
    for command, arguments in re.findall(r"\$ invoke-gateway (\w+)(.*)", TEXT):
        words, _, _ = arguments.partition("#")
        assert set(re.findall(r"--[a-z-]+", words)) <= flags_of(command, words.strip()), arguments
