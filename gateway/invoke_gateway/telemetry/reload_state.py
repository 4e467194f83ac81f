"""Holds the result of the last reload of the settings, for metrics, /readyz and the live page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import time

_MOST_TEXT = 1000  # characters of a problem; a key of a wrong file may have any length


class ReloadState:
    """Holds the last reload. Times are seconds since the epoch.

    loaded_at: the start, or the last reload that was accepted
    restart_needed: dotted keys that differ in the file and wait for a restart
    error: the refused reload as JSON; None once a reload is accepted
    """

    def __init__(self, now: Callable[[], float] = time) -> None:
        self._now = now
        self.loaded_at = now()
        self.restart_needed: tuple[str, ...] = ()
        self.error: dict[str, object] | None = None

    @property
    def is_successful(self) -> bool:
        """Returns whether the last reload was accepted; a gateway that was never reloaded counts as accepted."""
        return self.error is None

    def record_success(self, restart_needed: Iterable[str] = ()) -> None:
        self.loaded_at = self._now()
        self.restart_needed = tuple(restart_needed)
        self.error = None

    def record_refusal(self, problem: str, problems: int = 1) -> None:
        """Records that a reload was refused, and the settings of `loaded_at` stay in force.

        problem: the first mistake in one line
        problems: the number of mistakes
        """
        shown = problem if len(problem) <= _MOST_TEXT else f"{problem[:_MOST_TEXT]}..."
        self.error = {
            "at": round(self._now(), 3),
            "problem": shown,
            "problems": problems,
            "in_force_since": round(self.loaded_at, 3),
        }

    def __repr__(self) -> str:
        return f"<ReloadState {self.error or 'accepted'}>"
