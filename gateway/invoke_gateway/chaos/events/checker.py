"""Whether a seed's events were run at least once, and no more often than the blows explain.

An event that was answered 202 must succeed, or, where its function never does, have all its attempts and be told. A
run is a *repeat* when an earlier run of the event is not over, has succeeded, or was its last attempt. A repeat is
explained by a blow to a gateway that had the event then: one that ran it, or whose run had ended so lately that it may
not have written that down. One blow explains one repeat of an event, and only one that begins after it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..violations import Fault, Faults
from .dead_letters import Letter
from .history import Answer, Blow, BlowKind, Event, Run
from .nemesis import RETURN_SECONDS
from .script import FUNCTION_ERROR_DELAYS, Ending

# Within which a gateway has read a run's answer and written down what becomes of the event, on a machine that is busy.
SETTLE_SECONDS = 1.0
STARVED_SETTLE_SECONDS = 10.0  # the same on one that stands still now and then: then it is not judged
EARLY_SECONDS = 0.02  # by which clocks may differ
ZERO, EXHAUSTED = "ZeroReservedConcurrency", "RetriesExhausted"


@dataclass
class Tally:
    """Numbers of events. `as_planned`: accepted, and run exactly as often as the rules say; `again`: run again, which
    a blow explains; `repeats`: how often; `told_again`: dead letters and records that a blow explains.
    `slowest_recovery`: seconds from a blow until the last of the events that it interrupted ran again."""

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

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            mine = getattr(self, name)
            setattr(self, name, max(mine, value) if name == "slowest_recovery" else mine + value)


class Judge:
    """`starved`: by how many seconds the machine was late at most since a moment, 0 where it was not starved."""

    def __init__(self, faults: Faults, blows: Sequence[Blow], starved: Callable[[float], float]) -> None:
        self.tally = Tally()
        self._faults = faults
        self._blows = sorted((blow for blow in blows if blow.kind.explains), key=lambda blow: blow.began)
        self._starved = starved

    def judge(self, events: Iterable[Event], dead_letters: Sequence[Letter], failures: Sequence[Letter]) -> Tally:
        dead, failed = _by_id(dead_letters), _by_id(failures)
        for event in events:
            self._judge_answer(event)
            is_repeated = self._judge_repeats(event)
            if event.answer is Answer.ACCEPTED:
                self._judge_end(event, dead[event.id], failed[event.id], is_repeated=is_repeated)
            self._judge_delays(event)
            for letters in (dead[event.id], failed[event.id]):
                self._judge_letters(event, letters)
        return self.tally

    def _judge_answer(self, event: Event) -> None:
        tally = self.tally
        tally.accepted += event.answer is Answer.ACCEPTED
        tally.unknown += event.answer is Answer.UNKNOWN
        tally.unknown_and_run += event.answer is Answer.UNKNOWN and bool(event.runs)
        if event.answer is Answer.REFUSED and event.runs:
            self._faults.add(Fault.REFUSED_AND_RUN, repr(event))

    # Whether it ended, and how.

    def _judge_end(self, event: Event, dead: list[Letter], failed: list[Letter], *, is_repeated: bool) -> None:
        function = event.intent.function
        if function.always_fails or function.is_closed:
            is_planned = self._judge_failure(event, dead, failed)
        else:
            is_planned = self._judge_success(event, [*dead, *failed])
        self.tally.as_planned += is_planned and not is_repeated

    def _judge_success(self, event: Event, letters: list[Letter]) -> bool:
        if not any(run.ending is Ending.SUCCESS for run in event.runs):
            self._lose(event)
            return False
        if letters:
            self._faults.add(Fault.ATTEMPTS, f"told as failed, but has succeeded: {event}: {letters[0].text[:200]}")
        return not letters

    def _judge_failure(self, event: Event, dead: list[Letter], failed: list[Letter]) -> bool:
        """Of a function that never succeeds. A run is lost only if the event was not told either."""
        function = event.intent.function
        attempts = 0 if function.is_closed else function.retries + 1
        if not dead and not failed and (function.is_closed or len(event.runs) < attempts):
            self._lose(event)
            return False
        self.tally.dead_lettered += 1
        if len(event.runs) < attempts or (function.is_closed and event.runs):
            self._faults.add(Fault.ATTEMPTS, f"{len(event.runs)} of {attempts} attempts: {event}")
            return False
        condition = ZERO if function.is_closed else EXHAUSTED
        for name, letters in (("dead letter", dead), ("on_failure record", failed)):
            if not letters:
                self._faults.add(Fault.UNTOLD, f"no {name}: {event}")
        for letter in failed:
            if condition not in letter.text:
                self._faults.add(Fault.UNTOLD, f"not {condition}: {event}: {letter.text[:200]}")
        return bool(dead and failed)

    def _lose(self, event: Event) -> None:
        self.tally.lost += 1
        self._faults.add(Fault.LOST, repr(event))

    # Whether it ran too often.

    def _judge_repeats(self, event: Event) -> bool:
        """Whether there were repeats."""
        repeats = find_repeats(event)
        left = list(self._blows)
        is_explained = True
        for repeat in repeats:
            blow = _explain(event, repeat, left, SETTLE_SECONDS)
            if blow is not None:
                left.remove(blow)
                self.tally.repeats += 1
                self.tally.slowest_recovery = max(self.tally.slowest_recovery, repeat.began - blow.began)
                continue
            is_explained = False
            if self._starved(event.runs[0].began) and _explain(event, repeat, left, STARVED_SETTLE_SECONDS):
                self._faults.add(Fault.NOT_JUDGED, f"the machine was starved, and a blow may explain: {event}")
                continue
            self.tally.unexplained += 1
            self._faults.add(Fault.AGAIN, repr(event))
        self.tally.again += bool(repeats) and is_explained
        return bool(repeats)

    def _judge_delays(self, event: Event) -> None:
        """No retry after a function error before its time, unless after a blow somebody else began who did not know of
        it; whoever knows of fewer errors than there were keeps the first delay at least."""
        is_struck = any(_had(event, blow, SETTLE_SECONDS) for blow in self._blows)
        errors = 0
        for run, following in pairwise(event.runs):
            if run.ending is not Ending.ERROR or run.ended is None:
                continue
            errors += 1
            delay = FUNCTION_ERROR_DELAYS[0 if is_struck else min(errors, len(FUNCTION_ERROR_DELAYS)) - 1]
            if following.began >= run.ended + delay - EARLY_SECONDS:
                continue
            if any(blow.began <= following.began and _had_run(run, blow, SETTLE_SECONDS) for blow in self._blows):
                continue
            self._faults.add(Fault.TOO_SOON, f"after {following.began - run.ended:.3f} s of {delay:g}: {event}")

    # Whether it was told too often.

    def _judge_letters(self, event: Event, letters: list[Letter]) -> None:
        for letter, again in pairwise(letters):
            if any(_explains_telling(blow, letter, again) for blow in self._blows):
                self.tally.told_again += 1
            else:
                self._faults.add(Fault.TOLD_AGAIN, f"{event}: {again.text[:200]}")


def find_repeats(event: Event) -> list[Run]:
    """The runs that the rules alone do not ask for."""
    function = event.intent.function
    repeats: list[Run] = []
    for index, run in enumerate(event.runs):
        earlier = event.runs[:index]
        is_running = any(other.ended is None or other.ended > run.began for other in earlier)
        has_succeeded = any(other.ending is Ending.SUCCESS for other in earlier)
        errors = Counter(other.ending for other in earlier)[Ending.ERROR]
        if is_running or has_succeeded or errors > function.retries:
            repeats.append(run)
    return repeats


def _explain(event: Event, repeat: Run, blows: Sequence[Blow], settle_seconds: float) -> Blow | None:
    return next(
        (blow for blow in blows if blow.began <= repeat.began and _had(event, blow, settle_seconds)),
        None,
    )


def _had(event: Event, blow: Blow, settle_seconds: float) -> bool:
    """Whether the struck gateway had the event."""
    return any(_had_run(run, blow, settle_seconds) for run in event.runs)


def _had_run(run: Run, blow: Blow, settle_seconds: float) -> bool:
    """Whether the struck gateway ran it, or may not have written down what became of it; or began, when it was back,
    what it had claimed before."""
    if run.life is not blow.life or run.began > _end(blow):
        return False
    return run.ended is None or run.ended >= blow.began - settle_seconds


def _explains_telling(blow: Blow, letter: Letter, again: Letter) -> bool:
    """Whether the struck gateway may have written the one, and whoever goes on with the event the other."""
    if letter.before < blow.began - SETTLE_SECONDS or again.before < blow.began:
        return False
    if blow.kind is not BlowKind.KILLED:
        return letter.after <= _end(blow)
    return blow.ended is not None and letter.before <= blow.ended < again.before


def _end(blow: Blow) -> float:
    """Until when what the gateway does may still come of what it had before the blow. Of one that was killed what it
    sent last may arrive a little later."""
    return (blow.began if blow.ended is None else blow.ended) + RETURN_SECONDS


def _by_id(letters: Sequence[Letter]) -> defaultdict[str, list[Letter]]:
    found: defaultdict[str, list[Letter]] = defaultdict(list)
    for letter in letters:
        found[letter.id].append(letter)
    return found
