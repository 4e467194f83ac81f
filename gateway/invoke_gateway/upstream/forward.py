"""Sends a request to the backend and its response to the client. This is the last stage.

A buffered invocation is read whole, at the backend's speed: a client that reads slowly keeps no slot. A buffered
response above its quota can still become Lambda's function error. A streamed invocation is at most a window ahead of
its client. All other requests are passed through, with both bodies streamed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ..asgi import AWAITED, DONE, EXCHANGE, HEADERS, MESSAGE, Receive, Scope, Send, respond
from ..backend_errors import BackendError, BackendReset, ResponseTooLarge
from ..buffers import Buffers
from ..exchange import Exchange
from ..policy.events.function_errors import FunctionErrors
from ..policy.recursion import TRACE_HEADER
from .call import UpstreamCall
from .connection import BackendConnection
from .headers import Headers, is_end_to_end, rename, request_head
from .lineage_header import LineageHeader
from .pool import Pool
from .slot_release import find_release
from .upload import frame, return_beside

_NO_LIMIT = 1 << 62
_LARGE_BODY = 65_536
_PASSED_WINDOW = 262_144


class ResponseQuotas(NamedTuple):
    """Holds the greatest response in bytes: of a buffered invocation, and of a streamed one."""

    response: int
    streamed_response: int


class Forward:
    """Forwards requests over a pool of connections.

    region: the Region of the functions
    own_host: the backend's Host header, for requests that have none
    host: replaces the client's Host; None: the client's Host is kept
    function_path: replaces the name of the function in the path
    takes_messages: a message in the scope is as the backend gets it; None: so without `host` and `function_path`
    function_errors: finds errors that only a body reports; None: only a header reports them
    """

    def __init__(
        self,
        pool: Pool,
        *,
        buffers: Buffers,
        quotas: Callable[[], ResponseQuotas],
        region: str,
        own_host: str,
        host: str | None = None,
        function_path: str | None = None,
        takes_messages: bool | None = None,
        function_errors: FunctionErrors | None = None,
    ) -> None:
        self._pool = pool
        self._buffers = buffers
        self._quotas = quotas
        self._lineage = LineageHeader(region)
        self._own_host = own_host.encode("ascii")
        self._host = host.encode("ascii") if host else None
        self._function_path = function_path.encode("ascii") if function_path else None
        is_transparent = host is None and function_path is None
        self._takes_messages = is_transparent if takes_messages is None else takes_messages
        self._function_errors = function_errors

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        invocation = exchange.invocation
        if invocation is None:
            return self._pass_through(exchange, scope, receive, send)
        if invocation.is_streamed:
            return self._stream(exchange, scope, send)
        return self._exchange_whole(exchange, scope, send)

    def _exchange_whole(self, exchange: Exchange, scope: Scope, send: Send) -> Awaitable[None]:
        call = UpstreamCall(self._quotas().response, find_release(exchange))
        call.is_head_request = scope["method"] == "HEAD"
        connection = self._pool.pop_idle()
        if connection is not None and self._dispatch(call, connection, exchange, scope) <= _LARGE_BODY:
            if exchange.buffered:
                self._release_request_buffer(exchange)
            scope[AWAITED] = call
            connection = None
        elif connection is None and len(exchange.body) <= _LARGE_BODY:
            exchange.is_dispatched = True  # as far as the slot goes: the end of the call releases it
            size, exchange.buffered = exchange.buffered, 0
            self._pool.run_for(call, self._connect_and_dispatch(call, exchange, scope, size))
            scope[AWAITED] = call
        return self._respond(call, connection, exchange, scope, send)

    async def _connect_and_dispatch(self, call: UpstreamCall, exchange: Exchange, scope: Scope, buffered: int) -> None:
        """Sends the request on a new connection. It is not sent if the request has been cancelled meanwhile."""
        try:
            connection = await self._pool.connect()
            if call.has_ended:
                self._pool.put_back(connection)
            else:
                self._dispatch(call, connection, exchange, scope)
        except BackendError as error:
            call.end(error)
        finally:
            self._release_buffer(buffered)

    async def _respond(
        self, call: UpstreamCall, busy: BackendConnection | None, exchange: Exchange, scope: Scope, send: Send
    ) -> None:
        """Returns the whole response to the client.

        busy: the connection that still sends a large request
        """
        try:
            if not exchange.is_dispatched:
                connection = await self._pool.connect()
                if self._dispatch(call, connection, exchange, scope) > _LARGE_BODY:
                    busy = connection
            if busy is not None:
                await busy.drained()
            if exchange.buffered:
                self._release_request_buffer(exchange)
            if not call.has_ended:
                await call.progress()
            held = call.unread
            pieces = call.take_pieces()
        finally:
            if not call.has_ended or call.unread:
                self._release_buffer(call.abandon())
            exchange.backend_seconds = call.seconds
        try:
            size = held
            if call.is_over_limit:
                pieces = [call.replace_too_large()]
                size = len(pieces[0])
            headers = self._record_response(exchange, call)
            if self._function_errors is not None and not exchange.function_error:
                pieces = [b"".join(pieces)]
                exchange.function_error = self._function_errors.find(call.status, dict(headers), pieces[0]) is not None
            if size <= _LARGE_BODY and not call.is_head_request:
                rest = respond(send, call.status, headers, b"".join(pieces))
                if rest is not DONE:
                    await rest
                return
            length = call.content_length if call.is_head_request else b"%d" % size
            if length is not None:
                headers.append((b"content-length", length))
            await send({"type": "http.response.start", "status": call.status, "headers": headers})
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            # An empty send waits until the client has taken most of the body, which is in memory until then.
            pieces.clear()
            await send({"type": "http.response.body", "body": b""})
        finally:
            if held:
                self._buffers.release(held)

    async def _stream(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        quotas = self._quotas()
        call = UpstreamCall(quotas.streamed_response, find_release(exchange), quotas.response)
        call.is_head_request = scope["method"] == "HEAD"
        try:
            connection = self._pool.pop_idle() or await self._pool.connect()
            if self._dispatch(call, connection, exchange, scope) > _LARGE_BODY:
                await connection.drained()
            self._release_request_buffer(exchange)
            await self._return_stream(call, exchange, send)
        finally:
            self._release_buffer(call.abandon())
            exchange.backend_seconds = call.seconds

    async def _pass_through(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        call = UpstreamCall(_NO_LIMIT, find_release(exchange), _PASSED_WINDOW)
        call.is_head_request = scope["method"] == "HEAD"
        connection = self._pool.pop_idle() or await self._pool.connect()
        declared = exchange.content_length
        is_chunked = b"transfer-encoding" in exchange.headers
        length = None if is_chunked else declared or 0
        exchange.is_dispatched = True
        head = self._head(exchange, scope, scope["headers"], length, has_body=declared is not None or is_chunked)
        connection.start(call, head, more_body=length != 0)
        returning = self._return_stream(call, exchange, send)
        try:
            if length == 0:
                await returning
            else:  # beside the response: a backend may answer, at length, before it has read everything
                await return_beside(returning, self._upload(call, connection, exchange, receive))
        except BackendReset:
            if not exchange.client_is_gone:
                raise
        finally:
            self._release_buffer(call.abandon())
            exchange.backend_seconds = call.seconds

    async def _upload(
        self, call: UpstreamCall, connection: BackendConnection, exchange: Exchange, receive: Receive
    ) -> None:
        """Passes the whole body on as it comes. It is cancelled when the backend has answered before the end of the
        body."""
        is_chunked = b"transfer-encoding" in exchange.headers
        try:
            while not exchange.body_is_read:
                message = await receive()
                if message["type"] != "http.request":
                    exchange.client_is_gone = True
                    return
                await connection.write(frame(message, is_chunked))
                exchange.body_is_read = not message.get("more_body", False)
            connection.end_body()
        finally:
            if not call.has_ended and not exchange.body_is_read:
                connection.abort(BackendReset())  # half a request must not be taken for a whole one

    async def _return_stream(self, call: UpstreamCall, exchange: Exchange, send: Send) -> None:
        await call.head()
        headers = self._record_response(exchange, call)
        if call.content_length is not None and call.status != 204 and call.status != 304:
            headers.append((b"content-length", call.content_length))
        await send({"type": "http.response.start", "status": call.status, "headers": headers})
        if not call.pieces and not call.has_ended:
            await send({"type": "http.response.body", "body": b"", "more_body": True})  # the head need not wait
        while data := await call.read():
            try:
                await send({"type": "http.response.body", "body": data, "more_body": True})
                if len(data) > _LARGE_BODY:  # see above
                    await send({"type": "http.response.body", "body": b"", "more_body": True})
            finally:
                self._release_buffer(len(data))
        if call.is_over_limit:
            raise ResponseTooLarge  # ends the response without its last chunk: the client sees that it is cut
        await send({"type": "http.response.body", "body": b""})

    def _dispatch(self, call: UpstreamCall, connection: BackendConnection, exchange: Exchange, scope: Scope) -> int:
        """Sends the request whole. From now on the call holds the slot. Returns the size of the body in bytes."""
        body, exchange.body = exchange.body, b""
        message: bytes | None = scope.pop(MESSAGE, None)
        headers = exchange.headers
        assert exchange.plan is not None  # it has an invocation, or it would be passed through
        function = exchange.plan.function_counter
        size = len(body)
        traced: bytes | None = None
        if message is not None and self._takes_messages and is_end_to_end(headers):
            head = message[: len(message) - size]
            traced = self._lineage.write(head, headers.get(TRACE_HEADER), function, exchange.may_have_lineage)
        if traced is not None:
            exchange.is_dispatched = True
            connection.start(call, traced, body)
        else:
            lines = self._lineage.add(scope["headers"], function)
            head = self._head(exchange, scope, lines, size, has_body=True)
            exchange.is_dispatched = True
            connection.start(call, head, body)
        scope["headers"], scope[HEADERS] = (), exchange.forget_headers()
        return size

    def _head(self, exchange: Exchange, scope: Scope, headers: Headers, length: int | None, *, has_body: bool) -> bytes:
        path: bytes = scope["raw_path"]
        if self._function_path is not None and exchange.invocation is not None:
            path = rename(path, exchange.invocation.operation, self._function_path)
        query: bytes = scope["query_string"]
        return request_head(
            scope["method"].encode("ascii"),
            path + b"?" + query if query else path,
            headers,
            connection=exchange.headers.get(b"connection"),
            length=length,
            host=self._host if b"host" in exchange.headers else self._own_host,
            has_body=has_body,
        )

    def _record_response(self, exchange: Exchange, call: UpstreamCall) -> Headers:
        """Records the response on the exchange. Returns its headers, always with a request id."""
        exchange.status = call.status
        headers = call.headers
        singled_out = call.singled_out
        request_id = singled_out.get(b"x-amzn-requestid")
        if request_id is None:
            headers.append((b"x-amzn-requestid", exchange.request_id.encode()))
        else:
            exchange.request_id = request_id.decode("latin-1")  # the function's own log has this one
        if b"x-amz-function-error" in singled_out:
            exchange.function_error = True
        return headers

    def _release_buffer(self, size: int) -> None:
        if size:
            self._buffers.release(size)

    def _release_request_buffer(self, exchange: Exchange) -> None:
        size, exchange.buffered = exchange.buffered, 0
        if size:
            self._buffers.release(size)
