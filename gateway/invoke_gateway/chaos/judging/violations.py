"""Counts what must not happen, with a few examples of each."""

from __future__ import annotations

from collections import Counter
from enum import Enum

MOST_EXAMPLES = 5


class Violation(Enum):
    """The value is the row's name in the verdict."""

    OVERSHOOT = "calls above a limit"
    MISSING = "slots missing or in flight after the traffic"
    REASON = "refusals with a wrong Reason"
    WAS_FREE = "calls refused while slots were free"
    NO_FAULT = "5xx without a backend fault"
    TWICE = "calls that reached the backend twice"
    REFUSED_AND_RUN = "calls refused, yet run"
    NOT_WHOLE = "calls run that were never sent whole"
    WRONG_CLIENT = "responses of another call"
    UNANSWERED = "requests that never got an answer"
    UNEXPECTED = "answers that no rule allows"
    DIED = "gateways that ended by themselves"
    GIVEN_AWAY = "slots of a dead gateway given away too early"
    NOT_HEALED = "faults without recovery before the deadline"
    LOST = "events answered 202, and lost"
    AGAIN = "events run again without a fault that excuses it"
    ATTEMPTS = "events that ended against the rules"
    TOO_SOON = "retries before their time"
    UNTOLD = "dead letters or records missing, or wrong"
    TOLD_AGAIN = "dead letters or records written again without such a fault"
    NOT_ENDED = "gateways that did not end well on SIGTERM"
    NOT_JUDGED = "checks without a result"

    def __repr__(self) -> str:
        return f"<{self.name}>"


OF_SHARED = (Violation.GIVEN_AWAY, Violation.NOT_HEALED)  # these only where several gateways are
OF_EVENTS = (
    Violation.LOST,
    Violation.AGAIN,
    Violation.ATTEMPTS,
    Violation.TOO_SOON,
    Violation.UNTOLD,
    Violation.TOLD_AGAIN,
    Violation.NOT_ENDED,
)  # these only with --events


class Violations:
    """Counts and examples of one seed."""

    def __init__(self) -> None:
        self.counts: Counter[Violation] = Counter()
        self.examples: dict[Violation, list[str]] = {}

    def add(self, violation: Violation, example: str, count: int = 1) -> None:
        self.counts[violation] += count
        examples = self.examples.setdefault(violation, [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(example)

    def __bool__(self) -> bool:
        return any(self.counts.values())

    def __repr__(self) -> str:
        return f"<Faults {dict(self.counts)}>"
