"""Accepts the requests of gateways, as the backend of a proof."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from .calls import GatewayInstance
from .judging.concurrency_track import ConcurrencyHistory
from .judging.violations import Violation
from .wire import HostPort, TaskServer, read_body

MAX_HEAD_BYTES = 1024 * 1024
ECHO = b"behind every earlier connection\r\n\r\n"  # sent by prove itself; it is sent back
UNKNOWN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

T = TypeVar("T")


class CallPayload(msgspec.Struct):
    """The body of a request, and of its answer."""

    id: str
    padding: str = ""


class GatewayConnection(NamedTuple):
    """A connection of `gateway`; `None` where one gateway alone is judged."""

    gateway: GatewayInstance | None
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class BackendServer(TaskServer, ABC, Generic[T]):
    """Runs each request that a client of the proof has sent, and records a violation for any other."""

    def __init__(self, history: ConcurrencyHistory[T, Any]) -> None:
        super().__init__()
        self.history = history

    async def listen(
        self, host: str, port: int, find_gateway: Callable[[], GatewayInstance | None] = lambda: None
    ) -> HostPort:
        """Listens. `find_gateway` returns whose connection has just been accepted. Raises OSError."""

        def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
            return self._serve(GatewayConnection(find_gateway(), reader, writer))

        return await self.serve(host, port, handle, MAX_HEAD_BYTES)

    async def _serve(self, connection: GatewayConnection) -> None:
        reader, writer = connection.reader, connection.writer
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                if head == ECHO:
                    writer.write(head)
                    continue
                body = await read_body(head, reader)
                sent = self._find(head, body)
                if sent is not None:
                    await self.run(sent, connection)
                    continue
                line = head.partition(b"\r\n")[0]
                text = f"the backend received what no client sent: {line[:80]!r} {body[:80]!r}"
                self.history.violations.add(Violation.NOT_WHOLE, text)
                writer.write(UNKNOWN)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
            pass  # a connection may end at any time, and a request that never arrived whole never ran
        finally:
            writer.close()

    def _find(self, head: bytes, body: bytes) -> T | None:
        try:
            sent = self.history.sent.get(msgspec.json.decode(body, type=CallPayload).id)
        except msgspec.MsgspecError:
            return None
        if sent is None:
            return None
        function, expected = self.describe_request(sent)
        return sent if b"/functions/%b/" % function.encode() in head and body == expected else None

    @abstractmethod
    def describe_request(self, sent: T) -> tuple[str, bytes]:
        """Returns the name of the function and the body that the client sends."""

    @abstractmethod
    async def run(self, sent: T, connection: GatewayConnection) -> None:
        """Runs the function, and answers."""
