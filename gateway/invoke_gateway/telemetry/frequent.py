"""Counts the most frequent of any number of keys, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import nlargest
from operator import itemgetter
from typing import Generic, TypeVar

MOST_KEYS = 1_000

K = TypeVar("K", bound=Hashable)


class Frequent(Generic[K]):
    """Counts keys. At `MOST_KEYS` distinct keys the rarer half is forgotten, so that a flood of invented names neither
    takes memory nor displaces a frequent one. Up to that number the counts are exact."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[K, int] = {}

    def add(self, key: K) -> None:
        counts = self._counts
        counts[key] = counts.get(key, 0) + 1
        if len(counts) >= MOST_KEYS:
            self._counts = dict(nlargest(MOST_KEYS // 2, counts.items(), key=itemgetter(1)))

    def take(self, number: int) -> list[tuple[K, int]]:
        """Returns the most frequent keys with their counts, and begins again."""
        counts, self._counts = self._counts, {}
        return nlargest(number, counts.items(), key=itemgetter(1))

    def __repr__(self) -> str:
        return f"<Frequent {len(self._counts)} keys>"
