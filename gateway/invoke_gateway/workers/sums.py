"""Adds up what workers report: slots, traffic of the store, pairs of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


class LevelSums:
    """Sums the slots in use of all workers, with the age of the oldest."""

    def __init__(self) -> None:
        self._slots: Counter[str] = Counter()
        self._oldest: dict[str, float] = {}

    def replace(self, workers: Iterable[Mapping[str, tuple[int, float]]]) -> None:
        """Replaces the sums by those of the workers' levels."""
        self._slots.clear()
        self._oldest.clear()
        for levels in workers:
            for counter, (slots, oldest) in levels.items():
                self._slots[counter] += slots
                self._oldest[counter] = max(oldest, self._oldest.get(counter, 0.0))

    def counts(self) -> dict[str, int]:
        return dict(self._slots)

    def in_use(self, counter: str) -> int:
        return self._slots[counter]

    def oldest_seconds(self, counter: str) -> float:
        return self._oldest.get(counter, 0.0)


class StoreSums:
    """Sums the exchanges with the store of all workers, ended ones included; `gateways` is how many share the store."""

    def __init__(self) -> None:
        self.gateways = 1
        self.clear()

    @property
    def totals(self) -> StoreSums:
        return self

    def clear(self) -> None:
        self.batches = self.operations = self.failures = 0
        self.seconds = 0.0
        self.fallback: dict[str, int] = {"refused": 0, "admitted": 0}

    def add(self, totals: Mapping[str, Any]) -> None:
        self.batches += totals["batches"]
        self.operations += totals["operations"]
        self.failures += totals["failures"]
        self.seconds += totals["seconds"]
        for decision, calls in totals["fallback"].items():
            self.fallback[decision] += calls


_STATES = ("missing", "expired", "refused", "expiring", "present")


class WorstCredentials:
    """Reads the state of the credentials of that worker which has the worst: each worker loads its own."""

    def __init__(self) -> None:
        self.remaining_seconds: float | None = None
        self._document: dict[str, Any] = {}

    def replace(self, workers: Iterable[tuple[dict[str, Any], float | None]]) -> None:
        """Replaces the state by those of the workers, each with the seconds until its credentials expire."""
        states = list(workers)
        self.remaining_seconds = min((left for _, left in states if left is not None), default=None)
        self._document = min(
            (document for document, _ in states), key=lambda each: _STATES.index(each["credentials"]), default={}
        )

    def describe(self) -> dict[str, Any]:
        """Describes the credentials for `/readyz`; empty before the first worker serves."""
        return self._document


class ConnectionSums:
    """Sums the connections to the backend."""

    busy = idle = 0


class BufferSums:
    """Sums the bytes of payload in memory, and their ceilings."""

    in_use = ceiling = 0


def sum_pairs(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    first = second = 0
    for one, other in pairs:
        first, second = first + one, second + other
    return first, second
