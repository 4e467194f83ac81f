"""Serves `/queue`: shows the queue of asynchronous invocations, and retries, drops or adopts events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..queue.adoption import AdoptionResult, AmbiguousOrigin, Decision
from ..queue.depths import STATES, Depths
from ..queue.operator_actions import Action, EventFilter
from ..queue.origin import Held
from ..queue.outcomes.history import ENDS, MOST_ENDED, EndedEvent, HistoryFilter
from .json_documents import (
    ACCOUNT,
    FUNCTION,
    FUNCTION_WORDS,
    MOST_REPEATED,
    BadDocument,
    Keys,
    answer_error,
    answer_json,
    read_body,
    read_object,
    read_values,
)
from .queue_documents import Row, describe_ended, describe_queue, in_thread

USUAL_ROWS, MOST_ROWS = 100, 100_000
USUAL_EVENTS, MOST_EVENTS = 20, 100  # each may have a megabyte

_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_FORWARDED = "Events go to the backend (async.mode: forward), so this gateway has no queue. Use the backend's."

_KEYS: Keys = {
    "request_id": (str, "a request id"),
    "account": (ACCOUNT[0], "twelve digits; leave it out for all accounts"),
    "function": (FUNCTION, f"{FUNCTION_WORDS}; leave it out for all functions"),
    "state": (
        Literal["waiting", "retrying", "running", "delivering", "undelivered", "held"],
        f"one of {', '.join(STATES)}",
    ),
    "most": (str, "a number"),
    "payload": (Literal["true", "false"], "true or false"),
}
_HISTORY_KEYS: Keys = {
    "request_id": _KEYS["request_id"],
    "account": _KEYS["account"],
    "function": _KEYS["function"],
    "end": (Literal["succeeded", "failed", "expired", "dropped", "undelivered"], f"one of {', '.join(ENDS)}"),
    "failed": (Literal["true", "false"], "true or false; true leaves out events that succeeded"),
    "most": (str, "a number"),
}
_ORIGIN_KEYS: Keys = {"origin": (str, "an origin that GET /queue names; leave it out where only one is held")}
_ADOPT_EXAMPLE = '{"origin": "http://127.0.0.1:9000 in us-east-1"}, or nothing'
_ROW_KEYS: Keys = {"rows": (str, "a number")}


class EventQuery(NamedTuple):
    """Selects events: those of one request id, or the oldest that match."""

    request_id: str | None
    wanted: EventFilter
    payload: bool


class QueueState(NamedTuple):
    """Holds the depths of the queue, the problem of the store (or None), and the held events by origin."""

    depths: Depths
    trouble: str | None
    held: list[Held]


class QueueView(Protocol):
    """Reads and changes the queue of one process, or of several workers. All methods raise `StoreError`."""

    store: str

    @property
    def now(self) -> Callable[[], float]:
        """Returns the clock of the events' times."""

    async def read_state(self) -> QueueState:
        """Returns the present state of the queue."""

    async def read_history(self, wanted: HistoryFilter) -> list[EndedEvent]:
        """Returns the last events that ended, the newest first."""

    async def decide(self, decision: Decision, origin: str | None) -> AdoptionResult:
        """Adopts or drops the held events of one origin; None: of the only one. Raises `AmbiguousOrigin`."""

    async def read(self, query: EventQuery) -> tuple[list[Row], bool]:
        """Returns events as documents, and whether there are more."""

    async def act(self, act: Action, request_id: str) -> tuple[int, int]:
        """Acts on the events of a request id. Returns how many were changed, and how many run now."""


