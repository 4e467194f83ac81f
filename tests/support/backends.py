"""Runs a scripted backend over real sockets, and counts the calls that truly overlap.

A call counts as running from the arrival of its last byte until the script has written the last byte of its response,
has cut the connection, or reports the function's end without one. The gateway's count is compared with this truth, so
nothing here depends on the gateway.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

Script = Callable[["BackendCall"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\n"
DEFAULT_ACCOUNT = "000000000000"
_FUNCTION = re.compile(rb"/functions/(?:arn:aws:lambda:[a-z0-9-]+:(\d{12}):function:)?([^/:%]+)[^/]*/[a-z-]+(?:\?|$)")
_CREDENTIAL = re.compile(rb"Credential=(\d{12})/")
# Above the gateway's own bound, so that a request is never too large for the backend first.
_MAX_HEAD_BYTES = 1024 * 1024


def response(
    status: int = 200,
    body: bytes = b'"ok"',
    headers: dict[str, str] | None = None,
    *,
    chunked: bool = False,
) -> bytes:
    """Returns one whole HTTP/1.1 response."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        body = chunk(body) + chunk(b"")
    elif status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunk(data: bytes) -> bytes:
    """Returns `data` as one chunk; empty is the last chunk, without trailers."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class BackendCall:
    """Holds one request that has arrived at the backend, and the ways to answer it."""

    def __init__(self, backend: ScriptedBackend, connection: BackendConnection, head: bytes) -> None:
        self.backend = backend
        self.connection = connection
        self.head = head
        request_line, *lines = head[:-4].split(b"\r\n")
        self.method, self.target, self.version = request_line.split(b" ")
        self.headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        self.body = b""
        self.is_whole = False
        self.has_ended = False
        self.ended = asyncio.Event()

    def header(self, name: bytes) -> bytes | None:
        """Returns the value of a header. Raises AssertionError if it came more than once."""
        values = [value for given, value in self.headers if given.lower() == name]
        assert len(values) < 2, f"{name!r} came {len(values)} times"
        return values[0] if values else None

    @property
    def account(self) -> str:
        in_path = _FUNCTION.search(self.target)
        credential = _CREDENTIAL.search(self.header(b"authorization") or b"")
        account = (in_path and in_path[1]) or (credential and credential[1])
        return account.decode() if account else DEFAULT_ACCOUNT

    @property
    def function(self) -> str | None:
        """Returns the function that this call occupies; `None` for an Event, a DryRun and a request that is no
        invocation."""
        in_path = _FUNCTION.search(self.target)
        is_synchronous = self.header(b"x-amz-invocation-type") in (None, b"RequestResponse")
        return in_path[2].decode() if in_path and is_synchronous else None

    # What arrives.

    async def read_body(self) -> bytes:
        """Reads the whole body, its chunked coding undone. From here on the call counts as running."""
        async for piece in self.body_pieces():
            self.body += piece
        return self.body

    async def body_pieces(self, largest: int = 1 << 18):
        """Yields the body in pieces of at most `largest` bytes, read from the socket only as fast as they are taken."""
        reader = self.connection.reader
        if self.header(b"transfer-encoding") is not None:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                yield await reader.readexactly(size)
                assert await reader.readexactly(2) == b"\r\n"
            assert await reader.readexactly(2) == b"\r\n"
        else:
            left = int(self.header(b"content-length") or 0)
            while left:
                piece = await reader.read(min(left, largest))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield piece
        self.is_whole = True
        self.backend.begin(self)

    # What is answered.

    def write(self, data: bytes) -> None:
        if not self.connection.writer.is_closing():
            self.connection.writer.write(data)

    async def send(self, data: bytes) -> None:
        """Writes, and waits until the gateway takes it. Does nothing after the gateway has closed."""
        self.write(data)
        with suppress(ConnectionError):
            await self.connection.writer.drain()

    def answer(
        self,
        status: int = 200,
        body: bytes = b'"ok"',
        headers: dict[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> None:
        """Sends the whole response at once: the call has ended."""
        self.end()
        self.write(response(status, body, headers, chunked=chunked))

    def end(self) -> None:
        """Ends the function, whatever is still sent to the gateway about it."""
        if not self.has_ended:
            self.has_ended = True
            self.ended.set()
            self.backend.finish(self)

    def reset(self) -> None:
        """Cuts the connection with RST. Ends the call."""
        self.end()
        self.connection.reset()

    def cut(self) -> None:
        """Closes the socket under the connection, without the close of TLS. Ends the call."""
        self.end()
        self.connection.writer.transport.abort()

    def close(self) -> None:
        """Closes the connection with FIN after everything written is out. Ends the call."""
        self.end()
        self.connection.writer.close()

    async def stay(self) -> None:
        """Neither reads nor writes, until the test closes the connections."""
        await self.connection.is_let_go.wait()

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "running" if self.is_whole else "arriving"
        return f"<BackendCall {self.target.decode('latin-1')} {state}>"


class BackendConnection:
    """Serves one connection from the gateway. `number` counts from 0 in the order of the first requests; -1 before."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = -1
        self.reader = reader
        self.writer = writer
        self.closed = asyncio.Event()
        self.is_let_go = asyncio.Event()

    def reset(self) -> None:
        plain: socket.socket | None = self.writer.get_extra_info("socket")
        if plain is not None and not self.writer.is_closing():
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def answer_ok(call: BackendCall) -> None:
    call.answer()


