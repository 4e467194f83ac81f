"""Speaks HTTP/1.1 to the backend as a client, one call at a time.

Everything that a broken or hostile backend sends ends in one of two ways: with a response, or with a `BackendError`.
The connection is used again only if both sides agree on the end of the response.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from ..backend_errors import BackendError, BackendGarbage, BackendReset
from ..buffers import Buffers
from ..write_batcher import WriteBatcher
from .call import UpstreamCall
from .response_parser import MAX_HEAD_BYTES, ResponseParser

# A body above this is not copied to be sent together with its head.
_LARGE_BODY = 65_536


class ConnectionOwner:
    """Keeps the connections to one backend: the base of the pool."""

    loop: asyncio.AbstractEventLoop
    buffers: Buffers
    write_batcher: WriteBatcher
    spare_parsers: deque[ResponseParser]
    keep_alive_seconds: float

    def put_back(self, connection: BackendConnection) -> None:
        """Keeps `connection` for the next call: it has finished one and can take another."""
        raise NotImplementedError  # the pool has it

    def forget(self, connection: BackendConnection) -> None:
        """Drops `connection`, which is closed or about to be."""
        raise NotImplementedError  # the pool has it


class BackendConnection(asyncio.Protocol):
    """Sends requests, has responses parsed, pauses, and ends calls.

    call: the call that runs; None: the connection is idle or closed
    trusted_seconds: the time for which the connection is used again when idle
    """

    __slots__ = (
        "_drained",
        "_is_reading",
        "_is_sending",
        "_pool",
        "_response",
        "_waits_for_room",
        "call",
        "idle_since",
        "is_closed",
        "transport",
        "trusted_seconds",
    )

    def __init__(self, pool: ConnectionOwner) -> None:
        self._pool = pool
        self.transport: asyncio.Transport
        self.call: UpstreamCall | None = None
        self._response: ResponseParser | None = None
        self.trusted_seconds = pool.keep_alive_seconds
        self.is_closed = False
        self.idle_since = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._is_sending = False
        self._is_reading = True
        self._waits_for_room = False

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
        return self._response.received if self._response is not None else 0

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
        response = self._response
        if response is None:
            spare = self._pool.spare_parsers
            response = self._response = spare.pop() if spare else ResponseParser()
            response.call = call
        response.received += len(data)
        before = call.unread
        try:
            response.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            response.is_followed = True
            if not response.is_complete:
                self._pool.buffers.reserve(call.unread - before)  # the task that waits for the call releases them
                self.abort(BackendGarbage(_describe(error)))
                return
        if response.is_complete:
            added = call.unread - before
            if added:
                self._pool.buffers.reserve(added)
            self._finish(call, response)
            return
        if not call.has_head:
            if response.received > MAX_HEAD_BYTES:
                self.abort(BackendGarbage("its head is too large"))
            return
        added = call.unread - before
        if not response.is_in_pieces:
            response.is_in_pieces = True
            response.pass_by_parser(call)
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

    def eof_received(self) -> None:
        """Ends the call: the backend has closed its side, so no further byte of a response can come."""
        call = self.call
        if call is not None:
            response = self._response
            is_whole = call.has_head and response is not None and response.reads_until_close
            self._end(None if is_whole else BackendReset())
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

    # The end of a call.

    def _finish(self, call: UpstreamCall, response: ResponseParser) -> None:
        is_unsent = self._is_sending or self.transport.get_write_buffer_size() > 0
        is_reusable = response.keeps_alive and not response.is_followed and not is_unsent and not self.is_closed
        self.call = self._response = None
        if response.is_in_pieces:
            response.is_in_pieces = False
            self._pool.buffers.end_response(self)
            self._waits_for_room = False
            self.resume_if_drained()
        if is_reusable:
            announced = response.keep_alive_seconds
            if announced is not None:
                # A backend that closes after so many seconds starts counting before its last byte has reached us.
                self.trusted_seconds = min(self._pool.keep_alive_seconds, announced * 0.8)
                response.keep_alive_seconds = None
            response.reset()
            self._pool.spare_parsers.append(response)
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
        self._response = None
        self._pool.forget(self)
        self._pool.buffers.end_response(self)
        if call is not None:
            call.end(error)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "busy" if self.call else "idle"
        return f"<BackendConnection {state} {self.call or ''}>"


def _describe(error: BaseException) -> str:
    """Describes the error of the parser, or of a callback inside it."""
    cause = error.__context__ or error.__cause__
    return str(cause if isinstance(cause, ValueError) else error) or type(error).__name__
