"""The verdict's arithmetic, its exit status, and what a person is shown."""

from __future__ import annotations

import errno
import io
import os
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from invoke_gateway.chaos.calls import CallEnding
from invoke_gateway.chaos.concurrency_track import Peak
from invoke_gateway.chaos.faults.fault import InjectedFault, Recovery
from invoke_gateway.chaos.faults.timeline import FAILED, Second
from invoke_gateway.chaos.options import RENAMED
from invoke_gateway.chaos.quotas import RESERVED_REASON, UNRESERVED_REASON
from invoke_gateway.chaos.report.calls import list_tables
from invoke_gateway.chaos.report.console import print_verdict
from invoke_gateway.chaos.report.html import render
from invoke_gateway.chaos.report.overlap import highest_in_columns
from invoke_gateway.chaos.report.verdict import CallsResult, CallsVerdict
from invoke_gateway.chaos.violations import OF_EVENTS, OF_SHARED, Violation, Violations
from invoke_gateway.cli.main import main


def result(seed: int, highest: int, violations: Violations | None = None) -> CallsResult:
    return CallsResult(
        seed,
        10.0,
        [Peak("000000000000", "account", 20, highest)],
        violations or Violations(),
        100,
        Counter({"200": 90, "429": 10}),
        Counter({CallEnding.ANSWERS: 90}),
        [("burst", 0.0)],
        [[(1.0, highest), (2.0, 0)]],
    )


def broken() -> Violations:
    violations = Violations()
    violations.add(Violation.REASON, "<script>alert(1)</script>", 3)
    return violations


def test_it_holds_only_when_no_limit_was_overshot_and_no_fault_seen() -> None:
    good = CallsVerdict("x", [result(1, 19), result(2, 20)])
    assert (good.holds, good.status, good.peaks[0].highest) == (True, 0, 20)
    for bad in (
        CallsVerdict("x", [result(1, 21)]),
        CallsVerdict("x", [result(1, 20, broken())]),
        CallsVerdict("x", []),
    ):
        assert (bad.holds, bad.status) == (False, 1)


@pytest.mark.parametrize("violation", [violation for violation in Violation if violation not in OF_EVENTS])
def test_every_kind_of_fault_fails_the_verdict(violation: Violation) -> None:
    violations = Violations()
    violations.add(violation, "one")
    verdict = CallsVerdict("x", [result(1, 20), result(2, 20, violations)])
    assert not verdict.holds
    assert verdict.status == (2 if violation is Violation.NOT_JUDGED else 1)


def test_what_could_not_be_judged_is_neither_a_pass_nor_a_failure_and_a_failure_beside_it_is_one() -> None:
    overloaded = Violations()
    overloaded.add(Violation.NOT_JUDGED, "not judged: the machine was overloaded (lag 0.8 s): late", 2)
    verdict = CallsVerdict("x", [result(1, 20, overloaded)], lag=(0.8123, 0.01))
    assert (verdict.holds, verdict.status) == (False, 2)
    assert verdict.sentence == (
        "It could not be judged: 1 seed, 100 calls; 2 checks without a result, and nothing else was wrong."
    )
    assert "<h1>It could not be judged</h1>" in render(verdict, "prove")
    assert verdict.as_json()["lag"] == {"event_loop_seconds": 0.812, "thread_seconds": 0.01}
    assert verdict.as_json()["judged"] is False
    assert CallsVerdict("x", [result(1, 21, overloaded)]).status == 1, "an overshoot is one on any machine"
    overloaded.add(Violation.MISSING, "a slot")
    assert CallsVerdict("x", [result(1, 20, overloaded)]).status == 1


def test_a_fault_keeps_its_count_and_only_a_few_examples() -> None:
    violations = Violations()
    for number in range(100):
        violations.add(Violation.TWICE, str(number))
    verdict = CallsVerdict("x", [result(1, 20, violations)])
    assert verdict.counts[Violation.TWICE] == 100
    assert len(verdict.examples) == 5
    assert verdict.sentence == "It does not hold: 1 seed, 100 calls; 100 calls that reached the backend twice."


