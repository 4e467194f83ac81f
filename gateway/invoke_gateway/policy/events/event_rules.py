"""Decides the next step of an asynchronous invocation.

Two kinds of failure are counted apart. If the function ran and failed, it is run again a fixed number of times, after
fixed pauses. If it was throttled, or the system failed, the event returns to the queue. It is tried again after longer
and longer pauses, and this uses up no attempt. Both end with the event's age: a retry is scheduled only if the event is
young enough at the time of that retry. (Lambda's developer guide, asynchronous invocation; recordings of
AWS for the look ahead and for a reservation of 0.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

Condition = Literal["Success", "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency", "RecursiveInvocation"]
"""Names the end of an event. The first four are AWS's words in a destination's record; of a loop no record is known."""

Kind = Literal["dead_letter_queue", "on_success", "on_failure"]
"""Names the kinds of targets, by the settings' keys."""


class EventTargets(NamedTuple):
    """Holds the destinations of a function as the settings write them."""

    dead_letter_queue: str | None = None
    on_success: str | None = None
    on_failure: str | None = None

    def of(self, condition: Condition) -> tuple[Kind, ...]:
        """Returns the targets of an end: a dead-letter queue and a destination both get the event."""
        wanted: tuple[Kind, ...] = ("on_success",) if condition == "Success" else ("dead_letter_queue", "on_failure")
        return tuple(kind for kind in wanted if getattr(self, kind) is not None)


class EventRules(NamedTuple):
    """Holds the rules of one function.

    maximum_retry_attempts: further runs after a failed run
    """

    maximum_retry_attempts: int = 2
    maximum_event_age_seconds: float = 21_600
    targets: EventTargets = EventTargets()


Qualified = Mapping[str, EventRules]
"""Holds rules by qualifier; `$LATEST` where an invocation names none."""


class RuleBook:
    """Holds the rules of all functions: those with rules of their own by account and name, and one rule for
    the others.

    qualified: by account and name, the rules of single versions and aliases, which win over the function's
    """

    def __init__(
        self,
        named: Mapping[str, Mapping[str, EventRules]] | None = None,
        qualified: Mapping[str, Mapping[str, Qualified]] | None = None,
    ) -> None:
        self._named = named or {}
        self._qualified = qualified or {}

    def targets(self) -> Iterator[str]:
        """Returns every target of every function."""
        for functions in self._named.values():
            for rules in functions.values():
                yield from (target for target in rules.targets if target is not None)
        for qualified in self._qualified.values():
            for by_qualifier in qualified.values():
                for rules in by_qualifier.values():
                    yield from (target for target in rules.targets if target is not None)

    def of(self, account: str, function: str, qualifier: str) -> EventRules:
        qualified = self._qualified.get(account)
        if qualified is not None and function in qualified and qualifier in qualified[function]:
            return qualified[function][qualifier]
        named = self._named.get(account)
        return _USUAL if named is None else named.get(function, _USUAL)


_USUAL = EventRules()


class Delays(NamedTuple):
    """Computes the pauses before further attempts (seconds).

    function_error: pauses before the second run, the third and so on; the last one repeats
    shortest: pause after the first return to the queue; it doubles with each return
    longest: the greatest such pause
    """

    function_error: tuple[float, ...] = (60.0, 120.0)
    shortest: float = 1.0
    longest: float = 300.0

    @property
    def longest_wait(self) -> float:
        """Returns the longest wait of any event for its next try."""
        return max(self.longest, *self.function_error)


def after_function_error(runs: int, age_seconds: float, rules: EventRules, delays: Delays) -> float | Condition:
    """Returns the seconds until the next run, or the end of the event.

    runs: failed runs so far
    """
    if runs > rules.maximum_retry_attempts:
        return "RetriesExhausted"
    delay = delays.function_error[min(runs, len(delays.function_error)) - 1]
    return delay if age_seconds + delay < rules.maximum_event_age_seconds else "EventAgeExceeded"


def after_return(
    returns: int, age_seconds: float, rules: EventRules, delays: Delays, spread: float
) -> float | Literal["EventAgeExceeded"]:
    """Returns the seconds until the next attempt of a throttled event, or the end of the event.

    returns: returns to the queue so far, this one included
    spread: 0..1, spreads events that returned together
    """
    delay = back_off(returns, delays, spread)
    return delay if age_seconds + delay < rules.maximum_event_age_seconds else "EventAgeExceeded"


def back_off(tries: int, delays: Delays, spread: float) -> float:
    """Returns the seconds to wait after consecutive failures: doubling, bounded, and up to a quarter shorter
    by chance."""
    doubled = delays.shortest * 2.0 ** min(tries - 1, 32)
    return min(doubled, delays.longest) * (1 - spread / 4)


class Share(NamedTuple):
    """Bounds the slots of a backlog while the same limit refuses synchronous calls.

    A backlog takes every free slot, until a synchronous call finds none. For `seconds` after each such refusal, events
    leave at least the part `1 - part` of the limit to calls. One slot is always allowed, or a backlog would starve. If
    the limit is one slot, its time is shared: after a run, the next event waits as long as that run took.
    """

    part: float = 0.5
    seconds: float = 10.0

    def most(self, ceiling: int) -> int:
        return max(1, int(ceiling * self.part))
