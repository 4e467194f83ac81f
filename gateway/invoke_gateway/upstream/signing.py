"""Signs each request when it is sent, in the gateway's own name. This is the stage before `forward`.

A signature covers the body. The body of an invocation is in memory already. Any other body is read whole first, within
the buffers. What the backend answers about the gateway's own identity does not reach the client: the client did not
cause it, and the text names the gateway's account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from time import gmtime, strftime, time
from typing import Protocol

from ..asgi import DONE, EXCHANGE, MESSAGE, App, Message, Receive, Scope, Send, respond
from ..backend_errors import IdentityRefused
from ..buffers import Buffers
from ..exchange import Exchange
from ..policy.identity.canonical_request import EMPTY_HASH
from ..policy.identity.request_signer import RequestSigner, drop_signature, keep_own_headers
from ..policy.identity.signature_refusals import IdentityRefusal, find_identity_refusal
from ..refusals import Refusal
from .headers import NOT_DROPPABLE, find_listed, is_persistence
from .signed_messages import SignedMessages

_LONG_BODY = 262_144  # bytes; SHA-256 of a longer body takes more than 0.1 ms, so a thread does it
_LONGEST_REFUSAL = 65_536  # bytes of an error that are read; a longer one passes as it comes


class SignerSource(Protocol):
    """Provides the signer in force, and records how the backend judges its signatures."""

    is_refused: bool

    def find(self, now: float) -> RequestSigner:
        """Returns the signer. Raises `NoCredentials`.

        now: seconds since the epoch
        """

    def record_refusal(self, refusal: IdentityRefusal) -> None:
        """Records that the backend refused the gateway's identity."""

    def record_success(self) -> None:
        """Records that the backend took a signature after it had refused one."""


