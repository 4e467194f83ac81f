"""Describes the queue and its events as JSON for operators, without credentials."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterable
from heapq import nsmallest
from math import inf
from typing import Any, TypeVar

from ..queue.depths import STATES, Depth, Depths
from ..queue.event import FunctionAnswer, Outcome
from ..queue.operator_actions import EventStatus, name_of
from ..queue.origin import Held
from ..queue.outcomes.history import EndedEvent

Row = dict[str, Any]
T = TypeVar("T")

_MOST_ORIGINS = 100

_MOST_PAYLOAD = 16 * 1024 * 1024  # bytes of payload in one answer
_SECRET = frozenset({b"authorization", b"proxy-authorization", b"x-amz-security-token", b"cookie"})


async def in_thread(make: Callable[..., T], *values: Any) -> T:
    """Runs `make` in a thread: a queue has as many functions as clients have named."""
    return await asyncio.to_thread(make, *values)


def describe_queue(depths: Depths, held: Iterable[Held], rows: int, now: float) -> dict[str, Any]:
    """Describes the sums, the held events of other origins, and at most `rows` functions, most events first."""
    known = [(key, depth) for key, depth in depths.items() if depth.events]
    shown = nsmallest(rows, known, key=lambda row: (-row[1].events, row[0]))
    received_at = min((depth.received_at for _, depth in known), default=inf)
    return {
        "events": sum(depth.events for _, depth in known),
        **{state: sum(getattr(depth, state) for _, depth in known) for state in STATES},
        "oldest_seconds": _since(received_at, now),
        "held_origins": [
            {"origin": one.origin, "events": one.events, "oldest_seconds": _since(one.received_at, now)}
            for one in nsmallest(_MOST_ORIGINS, held, key=lambda one: -one.events)
        ],
        "functions": [_describe_function(*key, depth, now) for key, depth in shown],
        "left_out": len(known) - len(shown),
    }


def _describe_function(account: str, function: str, depth: Depth, now: float) -> Row:
    return {
        "account": account,
        "function": function,
        **{state: getattr(depth, state) for state in STATES},
        "oldest_seconds": _since(depth.received_at, now),
        "next_due_seconds": None if depth.due_at == inf else round(max(depth.due_at - now, 0.0), 3),
    }


def _since(at: float, now: float) -> float | None:
    return None if at == inf else round(max(now - at, 0.0), 3)


def describe_event(seen: EventStatus, now: float, *, payload: bool) -> Row:
    """Describes one event. `due_in_seconds` is None while it runs, or waits for an operator."""
    event = seen.event
    is_timed = not seen.is_running and seen.state not in ("undelivered", "held")
    row: Row = {
        "request_id": event.request_id,
        "key": name_of(event),
        "account": event.account,
        "function": event.function,
        "arn": event.arn,
        "state": seen.state,
        "is_running": seen.is_running,
        "received_at": event.received_at,
        "age_seconds": _since(event.received_at, now),
        "due_in_seconds": round(max(event.due_at - now, 0.0), 3) if is_timed else None,
        "runs": event.runs,
        "returns": event.requeues,
        "outcome": _describe_outcome(event.outcome, now),
        "answer": _describe_answer(event.answer if event.outcome is None else event.outcome.answer, payload),
        "path": event.path.decode("latin-1"),
        "headers": [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in event.headers
            if name.lower() not in _SECRET
        ],
        "size": len(event.body),
    }
    return row | describe_payload(event.body) if payload else row


def describe_ended(ended: EndedEvent, now: float) -> Row:
    """Describes an event that has ended. `age_seconds` is its age at its end."""
    return {
        "request_id": ended.request_id,
        "account": ended.account,
        "function": ended.function,
        "end": ended.end,
        "condition": ended.condition,
        "attempts": ended.attempts,
        "returns": ended.returns,
        "ended_at": round(ended.ended_at, 3),
        "ended_seconds_ago": _since(ended.ended_at, now),
        "age_seconds": _since(ended.received_at, ended.ended_at),
        "run_seconds": None if ended.run_seconds is None else round(ended.run_seconds, 3),
        "error_code": None if ended.condition == "Success" else ended.error_code,
        "error": ended.error,
        "delivery": ended.delivery,
    }


def describe_payload(body: bytes) -> Row:
    try:
        return {"payload": body.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": b64encode(body).decode()}


def _describe_outcome(outcome: Outcome | None, now: float) -> Row | None:
    if outcome is None:
        return None
    return {
        "condition": outcome.condition,
        "ended_seconds_ago": _since(outcome.ended_at, now),
        "error_code": outcome.error_code,
        "error_message": outcome.error_message,
        "pending": list(outcome.pending),
        "tries": outcome.tries,
        "trouble": outcome.problem,
    }


def _describe_answer(answer: FunctionAnswer | None, payload: bool) -> Row | None:
    """Describes the function's last response; None where there is none."""
    if answer is None:
        return None
    row: Row = {
        "status": answer.status,
        "function_error": answer.function_error,
        "executed_version": answer.executed_version,
        "size": len(answer.payload),
    }
    return row | describe_payload(answer.payload) if payload else row


def describe_all(seen: list[EventStatus], payload: bool, now: float) -> list[Row]:
    """Describes events, with payloads up to the size of a response; `payload_left_out` marks those beyond it."""
    left = _MOST_PAYLOAD
    rows = []
    for one in seen:
        left -= len(one.event.body)
        row = describe_event(one, now, payload=payload and left >= 0)
        rows.append(row | {"payload_left_out": True} if payload and left < 0 else row)
    return rows
