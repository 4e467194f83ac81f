"""Turns a recorded refusal, or an error from inside, into the response that the client's SDK expects."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from random import random

from ..asgi import DONE, EXCHANGE, INJECTED, App, Message, Receive, Scope, Send, respond
from ..backend_errors import BackendError
from ..exchange import Exchange
from ..policy.concurrency import LimitReached
from ..policy.fault_script import Injected
from ..policy.retry_after import NEVER, as_retry_after, spread_seconds
from ..refusals import ErrorAnswer, Refusal, render

log = logging.getLogger("invoke_gateway")

# The server reads and drops this much of an unread body after the response without our help.
_SMALL_BODY = 65_536

# The hint for a retry if there is no estimate.
_USUAL_SECONDS = 1.0

_AMBIGUOUS = Refusal.AMBIGUOUS_REQUEST  # to find a member by its class takes several times as long, before Python 3.12

# A refused upload is read to its end, up to this size. Else the SDK would report a broken pipe in place of the refusal.
DRAIN_BYTES = 64 * 1024 * 1024


class ErrorResponse:
    """Sends refusals, with hints for the retry.

    retry_after, x_amz_retry_after, decision_header: send this header longest_retry_seconds: bound of the two retry
    headers
    """

    def __init__(
        self,
        app: App,
        *,
        retry_after: bool = True,
        x_amz_retry_after: bool = True,
        decision_header: bool = True,
        longest_retry_seconds: float = 20,
    ) -> None:
        self.app = app
        self._retry_after = retry_after
        self._x_amz_retry_after = x_amz_retry_after
        self._decision_header = decision_header
        self._longest = longest_retry_seconds

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        try:
            rest = self.app(scope, receive, send)
        except Exception as error:
            _record_failure(exchange, error)
            rest = DONE
        if rest is DONE:
            return self._respond(exchange, scope, receive, send)
        return self._respond_after(rest, exchange, scope, receive, send)

    async def _respond_after(
        self, rest: Awaitable[None], exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            await rest
        except Exception as error:
            _record_failure(exchange, error)
        if exchange.refusal is not None:
            await self._respond(exchange, scope, receive, send)

    def _respond(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Sends the refusal, if there is one and no response has been sent."""
        refusal = exchange.refusal
        if refusal is None or exchange.status:
            return DONE
        rendered = refusal.rendered or render(refusal, **_values_of(exchange))
        exchange.status = rendered.status
        headers = [*rendered.headers, (b"x-amzn-requestid", exchange.request_id.encode())]
        self._add_hints(exchange, refusal, scope, headers)
        is_ambiguous = refusal is _AMBIGUOUS  # another reader may see the end of the request elsewhere
        if _will_end_soon(exchange):
            return respond(send, rendered.status, headers, rendered.body, closes=is_ambiguous)
        if not _may_drain(exchange):
            return respond(send, rendered.status, headers, rendered.body, closes=True)
        headers.append((b"content-length", b"%d" % len(rendered.body)))
        if is_ambiguous:
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": rendered.status, "headers": headers}
        return _send_and_drain(start, rendered.body, receive, send)

    def _add_hints(
        self, exchange: Exchange, refusal: ErrorAnswer, scope: Scope, headers: list[tuple[bytes, bytes]]
    ) -> None:
        full = exchange.full
        estimate = full.retry_seconds if full is not None else _USUAL_SECONDS
        if refusal.is_retryable and estimate != NEVER:
            seconds = spread_seconds(estimate, random(), self._longest)
            if self._retry_after:
                headers.append((b"retry-after", b"%d" % as_retry_after(seconds)))
            if self._x_amz_retry_after:
                headers.append((b"x-amz-retry-after", b"%d" % (int(seconds * 1000) or 1)))
        if self._decision_header:
            decided: LimitReached | Injected | None = full
            if full is None and refusal.is_injected:
                decided = scope[INJECTED]
            if decided is not None:
                headers.append((b"x-invoke-gateway-decision", decided.describe().encode()))


async def _send_and_drain(start: Message, body: bytes, receive: Receive, send: Send) -> None:
    await send(start)
    # The client has all of the answer now; what it still uploads is dropped before the response is ended.
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if await _drain(receive):
        await send({"type": "http.response.body", "body": b""})
    # else the server closes the connection, because the response has not been ended


def _values_of(exchange: Exchange) -> Mapping[str, object]:
    return exchange.refusal_values or (exchange.full.refusal_values if exchange.full is not None else {})


def _record_failure(exchange: Exchange, error: Exception) -> None:
    if isinstance(error, BackendError):
        _record_error(exchange, error.kind, Refusal.BACKEND_ERROR, text=str(error))
    else:  # a mistake of ours: the client gets Lambda's ServiceException, the log the traceback
        log.error("request %s failed inside the gateway", exchange.request_id, exc_info=error)
        _record_error(exchange, "internal", Refusal.INTERNAL)


def _record_error(exchange: Exchange, kind: str, refusal: Refusal, **values: object) -> None:
    exchange.error_kind = kind
    if not exchange.status:  # otherwise the response is under way and can only be cut
        exchange.refuse(refusal, **values)


def _will_end_soon(exchange: Exchange) -> bool:
    if exchange.body_is_read:
        return True
    length = exchange.content_length
    if length is None:
        return b"transfer-encoding" not in exchange.headers
    return length <= _SMALL_BODY and not _waits_to_continue(exchange)


def _may_drain(exchange: Exchange) -> bool:
    """Returns whether to read the rest of the body. It is not read if the client waits for a 100, or if it is huge."""
    if _waits_to_continue(exchange):
        return False
    return exchange.content_length is None or exchange.content_length <= DRAIN_BYTES


def _waits_to_continue(exchange: Exchange) -> bool:
    return b"expect" in exchange.headers and not exchange.has_continued


async def _drain(receive: Receive) -> bool:
    """Reads the rest of the upload, and returns whether it has ended."""
    dropped = 0
    while dropped <= DRAIN_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return False
        if not message.get("more_body", False):
            return True
        dropped += len(message.get("body", b""))
    return False
