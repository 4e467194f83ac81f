"""The backend of events: it runs each as its intent says, and keeps the book of every run.

Each gateway has a door of its own, so that it is known who ran what. What a function has begun it finishes, whether or
not the gateway still lives, as on Lambda.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

import msgspec

from ..backend import MAX_HEAD_BYTES, read_body
from ..violations import Violation
from ..wire import ClientConnection, HostPort
from .event import EventRun, GatewayInstance, SentEvent
from .history import EventHistory, EventPayload, encode_event
from .script import RunEnding

_LAST = b"behind everybody else\r\n\r\n"
_JSON = b"Content-Type: application/json\r\n"
_OK = b"HTTP/1.1 200 OK\r\n" + _JSON + b"X-Amz-Executed-Version: $LATEST\r\n"
_FAILED = _OK + b"X-Amz-Function-Error: Unhandled\r\n"
_BROKEN = b"HTTP/1.1 500 Internal Server Error\r\n" + _JSON + b"X-Amzn-ErrorType: ServiceException\r\n"
_THROTTLED = b"HTTP/1.1 429 Too Many Requests\r\n" + _JSON + b"X-Amzn-ErrorType: TooManyRequestsException\r\n"
_ANSWERS = {
    RunEnding.SUCCESS: (_OK, b'{"done":true}'),
    RunEnding.ERROR: (_FAILED, b'{"errorMessage":"as planned","errorType":"Planned"}'),
    RunEnding.BROKEN: (_BROKEN, b'{"Type":"Service","Message":"as planned"}'),
    RunEnding.THROTTLED: (
        _THROTTLED,
        b'{"Type":"User","message":"Rate Exceeded.","Reason":"ConcurrentInvocationLimitExceeded"}',
    ),
}


class BackendPort:
    """Where one gateway comes in; `life` is who stands there now."""

    def __init__(self, name: str) -> None:
        self.gateway = GatewayInstance(name)
        self.endpoint: HostPort

    @property
    def url(self) -> str:
        return f"http://{self.endpoint}"

    async def assign(self, gateway: GatewayInstance) -> None:
        """From now on who connects is this one. What a dead gateway left in the queue of the listening socket is
        accepted first, as its own: the connections come in their order."""
        async with ClientConnection(self.endpoint) as connection:
            await connection.send(_LAST)
            await connection.reader.readexactly(len(_LAST))
        self.gateway = gateway

    def __repr__(self) -> str:
        return f"<Door {self.gateway}>"


class EventBackend:
    """`async with EventBackend(ledger) as backend`."""

    def __init__(self, history: EventHistory) -> None:
        self._history = history
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> EventBackend:
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def open(self, port: BackendPort) -> None:
        """Listen for one gateway; sets the door's endpoint."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(port.gateway, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=MAX_HEAD_BYTES, backlog=1024)
        self._servers.append(server)
        port.endpoint = HostPort(*server.sockets[0].getsockname()[:2])

    async def _serve(
        self, gateway: GatewayInstance, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                if head == _LAST:
                    writer.write(head)
                    continue
                body = await read_body(head, reader)
                event = self._find(head, body)
                if event is None:
                    line = head.partition(b"\r\n")[0]
                    text = f"the backend got what nobody sent: {line[:80]!r} {body[:80]!r}"
                    self._history.violations.add(Violation.NOT_WHOLE, text)
                    writer.write(_encode(RunEnding.SUCCESS))
                else:
                    await self._run(event, gateway, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
            pass  # a connection may end at any time, and what never arrived whole never ran
        finally:
            writer.close()

    def _find(self, head: bytes, body: bytes) -> SentEvent | None:
        try:
            event = self._history.events.get(msgspec.json.decode(body, type=EventPayload).id)
        except msgspec.MsgspecError:
            return None
        if event is None or b"/functions/%b/" % event.intent.function.name.encode() not in head:
            return None
        return event if body == encode_event(event) else None

    async def _run(self, event: SentEvent, gateway: GatewayInstance, writer: asyncio.StreamWriter) -> None:
        run = self._history.begin(event, gateway)
        try:
            await asyncio.sleep(event.intent.seconds)
        finally:
            self._history.end(run)
        _tell(run, writer)


def _tell(run: EventRun, writer: asyncio.StreamWriter) -> None:
    if run.ending is not RunEnding.RESET:
        if not writer.is_closing():
            writer.write(_encode(run.ending))
        return
    plain: socket.socket | None = writer.get_extra_info("socket")
    if plain is not None and not writer.is_closing():
        with suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _encode(ending: RunEnding) -> bytes:
    head, body = _ANSWERS[ending]
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
