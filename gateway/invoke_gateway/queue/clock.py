"""Returns the times of a queue: seconds since the epoch, without the steps of the machine's clock.

It starts with the machine's clock and goes on with the monotonic one, so ages and waits stay right while the process
lives. The file keeps the offset between both clocks, and the next start goes on from there. While a machine is
suspended this clock stands still, on Linux: nothing could run meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time


class Clock:
    """Counts from the machine's time. `wall` returns seconds since the epoch, `steady` seconds that never step."""

    def __init__(self, *, wall: Callable[[], float] = time, steady: Callable[[], float] = monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._base = wall() - steady()

    def __call__(self) -> float:
        return self._base + self._steady()

    def wall(self) -> float:
        """Returns the time of the machine's clock, for times that other programs read."""
        return self._wall()

    @property
    def offset(self) -> float:
        """Returns the seconds that this clock is ahead of the machine's."""
        return self() - self._wall()

    def resume(self, offset: float) -> None:
        """Goes on from an earlier process, whose clock was so far ahead."""
        self._base = self._wall() + offset - self._steady()
