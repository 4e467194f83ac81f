"""The commands of the goals print one table of all goals, and write only what a whole run has measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadtests.bench import console, machine, report
from loadtests.bench.__main__ import main
from loadtests.bench.compare import Row
from loadtests.bench.goals import command, history, numbers, whole
from loadtests.bench.goals.cores import CoreSample, Crew
from loadtests.bench.goals.goal import GOALS, MEMORY
from loadtests.bench.goals.latency import Steady
from loadtests.bench.goals.paced import Paced
from loadtests.bench.goals.whole import Measured, Part
from loadtests.bench.in_flight import Outcome
from loadtests.bench.load import Sample
from loadtests.bench.paths import BODIES, PATHS
from loadtests.bench.peers import COMPILED, Peer
from loadtests.bench.shared import Cost, Variant

COMMIT = "aaaaaaaaaa"


def sample(microseconds: float) -> Sample:
    return Sample(microseconds, 1_000, 500.0, 0, 0, 1.0, 2.0)


def measured(gateways: Any, peers: Any, rounds: int, seconds: float, calls: int, tell: Any) -> Measured:
    """Has a figure for each goal: the gateway costs 60 µs, the compiled build 45, and each peer 30."""

    def variant(microseconds: float) -> Variant:
        return Variant("", {path: [sample(microseconds)] for path in PATHS})

    def row(peer: Peer) -> Row:
        return Row(peer, samples=[sample({COMPILED: 45}.get(peer.name, 60) if peer in gateways else 30)])

    count = len(gateways)
    return Measured(
        rounds,
        seconds,
        [one.name for one in gateways],
        is_whole=True,
        paths={path: [row(peer) for peer in (*gateways, *peers)] for path in (*PATHS, *BODIES)},
        cores=Part([Crew(one.name, n, [CoreSample(n * 900.0, 60, n, 0)]) for one in gateways for n in (1, 2)]),
        latency=Part([Steady(one.name, [Paced(10, 0, 5, 1, 2, 0.1)]) for one in (*gateways, *peers)]),
        shared=Part([Cost(variant(60), variant(75.5), [])] * count),
        in_flight=Part([Outcome(calls, 20_000, resident_at_peak=calls * 17_300)] * count),
    )


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for results in place of the committed one."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(whole, "measure", measured)
    monkeypatch.setattr(history, "commit_of", lambda root: COMMIT)
    monkeypatch.setattr(history, "FILE", tmp_path / "history.jsonl")
    monkeypatch.setattr(numbers, "write", lambda: None)
    monkeypatch.setattr(command, "find_compiled", lambda: None)
    monkeypatch.setattr(machine, "processor", lambda: "AMD EPYC")
    # The runner's output replaces standard output after the console was made.
    monkeypatch.setattr(console.console, "_width", 200)
    return tmp_path


@pytest.fixture
def compiled(results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for results, beside a compiled build of these sources."""
    monkeypatch.setattr(command, "find_compiled", lambda: results)
    return results


def read_goals(text: str) -> dict[str, list[str]]:
    """Returns the cells of each goal in the printed table."""
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    return {name: cells for name, *cells in lines if name in {goal.name for goal in GOALS}}


def printed(*arguments: str) -> str:
    """Runs a command in this process, and returns what it printed."""
    with console.console.capture() as captured:
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return captured.get() + result.output


def test_quick_prints_a_verdict_for_each_goal_and_writes_nothing(results: Path) -> None:
    text = printed("quick")
    assert "Goals, on AMD EPYC" in text
    rows = read_goals(text)
    for goal in GOALS:
        assert rows[goal.name][2] in ("met", "MISSED"), goal.name
    assert rows["forwarded / Envoy"] == ["0.85 (Intel 1.00)", "2.00", "MISSED", "", "make compiled"]
    assert list(results.iterdir()) == []


@pytest.mark.parametrize("command_line", [("quick",), ()], ids=["quick", "whole"])
def test_the_compiled_build_has_a_verdict_for_each_goal(compiled: Path, command_line: tuple[str, ...]) -> None:
    rows = read_goals(printed(*command_line))
    for goal in GOALS:
        assert rows[goal.name][4] in ("met", "MISSED"), goal.name
    assert rows["forwarded / nginx"] == ["2.30", "2.00", "met", "1.50", "met"]
    assert rows["refused / Traefik"] == ["0.95", "2.00", "MISSED", "1.50", "MISSED"]


def test_a_part_that_was_not_measured_is_no_missing_build(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(*arguments: Any) -> Measured:
        found = measured(*arguments)
        found.in_flight = Part(problem="too few descriptors")
        return found

    monkeypatch.setattr(whole, "measure", without_memory)
    assert read_goals(printed("quick"))[MEMORY] == ["8.0 kB", "", "not measured", "", "not measured"]


def test_the_figures_of_the_compiled_build_are_written_beside_those_of_the_pure_one(compiled: Path) -> None:
    printed()
    (line,) = (compiled / "history.jsonl").read_text().splitlines()
    figures = json.loads(line)["figures"]
    names = ["forwarded, µs", "refused, µs", *(goal.name for goal in GOALS)]
    assert list(figures) == [*names, *(f"{name}, compiled" for name in names)]
    assert (figures["forwarded / nginx"], figures["forwarded / nginx, compiled"]) == (2.0, 1.5)
    first = json.loads((compiled / "bench.json").read_text())["goals"][0]
    assert {key: first[key] for key in ("now", "verdict", "compiled", "compiled_verdict")} == {
        "now": 2.0,
        "verdict": "met",
        "compiled": 1.5,
        "compiled_verdict": "met",
    }
    assert "1.50" in printed("history")


def test_another_program_is_measured_without_the_compiled_build(compiled: Path) -> None:
    """The build beside these sources is not that program's."""
    text = printed("--gateway", "../other/.venv/bin/invoke-gateway")
    assert read_goals(text)["forwarded / nginx"][3:] == ["", "make compiled"]


def test_a_whole_run_writes_its_tables_and_one_line_of_the_history(results: Path) -> None:
    for _ in range(2):
        printed()
    assert {file.name for file in results.iterdir()} == {"bench.json", "bench.md", "history.jsonl"}
    (line,) = (results / "history.jsonl").read_text().splitlines()
    figures = json.loads(line)["figures"]
    assert list(figures) == ["forwarded, µs", "refused, µs", *(goal.name for goal in GOALS)]
    assert figures["memory per call in flight"] == 17.3
    assert figures["shared counters add"] == 15.5
    assert "| forwarded / nginx | 2.30 | 2.00 | met |  | make compiled |" in (results / "bench.md").read_text()


def test_an_earlier_gateway_is_a_column_and_is_not_written(results: Path) -> None:
    text = printed("--earlier", "../earlier/.venv/bin/invoke-gateway")
    header = next(line for line in text.splitlines() if "verdict" in line)
    assert [cell.strip() for cell in header.split("┃")[2:8]] == [
        "goal",
        "earlier",
        "now",
        "verdict",
        "compiled",
        "verdict",
    ]
    assert list(results.iterdir()) == []


def test_history_prints_the_runs(results: Path) -> None:
    assert "No run yet" in printed("history")
    printed()
    assert COMMIT in printed("history")
