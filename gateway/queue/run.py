"""Runs one event as a synchronous invocation, by the same stages as every other call, and says what that came to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from time import monotonic
from typing import Literal, NamedTuple

import msgspec

from ..asgi import EXCHANGE, App, Message, Receive, Scope, Send
from ..exchange import Exchange
from ..faults import (
    BackendConnectTimeout,
    BackendFault,
    BackendFirstByteTimeout,
    BackendIdleTimeout,
    BackendTimeout,
    BackendUnreachable,
    BackendUntrusted,
)
from ..invocation import Function, Invocation, InvocationType, Operation
from ..policy.concurrency import Claim, Full, Plan
from .event import Answer, Event

log = logging.getLogger("gateway")

_NOT_REACHED = (BackendUnreachable, BackendConnectTimeout, BackendUntrusted)
_TOO_LONG = (BackendTimeout, BackendFirstByteTimeout, BackendIdleTimeout)

# Answers of the invoke family that time can mend: a function that is not ready yet, one that is being changed.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})

RUN = "invoke_gateway.run"
"""Where the scope of an event's invocation has its run, so that `Admitted` can tell it."""


class Ran(NamedTuple):
    """What became of a run.

    ok        the function succeeded
    error     it ran and failed, or took too long
    returned  the backend said that it cannot now, or broke off: this event is tried again later
    refused   no slot, at `counter` where it is a limit of slots: its lane waits
    away      neither backend nor counters can be reached: its lane waits
    rejected  the backend will never run it

    `answer` is the function's, `code` and `message` are what a dead-letter message says of it.
    """

    kind: Literal["ok", "error", "returned", "refused", "away", "rejected"]
    answer: Answer | None = None
    code: int = 200
    message: str = ""
    counter: str | None = None


class Runner:
    """`tail` is the end of the chain, from admission on; `tell` hears of every exchange, as of a client's."""

    def __init__(
        self, tail: App, *, tell: Callable[[Exchange, Scope], None], clock: Callable[[], float] = monotonic
    ) -> None:
        self._tail = tail
        self._tell = tell
        self._clock = clock

    async def run(self, event: Event, plan: Plan, admitted: Callable[[], None]) -> Ran:
        """Run it now. `admitted` is called when it has its slot. Never raises but when it is cancelled."""
        exchange = _make_exchange(event, plan, self._clock())
        scope = _make_scope(event, exchange)
        scope[RUN] = admitted
        response = _Response()
        try:
            try:
                await self._tail(scope, _receive_nothing, response)
            except BackendFault as fault:
                exchange.fault = fault.kind
                return _judge_fault(fault)
            except Exception as error:  # a mistake of ours: the event is tried again, the log has the traceback
                log.exception("event %s failed inside the gateway", event.request_id)
                exchange.fault = "internal"
                return Ran("returned", code=500, message=f"The gateway failed on this event: {type(error).__name__}.")
            if exchange.full is not None:
                return _judge_full(exchange.full, plan)
            return _judge_response(response)
        finally:
            exchange.duration_seconds = self._clock() - exchange.received_at
            self._tell(exchange, scope)


class Admitted:
    """A stage behind admission: tells the run of an event that it has its slot."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[RUN]()
        await self._app(scope, receive, send)


def plan_of(plan: Plan) -> Plan:
    """What a run must take: slots as every call, but no token of a rate: those are of synchronous requests."""
    return replace(plan, rates=()) if plan.rates else plan


def _make_exchange(event: Event, plan: Plan, now: float) -> Exchange:
    exchange = Exchange(now)
    exchange.headers = dict(event.headers)
    exchange.content_length = len(event.body)
    qualifier = event.arn.rpartition(":")[2]
    function = Function(event.function, qualifier, event.account)
    exchange.invocation = Invocation(Operation.INVOKE, function, InvocationType.REQUEST_RESPONSE)
    exchange.plan = plan
    exchange.body = event.body
    exchange.body_is_read = True
    exchange.request_id = event.request_id
    return exchange


def _make_scope(event: Event, exchange: Exchange) -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": event.path.decode("latin-1"),
        "raw_path": event.path,
        "query_string": event.query,
        "headers": event.headers,
        EXCHANGE: exchange,
    }


async def _receive_nothing() -> Message:
    return {"type": "http.disconnect"}


class _Response:
    """A `send` that keeps the response."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
        else:
            self.body += message.get("body", b"")


def _judge_full(full: Full, plan: Plan) -> Ran:
    if not isinstance(full.claim, Claim):  # the shared counters can say neither yes nor no
        return Ran("away", code=500, message=full.claim.refusal.message)
    return Ran("refused", code=429, message="Rate Exceeded.", counter=full.claim.counter or plan.function_counter)


def _judge_fault(fault: BackendFault) -> Ran:
    if isinstance(fault, _NOT_REACHED):
        return Ran("away", code=500, message=str(fault))
    if isinstance(fault, _TOO_LONG):  # it ran, and longer than it may: Lambda counts that as the function's error
        payload = msgspec.json.encode({"errorType": "Sandbox.Timedout", "errorMessage": str(fault)})
        return Ran("error", Answer(200, payload, "Unhandled"), message=str(fault))
    return Ran("returned", code=500, message=str(fault))


def _judge_response(response: _Response) -> Ran:
    status = response.status
    if 200 <= status < 300:
        error = _text(response.headers.get(b"x-amz-function-error"))
        version = _text(response.headers.get(b"x-amz-executed-version"))
        answer = Answer(status, response.body, error, version)
        return Ran("ok", answer) if error is None else Ran("error", answer)
    message = _find_message(response)
    if status >= 500 or status in _PASSING:
        return Ran("returned", code=status, message=message)
    return Ran("rejected", code=status, message=message)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _find_message(response: _Response) -> str:
    """The text of an error, whichever way it spells the member."""
    try:
        members = msgspec.json.decode(response.body)
    except msgspec.DecodeError:
        members = None
    if isinstance(members, dict):
        for name in ("message", "Message", "errorMessage"):
            if isinstance(members.get(name), str):
                return str(members[name])
    return f"The backend answered {response.status}."