class QueueEndpoint:
    """Serves `/queue`. `queue` is None where events go to the backend."""

    def __init__(self, queue: QueueView | None) -> None:
        self._queue = queue

    def routes(self) -> list[Route]:
        return [
            Route("/queue", self.show),
            Route("/queue/adopt", self.adopt, methods=["POST"]),
            Route("/queue/held", self.drop_held, methods=["DELETE"]),
            Route("/queue/history", self.history),
            Route("/queue/events", self.events),
            Route("/queue/events/{request_id}", self.drop, methods=["DELETE"]),
            Route("/queue/events/{request_id}/retry", self.retry, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        rows = _read_number(_read(request.query_params, _ROW_KEYS), "rows", USUAL_ROWS, MOST_ROWS, least=0)
        if self._queue is None:
            shown = describe_queue({}, [], rows, 0.0) | {"last_ended": None, "last_failed": None}
            return answer_json({"mode": "forward", "store": None, **shown, "trouble": None})
        state = await self._queue.read_state()
        shown = await in_thread(describe_queue, state.depths, state.held, rows, self._queue.now())
        shown |= {"last_ended": await self._find_last(), "last_failed": await self._find_last(only_failed=True)}
        return answer_json({"mode": "queue", "store": self._queue.store, **shown, "trouble": state.trouble})

    async def _find_last(self, *, only_failed: bool = False) -> Row | None:
        assert self._queue is not None
        rows = await self._queue.read_history(HistoryFilter(only_failed=only_failed, most=1))
        return describe_ended(rows[0], self._queue.now()) if rows else None

    async def history(self, request: Request) -> Response:
        if self._queue is None:
            return answer_error(_FORWARDED, 409)
        rows = await self._queue.read_history(read_history_filter(request.query_params))
        now = self._queue.now()
        return answer_json(
            {"events": [describe_ended(row, now) for row in rows]}, headers={"cache-control": "no-store"}
        )

    async def events(self, request: Request) -> Response:
        if self._queue is None:
            return answer_error(_FORWARDED, 409)
        query = read_event_query(request.query_params)
        rows, has_more = await self._queue.read(query)
        if query.request_id is not None and not rows:
            return await self._answer_unknown(query.request_id)
        return answer_json({"events": rows, "has_more": has_more}, headers={"cache-control": "no-store"})

    async def retry(self, request: Request) -> Response:
        await read_body(request, "A retry", "an empty body")  # no page of another origin can send this type
        return await self._act("retry", request.path_params["request_id"])

    async def drop(self, request: Request) -> Response:
        return await self._act("drop", request.path_params["request_id"])

    async def adopt(self, request: Request) -> Response:
        body = await read_body(request, "An adoption", _ADOPT_EXAMPLE)
        document = read_object(body, f"Send {_ADOPT_EXAMPLE}.") if body else {}
        origin = read_values(document, _ORIGIN_KEYS, "The adoption").get("origin")
        return await self._decide("adopt", origin)

    async def drop_held(self, request: Request) -> Response:
        return await self._decide("drop", _read(request.query_params, _ORIGIN_KEYS).get("origin"))

    async def _decide(self, decision: Decision, origin: str | None) -> Response:
        if self._queue is None:
            return answer_error(_FORWARDED, 409)
        try:
            decided = await self._queue.decide(decision, origin)
        except AmbiguousOrigin as error:
            return answer_error(str(error), 409 if origin is None else 404)
        return answer_json({_DECIDED[decision]: decided.events, "is_whole": decided.is_whole})

    async def _act(self, act: Action, request_id: str) -> Response:
        if self._queue is None:
            return answer_error(_FORWARDED, 409)
        done, running = await self._queue.act(act, _read_id(request_id))
        if done:
            return answer_json({"request_id": request_id, _DONE[act]: done, "running": running})
        if running:
            return answer_error(
                f"Event {request_id} is being run or delivered now, here or by another gateway. Wait for its end,"
                " then try again.",
                409,
            )
        return await self._answer_unknown(request_id)

    async def _answer_unknown(self, request_id: str) -> Response:
        """Returns the error for an id of which the store has no event, with its end where that is known."""
        assert self._queue is not None
        ended = await self._queue.read_history(HistoryFilter(request_id=request_id, most=1))
        if ended:
            row = describe_ended(ended[0], self._queue.now())
            text = f"Event {request_id} has ended: {row['end']} ({row['condition']}), {row['ended_seconds_ago']} s ago."
            return answer_error(f"{text} GET /queue/history has the last events that ended.", 404)
        return _answer_unknown(request_id)


_DECIDED: dict[Decision, str] = {"adopt": "adopted", "drop": "dropped"}
_DONE: dict[Action, str] = {"retry": "retried", "drop": "dropped"}


def read_event_query(parameters: Mapping[str, str]) -> EventQuery:
    """Parses a query string; an empty value counts as absent. Raises `BadDocument`."""
    values = _read(parameters, _KEYS)
    most = _read_number(values, "most", USUAL_EVENTS, MOST_EVENTS)
    request_id = values.get("request_id")
    wanted = EventFilter(values.get("account"), values.get("function"), values.get("state"), most)
    if request_id is not None:
        if wanted[:3] != (None, None, None):
            raise BadDocument("request_id excludes account, function and state. Send one or the other.")
        _read_id(request_id)
    return EventQuery(request_id, wanted, values.get("payload") == "true")


def read_history_filter(parameters: Mapping[str, str]) -> HistoryFilter:
    """Parses the query string of `/queue/history`; an empty value counts as absent. Raises `BadDocument`."""
    values = _read(parameters, _HISTORY_KEYS)
    most = _read_number(values, "most", MOST_ENDED, MOST_ENDED)
    return HistoryFilter(
        values.get("request_id"),
        values.get("account"),
        values.get("function"),
        values.get("end"),
        values.get("failed") == "true",
        most,
    )


def _read(parameters: Mapping[str, str], keys: Keys) -> dict[str, str]:
    return read_values({key: value for key, value in parameters.items() if value}, keys, "The query")


def _read_number(values: Mapping[str, str], key: str, usual: int, most: int, least: int = 1) -> int:
    text = values.get(key, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise BadDocument(f"{key} must be a number from {least} to {most}.")
    return int(text)


def _read_id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise BadDocument(
            f"{text[:MOST_REPEATED]!r} is no request id. Send the UUID that the response to the invocation has as"
            " x-amzn-RequestId."
        )
    return text


def _answer_unknown(request_id: str) -> Response:
    return answer_error(
        f"There is no event {request_id}: it has run, has ended, or never existed. GET /queue/events lists the oldest"
        " events.",
        404,
    )
