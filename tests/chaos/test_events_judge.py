"""What is judged of events: a history that keeps the rules passes, and each thing that breaks one is seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from invoke_gateway.chaos.events.checker import Judge, Tally, find_repeats
from invoke_gateway.chaos.events.dead_letters import Letter, Letters
from invoke_gateway.chaos.events.history import Answer, Blow, BlowKind, Event, Life
from invoke_gateway.chaos.events.ledger import EventLedger
from invoke_gateway.chaos.events.script import FUNCTIONS, Ending, Intent
from invoke_gateway.chaos.violations import Fault, Faults

BY_NAME = {function.name: function for function in reversed(FUNCTIONS)}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class History:
    """A fake ledger's story: gateways that live, events that are accepted and run, lines that are written."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ledger = EventLedger(1, self.clock)
        self.life = Life("gateway 1")
        self.blows: list[Blow] = []
        self.dead: list[Letter] = []
        self.failed: list[Letter] = []
        self.starved = 0.0

    def accept(self, name: str = "plain", *endings: Ending) -> Event:
        event = self.ledger.create(Intent(BY_NAME[name], 10, 0.0, endings))
        self.ledger.accept(event)
        return event

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def run(self, event: Event, seconds: float = 0.01) -> None:
        run = self.ledger.begin(event, self.life)
        self.wait(seconds)
        self.ledger.end(run)

    def strike(self, kind: BlowKind = BlowKind.KILLED, seconds: float = 0.0) -> None:
        blow = Blow(kind, self.life, self.clock.now)
        self.wait(seconds)
        blow.ended = self.clock.now
        self.blows.append(blow)
        if kind is BlowKind.KILLED:
            self.ledger.excuse(self.life)
            self.life = Life("gateway 1, life 2")

    def tell(self, event: Event, condition: str = "RetriesExhausted", *, only: str = "") -> None:
        self.wait(0.05)
        for name, letters in (("dead", self.dead), ("failed", self.failed)):
            if only in ("", name):
                text = json.dumps({"id": event.id, "condition": condition})
                letters.append(Letter(event.id, text, self.clock.now - 0.05, self.clock.now))

    def judge(self) -> tuple[Tally, dict[Fault, int]]:
        faults: Faults = self.ledger.faults
        judge = Judge(faults, self.blows, lambda _: self.starved)
        tally = judge.judge(self.ledger.events.values(), self.dead, self.failed)
        return tally, {fault: count for fault, count in faults.counts.items() if count}


def judge(play: Callable[[History], object]) -> tuple[Tally, dict[Fault, int]]:
    history = History()
    play(history)
    return history.judge()


def fail(history: History, event: Event) -> None:
    """Both attempts of a function that fails, each at its time."""
    history.run(event)
    history.wait(0.2)
    history.run(event)


def test_events_that_succeed_fail_and_are_told_as_the_rules_say_are_no_fault() -> None:
    history = History()
    history.run(history.accept())
    flaky = history.accept("flaky", Ending.ERROR, Ending.THROTTLED, Ending.ERROR)
    for pause in (0.0, 0.2, 0.05, 0.4):
        history.wait(pause)
        history.run(flaky)
    failing = history.accept("failing")
    fail(history, failing)
    history.tell(failing)
    history.tell(history.accept("closed"), "ZeroReservedConcurrency")
    tally, faults = history.judge()
    assert faults == {}
    assert (tally.accepted, tally.as_planned, tally.dead_lettered, tally.lost) == (4, 4, 2, 0)


def test_an_accepted_event_that_never_ran_is_lost() -> None:
    tally, faults = judge(lambda history: history.accept())
    assert faults == {Fault.LOST: 1}
    assert tally.lost == 1


def test_an_event_that_ran_and_failed_and_was_not_run_again_is_lost() -> None:
    _, faults = judge(lambda history: history.run(history.accept("flaky", Ending.ERROR)))
    assert faults == {Fault.LOST: 1}


