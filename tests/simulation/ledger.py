"""The truth: which calls run, for whom, and which of them the store is excused from counting."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

from invoke_gateway.policy.concurrency import Lane, Plan


class Call:
    """One invocation in the backend. `excused`: it does not count against a ceiling any more, and why."""

    __slots__ = ("claims", "excused", "gateway", "lane", "number", "own")

    def __init__(self, number: int, gateway: str, plan: Plan, lane: Lane) -> None:
        self.number = number
        self.gateway = gateway
        self.own = plan.function_counter
        self.lane = lane
        self.claims = [(claim.counter or plan.function_counter, claim.ceiling) for claim in lane.claims]
        self.excused = ""

    @property
    def counters(self) -> list[str]:
        return [counter for counter, _ in self.claims]


class Excess(NamedTuple):
    counter: str
    running: int
    ceiling: int


class Ledger:
    def __init__(self) -> None:
        self.calls: dict[str, set[Call]] = defaultdict(set)
        self.counted: Counter[str] = Counter()
        """Slots of calls that are not excused, over all gateways."""
        self.counted_of: dict[str, Counter[str]] = defaultdict(Counter)
        self.most: Counter[str] = Counter()
        self.began = 0
        self.excused = 0

    def begin(self, call: Call) -> Excess | None:
        """The call runs from now on. Returns the ceiling that is exceeded by it."""
        self.began += 1
        self.calls[call.gateway].add(call)
        if call.excused:
            self.excused += 1
            return None
        excess = None
        for counter, ceiling in call.claims:
            self.counted[counter] += 1
            self.counted_of[call.gateway][counter] += 1
            self.most[counter] = max(self.most[counter], self.counted[counter])
            if ceiling is not None and self.counted[counter] > ceiling:
                excess = Excess(counter, self.counted[counter], ceiling)
        return excess

    def end(self, call: Call) -> None:
        calls = self.calls[call.gateway]
        if call in calls:
            calls.remove(call)
            if not call.excused:
                self._uncount(call)

    def excuse(self, gateway: str, why: str) -> None:
        """What runs now for this gateway counts no more."""
        for call in self.calls[gateway]:
            if not call.excused:
                self._uncount(call)
                call.excused = why
                self.excused += 1

    def running(self) -> int:
        return sum(map(len, self.calls.values()))

    def _uncount(self, call: Call) -> None:
        mine = self.counted_of[call.gateway]
        for counter in call.counters:
            self.counted[counter] -= 1
            mine[counter] -= 1
