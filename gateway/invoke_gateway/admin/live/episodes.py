"""Groups refusals into episodes: one function (or error), one reason, from the first refusal to ten seconds of quiet.

The counts are the differences of the totals from second to second, so they are exact also where `/refusals` keeps only
a sample, and a refused request costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import nlargest
from time import time

from ...policy.fault_script import CUT, LATENCY
from ...policy.invoke_errors import TOO_MANY_REQUESTS
from ...telemetry.totals import Totals

SAMPLE_SECONDS = 1.0
QUIET_SAMPLES = 10
"""An episode that had no refusal in so many samples is over; until then it counts as refusing now."""

MOST_OPEN = 500
MOST_ENDED = 50

Key = tuple[str | None, str | None, str, bool]
"""Account, label, reason or error, and whether a fault script injected the error. A refusal that is no throttle is
counted by its error alone, so its account and label are None."""


class Episode:
    """Counts the refusals of one episode. Times are seconds since the epoch. `per_second` is that of the last samples;
    of a young episode, since its beginning."""

    __slots__ = ("account", "count", "first_at", "is_injected", "label", "last_at", "per_second", "reason", "recent")

    def __init__(self, key: Key, first_at: float) -> None:
        self.account, self.label, self.reason, self.is_injected = key
        self.first_at = self.last_at = first_at
        self.count = 0
        self.recent: deque[int] = deque(maxlen=QUIET_SAMPLES)
        self.per_second = 0.0

    def add(self, count: int, now: float) -> None:
        self.recent.append(count)
        self.per_second = sum(self.recent) / (len(self.recent) * SAMPLE_SECONDS)
        if count:
            self.count += count
            self.last_at = now

    @property
    def is_over(self) -> bool:
        return not self.per_second

    def __repr__(self) -> str:
        return f"<Episode {self.label} {self.reason} {self.count}>"


class Episodes:
    """Keeps the episodes that go on, and the last ones that have ended. `left_out` counts the refusals of the last
    sample that belong to none, because `MOST_OPEN` go on."""

    def __init__(self, totals: Totals, *, now: Callable[[], float] = time) -> None:
        self._totals = totals
        self._now = now
        self._throttles: dict[tuple[str, str], int] = {}
        self._counts: dict[Key, int] = {}
        self._open: dict[Key, Episode] = {}
        self._ended: deque[Episode] = deque(maxlen=MOST_ENDED)
        self.left_out = 0

    def sample(self) -> None:
        """Counts the refusals since the last sample; called every `SAMPLE_SECONDS`."""
        now = self._now()
        grown = dict(self._find_grown())
        self.left_out = 0
        for key, episode in list(self._open.items()):
            episode.add(grown.pop(key, 0), now)
            if episode.is_over:
                self._ended.append(self._open.pop(key))
        room = MOST_OPEN - len(self._open)
        for key in nlargest(room, grown, key=grown.__getitem__) if len(grown) > room else list(grown):
            episode = self._open[key] = Episode(key, now - SAMPLE_SECONDS)
            episode.add(grown.pop(key), now)
        self.left_out = sum(grown.values())

    def going_on(self) -> list[Episode]:
        """Returns the episodes that go on, the most refusals per second first."""
        return sorted(self._open.values(), key=lambda episode: -episode.per_second)

    def newest_first(self) -> list[Episode]:
        """Returns all episodes: those that go on, the newest first; then the ended ones, the last to end first."""
        going_on = sorted(self._open.values(), key=lambda episode: -episode.first_at)
        return [*going_on, *reversed(self._ended)]

    def _find_grown(self) -> Iterator[tuple[Key, int]]:
        totals = self._totals
        for of, counts in list(totals.functions.items()):
            if counts.throttles and (total := sum(counts.throttles.values())) != self._throttles.get(of):
                self._throttles[of] = total
                for reason, number in list(counts.throttles.items()):
                    yield from self._grow((*of, reason, False), number)
        for code, number in list(totals.refusals.items()):
            yield from self._grow((None, None, code, False), number)
        for (account, label, fault), number in list(totals.injected_faults.items()):
            if fault not in (LATENCY, CUT, TOO_MANY_REQUESTS):  # which is counted as a throttle
                yield from self._grow((account, label, fault, True), number)

    def _grow(self, key: Key, number: int) -> Iterator[tuple[Key, int]]:
        """Yields the growth of one count. A count that has become smaller, after a worker's end, counts from there."""
        before = self._counts.get(key, 0)
        if number != before:
            self._counts[key] = number
            if number > before:
                yield key, number - before