def test_a_failing_event_that_has_no_letter_is_lost_before_its_attempts_and_untold_after_them() -> None:
    _, faults = judge(lambda history: history.run(history.accept("failing")))
    assert faults == {Fault.LOST: 1}
    _, faults = judge(lambda history: fail(history, history.accept("failing")))
    assert faults == {Fault.UNTOLD: 2}, "a dead letter and a record"


def test_a_missing_dead_letter_and_a_wrong_condition_are_seen() -> None:
    _, faults = judge(lambda history: history.tell(history.accept("closed"), "ZeroReservedConcurrency", only="failed"))
    assert faults == {Fault.UNTOLD: 1}
    _, faults = judge(lambda history: history.tell(history.accept("closed")))
    assert faults == {Fault.UNTOLD: 1}


def test_an_event_whose_connection_ended_before_its_202_may_be_lost() -> None:
    def play(history: History) -> None:
        history.accept().answer = Answer.UNKNOWN

    tally, faults = judge(play)
    assert faults == {}
    assert tally.unknown == 1


def test_an_event_that_was_refused_and_runs_is_seen() -> None:
    def play(history: History) -> None:
        event = history.accept()
        event.answer = Answer.REFUSED
        history.run(event)

    assert judge(play)[1] == {Fault.REFUSED_AND_RUN: 1}


