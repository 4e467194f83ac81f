"""Runs a backend that keeps calls waiting: `python -m loadtests.bench.backend PORT CONTROL_PORT`.

A call to a function whose name starts with `hold` is answered when it is released, one to `late-10` after 10
milliseconds, any other immediately. The response is the call's own body. `size-1024` responds with a document of 1024
bytes, and `pieces-64-1024` with a stream of 64 pieces of 1024 bytes. The control port serves GET /state (the counts),
GET /release (ends all waiting calls) and GET /forget (resets the counts).
"""

import asyncio
import json
import re
import sys
from collections import Counter
from functools import lru_cache
from typing import cast

import httptools
import uvloop

from loadtests.bench import calls

# Functions whose name has the kind of their answer.
NAMED = re.compile(rb"/functions/(late|size|pieces)-(\d+)(?:-(\d+))?/")


@lru_cache
def sized(size: int) -> bytes:
    """Returns a whole response with a document of that many bytes."""
    return head(size) + calls.document(size).encode()


def head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length


# nginx passes each piece on at once if the backend sends the last header. Other proxies do so without it.
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"Transfer-Encoding: chunked\r\nX-Accel-Buffering: no\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"


class Ledger:
    """Records every call by its body, the calls that overlap now and at most, and the waiting calls."""

    def __init__(self) -> None:
        self.bodies: Counter[bytes] = Counter()
        self.running = 0
        self.most_at_once = 0
        self.waiting: list[Call] = []

    def begin(self, body: bytes) -> None:
        self.bodies[body] += 1
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call.answer()

    def state(self) -> dict[str, int]:
        return {
            "calls": self.bodies.total(),
            "distinct": len(self.bodies),
            "running": self.running,
            "most_at_once": self.most_at_once,
        }


class Call(asyncio.Protocol):
    """Serves one keep-alive connection: one call at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._parser = httptools.HttpRequestParser(self)
        self._is_running = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path = b""
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_headers_complete(self) -> None:
        self._named = NAMED.search(self._path)
        # Their answers do not depend on the body, which may be large.
        self._drops_body = self._named is not None and self._named[1] != b"late"

    def on_body(self, body: bytes) -> None:
        if not self._drops_body:
            self._body += body

    def on_message_complete(self) -> None:
        self._ledger.begin(self._body)
        self._is_running = True
        if b"/functions/hold" in self._path:
            self._ledger.waiting.append(self)
        elif self._named is None:
            self.answer()
        elif self._named[1] == b"late":
            asyncio.get_running_loop().call_later(int(self._named[2]) / 1e3, self.answer)
        elif self._named[1] == b"size":
            self._end()
            self._transport.write(sized(int(self._named[2])))
        else:
            piece = b"s" * int(self._named[3])
            self._transport.write(STREAM_HEAD)
            self._write_piece(b"%x\r\n%b\r\n" % (len(piece), piece), int(self._named[2]))

    def answer(self) -> None:
        if not self._is_running:
            return
        self._end()
        self._transport.write(head(len(self._body)) + self._body)

    def _write_piece(self, piece: bytes, left: int) -> None:
        """Writes one piece in each turn of the event loop, so that each is a write of its own."""
        if not self._is_running:
            return
        if not left:
            self._end()
            self._transport.write(STREAM_END)
            return
        self._transport.write(piece)
        asyncio.get_running_loop().call_soon(self._write_piece, piece, left - 1)

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_running:
            self._end()

    def _end(self) -> None:
        self._is_running = False
        self._ledger.running -= 1


async def control(ledger: Ledger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    if request.startswith(b"GET /release"):
        ledger.release()
    if request.startswith(b"GET /forget"):
        ledger.bodies.clear()
    body = json.dumps(ledger.state()).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


async def serve(port: int, control_port: int) -> None:
    ledger = Ledger()
    loop = asyncio.get_running_loop()
    calls = await loop.create_server(lambda: Call(ledger), "127.0.0.1", port, backlog=4096)
    controls = await asyncio.start_server(lambda r, w: control(ledger, r, w), "127.0.0.1", control_port)
    async with calls, controls:
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
