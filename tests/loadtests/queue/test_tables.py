"""The verdicts that `make bench-queue` prints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.bench.queue import tables
from loadtests.bench.queue.accept import ONLY_ACCEPTS, RUNS_TOO, Accepted, Row, Sample
from loadtests.bench.queue.backlog import Backlog, Calls, Level
from loadtests.bench.queue.drain import Drained
from loadtests.bench.queue.kept import Kept
from loadtests.bench.queue.sending import Sent

GOAL = "at least 5,000 accepted a second with 64 clients on one core"
MIB = 1024**2
DRAINED = Drained("answers at once", 1_000, 1_000, Sent(1_000, 0, 0.5), 0.25, 90.0, 5_000.0, 60.0, None)
BOUND = replace(DRAINED, name="answers after 10 ms", ceiling=3_200.0)


def accepted(
    per_second: int, failed: int = 0, problem: str = "", clients: int = 64, name: str = ONLY_ACCEPTS
) -> Accepted:
    sample = Sample(Sent(per_second, failed, 1.0), cpu_seconds=0.5, fsyncs=1_000.0, flushes=100)
    return Accepted([Row(name, clients, problem=problem, samples=[sample])], "ext4")


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (accepted(5_000), "met (5,000)"),
        (accepted(4_999), "NOT MET (4,999)"),
        (accepted(9_000, failed=3), "NOT MET: 3 were not answered 202"),
        (accepted(9_000, problem="it ended"), "not measured"),
        (accepted(9_000, clients=256), "not measured"),
        (accepted(9_000, name=RUNS_TOO), "not measured"),
        (Accepted([Row(ONLY_ACCEPTS, 64)]), "not measured"),
    ],
)
def test_the_goal_is_that_of_64_clients_while_nothing_else_runs(found: Accepted, verdict: str) -> None:
    assert tables.goal(found) == f"{GOAL}: {verdict}"


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(1_000 / 4_500, "at least 0.9 wanted: met"), (1_000 / 4_499, "at least 0.9 wanted: NOT MET")],
)
def test_a_backlog_before_a_slow_backend_must_run_nearly_as_fast_as_calls(seconds: float, verdict: str) -> None:
    assert tables.bound(replace(BOUND, seconds=seconds)).endswith(verdict)


def test_before_a_backend_that_answers_at_once_the_ratio_is_told_and_not_judged() -> None:
    line = tables.bound(replace(DRAINED, seconds=0.4))
    assert "0.50 ×" in line
    assert "wanted" not in line


@pytest.mark.parametrize("change", [{"calls": 1_001}, {"calls": 999}, {"filling": Sent(999, 1, 0.5)}])
def test_a_backlog_of_which_something_was_lost_or_ran_twice_is_no_good(change: dict[str, object]) -> None:
    wrong = replace(BOUND, **change)  # type: ignore[arg-type]  # of three types
    assert "NOT EXACT" in tables.bound(wrong)
    assert not tables.is_good(accepted(9_000), [wrong], [])


def test_a_run_is_good_where_everything_of_the_gateways_was_measured_and_kept() -> None:
    good = accepted(9_000)
    assert tables.is_good(good, [DRAINED, BOUND], [Kept("gateway", 200, 200), Kept("MiniStack", 200, 0)])
    assert not tables.is_good(good, [], [Kept("gateway", 200, 199)])
    assert not tables.is_good(good, [], [Kept("gateway", problem="it did not start")])
    assert not tables.is_good(accepted(9_000, failed=1), [], [])
    assert not tables.is_good(accepted(9_000, problem="it ended"), [], [])
    assert tables.is_good(Accepted([*good.rows, Row("MiniStack", 1, problem="missing")]), [], [])


def test_every_row_has_a_cell_for_every_column() -> None:
    found = accepted(9_000)
    found.rows.append(Row("MiniStack", 1, problem="missing"))
    report = tables.comparison(found, [DRAINED, BOUND], [Kept("gateway", 200, 200), Kept("b", problem="missing")], "x")
    assert {len(row) - len(table.columns) for table in report.tables for row in table.rows} == {0}
    assert report.tables[0].rows[0][2:7] == ("9000", "9000..9000", "56", "9.00", "90.0")


def test_what_each_has_kept_stands_beside_what_it_accepted() -> None:
    rows = [
        Row(name, 1, samples=accepted(9).rows[0].samples, subject=name) for name in ("gateway", "MiniStack", "huey")
    ]
    kept = [Kept("gateway", 200, 200), Kept("MiniStack", 200, 0)]
    table = tables.comparison(Accepted(rows, "ext4"), [], kept, "x").tables[0]
    assert [row[table.columns.index("durable")] for row in table.rows] == ["yes", "no", ""]


def test_a_folder_in_memory_is_told_of() -> None:
    lines = tables.comparison(replace(accepted(9_000), file_system="tmpfs"), [], [], "x").lines
    assert any("an fsync does nothing" in line for line in lines)


def backlog(**change: object) -> Backlog:
    """One in which everything went well."""
    levels = [
        Level(0, 50 * MIB, 0),
        Level(250, 60 * MIB, 250),
        Level(500, 62 * MIB, 500),
        Level(1_000, 70 * MIB, 1_000),
        Level(0, 500 * MIB, 0),
    ]
    good = Backlog(
        levels=levels,
        calls=[Calls("before", 100, 0, 0.5, 1.0)],
        sent=[Sent(250, 0, 1.0), Sent(250, 0, 1.0), Sent(500, 0, 2.0)],
        file_bytes=2 * MIB,
        log_bytes=MIB,
        drain_seconds=1.0,
        ran=1_000,
    )
    return replace(good, **change)  # type: ignore[arg-type]  # of many types


def test_the_file_and_its_log_are_told_apart() -> None:
    rows = dict(tables.million(backlog(), "x").tables[0].rows)
    assert (rows["the file"], rows["its write-ahead log"]) == ("2.0 MiB", "1.0 MiB")
    assert rows["bytes of the file per event"] == "2097"


def test_memory_is_compared_with_that_of_a_quarter() -> None:
    assert backlog().grown_mib == 10
    report = tables.million(backlog(), "x")
    assert (
        report.lines[0] == "from a quarter of the backlog to all of it memory grew by 10.0 MiB, at most 64 wanted: met"
    )
    grown = backlog(levels=[*backlog().levels[:3], Level(1_000, 125 * MIB, 1_000), Level(0, MIB, 0)])
    assert tables.million(grown, "x").lines[0].endswith("NOT MET")


@pytest.mark.parametrize(
    "change",
    [
        {"sent": [Sent(1_000, 1, 1.0)]},
        {"levels": [Level(0, MIB, 0), Level(250, MIB, 249), Level(0, MIB, 0)]},
        {"levels": [Level(0, MIB, 0), Level(250, MIB, 250), Level(0, MIB, 1)]},
        {"calls": [Calls("before", 100, 1, 0.5, 1.0)]},
        {"ran": 999},
        {"ran": 1_001},
    ],
)
def test_whatever_is_not_accounted_for_is_said(change: dict[str, object]) -> None:
    assert backlog().is_good
    assert [is_true for _, is_true in backlog(**change).checks].count(False) == 1
