"""The events (asynchronous invocations) of a gateway under test."""

from __future__ import annotations

from typing import Any

from invoke_gateway.queueing import QueueFailed, drop, fetch_events

_ENDING = ("waiting", "retrying", "running", "delivering")
_MOST = 100  # of one look


class EventsNotSettled(Exception):
    """There are still events; the text says which, and what they wait for."""


def has_work(queue: dict[str, Any]) -> bool:
    """Whether any event of the document of /queue has not ended, or is still told of."""
    return any(queue[state] for state in _ENDING)


def describe(queue: dict[str, Any]) -> str:
    return "; ".join(_describe(row) for row in queue["functions"])


def drop_all(admin: str) -> None:
    """Drop all events but those that run, or are told of, now. Raises `QueueFailed`."""
    while True:
        document = fetch_events(admin, most=_MOST)
        waiting = [row["request_id"] for row in document["events"] if not row["is_running"]]
        for request_id in dict.fromkeys(waiting):
            _drop(admin, request_id)
        if not (waiting and document["has_more"]):
            return


def _drop(admin: str, request_id: str) -> None:
    try:
        drop(admin, request_id)
    except QueueFailed as failure:
        if failure.status not in (404, 409):  # it has ended, or runs
            raise


def _describe(row: dict[str, Any]) -> str:
    counts = ", ".join(f"{row[state]} {state}" for state in _ENDING if row[state])
    due = row["next_due_seconds"]
    return f"{row['function']}: {counts}" + (f", the next due in {due:g} s" if due else "")
