"""Records functions whose events the backend refuses until a setting is changed, and logs each once.

A function is removed when a run has reached its code, or when its last event here has ended. It is also removed when
none of its events was refused for a while: then another gateway has run or dropped them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..scheduling.lanes import FunctionQueue
from ..scheduling.timers import CallLater, Handle
from .run_result import RunResult

log = logging.getLogger("invoke_gateway")

SHORTEST_SECONDS = 600.0
_MOST_NAMED = 20  # functions in the log, in each of these periods


class Misconfigured:
    """Holds the refused functions.

    on_change: called when the first function is added and when the last is removed.
    seconds: how long a function stays without another refusal; its next refusal is logged again.
    """

    def __init__(self, on_change: Callable[[bool], None], *, seconds: float, call_later: CallLater | None) -> None:
        self._on_change = on_change
        self._seconds = max(seconds, SHORTEST_SECONDS)
        self._call_later = call_later
        self._refused: dict[str, bool] = {}  # lanes, and whether an event was refused in this period
        self._named: dict[str, bool] = {}  # logged lanes, and whether the last line was a refusal
        self._timer: Handle | None = None

    def note(self, lane: FunctionQueue, result: RunResult) -> None:
        """Records that an event of the lane was refused; `result` has the remedy."""
        is_first = not self._refused
        self._refused[lane.name] = True
        if is_first:
            self._on_change(True)
        if self._timer is None:
            self._set_timer()
        if lane.name not in self._named and len(self._named) < _MOST_NAMED:
            self._named[lane.name] = True
            log.error(
                "events of %s (account %s) cannot run and are kept until maximum_event_age_seconds: %s (%s)",
                *(lane.function, lane.account, result.remedy, result.message),
            )

    def clear(self, lane: FunctionQueue) -> None:
        """Records that a run of the lane's function has reached its code."""
        if self.forget(lane) and self._named.get(lane.name):
            self._named[lane.name] = False
            log.info("events of %s (account %s) run again", lane.function, lane.account)

    def forget(self, lane: FunctionQueue) -> bool:
        """Removes a lane that has no event left to be refused. Returns whether one was refused."""
        if self._refused.pop(lane.name, None) is None:
            return False
        if not self._refused:
            self._on_change(False)
        return True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._call_later is None:
            self._call_later = asyncio.get_running_loop().call_later
        self._timer = self._call_later(self._seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        was_any = bool(self._refused)
        self._refused = {name: False for name, is_recent in self._refused.items() if is_recent}
        self._named.clear()
        if self._refused:
            self._set_timer()
        elif was_any:
            self._on_change(False)

    def __repr__(self) -> str:
        return f"<Misconfigured {len(self._refused)} functions>"
