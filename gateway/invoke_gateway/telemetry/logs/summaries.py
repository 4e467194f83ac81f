"""Logs refusals and dropped events in one line per ten seconds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from ...exchange import Exchange
from ...policy.limits import DEFAULT_ACCOUNT, OTHER
from ..event_totals import EventTotals
from ..frequent import Frequent
from ..totals import Totals
from .log import log

SUMMARY_SECONDS = 10
_MOST_NAMED = 1_000  # conditions and functions, of drops
_MOST_IN_LINE = 10
_MOST_REFUSED = 3

K = TypeVar("K")


class _Summary(Generic[K]):
    """Sums up frequent occurrences in one line, so that a flood of them is not a flood of lines. A line has what
    `count` gained since the last one."""

    def __init__(self, count: Callable[[], Counter[K]]) -> None:
        self._count = count
        self._reported: Counter[K] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def record(self) -> None:
        """Schedules a line for an occurrence that is counted."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SUMMARY_SECONDS, self.report)

    def report(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counted = self._count()
        new = counted - self._reported
        self._reported = counted
        if new:
            self._write(new)

    def _write(self, new: Counter[K]) -> None:
        raise NotImplementedError  # each summary has its own


class RefusalSummary(_Summary[str]):
    """Logs refusals by reason, and the functions most refused by their own names, also those without a label."""

    def __init__(self, totals: Totals) -> None:
        super().__init__(totals.refused)
        self._functions: Frequent[tuple[str, str]] = Frequent()

    def record_refusal(self, exchange: Exchange) -> None:
        """Counts the function of a refused request, and schedules the line."""
        plan, invocation = exchange.plan, exchange.invocation
        if plan is not None and invocation is not None and exchange.error_kind is None:  # else the backend failed
            self._functions.add((plan.account, invocation.function.name))
        if self._timer is None:
            self.record()

    def _write(self, new: Counter[str]) -> None:
        reasons = new.most_common(_MOST_IN_LINE)
        functions = self._functions.take(_MOST_REFUSED)
        names = ", ".join(f"{_name_function(*key)} {count}" for key, count in functions)
        parts = ", ".join(f"{count} x {why}" for why, count in reasons)
        log.warning(
            "refused %d: %s%s%s",
            *(new.total(), parts, ", …" if len(new) > _MOST_IN_LINE else "", names and f"; most refused: {names}"),
            extra={
                "fields": {
                    "kind": "refusals",
                    "refused": new.total(),
                    "reasons": dict(reasons),
                    "functions": [
                        {"account": account, "function": name, "refused": count} for (account, name), count in functions
                    ],
                }
            },
        )


def _name_function(account: str, name: str) -> str:
    return name if account == DEFAULT_ACCOUNT else f"{account}/{name}"


class DropSummary(_Summary[tuple[str, str]]):
    """Logs events that ended without a successful run. Functions go by their own names, also those without a label."""

    def __init__(self, totals: EventTotals) -> None:
        super().__init__(lambda: Counter(self._drops))
        self._drops: Counter[tuple[str, str]] = Counter()
        totals.on_drop = self._record_drop

    def _record_drop(self, condition: str, function: str) -> None:
        key = (condition, function)
        if key not in self._drops and len(self._drops) >= _MOST_NAMED:
            key = (condition, OTHER)
        self._drops[key] += 1
        self.record()

    def _write(self, new: Counter[tuple[str, str]]) -> None:
        most = new.most_common(_MOST_IN_LINE)
        parts = ", ".join(f"{count} {condition} ({function})" for (condition, function), count in most)
        log.warning(
            "%s dropped: %s%s",
            *("1 event" if new.total() == 1 else f"{new.total()} events", parts),
            ", …" if len(new) > _MOST_IN_LINE else "",
            extra={
                "fields": {
                    "kind": "events_dropped",
                    "dropped": new.total(),
                    "functions": [
                        {"function": function, "condition": condition, "dropped": count}
                        for (condition, function), count in most
                    ],
                }
            },
        )
