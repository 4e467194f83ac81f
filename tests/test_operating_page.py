"""What docs/guides/operating.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from invoke_gateway.admin.problems import ADVICE
from tests.support.tools import CURL
from tests.test_async_page import lines_of, run, split

TEXT = (Path(__file__).parent.parent / "docs" / "guides" / "operating.md").read_text()

# What differs from one run to the next, beyond what differs on the page about events.
CHANGING = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"invoke-gateway \d\S+", "invoke-gateway <version>"),
)


def plain(printed: str) -> list[str]:
    for pattern, instead in CHANGING:
        printed = re.sub(pattern, instead, printed)
    return lines_of(printed)


@pytest.mark.timeout(150)
def test_its_transcript_is_what_happens(tmp_path: Path) -> None:
    CURL.require()
    (block,) = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    said = split(block)
    printed = run([command for command, _ in said], tmp_path)
    assert len(printed) == len(said)
    for (command, expected), got in zip(said, printed, strict=True):
        assert plain(got) == plain(expected), command


def test_it_has_every_cause_and_no_other() -> None:
    table = TEXT.partition("| Cause |")[2].partition("\n\n")[0]
    causes = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert causes == list(ADVICE)
