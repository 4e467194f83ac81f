"""The end of a run: what is good, what is not, and the table and the pictures that say so."""

from __future__ import annotations

import importlib
import io
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from rich.console import Console

from loadtests.load import table
from loadtests.load.judging import ADMITTED, CONCURRENCY, REFUSED, RESERVED_CONCURRENCY
from loadtests.load.knee import Step, describe_knee, find_knee
from loadtests.load.outcome import Line, Outcome, Sample

GOOD = Outcome(
    "burst",
    lines=[
        Line(ADMITTED, "200", 1234, 100, 110),
        Line(REFUSED, CONCURRENCY, 50, 1, 9),
        Line(REFUSED, RESERVED_CONCURRENCY, 60, 2, 8),
    ],
    ceilings={"account": 20, "unreserved": 12, "checkout": 8},
    highest={"account": 18, "unreserved": 12, "checkout": 6},
    truly_highest={"account": 18, "unreserved": 12, "checkout": 6},
    leaked=0,
    samples=[
        Sample(0.1 * n, 4, {"account": n, "unreserved": n, "checkout": 0}, 3 * n, {CONCURRENCY: n}) for n in range(9)
    ],
)


@pytest.fixture(scope="module")
def picture() -> ModuleType:
    """Imports what draws: matplotlib takes a tenth of the time in which all tests are collected."""
    return importlib.import_module("loadtests.load.picture")


def shown(*outcomes: Outcome) -> str:
    console = Console(file=io.StringIO(), width=150)
    table.show(outcomes, console)
    text: str = console.file.getvalue()
    return text


def test_a_run_within_its_limits_is_good() -> None:
    assert (GOOD.overshoot, GOOD.is_good) == (0, True)
    assert table.describe_verdict(GOOD) == "highest 12 of 12, overshoot 0, leaked 0, unexpected 0"


@pytest.mark.parametrize(
    ("changes", "overshoot"),
    [
        ({"highest": {"account": 18, "unreserved": 13}}, 1),
        ({"truly_highest": {"account": 22, "checkout": 8}}, 2),  # the gateway's own word is not enough
        ({"truly_highest": {"checkout": 11}}, 3),
        ({"leaked": 1}, 0),
        ({"failures": {"echo 500: why": 2}}, 0),
        ({"lines": []}, 0),
    ],
)
def test_overshoot_leaks_failures_and_silence_are_not_good(changes: dict[str, object], overshoot: int) -> None:
    outcome = replace(GOOD, **changes)
    assert (outcome.overshoot, outcome.is_good) == (overshoot, False)


def test_the_verdict_is_about_the_limit_that_was_exceeded_even_where_it_is_zero() -> None:
    outcome = replace(GOOD, ceilings={**GOOD.ceilings, "off": 0}, highest={**GOOD.highest, "off": 1})
    assert table.describe_verdict(outcome).startswith("highest 1 of 0, overshoot 1")


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    GOOD.write(tmp_path / "summary.json")
    assert Outcome.read(tmp_path / "summary.json") == GOOD


def test_the_table_has_each_reason_with_its_times_and_each_limit_with_its_ceiling() -> None:
    text = shown(replace(GOOD, notes=["knee at 12 users"]))
    for part in ("burst", "200: 1,234", "100 / 110", "ReservedFunctionConcurrentInvocation", "60", "2 / 8"):
        assert part in text
    for part in ("account 18/20", "unreserved 12/12", "checkout 6/8", "burst: knee at 12 users"):
        assert part in text


def test_the_table_shows_what_the_backend_saw_where_it_is_more_than_the_gateway_says() -> None:
    assert "unreserved 12/12 (backend: 13)" in shown(replace(GOOD, truly_highest={"unreserved": 13}))


def test_failures_are_listed_below_the_table_and_many_are_summed_up() -> None:
    failures = {f"echo {number}: [not markup]": 2 for number in range(500, 512)}
    text = shown(replace(GOOD, failures=failures))
    assert "burst: 2 × echo 500: [not markup]" in text
    assert "burst: and 4 other kinds" in text


def test_leaks_that_nobody_looked_for_are_not_told_as_none() -> None:
    outcome = Outcome("steady", lines=GOOD.lines)
    assert table.describe_verdict(outcome) == "limits unknown, overshoot 0, leaked not checked, unexpected 0"
    assert "?" in shown(outcome)


def test_a_rate_is_the_growth_of_a_total_over_bins_of_a_width(picture: ModuleType) -> None:
    middles, rates = picture.per_second([0.0, 0.1, 0.5, 1.0, 1.2], [0, 1, 5, 5, 9], width=0.5)
    assert middles == pytest.approx([0.25, 0.75, 1.1])
    assert rates == pytest.approx([10, 0, 20])
    assert picture.per_second([1.0, 1.0], [0, 5]) == ([], [])


def test_a_picture_is_a_png_and_a_small_svg_with_the_verdict_in_words(tmp_path: Path, picture: ModuleType) -> None:
    svg, png = picture.draw(GOOD, "do too many get through?", tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert svg.stat().st_size < 300_000
    text = " ".join(ElementTree.parse(svg).getroot().itertext())
    assert "burst: held – highest 12 of 12, overshoot 0, leaked 0" in text
    assert "do too many get through?" in text
    assert "unreserved: 8 of 12" in text


def test_a_picture_has_its_marks_in_words(tmp_path: Path, picture: ModuleType) -> None:
    svg, _ = picture.draw(replace(GOOD, marks={"knee: 12 users": 0.4}), "", tmp_path)
    text = " ".join(ElementTree.parse(svg).getroot().itertext())
    assert "knee: 12 users" in text
    assert "users: 4" in text


def test_the_picture_of_a_broken_limit_says_so(tmp_path: Path, picture: ModuleType) -> None:
    svg, _ = picture.draw(replace(GOOD, truly_highest={"unreserved": 13}), "", tmp_path)
    assert "burst: BROKEN – highest 13 of 12, overshoot 1" in " ".join(ElementTree.parse(svg).getroot().itertext())


def test_there_is_no_picture_of_what_nobody_saw(tmp_path: Path, picture: ModuleType) -> None:
    assert picture.draw(Outcome("burst", failures={"the gateway ended": 1}), "", tmp_path) == []


# ---- where a ramp bends ----------------------------------------------------------------------------------


def ramp(*steps: tuple[int, int, int]) -> list[Sample]:
    """Two looks at each step, a second apart: users, calls admitted and calls refused in between."""
    samples, admitted, refused = [], 0, 0
    for number, (users, more_admitted, more_refused) in enumerate(steps):
        samples.append(Sample(2.0 * number, users, {}, admitted, {"x": refused}))
        admitted, refused = admitted + more_admitted, refused + more_refused
        samples.append(Sample(2.0 * number + 1, users, {}, admitted, {"x": refused}))
    return samples


def test_the_knee_is_the_last_step_before_the_first_refusal() -> None:
    steps = Step.find_all(ramp((4, 40, 0), (8, 80, 0), (12, 90, 30), (16, 95, 0)))
    assert find_knee(steps) == Step(8, 1.0, 3.0, 80.0, 0.0)
    assert describe_knee(steps) == "knee at 8 users: 80 calls/s admitted; at 16 users 95 admitted and 0 refused"


def test_a_ramp_that_was_too_low_or_too_steep_says_so() -> None:
    assert "nothing was ever refused" in describe_knee(Step.find_all(ramp((4, 40, 0), (8, 80, 0))))
    assert "no knee" in describe_knee(Step.find_all(ramp((4, 40, 1), (8, 80, 0))))
    assert "no knee" in describe_knee([])
