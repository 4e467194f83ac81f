"""Counts the time in which this process could read. Time-outs by it blame no peer for a process that stood still."""

from __future__ import annotations


class WatchedTime:
    """Sums the time between regular checks. Of a check that comes late, no more than `longest_step` seconds count."""

    def __init__(self, now: float, longest_step: float) -> None:
        self.seconds = 0.0
        self._last = now
        self._longest_step = longest_step

    def advance(self, now: float) -> float:
        """Adds the time since the last check. Returns the seconds of it that do not count."""
        passed = now - self._last
        self._last = now
        counted = min(passed, self._longest_step)
        self.seconds += counted
        return passed - counted

    def __repr__(self) -> str:
        return f"<WatchedTime {self.seconds:.3f} s>"