class SignRequests:
    """Signs requests.

    app: the stage that forwards
    now: seconds since the epoch
    """

    def __init__(self, app: App, *, signers: SignerSource, buffers: Buffers, now: Callable[[], float] = time) -> None:
        self.app = app
        self._signers = signers
        self._buffers = buffers
        self._now = now
        self._messages: SignedMessages | None = None
        self._second = self._next_second = 0
        self._date = b""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        body = exchange.body
        if exchange.invocation is None:
            if _has_body(exchange):
                return self._send_whole(exchange, scope, receive, send)
        elif len(body) > _LONG_BODY:
            return self._send_long(exchange, scope, body, receive, send)
        return self._send_signed(exchange, scope, body, receive, send)

    async def _send_whole(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body of a request that is no invocation, and sends the request."""
        self._signers.find(self._now())  # before a body is read that could not be sent
        reading = _WholeBody(exchange, self._buffers)
        try:
            body = await reading.read(receive)
            if body is None:
                return
            exchange.content_length = len(body)
            exchange.headers.pop(b"transfer-encoding", None)
            exchange.body_is_read = False  # until `forward` has taken it
            if len(body) > _LONG_BODY:
                await self._send_long(exchange, scope, body, reading.replay, send)
            else:
                await self._send_signed(exchange, scope, body, reading.replay, send)
        finally:
            exchange.body_is_read = exchange.body_is_read or reading.is_whole
            reading.release()

    async def _send_long(
        self, exchange: Exchange, scope: Scope, body: bytes | bytearray, receive: Receive, send: Send
    ) -> None:
        payload_hash = (await asyncio.to_thread(sha256, body)).hexdigest().encode()
        del body
        signer, date = self._find_signer()
        self._sign(signer, date, exchange, scope, payload_hash)
        await self.app(scope, receive, _Reply(send, exchange, self._signers))

    def _send_signed(
        self, exchange: Exchange, scope: Scope, body: bytes | bytearray, receive: Receive, send: Send
    ) -> Awaitable[None]:
        signer, date = self._find_signer()
        headers = exchange.headers
        written = None
        # What is no invocation is passed through, header by header.
        if MESSAGE in scope and body and exchange.invocation is not None and len(headers) == len(scope["headers"]):
            messages = self._messages
            if messages is None or messages.signer is not signer:
                messages = self._messages = SignedMessages(signer)
            written = messages.write(scope["raw_path"], scope["query_string"], headers, body, date)
        if written is not None:
            scope[MESSAGE] = written  # in place of the client's, which came in one piece
            headers.pop(b"connection", None)
        else:
            payload_hash = sha256(body).hexdigest().encode() if body else EMPTY_HASH
            self._sign(signer, date, exchange, scope, payload_hash)
        return self.app(scope, receive, _Reply(send, exchange, self._signers))

    def _find_signer(self) -> tuple[RequestSigner, bytes]:
        """Returns the signer, and the time of its signature. Raises `NoCredentials`."""
        now = self._now()
        if not self._second <= now < self._next_second:
            self._second = int(now)
            self._next_second = self._second + 1
            self._date = strftime("%Y%m%dT%H%M%SZ", gmtime(now)).encode()
        return self._signers.find(now), self._date

    def _sign(self, signer: RequestSigner, date: bytes, exchange: Exchange, scope: Scope, payload_hash: bytes) -> None:
        """Replaces the client's signature in the scope."""
        scope.pop(MESSAGE, None)
        query = scope["query_string"] = drop_signature(scope["query_string"])
        headers = keep_own_headers(scope["headers"])
        connection = exchange.headers.pop(b"connection", None)
        if connection is not None and not is_persistence(connection):
            # Dropped here, so that no line of the signature is among the dropped ones.
            listed = find_listed(connection) - NOT_DROPPABLE
            headers = [header for header in headers if header[0] not in listed]
        method = scope["method"].encode("ascii")
        added = signer.sign(method, scope["raw_path"], query, headers, payload_hash, date)
        scope["headers"] = headers + added


def _has_body(exchange: Exchange) -> bool:
    return bool(exchange.content_length) or b"transfer-encoding" in exchange.headers


class _WholeBody:
    """Reads a body whole, within the buffers, and replays it as one message."""

    def __init__(self, exchange: Exchange, buffers: Buffers) -> None:
        self._exchange = exchange
        self._buffers = buffers
        self._reserved = 0
        self._body = b""
        self.is_whole = False

    async def read(self, receive: Receive) -> bytes | None:
        """Returns the body; None where there is no room for it, or the client has gone."""
        exchange = self._exchange
        if not self._grow_to(exchange.content_length or 0):
            return None
        exchange.has_continued = True  # the first receive() lets a client that waits for it go on
        pieces: list[bytes] = []
        size = 0
        while not self.is_whole:
            message = await receive()
            if message["type"] != "http.request":
                exchange.client_is_gone = True
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if not self._grow_to(size):
                return None
            self.is_whole = not message.get("more_body", False)
        self._body = b"".join(pieces)
        return self._body

    async def replay(self) -> Message:
        body, self._body = self._body, b""
        return {"type": "http.request", "body": body, "more_body": False}

    def release(self) -> None:
        size, self._reserved = self._reserved, 0
        if size:
            self._buffers.release(size)

    def _grow_to(self, size: int) -> bool:
        more = max(size - self._reserved, 0)
        if not self._buffers.try_reserve(more):
            in_use, limit = self._buffers.in_use, self._buffers.ceiling
            self._exchange.refuse(Refusal.BUFFERS_FULL, in_use=in_use, limit=limit)
            return False
        self._reserved += more
        return True


class _Reply:
    """Passes a response on. An error of the client's kind is held until it is known to be about the client."""

    __slots__ = ("_exchange", "_held", "_send", "_signers", "_size")

    def __init__(self, send: Send, exchange: Exchange, signers: SignerSource) -> None:
        self._send = send
        self._exchange = exchange
        self._signers = signers
        self._held: list[Message] | None = None
        self._size = 0

    def __call__(self, message: Message) -> Awaitable[None]:
        if self._held is not None:
            return self._hold(self._held, message)
        if message["type"] == "http.response.start":
            status = message["status"]
            if 400 <= status < 500:
                self._held = [message]
                return DONE
            self._note(status)
        return self._send(message)

    def respond(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, closes: bool = False
    ) -> Awaitable[None]:
        """Passes a whole response on, as `asgi.respond` describes it. Raises `IdentityRefused` as `_finish` does."""
        if 400 <= status < 500:
            if len(body) <= _LONGEST_REFUSAL:
                self._check(status, headers, body)
        else:
            self._note(status)
        return respond(self._send, status, headers, body, closes=closes)

    def _note(self, status: int) -> None:
        if self._signers.is_refused and status < 400:
            self._signers.record_success()

    def _hold(self, held: list[Message], message: Message) -> Awaitable[None]:
        held.append(message)
        self._size += len(message.get("body", b""))
        if self._size > _LONGEST_REFUSAL:
            return self._pass_on(held)
        return DONE if message.get("more_body", False) else self._finish(held)

    async def _pass_on(self, held: list[Message]) -> None:
        self._held = None
        for message in held:
            await self._send(message)

    async def _finish(self, held: list[Message]) -> None:
        """Passes a whole response on. Raises `IdentityRefused` if it refuses the gateway's identity."""
        start, *pieces = held
        body = b"".join(piece.get("body", b"") for piece in pieces)
        self._check(start["status"], start["headers"], body)
        await self._pass_on(held)

    def _check(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Raises `IdentityRefused` if the response refuses the gateway's identity."""
        refusal = find_identity_refusal(status, dict(headers), body)
        if refusal is None:
            return
        self._signers.record_refusal(refusal)
        self._exchange.status = 0  # the client has not got any of it
        raise IdentityRefused(f"{refusal.status} {refusal.code}".rstrip())
