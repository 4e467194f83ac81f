"""The events (asynchronous invocations) of a gateway under test."""

from __future__ import annotations

import time
from typing import Any

from gateway.queueing import QueueFailed, drop, fetch_events

_ENDING = ("waiting", "retrying", "running", "delivering")
_MOST = 100  # of one look
_LOOKS = 2
_PAUSE_SECONDS = 0.05  # a run that finds no slot lasts much shorter


class EventsNotSettled(Exception):
    """There are still events; the text says which, and what they wait for."""


def has_work(queue: dict[str, Any]) -> bool:
    """Whether any event of the document of /queue has not ended, or is still told of."""
    return any(queue[state] for state in _ENDING)


def describe(queue: dict[str, Any]) -> str:
    return "; ".join(_describe(row) for row in queue["functions"])


def drop_all(operations: str) -> None:
    """Drop all events but those that run, or are delivered, now. Raises `QueueFailed`.

    A run that finds no slot puts its event back: only a second look that finds nothing shows that all are dropped."""
    idle = 0
    while idle < _LOOKS:
        waiting = [row["request_id"] for row in fetch_events(operations, most=_MOST)["events"] if not row["is_running"]]
        for request_id in dict.fromkeys(waiting):
            _drop(operations, request_id)
        idle = 0 if waiting else idle + 1
        if idle:
            time.sleep(_PAUSE_SECONDS)


def _drop(operations: str, request_id: str) -> None:
    try:
        drop(operations, request_id)
    except QueueFailed as failure:
        if failure.status not in (404, 409):  # it has ended, or runs
            raise


def _describe(row: dict[str, Any]) -> str:
    counts = ", ".join(f"{row[state]} {state}" for state in _ENDING if row[state])
    due = row["next_due_seconds"]
    return f"{row['function']}: {counts}" + (f", the next due in {due:g} s" if due else "")