def says(*pieces: bytes) -> Script:
    """Sends these bytes and leaves the connection open."""

    async def script(call: BackendCall) -> None:
        for piece in pieces:
            await call.send(piece)

    return script


def says_and_closes(data: bytes) -> Script:
    async def script(call: BackendCall) -> None:
        call.write(data)
        call.close()

    return script


def says_and_resets(data: bytes) -> Script:
    async def script(call: BackendCall) -> None:
        await call.send(data)
        call.reset()

    return script


class ScriptedBackend:
    """Answers each call by `script` once all of it has arrived.

    `on_head`, if set, runs before the body is read, and must read the body itself if it needs it. Both may be replaced
    at any time. `running` and `highest` count by account and function (`None` for the whole account) the calls that run
    now, and the most that ran at once. `requests` are the calls that arrived whole, `broken` the others. `connections`
    are those that a request came on, `accepted` all: a gateway that had no answer for seconds opens one to look for its
    backend.
    """

    def __init__(
        self, script: Script = answer_ok, *, tls: ssl.SSLContext | None = None, receive_buffer: int | None = None
    ) -> None:
        self.script = script
        self.on_head: Script | None = None
        self.on_connection: Callable[[BackendConnection], Awaitable[None]] | None = None
        self.accepted: list[BackendConnection] = []
        self.connections: list[BackendConnection] = []
        self.requests: list[BackendCall] = []
        self.broken: list[BackendCall] = []
        self.running: Counter[tuple[str, str | None]] = Counter()
        self.highest: Counter[tuple[str, str | None]] = Counter()
        self._changed = asyncio.Event()
        self._tls = tls
        self._receive_buffer = receive_buffer
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        listener = socket.socket()
        if self._receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        listener.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(
            self._accept, sock=listener, ssl=self._tls, limit=_MAX_HEAD_BYTES, backlog=1024
        )
        self.port: int = listener.getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self.accepted:
            connection.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Resets all counts, and answers everything with 200."""
        self.script, self.on_head, self.on_connection = answer_ok, None, None
        self.accepted.clear()
        self.connections.clear()
        self.requests.clear()
        self.broken.clear()
        self.highest.clear()

    async def close_connections(self) -> None:
        """Closes every connection, and waits for each."""
        for connection in self.accepted:
            connection.is_let_go.set()
            connection.writer.close()
        async with asyncio.timeout(60):
            for connection in self.accepted:
                await connection.closed.wait()

    async def until(self, is_true: Callable[[ScriptedBackend], object], timeout: float = 60) -> None:
        """Waits until `is_true` of this backend. It is checked whenever a call arrives, breaks or ends."""
        async with asyncio.timeout(timeout):
            while not is_true(self):
                await self._changed.wait()

    async def request(self, number: int) -> BackendCall:
        """Returns the whole call that arrived as the `number`-th, from 0."""
        await self.until(lambda backend: len(backend.requests) > number)
        return self.requests[number]

    # For BackendCall.

    def begin(self, call: BackendCall) -> None:
        self.requests.append(call)
        if call.function is not None:
            for key in ((call.account, call.function), (call.account, None)):
                self.running[key] += 1
                self.highest[key] = max(self.highest[key], self.running[key])
        self._notify()

    def finish(self, call: BackendCall) -> None:
        if call.is_whole and call.function is not None:
            self.running[call.account, call.function] -= 1
            self.running[call.account, None] -= 1
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # Connections.

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = BackendConnection(reader, writer)
        self.accepted.append(connection)
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._notify()

    async def _serve(self, connection: BackendConnection) -> None:
        try:
            if self.on_connection is not None:
                await self.on_connection(connection)
            while not connection.writer.is_closing():
                head = await connection.reader.readuntil(b"\r\n\r\n")
                if connection.number < 0:
                    connection.number = len(self.connections)
                    self.connections.append(connection)
                await self._answer(BackendCall(self, connection, head))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # between two requests a connection may end at any time
        finally:
            connection.closed.set()
            connection.writer.close()
            self._notify()

    async def _answer(self, call: BackendCall) -> None:
        try:
            if self.on_head is not None:
                await self.on_head(call)
            else:
                await call.read_body()
                await self.script(call)
        except (asyncio.IncompleteReadError, ConnectionError):
            if not call.is_whole:
                self.broken.append(call)
            raise
        finally:
            call.end()


class Gate:
    """Holds all calls until it is opened."""

    def __init__(self, then: Script = answer_ok) -> None:
        self._then = then
        self._opened = asyncio.Event()

    async def __call__(self, call: BackendCall) -> None:
        await self._opened.wait()
        await self._then(call)

    def open(self) -> None:
        self._opened.set()
