"""The history has one line for each commit and machine, and shows the change of each figure."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.bench.goals import history
from loadtests.bench.goals.goal import MEMORY
from loadtests.bench.goals.history import DIRTY, Entry
from loadtests.bench.processes import Trouble

FIRST = Entry(
    "aaaaaaaaaa", "2026-11-29 10:00 UTC", "AMD EPYC", 2, "3.11.7", {"forwarded, µs": 54.8, "forwarded / nginx": 2.8}
)
SECOND = replace(FIRST, commit="bbbbbbbbbb", figures={"forwarded, µs": 63.8, "forwarded / nginx": 3.3, MEMORY: 17.3})


def test_a_run_is_a_line_more(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    for one in (FIRST, SECOND):
        history.append(one, file)
    assert len(file.read_text().splitlines()) == 2
    assert history.read(file) == [FIRST, SECOND]


def test_another_run_of_a_commit_replaces_its_line_on_the_same_machine_alone(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    other_machine = replace(FIRST, processor="Intel(R) Xeon(R) Processor")
    other_python = replace(FIRST, python="3.13.1")
    again = replace(FIRST, date="2026-11-30 10:00 UTC", figures={"forwarded, µs": 50.0})
    for one in (FIRST, other_machine, other_python, SECOND, again):
        history.append(one, file)
    assert history.read(file) == [other_machine, other_python, SECOND, again]


def test_changed_files_are_marked_but_results_are_not_changes(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    results = tmp_path / "loadtests" / "results"
    results.mkdir(parents=True)
    for file in (tmp_path / "code.py", results / "bench.md"):
        file.write_text("before")
    git("init")
    git("add", ".")
    git("commit", "--message", "all")
    clean = history.commit_of(tmp_path)
    assert len(clean) == 10
    (results / "bench.md").write_text("after")
    (results / "new.md").write_text("new")
    assert history.commit_of(tmp_path) == clean
    (tmp_path / "code.py").write_text("after")
    assert history.commit_of(tmp_path) == f"{clean} {DIRTY}"
    assert history.entry({"forwarded / nginx": 2.80049}, clean).figures == {"forwarded / nginx": 2.8}


def test_without_git_the_reason_is_given(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="git does not give it"):
        history.commit_of(tmp_path / "missing")


def test_a_broken_line_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text('{"commit": "aaaaaaaaaa"}\n')
    with pytest.raises(Trouble, match=r"history\.jsonl has a line that is not an entry"):
        history.read(file)


def test_the_table_of_a_machine_shows_the_change() -> None:
    (table,) = history.tables([FIRST, SECOND])
    assert table.title == "AMD EPYC, 2 cores, Python 3.11.7"
    assert table.columns == ("", "aaaaaaaaaa\n2026-11-29", "bbbbbbbbbb\n2026-11-29", "change")
    assert list(table.rows) == [
        ("forwarded, µs", "54.8", "63.8", "+16.4 %"),
        ("forwarded / nginx", "2.80", "3.30", "+17.9 %"),
        (MEMORY, "", "17.3 kB", ""),
    ]


def test_a_figure_of_the_compiled_build_has_the_unit_of_its_goal() -> None:
    (table,) = history.tables([replace(FIRST, figures={MEMORY: 12.0, f"{MEMORY}, compiled": 11.5})])
    assert [row[:2] for row in table.rows] == [(MEMORY, "12.0 kB"), (f"{MEMORY}, compiled", "11.5 kB")]


def test_only_the_last_runs_of_each_machine_are_shown() -> None:
    runs = [replace(FIRST, commit=f"{number:010d}") for number in range(6)]
    one, two = history.tables([*runs, replace(FIRST, processor="Intel")], last=2)
    assert [column[:10] for column in one.columns[1:-1]] == ["0000000004", "0000000005"]
    assert two.title.startswith("Intel")


def test_the_committed_history_can_be_read() -> None:
    assert all(one.figures for one in history.read())
