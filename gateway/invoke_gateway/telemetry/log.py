"""Writes log lines: one per request on demand, one per ten seconds for refusals. None has a payload or a credential."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable
from time import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from ..asgi import ATTEMPT, INJECTED, Attempt, Scope
from ..exchange import MOST_SHOWN, Exchange
from ..invocation import InvocationType
from .event_totals import EventTotals
from .line_writer import LineHandler, LineWriter
from .totals import Totals

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

log = logging.getLogger("invoke_gateway")
access = logging.getLogger("invoke_gateway.access")

SUMMARY_SECONDS = 10
_MOST_NAMED = 1_000  # conditions and functions, of drops


def set_up_logging(prefix: str = "") -> None:
    """Sends the gateway's log to standard error, each message after `prefix`; `gateway.access` lines are bare JSON.

    Every other line of this process goes the same way: warnings, messages of libraries, unhandled errors."""
    handler = LineHandler(_find_standard_error(), getattr(sys.stderr, "encoding", None) or "utf-8", bare=access.name)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {prefix.replace('%', '%%')}%(message)s"))
    _writers.append(handler.writer)
    for logger in (log, access):
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    # The gateway logs in its own shape what uvicorn reports per connection or request.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_end


_writers: list[LineWriter] = []
"""Holds the writers of this process, which has one log."""


def count_dropped_lines() -> int:
    """Returns the number of dropped lines of this process's log."""
    return sum(writer.dropped for writer in _writers)


def _find_standard_error() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # it is no file
        return 2


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("the process ends with an unhandled error", exc_info=(kind, error, trace))


def _log_unraisable(unraisable: UnraisableHookArgs) -> None:
    error = unraisable.exc_value
    log.error("%s: %r", unraisable.err_msg or "an error was ignored in", unraisable.object, exc_info=error)


def _log_thread_end(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread is not None else "?"
    log.error("the thread %s has failed", name, exc_info=ended.exc_value)


def write_access_line(exchange: Exchange, scope: Scope) -> None:
    """Writes one JSON object: the caller, the function and the outcome. Durations in seconds, size in bytes."""
    line: dict[str, Any] = {
        "time": round(time(), 3),
        "request_id": exchange.request_id,
        "client": (scope.get("client") or ("",))[0],
        "method": scope["method"],
        "status": exchange.status,
    }
    invocation = exchange.invocation
    if invocation is None:
        line["path"] = scope["path"]
    else:
        line["operation"] = invocation.operation
        line["function"] = invocation.function.name
        line["invocation_type"] = invocation.type
        if exchange.plan is not None:
            line["account"] = exchange.plan.account
    if (attempt := scope.get(ATTEMPT)) is not None:
        _name_event(line, attempt, exchange)
    if exchange.refusal is not None:
        line["error"] = exchange.refusal.code
        line["reason"] = exchange.refusal.reason
    has_failed_by_itself = exchange.refusal is not None and not exchange.refusal.is_injected
    decided = exchange.full if has_failed_by_itself else scope.get(INJECTED)
    line["decision"] = decided.describe() if decided is not None else None
    line["fault"] = exchange.error_kind
    line["function_error"] = exchange.function_error or None
    line["client_is_gone"] = exchange.client_is_gone or None
    line["backend_seconds"] = exchange.backend_seconds
    line["duration_seconds"] = exchange.duration_seconds
    access.info(msgspec.json.encode({key: value for key, value in line.items() if value is not None}).decode())


def _name_event(line: dict[str, Any], attempt: Attempt, exchange: Exchange) -> None:
    """Puts the event's id where a call has its own, and the backend's id of this run beside it."""
    if exchange.request_id != attempt.request_id:
        line["backend_request_id"] = exchange.request_id[:MOST_SHOWN]
    line |= {"request_id": attempt.request_id, "invocation_type": InvocationType.EVENT, "attempt": attempt.number}


class _Summary:
    """Sums up frequent occurrences in one line, so that a flood of them is not a flood of lines. A line has what
    `count` gained since the last one."""

    def __init__(self, count: Callable[[], Counter[str]]) -> None:
        self._count = count
        self._reported: Counter[str] = Counter()
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

    def _write(self, new: Counter[str]) -> None:
        raise NotImplementedError


class RefusalSummary(_Summary):
    def __init__(self, totals: Totals) -> None:
        super().__init__(totals.refused)

    def _write(self, new: Counter[str]) -> None:
        parts = [f"{count} x {why}" for why, count in new.most_common(10)]
        log.warning("refused %d: %s", new.total(), ", ".join(parts))


class DropSummary(_Summary):
    """Logs events that ended without a successful run. Functions go by their own names, also those without a label."""

    def __init__(self, totals: EventTotals) -> None:
        super().__init__(lambda: Counter(self._drops))
        self._drops: Counter[str] = Counter()
        totals.on_drop = self._record_drop

    def _record_drop(self, condition: str, function: str) -> None:
        what = f"{condition} ({function})"
        if what not in self._drops and len(self._drops) >= _MOST_NAMED:
            what = f"{condition} (other)"
        self._drops[what] += 1
        self.record()

    def _write(self, new: Counter[str]) -> None:
        parts = [f"{count} {why}" for why, count in new.most_common(10)]
        events = "1 event" if new.total() == 1 else f"{new.total()} events"
        more = ", …" if len(new) > 10 else ""
        log.warning("%s dropped: %s%s", events, ", ".join(parts), more)
