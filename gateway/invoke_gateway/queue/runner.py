"""Runs one event as a synchronous invocation, through the same stages as every other call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from ..asgi import ATTEMPT, EXCHANGE, App, Attempt, Message, Receive, Scope, Send
from ..backend_errors import BackendError
from ..exchange import Exchange
from ..invocation import Function, Invocation, InvocationType, Operation
from ..policy.concurrency import Plan
from ..policy.events.function_errors import FunctionErrors
from .event import Event, Headers
from .outcomes.run_result import RunResult, judge_fault, judge_full, judge_response

log = logging.getLogger("invoke_gateway")

_USUAL_LIMIT = 6_291_556  # bytes; Lambda's quota of a response
_LONG_BODY = 262_144  # bytes; longer bodies are classified in a thread

RUN = "invoke_gateway.run"
"""Names the callback in the scope of an event's invocation that `Admitted` calls."""


class Runner:
    """Runs events.

    tail: the end of the chain, from admission on.
    on_exchange: records every exchange, as a client's.
    function_errors: finds the errors that answers report.
    limit: returns the bound on a decoded answer (bytes).
    """

    def __init__(
        self,
        tail: App,
        *,
        on_exchange: Callable[[Exchange, Scope], None],
        function_errors: FunctionErrors | None = None,
        limit: Callable[[], int] = lambda: _USUAL_LIMIT,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._tail = tail
        self._on_exchange = on_exchange
        self._function_errors = function_errors or FunctionErrors()
        self._limit = limit
        self._clock = clock

    async def run(self, event: Event, plan: Plan, on_admitted: Callable[[], None]) -> RunResult:
        """Runs the event now, and calls `on_admitted` once it has its slot. Raises nothing but a cancellation."""
        exchange = _make_exchange(event, plan, self._clock())
        scope = _make_scope(event, exchange)
        scope[RUN] = on_admitted
        response = _Response()
        try:
            try:
                await self._tail(scope, _receive_nothing, response)
                result = judge_full(exchange.full, plan) if exchange.full is not None else await self._judge(response)
            except BackendError as fault:
                exchange.error_kind = fault.kind
                return judge_fault(fault)
            except Exception as error:  # a bug: the event is retried, and the log has the traceback
                log.exception("event %s failed inside the gateway", event.request_id)
                exchange.error_kind = "internal"
                return RunResult(
                    "returned", code=500, message=f"The gateway failed on this event: {type(error).__name__}."
                )
            exchange.function_error = result.kind == "error"
            return result
        finally:
            exchange.duration_seconds = self._clock() - exchange.received_at
            self._on_exchange(exchange, scope)

    async def _judge(self, response: _Response) -> RunResult:
        """Returns the meaning of a response. A long or encoded answer is read in a thread."""
        headers, body = response.headers, b"".join(response.pieces)
        judged = (response.status, headers, body, self._function_errors, self._limit())
        if len(body) > _LONG_BODY or b"content-encoding" in headers:
            return await asyncio.to_thread(judge_response, *judged)
        return judge_response(*judged)


class Admitted:
    """Calls the run of an event back once it has its slot. The stage stands behind admission."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[RUN]()
        await self._app(scope, receive, send)


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
        "headers": _accept_identity(event.headers),
        ATTEMPT: Attempt(event.request_id, event.runs + event.requeues + 1),
        EXCHANGE: exchange,
    }


def _accept_identity(headers: Headers) -> Headers:
    """Returns the headers without the client's encodings: the answer goes into a record."""
    return [header for header in headers if header[0] != b"accept-encoding"] + [(b"accept-encoding", b"identity")]


async def _receive_nothing() -> Message:
    return {"type": "http.disconnect"}


class _Response:
    """Collects a response, as a `send`. Lines of one header are one list (RFC 9110, 5.3)."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message["headers"]:
                self.headers[name] = b"%b, %b" % (self.headers[name], value) if name in self.headers else value
        else:
            self.pieces.append(message.get("body", b""))
