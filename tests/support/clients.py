"""Sends exactly the bytes of a test, and misbehaves as the test requires."""

from __future__ import annotations

import asyncio
import socket
import struct
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Self

import msgspec

from invoke_gateway.settings import Address

# Seconds after which an answer that has not come does not come. Nothing waits so long unless it fails.
PATIENCE = 60

AWS = "lambda.us-east-1.amazonaws.com"
"""The host that SDKs name; the admin listener answers to no such name."""


class Response(NamedTuple):
    """Holds one response. `is_whole` is False when the connection ended before the response did."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    is_whole: bool = True

    def header(self, name: str) -> str | None:
        """Returns the value of a header, its name in lower case. Raises AssertionError if it came more than once."""
        values = [value for given, value in self.headers if given.lower() == name]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def check_is_service_exception(answer: Response, text: str) -> None:
    """Asserts that `answer` is the gateway's own 500 in Lambda's shape, with the pauses that SDKs read."""
    assert answer.status == 500, answer
    assert answer.is_whole
    assert answer.header("x-amzn-errortype") == "ServiceException"
    assert answer.header("content-type") == "application/json"
    assert uuid.UUID(answer.header("x-amzn-requestid"))
    assert int(answer.header("retry-after") or 0) >= 1
    assert int(answer.header("x-amz-retry-after") or 0) >= 1
    assert answer.header("date")
    error = answer.json()
    assert set(error) == {"Type", "Message"}
    assert error["Type"] == "Service"
    assert text in error["Message"], error


def invoke_path(function: str) -> str:
    return f"/2015-03-31/functions/{function}/invocations"


def stream_path(function: str) -> str:
    return f"/2021-11-15/functions/{function}/response-streaming-invocations"


def request(
    target: str,
    body: bytes | None = b"{}",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    host: str = AWS,
) -> bytes:
    """Returns one whole request. A `body` of `None` sends no length at all."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Client:
    """Holds one connection to the gateway; `async with Client(address) as client`."""

    def __init__(self, address: Address, *, receive_buffer: int | None = None) -> None:
        self._address = address
        self._receive_buffer = receive_buffer
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        plain = socket.socket()
        plain.setblocking(False)
        if self._receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(plain, (self._address.host, self._address.port))
            limit = self._receive_buffer or 1 << 18
            self.reader, self.writer = await asyncio.open_connection(sock=plain, limit=limit)
        except BaseException:
            plain.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    def half_close(self) -> None:
        """Closes the sending half; the receiving half stays open."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Hangs up with RST."""
        plain = self.writer.get_extra_info("socket")
        if plain is not None and not self.writer.is_closing():
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def hang_up(self) -> None:
        """Hangs up with FIN."""
        self.writer.close()

    async def call(
        self,
        target: str,
        body: bytes | None = b"{}",
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        host: str = AWS,
    ) -> Response:
        await self.send(request(target, body, headers, method=method, host=host))
        return await self.read_response(has_body=method != "HEAD")

    async def read_head(self) -> Response:
        """Returns status and headers, with an empty body; informational responses are skipped."""
        while True:
            async with asyncio.timeout(PATIENCE):
                head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
            version, status, _ = status_line.split(" ", 2)
            assert version == "HTTP/1.1"
            if status[0] != "1":
                break
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Response(int(status), headers, b"")

    async def read_response(self, *, has_body: bool = True) -> Response:
        """Reads the next response. Raises IncompleteReadError without its head."""
        response = await self.read_head()
        if not has_body or response.status in (204, 304):
            return response
        pieces: list[bytes] = []
        try:
            async for piece in self.body_pieces(response):
                pieces.append(piece)
        except (asyncio.IncompleteReadError, ConnectionError):
            return response._replace(body=b"".join(pieces), is_whole=False)
        return response._replace(body=b"".join(pieces))

    async def body_pieces(self, response: Response, largest: int = 1 << 18):
        """Yields the body after `response`'s head in pieces. Raises IncompleteReadError if it is cut."""
        if response.header("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                while size:
                    piece = await self._read(min(size, largest))
                    size -= len(piece)
                    yield piece
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
            return
        left = int(response.header("content-length") or 0)
        while left:
            piece = await self._read(min(left, largest))
            left -= len(piece)
            yield piece

    async def _read(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            piece = await self.reader.read(size)
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        return piece


async def call(
    address: Address,
    target: str,
    body: bytes | None = b"{}",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    host: str = AWS,
) -> Response:
    """Sends one request on a connection of its own."""
    async with Client(address) as client:
        return await client.call(target, body, headers, method=method, host=host)


async def invoke(
    address: Address, function: str = "checkout", body: bytes = b"{}", headers: Mapping[str, str] | None = None
) -> Response:
    """Sends one Invoke on a connection of its own."""
    return await call(address, invoke_path(function), body, headers)
