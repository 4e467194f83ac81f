"""Estimates when a retry may succeed.

A constant estimate makes all refused clients return together, or sleep through free slots. The duration of calls and
the age of the oldest running call are known. The remaining time is the best estimate of the next free slot. The
estimate is spread, so that clients which were refused together do not return together.
"""

from __future__ import annotations

import math

NEVER = math.inf
"""Stands for the seconds until a limit of 0 has room: no wait helps, so no pause is suggested."""

_SHORTEST_SECONDS = 0.05
_UNKNOWN_SECONDS = 1.0
_LEAST, _MOST = 0.75, 1.5


def estimate_free_seconds(usual_seconds: float | None, oldest_age_seconds: float, in_use: int) -> float:
    """Estimates the seconds until one of `in_use` running calls ends; 1 if nothing is known or nothing runs."""
    if in_use == 0:
        return _UNKNOWN_SECONDS
    if usual_seconds is None:  # no call has ended yet: a running call may run for the same time again
        return max(oldest_age_seconds, _UNKNOWN_SECONDS)
    left = usual_seconds - oldest_age_seconds
    if left <= 0:  # overdue: ends come as the others' do, and not sooner for a call that is long overdue
        left = max(usual_seconds / in_use, -left / 2)
    return max(left, _SHORTEST_SECONDS)


def spread_seconds(estimate: float, spread: float, longest_seconds: float) -> float:
    """Returns `estimate`, moved by chance (`spread` in 0..1), never above `longest_seconds`."""
    seconds = estimate * (_LEAST + (_MOST - _LEAST) * spread)
    return seconds if seconds < longest_seconds else longest_seconds


def as_retry_after(seconds: float) -> int:
    """Returns the value of a `Retry-After` header: whole seconds, at least 1."""
    return math.ceil(seconds) or 1
