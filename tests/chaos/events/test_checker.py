"""What is judged of events: a history that keeps the rules passes, and each thing that breaks one is seen."""

from __future__ import annotations

import json
from collections.abc import Callable

from invoke_gateway.chaos.calls import GatewayInstance
from invoke_gateway.chaos.events.checker import EventChecker, EventTally, find_repeats
from invoke_gateway.chaos.events.dead_letters import DeadLetter
from invoke_gateway.chaos.events.event import EventAnswer, EventFault, EventFaultKind, SentEvent
from invoke_gateway.chaos.events.history import EventHistory
from invoke_gateway.chaos.events.script import FUNCTIONS, Intent, RunEnding
from invoke_gateway.chaos.judging.violations import Violation, Violations

BY_NAME = {function.name: function for function in reversed(FUNCTIONS)}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Story:
    """The story of a history: gateways that live, events that are accepted and run, lines that are written."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.story = EventHistory(1, self.clock)
        self.gateway = GatewayInstance("gateway 1")
        self.faults: list[EventFault] = []
        self.dead: list[DeadLetter] = []
        self.failed: list[DeadLetter] = []
        self.overloaded = 0.0

    def accept(self, name: str = "plain", *endings: RunEnding) -> SentEvent:
        event = self.story.create(Intent(BY_NAME[name], 10, 0.0, endings))
        self.story.accept(event)
        return event

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def run(self, event: SentEvent, seconds: float = 0.01) -> None:
        run = self.story.begin(event, self.gateway)
        self.wait(seconds)
        self.story.end(run)

    def strike(self, kind: EventFaultKind = EventFaultKind.KILLED, seconds: float = 0.0) -> None:
        fault = EventFault(kind, self.gateway, self.clock.now)
        self.wait(seconds)
        fault.ended = self.clock.now
        self.faults.append(fault)
        if kind is EventFaultKind.KILLED:
            self.story.excuse(self.gateway)
            self.gateway = GatewayInstance("gateway 1, life 2")

    def tell(self, event: SentEvent, condition: str = "RetriesExhausted", *, only: str = "") -> None:
        self.wait(0.05)
        for name, letters in (("dead", self.dead), ("failed", self.failed)):
            if only in ("", name):
                text = json.dumps({"id": event.id, "condition": condition})
                letters.append(DeadLetter(event.id, text, self.clock.now - 0.05, self.clock.now))

    def check(self) -> tuple[EventTally, dict[Violation, int]]:
        violations: Violations = self.story.violations
        check = EventChecker(violations, self.faults, lambda _: self.overloaded)
        tally = check.check(self.story.sent.values(), self.dead, self.failed)
        return tally, {violation: count for violation, count in violations.counts.items() if count}


def check(play: Callable[[Story], object]) -> tuple[EventTally, dict[Violation, int]]:
    story = Story()
    play(story)
    return story.check()


def fail(story: Story, event: SentEvent) -> None:
    """Both attempts of a function that fails, each at its time."""
    story.run(event)
    story.wait(0.2)
    story.run(event)


def test_events_that_succeed_fail_and_are_told_as_the_rules_say_are_no_fault() -> None:
    story = Story()
    story.run(story.accept())
    flaky = story.accept("flaky", RunEnding.ERROR, RunEnding.THROTTLED, RunEnding.ERROR)
    for pause in (0.0, 0.2, 0.05, 0.4):
        story.wait(pause)
        story.run(flaky)
    failing = story.accept("failing")
    fail(story, failing)
    story.tell(failing)
    story.tell(story.accept("closed"), "ZeroReservedConcurrency")
    tally, violations = story.check()
    assert violations == {}
    assert (tally.accepted, tally.as_planned, tally.dead_lettered, tally.lost) == (4, 4, 2, 0)


def test_an_accepted_event_that_never_ran_is_lost() -> None:
    tally, violations = check(lambda story: story.accept())
    assert violations == {Violation.LOST: 1}
    assert tally.lost == 1


def test_an_event_that_ran_and_failed_and_was_not_run_again_is_lost() -> None:
    _, violations = check(lambda story: story.run(story.accept("flaky", RunEnding.ERROR)))
    assert violations == {Violation.LOST: 1}


def test_a_failing_event_that_has_no_letter_is_lost_before_its_attempts_and_untold_after_them() -> None:
    _, violations = check(lambda story: story.run(story.accept("failing")))
    assert violations == {Violation.LOST: 1}
    _, violations = check(lambda story: fail(story, story.accept("failing")))
    assert violations == {Violation.UNTOLD: 2}, "a dead letter and a record"


def test_a_missing_dead_letter_and_a_wrong_condition_are_seen() -> None:
    _, violations = check(lambda story: story.tell(story.accept("closed"), "ZeroReservedConcurrency", only="failed"))
    assert violations == {Violation.UNTOLD: 1}
    _, violations = check(lambda story: story.tell(story.accept("closed")))
    assert violations == {Violation.UNTOLD: 1}


def test_an_event_whose_connection_ended_before_its_202_may_be_lost() -> None:
    def play(story: Story) -> None:
        story.accept().answer = EventAnswer.UNKNOWN

    tally, violations = check(play)
    assert violations == {}
    assert tally.unknown == 1


def test_an_event_that_was_refused_and_runs_is_seen() -> None:
    def play(story: Story) -> None:
        event = story.accept()
        event.answer = EventAnswer.REFUSED
        story.run(event)

    assert check(play)[1] == {Violation.REFUSED_AND_RUN: 1}


def test_a_second_run_that_no_fault_explains_is_an_error() -> None:
    def play(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.run(event)

    tally, violations = check(play)
    assert violations == {Violation.AGAIN: 1}
    assert (tally.unexplained, tally.again, tally.as_planned) == (1, 0, 0)


def test_a_kill_explains_one_more_run_of_what_ran_or_had_just_ended() -> None:
    def play(story: Story) -> None:
        ended, running = story.accept(), story.accept()
        story.run(ended)
        run = story.story.begin(running, story.gateway)
        story.strike()
        story.wait(0.5)
        story.story.end(run)
        story.run(ended)
        story.run(running)

    tally, violations = check(play)
    assert violations == {}
    assert (tally.again, tally.repeats) == (2, 2)
    assert 0.5 < tally.slowest_recovery < 0.6


def test_a_kill_explains_no_second_repeat_and_none_of_what_had_ended_long_before_or_began_before_it() -> None:
    def twice_after(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.strike()
        story.run(event)
        story.run(event)

    def long_before(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.wait(1.5)
        story.strike()
        story.run(event)

    def before(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.run(event)
        story.strike()

    for play in (twice_after, long_before, before):
        assert check(play)[1] == {Violation.AGAIN: 1}, play.__name__


def test_a_fault_to_another_gateway_a_short_stop_and_an_orderly_end_explain_nothing() -> None:
    def another(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.gateway = GatewayInstance("gateway 2")
        story.strike()
        story.run(event)

    def short(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.strike(EventFaultKind.STOPPED_SHORTLY, 0.5)
        story.run(event)

    def orderly(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.strike(EventFaultKind.RESTARTED)
        story.run(event)

    for play in (another, short, orderly):
        assert check(play)[1] == {Violation.AGAIN: 1}, play.__name__


def test_what_a_stopped_gateway_had_claimed_may_run_elsewhere_and_once_more_when_it_is_back() -> None:
    def play(story: Story) -> None:
        event, stopped = story.accept(), story.gateway
        story.strike(EventFaultKind.STOPPED, 5.0)
        story.gateway = GatewayInstance("gateway 2")
        story.run(event)
        story.gateway = stopped
        story.run(event)

    tally, violations = check(play)
    assert violations == {}
    assert tally.again == 1


def test_a_repeat_on_a_overloaded_machine_is_not_judged_where_a_fault_may_explain_it() -> None:
    def play(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.wait(3)
        story.strike()
        story.run(event)
        story.overloaded = 2.0

    assert check(play)[1] == {Violation.NOT_JUDGED: 1}


def test_two_runs_at_once_are_a_repeat_even_where_the_rules_ask_for_two() -> None:
    story = Story()
    event = story.accept("flaky", RunEnding.ERROR)
    first = story.story.begin(event, story.gateway)
    story.run(event)
    story.story.end(first)
    assert [run is event.runs[1] for run in find_repeats(event)] == [True]


def test_too_few_and_too_many_attempts_are_seen() -> None:
    def too_few(story: Story) -> None:
        event = story.accept("failing")
        story.run(event)
        story.tell(event)

    def too_many(story: Story) -> None:
        event = story.accept("failing")
        fail(story, event)
        story.wait(0.4)
        story.run(event)
        story.tell(event)

    def told_though_it_succeeded(story: Story) -> None:
        event = story.accept()
        story.run(event)
        story.tell(event)

    assert check(too_few)[1] == {Violation.ATTEMPTS: 1}
    assert check(too_many)[1] == {Violation.AGAIN: 1}
    assert check(told_though_it_succeeded)[1] == {Violation.ATTEMPTS: 1}


def test_a_retry_before_its_time_is_seen() -> None:
    def play(story: Story) -> None:
        event = story.accept("flaky", RunEnding.ERROR)
        story.run(event)
        story.wait(0.1)
        story.run(event)

    assert check(play)[1] == {Violation.TOO_SOON: 1}


def test_whoever_takes_over_need_not_know_of_the_last_error_but_knows_the_rules() -> None:
    def at_once(story: Story) -> None:
        event = story.accept("flaky", RunEnding.ERROR, RunEnding.ERROR)
        story.run(event)
        story.strike()
        story.run(event)
        story.wait(0.2)
        story.run(event)

    def hurried(story: Story) -> None:
        event = story.accept("flaky", RunEnding.ERROR, RunEnding.ERROR)
        story.run(event)
        story.strike()
        story.run(event)
        story.run(event)

    assert check(at_once)[1] == {}
    assert check(hurried)[1] == {Violation.TOO_SOON: 1}


def test_a_letter_may_be_written_again_after_a_kill_and_not_otherwise() -> None:
    def explained(story: Story) -> None:
        event = story.accept("failing")
        fail(story, event)
        story.tell(event)
        story.strike()
        story.tell(event)

    def unexplained(story: Story) -> None:
        event = story.accept("failing")
        story.strike()
        fail(story, event)
        story.tell(event)
        story.tell(event)

    tally, violations = check(explained)
    assert violations == {}
    assert tally.told_again == 2
    assert check(unexplained)[1] == {Violation.TOLD_AGAIN: 2}


def test_calls_above_a_limit_are_seen_and_those_of_a_dead_gateway_do_not_count() -> None:
    story = Story()
    events = [story.accept("failing") for _ in range(5)]
    for event in events[:2]:
        story.story.begin(event, story.gateway)
    story.strike()
    for event in events[2:4]:
        story.story.begin(event, story.gateway)
    assert story.story.violations.counts[Violation.OVERSHOOT] == 0
    (peak,) = [peak for peak in story.story.peaks if peak.name == "failing"]
    assert (peak.highest, peak.highest_with_lost) == (2, 4)
    story.story.begin(events[4], story.gateway)
    assert story.story.violations.counts[Violation.OVERSHOOT] == 1
    assert peak.overshoot == 1


def test_a_run_of_a_function_whose_reservation_is_0_is_above_its_limit() -> None:
    story = Story()
    story.run(story.accept("closed"))
    assert story.story.violations.counts[Violation.OVERSHOOT] == 1
