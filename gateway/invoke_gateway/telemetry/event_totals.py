"""Counts what became of asynchronous invocations, as plain numbers, by the labels of functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .totals import Histogram

# Seconds, from an event that is run immediately to Lambda's oldest.
AGE_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0)

Key = tuple[str, str]


class EventTotals:
    """Counts by account and label; some counts have a third key. `on_drop` is called with the condition and the
    function's own name after each drop."""

    def __init__(self) -> None:
        self.on_drop: Callable[[str, str], None] | None = None
        self.received_events: Counter[Key] = Counter()
        self.retries: Counter[tuple[str, str, str]] = Counter()
        self.drops: Counter[tuple[str, str, str]] = Counter()
        self.undelivered: Counter[tuple[str, str, str]] = Counter()
        self.ages: dict[Key, Histogram] = {}

    def received(self, account: str, function: str) -> None:
        self.received_events[account, function] += 1

    def started(self, account: str, function: str, age_seconds: float) -> None:
        ages = self.ages.get((account, function))
        if ages is None:
            ages = self.ages[account, function] = Histogram(AGE_BOUNDS)
        ages.observe(max(age_seconds, 0.0))

    def retried(self, account: str, function: str, cause: str) -> None:
        self.retries[account, function, cause] += 1

    def dropped(self, account: str, function: str, condition: str, name: str | None = None) -> None:
        self.drops[account, function, condition] += 1
        if self.on_drop is not None:
            self.on_drop(condition, name or function)

    def not_delivered(self, account: str, function: str, kind: str) -> None:
        self.undelivered[account, function, kind] += 1
