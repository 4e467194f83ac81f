"""Every console transcript of the README and of docs/ is what happens (tests/docs/transcripts.py has the rules)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.transcripts import ROOT, Block, agree, list_blocks, list_pages, list_sessions, run, split
from tests.support.tools import CURL, JQ

SESSIONS = [session for page in list_pages() for session in list_sessions(page)]
NOT_RUN = [block for page in list_pages() for block in list_blocks(page) if block.not_run is not None]


def mark(session: list[Block]) -> object:
    marks = [] if session[0].soak is None else [pytest.mark.soak, pytest.mark.timeout(900)]
    return pytest.param(session, id=str(session[0]), marks=marks)


@pytest.mark.parametrize("session", [mark(session) for session in SESSIONS])
def test_a_transcript_is_what_happens(session: list[Block], tmp_path: Path) -> None:
    CURL.require()
    if any("| jq" in command for block in session for command, _ in block.steps):
        JQ.require()
    steps = [(block, *step) for block in session for step in block.steps]
    results = run(session, tmp_path)
    for (block, command, expected), (status, got) in zip(steps, results, strict=True):
        if block.shows_output:
            assert agree(expected, got), f"{block}: $ {command}\n{got}"
        else:
            assert status == 0, f"{block}: $ {command}\n{got}"


def test_the_blocks_are_counted(record_property: pytest.RecordProperty, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the number of blocks that are run, and each one that is not, with its reason."""
    blocks = [block for session in SESSIONS for block in session]
    soak = [block for block in blocks if block.soak is not None]
    with capsys.disabled():
        print(f"\ntranscripts: {len(blocks) - len(soak)} run, {len(soak)} by `make soak`, {len(NOT_RUN)} not run:")
        for block in NOT_RUN:
            print(f"  {block}: {block.not_run}")
    assert len(blocks) >= 15
    assert len(NOT_RUN) <= 20


def test_a_page_names_no_other_language_for_a_shell() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for language in ("bash", "shell", "shell-session"):
            assert f"```{language}\n" not in page.read_text(), f"{page}: use sh, or console with prompts"


@pytest.mark.parametrize(
    ("expected", "got", "is_same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nb\nc\n", False),
        ("in 3.2 s\n", "in 17.9 s\n", True),
        ("a\n", "2026-11-29T14:58:15.123Z INFO stopped\na\n", True),
        ("2026-11-29T14:58:15.123Z INFO stopped\n", "2026-01-01T00:00:00.000Z INFO started\n", False),
        ("of redis://… on …\n", "of redis://127.0.0.1:6379/0 on host.\n", True),
    ],
)
def test_what_differs_between_runs_is_not_compared_and_all_else_is(expected: str, got: str, is_same: bool) -> None:
    assert agree(expected, got) is is_same


def test_a_block_is_split_into_commands_with_their_output() -> None:
    text = "$ cat > a <<END\none\n$ two\nEND\n$ a \\\n  b\nout\n$ c\n"
    assert split(text) == [("cat > a <<END\none\n$ two\nEND", ""), ("a \\\n  b", "out\n"), ("c", "")]