def test_a_second_run_that_no_blow_explains_is_an_error() -> None:
    def play(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.run(event)

    tally, faults = judge(play)
    assert faults == {Fault.AGAIN: 1}
    assert (tally.unexplained, tally.again, tally.as_planned) == (1, 0, 0)


def test_a_kill_explains_one_more_run_of_what_ran_or_had_just_ended() -> None:
    def play(history: History) -> None:
        ended, running = history.accept(), history.accept()
        history.run(ended)
        run = history.ledger.begin(running, history.life)
        history.strike()
        history.wait(0.5)
        history.ledger.end(run)
        history.run(ended)
        history.run(running)

    tally, faults = judge(play)
    assert faults == {}
    assert (tally.again, tally.repeats) == (2, 2)
    assert 0.5 < tally.slowest_recovery < 0.6


def test_a_kill_explains_no_second_repeat_and_none_of_what_had_ended_long_before_or_began_before_it() -> None:
    def twice_after(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.strike()
        history.run(event)
        history.run(event)

    def long_before(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.wait(1.5)
        history.strike()
        history.run(event)

    def before(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.run(event)
        history.strike()

    for play in (twice_after, long_before, before):
        assert judge(play)[1] == {Fault.AGAIN: 1}, play.__name__


def test_a_blow_to_another_gateway_a_short_stop_and_an_orderly_end_explain_nothing() -> None:
    def another(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.life = Life("gateway 2")
        history.strike()
        history.run(event)

    def short(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.strike(BlowKind.STOPPED_SHORTLY, 0.5)
        history.run(event)

    def orderly(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.strike(BlowKind.RESTARTED)
        history.run(event)

    for play in (another, short, orderly):
        assert judge(play)[1] == {Fault.AGAIN: 1}, play.__name__


def test_what_a_stopped_gateway_had_claimed_may_run_elsewhere_and_once_more_when_it_is_back() -> None:
    def play(history: History) -> None:
        event, stopped = history.accept(), history.life
        history.strike(BlowKind.STOPPED, 5.0)
        history.life = Life("gateway 2")
        history.run(event)
        history.life = stopped
        history.run(event)

    tally, faults = judge(play)
    assert faults == {}
    assert tally.again == 1


def test_a_repeat_on_a_starved_machine_is_not_judged_where_a_blow_may_explain_it() -> None:
    def play(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.wait(3)
        history.strike()
        history.run(event)
        history.starved = 2.0

    assert judge(play)[1] == {Fault.NOT_JUDGED: 1}


def test_two_runs_at_once_are_a_repeat_even_where_the_rules_ask_for_two() -> None:
    history = History()
    event = history.accept("flaky", Ending.ERROR)
    first = history.ledger.begin(event, history.life)
    history.run(event)
    history.ledger.end(first)
    assert [run is event.runs[1] for run in find_repeats(event)] == [True]


def test_too_few_and_too_many_attempts_are_seen() -> None:
    def too_few(history: History) -> None:
        event = history.accept("failing")
        history.run(event)
        history.tell(event)

    def too_many(history: History) -> None:
        event = history.accept("failing")
        fail(history, event)
        history.wait(0.4)
        history.run(event)
        history.tell(event)

    def told_though_it_succeeded(history: History) -> None:
        event = history.accept()
        history.run(event)
        history.tell(event)

    assert judge(too_few)[1] == {Fault.ATTEMPTS: 1}
    assert judge(too_many)[1] == {Fault.AGAIN: 1}
    assert judge(told_though_it_succeeded)[1] == {Fault.ATTEMPTS: 1}


def test_a_retry_before_its_time_is_seen() -> None:
    def play(history: History) -> None:
        event = history.accept("flaky", Ending.ERROR)
        history.run(event)
        history.wait(0.1)
        history.run(event)

    assert judge(play)[1] == {Fault.TOO_SOON: 1}


def test_whoever_takes_over_need_not_know_of_the_last_error_but_knows_the_rules() -> None:
    def at_once(history: History) -> None:
        event = history.accept("flaky", Ending.ERROR, Ending.ERROR)
        history.run(event)
        history.strike()
        history.run(event)
        history.wait(0.2)
        history.run(event)

    def hurried(history: History) -> None:
        event = history.accept("flaky", Ending.ERROR, Ending.ERROR)
        history.run(event)
        history.strike()
        history.run(event)
        history.run(event)

    assert judge(at_once)[1] == {}
    assert judge(hurried)[1] == {Fault.TOO_SOON: 1}


def test_a_letter_may_be_written_again_after_a_kill_and_not_otherwise() -> None:
    def explained(history: History) -> None:
        event = history.accept("failing")
        fail(history, event)
        history.tell(event)
        history.strike()
        history.tell(event)

    def unexplained(history: History) -> None:
        event = history.accept("failing")
        history.strike()
        fail(history, event)
        history.tell(event)
        history.tell(event)

    tally, faults = judge(explained)
    assert faults == {}
    assert tally.told_again == 2
    assert judge(unexplained)[1] == {Fault.TOLD_AGAIN: 2}


def test_calls_above_a_limit_are_seen_and_those_of_a_dead_gateway_do_not_count() -> None:
    history = History()
    events = [history.accept("failing") for _ in range(5)]
    for event in events[:2]:
        history.ledger.begin(event, history.life)
    history.strike()
    for event in events[2:4]:
        history.ledger.begin(event, history.life)
    assert history.ledger.faults.counts[Fault.OVERSHOOT] == 0
    (peak,) = [peak for peak in history.ledger.peaks if peak.name == "failing"]
    assert (peak.highest, peak.highest_with_lost) == (2, 4)
    history.ledger.begin(events[4], history.life)
    assert history.ledger.faults.counts[Fault.OVERSHOOT] == 1
    assert peak.overshoot == 1


def test_a_run_of_a_function_whose_reservation_is_0_is_above_its_limit() -> None:
    history = History()
    history.run(history.accept("closed"))
    assert history.ledger.faults.counts[Fault.OVERSHOOT] == 1


async def test_lines_are_read_with_the_time_of_their_writing_and_torn_ones_apart(tmp_path: Path) -> None:
    path, clock = tmp_path / "letters.jsonl", Clock()
    letters = Letters(path, clock)
    for number in range(2):
        clock.now += 1
        with path.open("a") as file:
            file.write(json.dumps({"body": json.dumps({"id": f"event-1-{number}-end"})}) + "\n")
        letters.look()
    with path.open("a") as file:
        file.write('{"body": "event-1-2-e')
    letters.look()
    found, torn = letters.read()
    assert [(letter.id, letter.after, letter.before) for letter in found] == [
        ("event-1-0-end", 100, 101),
        ("event-1-1-end", 101, 102),
    ]
    assert torn == ['{"body": "event-1-2-e']
