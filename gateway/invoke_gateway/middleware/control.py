"""Serves Lambda's concurrency operations, and reads the backend's answers to a few others.

The stage gets requests that are no invocation. All others of them go on to the backend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..asgi import EXCHANGE, App, Message, Receive, Scope, Send, respond
from ..control.base import BackendReply, ControlAnswer, ControlOperations, ControlRequest
from ..exchange import Exchange
from ..invocation import Caller
from ..policy.control.errors import BODY_TOO_LARGE
from ..policy.control.paths import ON_POLICIES, WATCHED, ControlOperation, ControlTarget, find_control
from ..policy.requests.caller import parse_caller
from ..refusals import Refusal

_LARGEST_BODY = 131_072  # bytes; the longest body that the service model allows is below 2 KiB
_LARGEST_EDITED = 8 * 1024 * 1024  # bytes of an answer that is read; a longer one passes as it comes
_REPLACED_HEADERS = (b"content-length", b"transfer-encoding")


class ControlPlane:
    """Serves the operations before a backend.

    app: the last stage, for requests that the backend answers
    operations: serves the operations
    credentials: returns the accounts of access keys
    keeps_policies: policies of functions are kept here, because permissions are decided here
    """

    def __init__(
        self,
        app: App,
        *,
        operations: ControlOperations,
        credentials: Callable[[], Mapping[str, str]],
        keeps_policies: bool = False,
    ) -> None:
        self.app = app
        self._operations = operations
        self._credentials = credentials
        self._keeps_policies = keeps_policies

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        target = find_control(scope["method"], scope["raw_path"], scope["query_string"])
        if target is None or (target.operation in ON_POLICIES and not self._keeps_policies):
            return self.app(scope, receive, send)
        if target.operation in WATCHED:
            return self._watch(target, scope, receive, send)
        return self._serve(target, scope, receive, send)

    def _read_request(self, target: ControlTarget, scope: Scope, body: bytes = b"") -> ControlRequest | None:
        """Returns the request; None after a refusal, because it names two callers."""
        exchange: Exchange = scope[EXCHANGE]
        headers = exchange.headers
        caller: Caller | None = exchange.caller
        if exchange.caller.arn is None:  # no signature was verified
            caller = parse_caller(headers.get(b"authorization"), self._credentials(), scope["query_string"])
        if caller is None:
            exchange.refuse(Refusal.TWO_CREDENTIALS)
            return None
        exchange.caller = caller
        return ControlRequest(target, caller, headers, body)

    async def _serve(self, target: ControlTarget, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        request = self._read_request(target, scope)
        if request is None:
            return
        body = await _read_body(exchange, receive)
        if body is None:
            if not exchange.client_is_gone:
                exchange.refuse(BODY_TOO_LARGE, limit=_LARGEST_BODY, operation=target.operation)
            return
        await _send(exchange, await self._operations.answer(request._replace(body=body)), send)

    async def _watch(self, target: ControlTarget, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._read_request(target, scope)
        if request is None:
            return
        if target.operation is ControlOperation.GET_FUNCTION:
            _refuse_coding(scope)
        held = HeldReply(send)
        await self.app(scope, receive, held.send)
        reply = held.whole()
        if reply is not None:
            reply = await self._operations.read_reply(request, reply)
            headers = [header for header in reply.headers if header[0].lower() not in _REPLACED_HEADERS]
            await respond(send, reply.status, headers, reply.body)


def _refuse_coding(scope: Scope) -> None:
    """Has the backend answer in plain JSON, unless a signature covers the client's choice."""
    headers = scope[EXCHANGE].headers
    if b"accept-encoding" in headers and b"accept-encoding" not in headers.get(b"authorization", b"").lower():
        headers[b"accept-encoding"] = b"identity"
        plain = [header for header in scope["headers"] if header[0] != b"accept-encoding"]
        scope["headers"] = [*plain, (b"accept-encoding", b"identity")]


class HeldReply:
    """Holds a response of the backend until it is whole. A response that is too long to be read is passed on."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_whole = False

    async def send(self, message: Message) -> None:
        if self._size > _LARGEST_EDITED:
            await self._send(message)
        elif message["type"] == "http.response.start":
            self._start = message
        else:
            self._pieces.append(message.get("body", b""))
            self._size += len(self._pieces[-1])
            self._is_whole = not message.get("more_body", False)
            if self._size > _LARGEST_EDITED:
                await self._pass_on()

    async def _pass_on(self) -> None:
        assert self._start is not None
        await self._send(self._start)
        more = not self._is_whole
        await self._send({"type": "http.response.body", "body": b"".join(self._pieces), "more_body": more})
        self._start = None

    def whole(self) -> BackendReply | None:
        """Returns the response; None if it was passed on."""
        if self._start is None:
            return None
        return BackendReply(self._start["status"], list(self._start["headers"]), b"".join(self._pieces))


async def _read_body(exchange: Exchange, receive: Receive) -> bytes | None:
    """Returns the body; None if it is too large, or the client has gone."""
    if (exchange.content_length or 0) > _LARGEST_BODY:
        return None
    exchange.has_continued = True
    pieces = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            exchange.client_is_gone = True
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        exchange.body_is_read = not message.get("more_body", False)
        if size > _LARGEST_BODY:
            return None
        if exchange.body_is_read:
            return b"".join(pieces)


async def _send(exchange: Exchange, answer: ControlAnswer, send: Send) -> None:
    exchange.status = answer.status
    headers = [(b"x-amzn-requestid", exchange.request_id.encode())]
    if answer.status != 204:
        headers.append((b"content-type", b"application/json"))
    if answer.code is not None:
        headers.append((b"x-amzn-errortype", answer.code.encode()))
    await respond(send, answer.status, headers, answer.body)
