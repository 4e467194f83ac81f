"""Waits for and drops the events (asynchronous invocations) of a gateway under test."""

from __future__ import annotations

import time
from typing import Any

from invoke_gateway.admin_client import AdminClient, QueueFailed

_ENDING = ("waiting", "retrying", "running", "delivering")
_MOST = 100  # events of one request
_EMPTY_ROUNDS = 2
_PAUSE_SECONDS = 0.05  # a run that finds no slot is much shorter


class EventsNotSettled(Exception):
    """Reports events that have not ended; the text names them, and what each waits for."""


def has_work(queue: dict[str, Any]) -> bool:
    """Returns whether any event of the document of /queue has not ended, or has an outcome to deliver."""
    return any(queue[state] for state in _ENDING)


def describe(queue: dict[str, Any]) -> str:
    return "; ".join(_describe(row) for row in queue["functions"])


def drop_all(admin: AdminClient) -> None:
    """Drops all events but those that run, or are delivered, now. Raises `QueueFailed`.

    A run that finds no slot requeues its event: only a second round that finds nothing shows that all are dropped.
    """
    idle = 0
    while idle < _EMPTY_ROUNDS:
        waiting = [row["request_id"] for row in admin.fetch_events(most=_MOST)["events"] if not row["is_running"]]
        for request_id in dict.fromkeys(waiting):
            _drop(admin, request_id)
        idle = 0 if waiting else idle + 1
        if idle:
            time.sleep(_PAUSE_SECONDS)


def _drop(admin: AdminClient, request_id: str) -> None:
    try:
        admin.drop_events(request_id)
    except QueueFailed as failure:
        if failure.status not in (404, 409):  # it has ended, or runs
            raise


def _describe(row: dict[str, Any]) -> str:
    counts = ", ".join(f"{row[state]} {state}" for state in _ENDING if row[state])
    due = row["next_due_seconds"]
    return f"{row['function']}: {counts}" + (f", the next due in {due:g} s" if due else "")
