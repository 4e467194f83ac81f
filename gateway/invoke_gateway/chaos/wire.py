"""Speaks HTTP/1.1 with the gateway, byte by byte."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Self

from .quotas import DEFAULT_ACCOUNT

# Seconds without an answer after which none is expected. Only failures wait that long.
PATIENCE = 60.0
_MOST_HEAD_BYTES = 65_536
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


class HostPort(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ResponseHead(NamedTuple):
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]


class HttpAnswer(NamedTuple):
    """`is_whole` is False when the connection ended before the response did."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True


def encode_head(path: str, account: str, *lines: str, method: str = "POST") -> bytes:
    """Returns the head of a request, with the account as an emulator's access key id."""
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: lambda.us-east-1.amazonaws.com",
        "Content-Type: application/json",
    ]
    if account != DEFAULT_ACCOUNT:
        scope = f"{account}/20260101/us-east-1/lambda/aws4_request"
        head.append(f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
    return "\r\n".join([*head, *lines, "", ""]).encode("ascii")


async def read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """Returns the body of a request. Raises IncompleteReadError; ValueError for what is not HTTP."""
    if _CHUNKED.search(head):
        pieces = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(pieces)
    length = _LENGTH.search(head)
    return await reader.readexactly(int(length[1])) if length else b""


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with a reset (RST)."""
    plain: socket.socket | None = writer.get_extra_info("socket")
    if plain is not None and not writer.is_closing():
        with suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class TaskServer:
    """Serves each connection in a task of its own."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def serve(self, host: str, port: int, handle: Handler, limit: int = _MOST_HEAD_BYTES) -> HostPort:
        """Listens, and returns the address. `limit`: bytes of a head. Raises OSError."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(handle(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(accept, host, port, limit=limit, backlog=4096)
        self._servers.append(server)
        return HostPort(*server.sockets[0].getsockname()[:2])

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class WireConnection:
    """A connection: `async with ClientConnection(endpoint) as connection`. Raises OSError where no process listens."""

    def __init__(self, endpoint: HostPort, *, receive_buffer: int | None = None) -> None:
        self._endpoint = endpoint
        self._receive_buffer = receive_buffer
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        plain = await self._connect()
        self.reader, self.writer = await asyncio.open_connection(sock=plain, limit=_MOST_HEAD_BYTES)
        return self

    async def _connect(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        family, kind, protocol, _, address = (await loop.getaddrinfo(*self._endpoint, type=socket.SOCK_STREAM))[0]
        plain = socket.socket(family, kind, protocol)
        plain.setblocking(False)
        if self._receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        try:
            await loop.sock_connect(plain, address)
        except BaseException:
            plain.close()
            raise
        return plain

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        """Sends. Raises ConnectionError where the gateway has closed the connection."""
        try:
            self.writer.write(data)
        except RuntimeError as error:  # uvloop, for a connection that is closed
            raise ConnectionResetError("the connection is closed") from error
        await self.writer.drain()

    @property
    def has_ended(self) -> bool:
        """True where the gateway has closed its side, or the connection failed."""
        return self.reader.at_eof() or self.reader.exception() is not None

    def half_close(self) -> None:
        self.writer.write_eof()

    def hang_up(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        reset(self.writer)

    async def read_head(self) -> ResponseHead | None:
        """Returns the head; `None` when the connection ended, or nothing came in time. Raises ValueError for what
        is not HTTP."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    raw = await self.reader.readuntil(b"\r\n\r\n")
                    head = _parse_head(raw)
                    if head.status >= 200:
                        return head
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            return None
        except asyncio.LimitOverrunError as error:
            raise ValueError("a head above 64 KiB") from error

    async def read_answer(self, pause: float = 0.0) -> HttpAnswer | None:
        """Returns the answer, with `pause` seconds after each piece of its body; `None` when none came."""
        head = await self.read_head()
        return None if head is None else await self.read_rest(head, pause)

    async def read_rest(self, head: ResponseHead, pause: float = 0.0) -> HttpAnswer:
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(PATIENCE):
                if head.headers.get("transfer-encoding", "").lower() == "chunked":
                    while size := int(await self.reader.readuntil(b"\r\n"), 16):
                        await self._read_piece(size, pieces, pause)
                        await self.reader.readexactly(2)
                    await self.reader.readexactly(2)
                else:
                    await self._read_piece(int(head.headers.get("content-length", "0")), pieces, pause)
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            return HttpAnswer(head.status, head.headers, b"".join(pieces), is_whole=False)
        return HttpAnswer(head.status, head.headers, b"".join(pieces))

    async def _read_piece(self, left: int, pieces: list[bytes], pause: float) -> None:
        while left:
            piece = await self.reader.read(min(left, 65_536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            pieces.append(piece)
            left -= len(piece)
            if pause:
                await asyncio.sleep(pause)


def _parse_head(raw: bytes) -> ResponseHead:
    line, *rest = raw[:-4].decode("latin-1").split("\r\n")
    version, status, *_ = line.split(" ")
    if version != "HTTP/1.1":
        raise ValueError(f"{line[:60]!r} is not HTTP/1.1")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in rest)}
    return ResponseHead(int(status), headers)
