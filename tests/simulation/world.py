"""Virtual time: what happens next, in which order, and what happened last."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

# So many of the last events are told when something is wrong.
TOLD = 40


class Violation(Exception):
    """Something happened that was promised never to happen. The message says what, and what came before."""


class World:
    """`random` decides whatever is left to chance; so a seed is one course of events."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._trace: deque[tuple[float, str, tuple[Any, ...]]] = deque(maxlen=TOLD)

    def at(self, when: float, do: Callable[..., None], *arguments: Any) -> None:
        heappush(self._events, (max(when, self.now), next(self._order), do, arguments))

    def after(self, seconds: float, do: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now + seconds, do, *arguments)

    def run(self, until: float) -> None:
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, do, arguments = heappop(events)
            do(*arguments)
        self.now = until

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def note(self, text: str, *arguments: Any) -> None:
        """Remember an event; it becomes a sentence only when somebody asks."""
        self._trace.append((self.now, text, arguments))

    def fail(self, what: str) -> None:
        lines = [f"seed {self.seed} at {self.now:.4f} s: {what}", "what happened last:"]
        lines += [f"  {when:9.4f}  {text.format(*arguments)}" for when, text, arguments in self._trace]
        raise Violation("\n".join(lines))
