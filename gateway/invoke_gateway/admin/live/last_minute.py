"""Measures the last minute of each function with metrics: calls and errors per second, quantiles of durations.

The totals are copied now and then, those of changed functions only. A rate is the difference between the totals now and
those of a minute ago, so a request costs nothing.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from time import monotonic
from typing import NamedTuple, Protocol

from ...telemetry.totals import FINE_BOUNDS, FunctionCounts, Totals

STEP_SECONDS = 10.0
STEPS = 6

_FUNCTIONS_AT_ONCE = 50  # about half a millisecond

Key = tuple[str, str]
"""An account and a label."""


EncodedActivity = tuple[str, str, int, int, Mapping[int, int]]
"""Account, label, calls, errors, and the buckets of durations that are not empty."""


class Activity(NamedTuple):
    """Counts what happened within some seconds; `durations` by `FINE_BOUNDS`."""

    calls: int
    errors: int
    durations: list[int]


class Recent(NamedTuple):
    """Describes one function's last minute; the quantiles are None without a call (seconds)."""

    calls_per_second: float
    errors_per_second: float
    p50_seconds: float | None
    p99_seconds: float | None


_IDLE = Activity(0, 0, [])
_QUIET = Recent(0.0, 0.0, None, None)


class RecentActivity(Protocol):
    """Reads the last minute of functions."""

    def of(self, account: str, label: str) -> Recent:
        """Returns the last minute of a function with metrics."""


class LastMinute:
    """Keeps copies of the totals of one process. A function that was called in a step takes 0.7 kB for that step."""

    def __init__(self, totals: Totals, *, clock: Callable[[], float] = monotonic) -> None:
        self._totals = totals
        self._clock = clock
        self._base: dict[Key, Activity] = {}
        self._base_at = clock()
        self._steps: deque[tuple[float, dict[Key, Activity]]] = deque()
        self._seen: dict[Key, int] = {}

    def sample(self) -> None:
        """Copies the totals of the functions that were called; called every `STEP_SECONDS`."""
        if len(self._steps) == STEPS:
            self._base_at, oldest = self._steps.popleft()
            self._base.update(oldest)
        changed = {}
        for key, counts in list(self._totals.functions.items()):
            if counts.invocations != self._seen.get(key, 0):
                self._seen[key] = counts.invocations
                changed[key] = Activity(counts.invocations, counts.errors, counts.duration.counts.copy())
        self._steps.append((self._clock(), changed))

    @property
    def seconds(self) -> float:
        """Returns the length of the measured time, in whole seconds: at most `STEPS + 1` steps."""
        return max(1.0, round(self._clock() - self._base_at))

    def of(self, account: str, label: str) -> Recent:
        counts = self._totals.functions.get((account, label))
        if counts is None:
            return _QUIET
        return describe_recent(self._since_base((account, label), counts), self.seconds)

    def active(self) -> Iterator[tuple[Key, Activity]]:
        """Yields the functions that were called in the last minute."""
        for key, counts in list(self._totals.functions.items()):
            if counts.invocations != self._base.get(key, _IDLE).calls:
                yield key, self._since_base(key, counts)

    def _since_base(self, key: Key, counts: FunctionCounts) -> Activity:
        base = self._base.get(key)
        if base is None:
            return Activity(counts.invocations, counts.errors, counts.duration.counts)
        if base.calls == counts.invocations:
            return _IDLE
        durations = [now - before for now, before in zip(counts.duration.counts, base.durations, strict=True)]
        return Activity(counts.invocations - base.calls, counts.errors - base.errors, durations)


class SummedActivity:
    """Sums the last minute of several processes."""

    def __init__(self) -> None:
        self._recent: dict[Key, Recent] = {}

    def of(self, account: str, label: str) -> Recent:
        return self._recent.get((account, label), _QUIET)

    def replace(self, processes: Iterable[tuple[float, Iterable[tuple[Key, Activity]]]]) -> None:
        """Replaces the sums by those of the processes: the measured seconds, and the active functions."""
        calls: dict[Key, list[float]] = {}
        durations: dict[Key, list[int]] = {}
        for seconds, active in processes:
            for key, activity in active:
                rates = calls.setdefault(key, [0.0, 0.0])
                rates[0] += activity.calls / seconds
                rates[1] += activity.errors / seconds
                summed = durations.setdefault(key, [0] * len(activity.durations))
                durations[key] = [one + other for one, other in zip(summed, activity.durations, strict=True)]
        self._recent = {
            key: Recent(rates[0], rates[1], find_quantile(durations[key], 0.5), find_quantile(durations[key], 0.99))
            for key, rates in calls.items()
        }


def describe_recent(activity: Activity, seconds: float) -> Recent:
    if not activity.calls:
        return _QUIET
    durations = activity.durations
    return Recent(
        activity.calls / seconds,
        activity.errors / seconds,
        find_quantile(durations, 0.5),
        find_quantile(durations, 0.99),
    )


def find_quantile(counts: list[int], quantile: float) -> float | None:
    """Returns the estimated quantile of durations by `FINE_BOUNDS` (seconds); None without a duration. Within a bucket
    durations count as evenly spread; beyond the last bound there is only the bound."""
    upto = list(accumulate(counts))
    if not upto or not upto[-1]:
        return None
    rank = quantile * upto[-1]
    index = bisect_left(upto, rank)
    if index == len(FINE_BOUNDS):
        return FINE_BOUNDS[-1]
    low = FINE_BOUNDS[index - 1] if index else 0.0
    below = upto[index] - counts[index]
    return low + (FINE_BOUNDS[index] - low) * (rank - below) / counts[index]


async def encode_activity(last_minute: LastMinute) -> tuple[float, list[EncodedActivity]]:
    """Encodes the active functions of one process as plain data; of durations, only the buckets that are not empty.
    Requests are served in between."""
    rows: list[EncodedActivity] = []
    for number, (key, activity) in enumerate(last_minute.active(), start=1):
        durations = {at: count for at, count in enumerate(activity.durations) if count}
        rows.append((*key, activity.calls, activity.errors, durations))
        if number % _FUNCTIONS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return last_minute.seconds, rows


def decode_activity(rows: Iterable[EncodedActivity]) -> Iterator[tuple[Key, Activity]]:
    for account, label, calls, errors, sparse in rows:
        durations = [0] * (len(FINE_BOUNDS) + 1)
        for at, count in sparse.items():
            durations[int(at)] = count
        yield (account, label), Activity(calls, errors, durations)
