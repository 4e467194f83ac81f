"""Checks that each event ran at least once, and no more often than the faults excuse.

An event that was answered 202 must succeed. An event whose function never succeeds must have all its attempts, and a
dead letter and a record. A run is a *repeat* when an earlier run of the event is not over, has succeeded, or was its
last attempt. A fault excuses a repeat when its gateway had the event then. A gateway has an event that it runs, or
whose run ended so recently that the result may not be written. One fault excuses one repeat of an event, and only a
repeat that begins after the fault.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..judging.violations import Violation, Violations
from .dead_letters import DeadLetter
from .event import EventAnswer, EventFault, EventFaultKind, EventRun, SentEvent
from .nemesis import RETURN_SECONDS
from .script import FUNCTION_ERROR_DELAYS, RunEnding

# Within which a gateway has read a run's answer and written down what becomes of the event, on a machine that is busy.
SETTLE_SECONDS = 1.0
OVERLOADED_SETTLE_SECONDS = 10.0  # the same on an overloaded machine: no judgement before that
EARLY_SECONDS = 0.02  # by which clocks may differ
ZERO, EXHAUSTED = "ZeroReservedConcurrency", "RetriesExhausted"


@dataclass
class EventTally:
    """Numbers of events.

    as_planned: accepted, and run exactly as often as the rules ask
    again: run again, which a fault excuses
    repeats: all such runs
    told_again: dead letters and records that were written again, which a fault excuses
    slowest_recovery: seconds from a fault until the last event that it interrupted ran again"""

    accepted: int = 0
    unknown: int = 0
    unknown_and_run: int = 0
    as_planned: int = 0
    again: int = 0
    repeats: int = 0
    dead_lettered: int = 0
    lost: int = 0
    unexplained: int = 0
    told_again: int = 0
    slowest_recovery: float = 0.0

    def add(self, other: EventTally) -> None:
        for name, value in vars(other).items():
            mine = getattr(self, name)
            setattr(self, name, max(mine, value) if name == "slowest_recovery" else mine + value)


class EventChecker:
    """Checks the events of one seed. `overloaded`: returns the longest lag since a moment (seconds), 0 within the
    limit."""

    def __init__(
        self, violations: Violations, faults: Sequence[EventFault], overloaded: Callable[[float], float]
    ) -> None:
        self.tally = EventTally()
        self._violations = violations
        self._faults = sorted((fault for fault in faults if fault.kind.excuses), key=lambda fault: fault.began)
        self._overloaded = overloaded

    def check(
        self, events: Iterable[SentEvent], dead_letters: Sequence[DeadLetter], failures: Sequence[DeadLetter]
    ) -> EventTally:
        dead, failed = _by_id(dead_letters), _by_id(failures)
        for event in events:
            self._check_answer(event)
            is_repeated = self._check_repeats(event)
            if event.answer is EventAnswer.ACCEPTED:
                self._check_end(event, dead[event.id], failed[event.id], is_repeated=is_repeated)
            self._check_delays(event)
            for letters in (dead[event.id], failed[event.id]):
                self._check_letters(event, letters)
        return self.tally

    def _check_answer(self, event: SentEvent) -> None:
        tally = self.tally
        tally.accepted += event.answer is EventAnswer.ACCEPTED
        tally.unknown += event.answer is EventAnswer.UNKNOWN
        tally.unknown_and_run += event.answer is EventAnswer.UNKNOWN and bool(event.runs)
        if event.answer is EventAnswer.REFUSED and event.runs:
            self._violations.add(Violation.REFUSED_AND_RUN, repr(event))

    # The end of an event.

    def _check_end(
        self, event: SentEvent, dead: list[DeadLetter], failed: list[DeadLetter], *, is_repeated: bool
    ) -> None:
        function = event.intent.function
        if function.always_fails or function.is_closed:
            is_planned = self._check_failure(event, dead, failed)
        else:
            is_planned = self._check_success(event, [*dead, *failed])
        self.tally.as_planned += is_planned and not is_repeated

    def _check_success(self, event: SentEvent, letters: list[DeadLetter]) -> bool:
        if not any(run.ending is RunEnding.SUCCESS for run in event.runs):
            self._lose(event)
            return False
        if letters:
            self._violations.add(
                Violation.ATTEMPTS, f"reported as failed, but has succeeded: {event}: {letters[0].text[:200]}"
            )
        return not letters

    def _check_failure(self, event: SentEvent, dead: list[DeadLetter], failed: list[DeadLetter]) -> bool:
        """Checks an event of a function that never succeeds. Such an event is lost only where no outcome was
        written either."""
        function = event.intent.function
        attempts = 0 if function.is_closed else function.retries + 1
        if not dead and not failed and (function.is_closed or len(event.runs) < attempts):
            self._lose(event)
            return False
        self.tally.dead_lettered += 1
        if len(event.runs) < attempts or (function.is_closed and event.runs):
            self._violations.add(Violation.ATTEMPTS, f"{len(event.runs)} of {attempts} attempts: {event}")
            return False
        condition = ZERO if function.is_closed else EXHAUSTED
        for name, letters in (("dead letter", dead), ("on_failure record", failed)):
            if not letters:
                self._violations.add(Violation.UNTOLD, f"no {name}: {event}")
        for letter in failed:
            if condition not in letter.text:
                self._violations.add(Violation.UNTOLD, f"not {condition}: {event}: {letter.text[:200]}")
        return bool(dead and failed)

    def _lose(self, event: SentEvent) -> None:
        self.tally.lost += 1
        self._violations.add(Violation.LOST, repr(event))

    # Too many runs.

    def _check_repeats(self, event: SentEvent) -> bool:
        """Returns True where there were repeats."""
        repeats = find_repeats(event)
        left = list(self._faults)
        is_excused = True
        for repeat in repeats:
            fault = _find_excuse(event, repeat, left, SETTLE_SECONDS)
            if fault is not None:
                left.remove(fault)
                self.tally.repeats += 1
                self.tally.slowest_recovery = max(self.tally.slowest_recovery, repeat.began - fault.began)
                continue
            is_excused = False
            if self._overloaded(event.runs[0].began) and _find_excuse(event, repeat, left, OVERLOADED_SETTLE_SECONDS):
                self._violations.add(
                    Violation.NOT_JUDGED, f"the machine was overloaded, and a fault may excuse: {event}"
                )
                continue
            self.tally.unexplained += 1
            self._violations.add(Violation.AGAIN, repr(event))
        self.tally.again += bool(repeats) and is_excused
        return bool(repeats)

    def _check_delays(self, event: SentEvent) -> None:
        """Checks that no retry begins too early after a function error. A fault excuses a gateway that did not
        receive the last error; the first delay at least is kept."""
        is_affected = any(_had(event, fault, SETTLE_SECONDS) for fault in self._faults)
        errors = 0
        for run, following in pairwise(event.runs):
            if run.ending is not RunEnding.ERROR or run.ended is None:
                continue
            errors += 1
            delay = FUNCTION_ERROR_DELAYS[0 if is_affected else min(errors, len(FUNCTION_ERROR_DELAYS)) - 1]
            if following.began >= run.ended + delay - EARLY_SECONDS:
                continue
            if any(fault.began <= following.began and _had_run(run, fault, SETTLE_SECONDS) for fault in self._faults):
                continue
            self._violations.add(Violation.TOO_SOON, f"after {following.began - run.ended:.3f} s of {delay:g}: {event}")

    # Too many letters.

    def _check_letters(self, event: SentEvent, letters: list[DeadLetter]) -> None:
        for letter, again in pairwise(letters):
            if any(_excuses_letter(fault, letter, again) for fault in self._faults):
                self.tally.told_again += 1
            else:
                self._violations.add(Violation.TOLD_AGAIN, f"{event}: {again.text[:200]}")


def find_repeats(event: SentEvent) -> list[EventRun]:
    """Lists the runs that the rules do not ask for."""
    function = event.intent.function
    repeats: list[EventRun] = []
    for index, run in enumerate(event.runs):
        earlier = event.runs[:index]
        is_running = any(other.ended is None or other.ended > run.began for other in earlier)
        has_succeeded = any(other.ending is RunEnding.SUCCESS for other in earlier)
        errors = Counter(other.ending for other in earlier)[RunEnding.ERROR]
        if is_running or has_succeeded or errors > function.retries:
            repeats.append(run)
    return repeats


def _find_excuse(
    event: SentEvent, repeat: EventRun, faults: Sequence[EventFault], settle_seconds: float
) -> EventFault | None:
    return next(
        (fault for fault in faults if fault.began <= repeat.began and _had(event, fault, settle_seconds)),
        None,
    )


def _had(event: SentEvent, fault: EventFault, settle_seconds: float) -> bool:
    """True where the affected gateway had the event."""
    return any(_had_run(run, fault, settle_seconds) for run in event.runs)


def _had_run(run: EventRun, fault: EventFault, settle_seconds: float) -> bool:
    """True where the affected gateway ran it and may not have written the result, or began on its return what it had
    claimed before."""
    if run.gateway is not fault.gateway or run.began > _end(fault):
        return False
    return run.ended is None or run.ended >= fault.began - settle_seconds


def _excuses_letter(fault: EventFault, letter: DeadLetter, again: DeadLetter) -> bool:
    """True where the affected gateway may have written the one, and its successor the other."""
    if letter.before < fault.began - SETTLE_SECONDS or again.before < fault.began:
        return False
    if fault.kind is not EventFaultKind.KILLED:
        return letter.after <= _end(fault)
    return fault.ended is not None and letter.before <= fault.ended < again.before


def _end(fault: EventFault) -> float:
    """Returns until when an act of the gateway may still stem from before the fault. The last request of a killed
    gateway may arrive a little later."""
    return (fault.began if fault.ended is None else fault.ended) + RETURN_SECONDS


def _by_id(letters: Sequence[DeadLetter]) -> defaultdict[str, list[DeadLetter]]:
    found: defaultdict[str, list[DeadLetter]] = defaultdict(list)
    for letter in letters:
        found[letter.id].append(letter)
    return found
