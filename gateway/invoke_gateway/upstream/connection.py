"""Speaks HTTP/1.1 to the backend as a client, one call at a time.

Everything that a broken or hostile backend sends ends in one of two ways: with a response, or with a `BackendError`.
The connection is used again only if both sides agree on the end of the response.

This file is longer than 300 lines: the states of a parser, a transport and a call change together in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from ..backend_errors import BackendError, BackendGarbage, BackendReset
from ..buffers import Buffers
from ..write_batcher import WriteBatcher
from .call import UpstreamCall
from .headers import NOT_RETURNED, SINGLED_OUT, Headers, find_listed, is_persistence

# A response head above this is garbage; real ones are well below 8 KiB.
MAX_HEAD_BYTES = 128 * 1024

# A body above this is not copied to be sent together with its head.
_LARGE_BODY = 65_536


class ConnectionOwner(Protocol):
    """Keeps the connections to one backend: the pool."""

    loop: asyncio.AbstractEventLoop
    buffers: Buffers
    write_batcher: WriteBatcher

    def put_back(self, connection: BackendConnection) -> None:
        """Keeps `connection` for the next call: it has finished one and can take another."""

    def forget(self, connection: BackendConnection) -> None:
        """Drops `connection`, which is closed or about to be."""


class BackendConnection(asyncio.Protocol):
    __slots__ = (
        "_drained",
        "_extra",
        "_feed",
        "_head_bytes",
        "_headers",
        "_is_complete",
        "_is_in_pieces",
        "_is_informational",
        "_is_reading",
        "_is_sending",
        "_keeps_alive",
        "_left",
        "_own_headers",
        "_parser",
        "_pool",
        "_reads_until_close",
        "_singled_out",
        "_waits_for_room",
        "call",
        "idle_since",
        "is_closed",
        "keep_alive_seconds",
        "transport",
    )

    def __init__(self, pool: ConnectionOwner) -> None:
        self._pool = pool
        self._renew_parser()
        self.transport: asyncio.Transport
        self.call: UpstreamCall | None = None
        self.is_closed = False
        self.idle_since = 0.0
        self.keep_alive_seconds: float | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_sending = False
        self._is_reading = True
        self._waits_for_room = False
        self._reset()

    def _renew_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # Takes what is received: the parser, or what takes its place for the rest of a large body.
        self._feed: Callable[[bytes], None] = self._parser.feed_data
        self._left = 0  # bytes of that rest

    def _reset(self) -> None:
        self._head_bytes = 0
        self._is_complete = False
        self._is_informational = False
        self._keeps_alive = False
        self._reads_until_close = False
        self._is_in_pieces = False
        self._extra = False
        # Of the head that is being read: what goes on to the client, what is about this connection, what is noted.
        self._headers: Headers | None = []
        self._own_headers: Headers = []
        self._singled_out: dict[bytes, bytes] = {}

    # For the pool and the forwarding stage.

    def start(self, call: UpstreamCall, head: bytes, body: bytes | bytearray = b"", *, more_body: bool = False) -> None:
        """Sends a request. The backend may have it from now on, so it is never sent again."""
        if self.is_closed:  # closed between being opened and being used
            self._pool.forget(self)
            call.end(BackendReset())
            return
        self.call = call
        call.begin(self, self._pool.loop)
        self._is_sending = more_body
        if more_body or len(head) + len(body) > _LARGE_BODY:
            self.transport.writelines((head, body))
        else:
            self._pool.write_batcher.write(self.transport, head + body if body else head)

    async def write(self, data: bytes) -> None:
        """Sends a part of a streamed request body, at the backend's speed."""
        if not self.is_closed:
            self.transport.write(data)
            await self.drained()

    def end_body(self) -> None:
        self._is_sending = False

    async def drained(self) -> None:
        """Waits until the transport has passed on most of what was written, or the connection is gone."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def abort(self, error: BackendError) -> None:
        """Ends the call with `error` and cut the connection."""
        self._end(error)
        self.transport.abort()

    def close(self) -> None:
        self.transport.close()

    def resume_if_drained(self) -> None:
        if not self._is_reading and not self._is_held_back():
            self._is_reading = True
            self.transport.resume_reading()

    def read_to_end(self) -> None:
        """Drops all further bytes of the response. The response waits for no buffer, and no other response waits for
        it."""
        self._pool.buffers.end_response(self)
        self.resume_for_room()

    @property
    def received(self) -> int:
        """Bytes of the response to the present call, its head included."""
        return self._head_bytes

    def waits_for_backend(self) -> bool:
        """Returns whether the next step is the backend's: the request is sent, and its response may come."""
        return self._is_reading and not self._is_sending and not self.transport.get_write_buffer_size()

    # Pausable: the process's buffers are full.

    def pause_for_room(self) -> None:
        self._waits_for_room = True
        self._pause()

    def resume_for_room(self) -> None:
        self._waits_for_room = False
        self.resume_if_drained()

    def _pause(self) -> None:
        if self._is_reading and not self.is_closed:
            self._is_reading = False
            self.transport.pause_reading()

    def _is_held_back(self) -> bool:
        call = self.call
        if call is None or self.is_closed:
            return False
        return self._waits_for_room or (call.window is not None and call.unread > call.window)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        call = self.call
        if call is None:  # unrequested bytes: the start of the next response is unknown
            self.transport.abort()
            return
        self._head_bytes += len(data)
        before = call.unread
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._extra = True
            if not self._is_complete:
                self._pool.buffers.reserve(call.unread - before)  # the task that waits for the call releases them
                self.abort(BackendGarbage(_describe(error)))
                return
        if self._is_complete:
            added = call.unread - before
            if added:
                self._pool.buffers.reserve(added)
            self._finish(call)
            return
        if not call.has_head:
            if self._head_bytes > MAX_HEAD_BYTES:
                self.abort(BackendGarbage("its head is too large"))
            return
        added = call.unread - before
        if not self._is_in_pieces:
            self._is_in_pieces = True
            self._pass_by_parser(call)
        if added:
            self._pool.buffers.reserve_response(added, self, stays=call.window is None)
        if call.window is not None:
            call.wake()
            if (
                call.unread > call.window
            ):  # the call waits for its client now, and no other response should wait for the call
                self._pool.buffers.end_response(self)
                self._waits_for_room = False
                self._pause()

    def _pass_by_parser(self, call: UpstreamCall) -> None:
        """Takes the rest of a large body as it comes, if its length is known. A parser would copy it."""
        if call.content_length is None or any(name == b"transfer-encoding" for name, _ in self._own_headers):
            return
        left = int(call.content_length) - call.received
        if left > _LARGE_BODY:
            self._left = left
            self._keeps_alive = self._parser.should_keep_alive()
            self._feed = self._take_body

    def _take_body(self, data: bytes) -> None:
        call = self.call
        assert call is not None  # bytes that no call waits for end before
        self._left -= len(data)
        if self._left <= 0:
            if self._left < 0:  # the start of the next response is unknown
                data = data[: self._left]
                self._extra = True
            self._is_complete = True
            self._renew_parser()
        call.add(data)

    def eof_received(self) -> None:
        """Ends the call: the backend has closed its side, so no further byte of a response can come."""
        call = self.call
        if call is not None:
            self._end(None if call.has_head and self._reads_until_close else BackendReset())
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        self._end(BackendReset())

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # httptools

    def on_message_begin(self) -> None:
        if self._is_complete:
            self._extra = True

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        if headers is None:  # trailers are dropped
            return
        name = name.lower()
        if name not in SINGLED_OUT:
            headers.append((name, value))
        elif name in NOT_RETURNED:
            self._own_headers.append((name, value))
        else:
            headers.append((name, value))
            self._singled_out[name] = value

    def on_headers_complete(self) -> None:
        call = self.call
        if call is None or self._is_complete:
            return
        status = self._parser.get_status_code()
        if not 100 <= status <= 599:
            raise ValueError(f"its status is {status}")
        if status < 200:
            if status == 101:
                raise ValueError("it switches protocols unasked")
            self._is_informational = True
            self._headers, self._own_headers, self._singled_out = [], [], {}
            return
        headers, self._headers = self._headers or [], None
        if self._head_bytes > MAX_HEAD_BYTES and _size(headers + self._own_headers) > MAX_HEAD_BYTES:
            raise ValueError("its head is too large")
        call.status = status
        call.has_head = True
        call.headers = headers
        call.singled_out = self._singled_out
        self._reads_until_close = self._learn(call)
        if call.is_head_request:  # whatever length it names, no body follows
            self._extra = True
            self._is_complete = True

    def _learn(self, call: UpstreamCall) -> bool:
        """Records the connection headers of the response, and returns whether its body ends with the connection."""
        is_framed = call.status in (204, 304)
        listed = b""
        for name, value in self._own_headers:
            if name == b"content-length":
                is_framed = True
                call.content_length = value
            elif name == b"transfer-encoding":
                is_framed = True
                if value.lower() != b"chunked":  # the client would take the coded bytes for the body
                    raise ValueError("its Transfer-Encoding is not chunked")
            elif name == b"connection":
                listed = listed + b"," + value if listed else value
            elif name == b"keep-alive":
                self.keep_alive_seconds = _parse_keep_alive(value)
        if listed and not is_persistence(listed):
            names = find_listed(listed)
            call.headers = [header for header in call.headers if header[0] not in names]
        return not is_framed

    def on_body(self, data: bytes) -> None:
        call = self.call
        if call is not None and not self._is_complete:
            call.add(data)

    def on_message_complete(self) -> None:
        if self._is_informational:
            self._is_informational = False
            return
        self._is_complete = True
        self._keeps_alive = self._parser.should_keep_alive()  # the parser has forgotten it once we return

    def _finish(self, call: UpstreamCall) -> None:
        is_unsent = self._is_sending or self.transport.get_write_buffer_size() > 0
        is_reusable = self._keeps_alive and not self._extra and not is_unsent and not self.is_closed
        self.call = None
        if self._is_in_pieces:
            self._pool.buffers.end_response(self)
            self._waits_for_room = False
            self.resume_if_drained()
        if is_reusable:
            self._reset()
            self._pool.put_back(self)
        else:
            self._pool.forget(self)
            if is_unsent:  # closing would wait for a backend that may never read the rest
                self.transport.abort()
            else:
                self.transport.close()
        call.end()

    def _end(self, error: BackendError | None) -> None:
        call, self.call = self.call, None
        self._pool.forget(self)
        self._pool.buffers.end_response(self)
        if call is not None:
            call.end(error)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "busy" if self.call else "idle"
        return f"<BackendConnection {state} {self.call or ''}>"


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _parse_keep_alive(value: bytes) -> float | None:
    """Returns the seconds of a `Keep-Alive: timeout=5` header."""
    for part in value.split(b","):
        name, _, number = part.strip().partition(b"=")
        if name.lower() == b"timeout" and number.isdigit():
            return float(number)
    return None


def _describe(error: BaseException) -> str:
    """Describes the error of the parser, or of a callback inside it."""
    cause = error.__context__ or error.__cause__
    return str(cause if isinstance(cause, ValueError) else error) or type(error).__name__