def test_a_peak_of_any_length_stays_in_the_picture() -> None:
    series = [(1.0, 3), (5.0, 9), (5.000001, 3), (9.0, 0)]
    assert highest_in_columns(series, 10.0, 10) == [0, 3, 3, 3, 3, 9, 3, 3, 3, 3]
    assert highest_in_columns([], 10.0, 3) == [0, 0, 0]


class Page(HTMLParser):
    """What a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.outside += [str(value) for name, value in attrs if name in ("src", "href", "data", "action")]


def test_the_report_stands_alone_and_takes_nothing_for_markup(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    verdict = CallsVerdict("x", [result(1, 20), result(2, 21, broken())])
    path.write_text(render(verdict, "invoke-gateway prove --seeds 2"))
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.outside == []
    assert "url(" not in text
    assert (page.tags["script"], page.tags["svg"], page.tags["details"]) == (0, 2, 2)
    assert "&lt;script&gt;" in text
    assert "prefers-color-scheme:dark" in text
    assert "It does not hold" in text
    assert "It holds" in render(CallsVerdict("x", [result(1, 20)]), "prove")


def test_the_tables_name_every_limit_and_every_kind_of_fault() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    verdict = CallsVerdict("x", [result(7, 21, broken())], ["a note"])
    print_verdict(console, verdict, list_tables(verdict))
    text = console.export_text()
    assert all(violation.value in text for violation in Violation if violation not in (*OF_SHARED, *OF_EVENTS))
    assert not any(violation.value in text for violation in (*OF_SHARED, *OF_EVENTS)), "nothing was struck"
    assert "<script>alert(1)</script>" in text
    assert "a note" in text
    assert "invoke-gateway prove --seed 7" in text


SECONDS = [
    Second(-1, 56, Counter({UNRESERVED_REASON: 216, RESERVED_REASON: 139}), (26, 28), 12, 28, None),
    Second(0, 28, Counter({FAILED: 3, UNRESERVED_REASON: 281}), (17, 31), 13, 27, 26, ["killed (-9) at 0.0 s"]),
]


def recovered(name: str, since: float, seconds: float | None, lag: float = 0.0) -> Recovery:
    recovery = Recovery(name, since, 4.0, [], [])
    recovery.recovered_at = None if seconds is None else since + seconds
    recovery.lag = lag
    return recovery


def killed(who: int, at: float, seconds: float, overshoot: int = 0) -> InjectedFault:
    fault = InjectedFault(f"gateway {who} killed (-9)", [], at, is_cut=True)
    fault.overshoot, fault.overshoot_with_lost, fault.refused_while_free = overshoot, 7, 11
    fault.failed, fault.unanswered = 2, 3
    fault.recoveries = [
        recovered(fault.name, at, seconds),
        recovered(f"gateway {who} started again", at + 1, 1.25),
    ]
    fault.timeline, fault.over = SECONDS, at + 5
    return fault


def test_a_recovery_that_was_late_on_a_overloaded_machine_is_not_judged() -> None:
    late = recovered("killed", 1.0, 4.5, lag=0.8)
    assert (late.within_deadline, late.judgement, late.as_json(0.0)["lag"]) == (False, "not judged", 0.8)
    assert recovered("killed", 1.0, 4.5).judgement == "no"
    assert recovered("killed", 1.0, 3.5).judgement == "yes"


def cut_off(at: float, seconds: float | None) -> InjectedFault:
    name = "gateway 1 cut off for longer than the lease"  # about as long as they come
    fault = InjectedFault(name, [], at, is_cut=True)
    fault.ended = at + 30.0
    fault.recoveries = [recovered(f"{name}: its return", at + 30, seconds)]
    return fault


def test_of_each_kind_of_fault_the_worst_is_shown_and_all_are_in_the_report() -> None:
    results = [result(seed, 20) for seed in (7, 8)]
    results[0].faults = [killed(1, 3.0, 2.5, overshoot=1), cut_off(9.0, 3.25)]
    results[1].faults = [killed(2, 5.0, 3.5), cut_off(8.0, None)]
    for one in results:
        one.peaks[0].highest_with_lost = 23
    results[1].violations.add(Violation.NOT_HEALED, "cut off: not healed")
    verdict = CallsVerdict("x", results, options=" --gateways 3 --redis spawn")
    told = io.StringIO()
    print_verdict(Console(file=told, width=130), verdict, list_tables(verdict))
    rows = [" ".join(line.split()) for line in told.getvalue().splitlines()]
    assert "gateway 1 killed (-9) 7 3.0 s for good 1 11 5 2.5 s 4 s yes" in rows
    assert "gateway 1 started again 1.2 s 4 s yes" in rows
    assert "gateway 1 cut off for longer than the lease 8 8.0 s 30.0 s 0 0 0 never 4 s no" in rows
    assert "gateway 1 killed (-9), seed 7, second by second" in rows
    assert "-1 56 216 139 0 0 0 26 to 28 12 28 -" in rows
    assert "0 28 281 0 3 0 0 17 to 31 13 27 26 killed (-9) at 0.0 s" in rows
    assert not any("3.2 s" in row or "3.5 s" in row for row in rows)
    assert "over- while ered dead-" in rows, "all columns fit"
    assert "000000000000 account 20 20 0 23" in rows
    assert "prove --seed 8 --gateways 3 --redis spawn" in told.getvalue()
    assert verdict.status == 1
    report = render(verdict, "prove")
    assert all(
        name in report for name in ("gateway 1 killed (-9)", "gateway 2 killed (-9)", "never", ">23", ">17 to 31<")
    )
    described = verdict.as_json()["seeds"][0]["blows"][0]
    assert [second["second"] for second in described.pop("around")] == [-1, 0]
    assert described == {
        "blow": "gateway 1 killed (-9)",
        "at": 3.0,
        "lasted": None,
        "over": 8.0,
        "overshoot": 1,
        "overshoot_with_calls_of_lost_gateways": 7,
        "refused_while_slots_were_free": 11,
        "failed_for_want_of_the_store": 2,
        "unanswered": 3,
        "healed": [
            {"what": "gateway 1 killed (-9)", "since": 3.0, "seconds": 2.5, "promise": 4.0, "kept": True},
            {"what": "gateway 1 started again", "since": 4.0, "seconds": 1.25, "promise": 4.0, "kept": True},
        ],
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--seed 1 --seeds 2", "one or the other"),
        ("--gateway http://127.0.0.1:1", "also give --admin and --backend-listen"),
        ("--backend-timeout 3", "also give --gateway"),
        ("--gateway https://x:1 --admin x:2 --backend-listen x:3", "plain HTTP"),
        ("--gateway x --admin x:2 --backend-listen x:3", "HOST:PORT"),
        ("--gateways 3", "give --redis spawn"),
        ("--lease 5", "give --redis spawn"),
        ("--reclaim-after timeout", "give --redis spawn"),
        ("--faults killed", "give --redis spawn"),
        ("--partition-seconds 30", "give --redis spawn"),
        ("--redis spawn --faults killed,shot", "'shot': the faults are killed, stopped, stopped-shortly"),
        ("--redis spawn --lease 0.1", "not in the range"),
        ("--redis rediss://x:1/0", "is not redis://HOST:PORT/DATABASE"),
        ("--redis redis://127.0.0.1:1/0", "cannot be used"),
        ("--redis spawn --gateway x:1 --admin x:2 --backend-listen x:3", "one or the other"),
        ("--seeds 0", "0 is not in the range"),
        ("--minutes -1", "not in the range"),
        ("--report /nowhere/out.html", "/nowhere/out.html: " + os.strerror(errno.ENOENT)),
        ("--gateway 127.0.0.1:1 --admin 127.0.0.1:1 --backend-listen 127.0.0.1:0", "no gateway answers"),
        ("--gateway 127.0.0.1:1 --admin 127.0.0.1:1 --backend-listen 192.0.2.1:1", "cannot listen on"),
    ],
)
def test_wrong_use_says_what_to_do_and_exits_with_2(options: str, text: str) -> None:
    ran = CliRunner().invoke(main, ["prove", *options.split()])
    assert ran.exit_code == 2
    assert text in " ".join(ran.output.split())
    assert "Traceback" not in ran.output


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
@pytest.mark.parametrize("form", ["{}=killed", "{} 1"])
def test_an_old_name_of_an_option_is_answered_with_the_new_one(old: str, new: str, form: str) -> None:
    ran = CliRunner().invoke(main, ["prove", *form.format(old).split()])
    assert ran.exit_code == 2
    assert f"{old} is now {new}: give {new}." in ran.output
