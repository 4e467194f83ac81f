"""Holds the state of one run: every response judged and counted, the gateway watched, the end summed up."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import gevent
from locust.env import Environment
from locust.stats import StatsEntry

from loadtests.load import judging
from loadtests.load.admin import AdminClient, Silence, in_flight_of, look_for_leaks
from loadtests.load.judging import ADMITTED, REFUSED, Answer, Ceilings, Expected, Verdict
from loadtests.load.outcome import Line, Outcome, Sample
from loadtests.load.overlap import HEADER, Highest, read_running, running_by_counter

QUIET_SECONDS = 15.0
# So many functions without a ceiling of their own are kept of each look.
_MOST_OTHERS = 8


class Run:
    """Holds one run. The gateway is read every `look_seconds`; with `admin` None it is not read."""

    def __init__(self, scenario: str, environment: Environment, admin: AdminClient | None, look_seconds: float) -> None:
        self.scenario = scenario
        self.environment = environment
        self.admin = admin
        self.ceilings = Ceilings()
        self._look_seconds = look_seconds
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by function: outcomes
        self.refused: Counter[str] = Counter()
        self.admitted = 0
        self.notes: list[str] = []
        self.marks: dict[str, float] = {}
        self._truth = Highest()
        self._told = Highest()
        self.samples: list[Sample] = []
        self._rows: dict[str, tuple[str, str]] = {}
        self._began = time.monotonic()
        self._is_watching = True
        self._watch: gevent.Greenlet | None = None

    def begin(self) -> None:
        self._began = time.monotonic()
        try:
            if self.admin is not None:
                self.ceilings = Ceilings.read(self.admin.account())
                self._watch = gevent.spawn(self._look_again_and_again)
        except Silence as error:
            self.notes.append(f"limits and leaks are not checked: {error}")
            self.admin = None

    def judge(
        self,
        answer: Answer,
        function: str,
        expected: Expected,
        row: str | None = None,
        find_problem: Callable[[Answer], str | None] = lambda answer: None,
    ) -> Verdict:
        """Judges a response to `function` and counts it, under `row` if given."""
        verdict = judging.judge(answer, function, expected, self.ceilings)
        if row is not None:
            verdict = verdict._replace(row=row)
        if verdict.problem is None and (problem := find_problem(answer)):
            verdict = verdict._replace(kind=judging.UNEXPECTED, problem=problem)
        if verdict.problem is None and HEADER in answer.headers:
            running = running_by_counter(read_running(answer.headers[HEADER]), self.ceilings)
            above = self._truth.see(running, self.ceilings, blamed=function)
            if above:
                verdict = verdict._replace(kind=judging.UNEXPECTED, problem=f"a {answer.status} {above}")
        self.count(verdict, function)
        return verdict

    def count(self, verdict: Verdict, function: str) -> None:
        if verdict.problem is None:
            self._rows[verdict.row] = (verdict.kind, verdict.what)
        self.counts[function][verdict.kind] += 1
        if verdict.kind == ADMITTED:
            self.admitted += 1
        elif verdict.kind == REFUSED:
            self.refused[verdict.what] += 1

    def share_refused(self, function: str) -> float:
        """Returns the share of the function's responses that were refusals, 0..1."""
        counts = self.counts[function]
        return counts[REFUSED] / counts.total() if counts else 0.0

    def fail(self, text: str) -> None:
        """Records a failure that belongs to no single call: a failure in Locust's tables, and so exit status 1."""
        self.environment.events.request.fire(
            request_type="Check", name=self.scenario, response_time=0, response_length=0, exception=AssertionError(text)
        )

    def stop_watching(self) -> None:
        self._is_watching = False
        if self._watch is not None:
            self._watch.join()  # not ended: its request may be under way, and others will use the connection

    def end(self) -> Outcome:
        """Checks for leaks and sums up, after all users and watchers have stopped."""
        outcome = Outcome(self.scenario, samples=self.samples, notes=self.notes, marks=self.marks)
        outcome.ceilings = self.ceilings.by_counter()
        if self.admin is not None:
            self._look_for_leaks(self.admin, outcome)
        if not self._truth.seen and self.admitted:
            word = "checked against /limits alone" if self.admin else "nothing checks how many calls ran at once"
            self.notes.append(f"the backend sends no {HEADER}: {word}")
        outcome.highest = self._of_limits(self._told)
        outcome.truly_highest = self._of_limits(self._truth)
        if outcome.overshoot:
            self.fail(f"a limit was exceeded by {outcome.overshoot}")
        outcome.lines = self._lines()
        if not outcome.lines:
            self.fail("no call was answered")
        outcome.failures = self._failures()
        return outcome

    def _look_again_and_again(self) -> None:
        while self._is_watching:
            self._look()
            gevent.sleep(self._look_seconds)

    def _look(self) -> None:
        assert self.admin is not None
        try:
            in_flight = in_flight_of(self.admin.account())
        except Silence as error:
            self.fail(str(error))
            return
        self._told.see(in_flight, self.ceilings)
        limits = self.ceilings.by_counter()
        others = [name for name in in_flight if name not in limits][:_MOST_OTHERS]
        runner = self.environment.runner
        self.samples.append(
            Sample(
                seconds=round(time.monotonic() - self._began, 3),
                users=runner.user_count if runner else 0,
                in_flight={name: in_flight.get(name, 0) for name in (*limits, *others)},
                admitted=self.admitted,
                refused=dict(self.refused),
            )
        )

    def _look_for_leaks(self, admin: AdminClient, outcome: Outcome) -> None:
        self._look()
        try:
            quiet = look_for_leaks(admin, QUIET_SECONDS, gevent.sleep)
        except Silence as error:
            self.fail(str(error))
            return
        outcome.leaked = quiet.leaked
        self.notes += quiet.notes
        for problem in quiet.problems:
            self.fail(problem)

    def _of_limits(self, highest: Highest) -> dict[str, int]:
        return {name: highest.seen[name] for name in self.ceilings.by_counter()}

    def _lines(self) -> list[Line]:
        """Returns the expected outcomes. The times are those of all responses in the same rows."""
        merged: dict[tuple[str, str], StatsEntry] = {}
        for (name, _), entry in self.environment.stats.entries.items():
            if (outcome := self._rows.get(name)) is None:
                continue
            if outcome not in merged:
                merged[outcome] = StatsEntry(None, name, "", use_response_times_cache=False)
            merged[outcome].extend(entry)
        return [
            Line(
                kind,
                what,
                entry.num_requests - entry.num_failures,
                *(_percentile(entry, share) for share in (0.5, 0.99)),
            )
            for (kind, what), entry in sorted(merged.items())
        ]

    def _failures(self) -> dict[str, int]:
        failures = {
            f"{error.name}: {error.error}": error.occurrences for error in self.environment.stats.errors.values()
        }
        raised: dict[Any, dict[str, Any]] = self.environment.runner.exceptions if self.environment.runner else {}
        return failures | {f"a user raised {one['msg']}": one["count"] for one in raised.values()}


def _percentile(entry: StatsEntry, share: float) -> float:
    return float(entry.get_response_time_percentile(share) or 0)
