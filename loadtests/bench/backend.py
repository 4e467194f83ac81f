"""Runs a backend that keeps calls waiting: `python -m loadtests.bench.backend PORT CONTROL_PORT`.

A call to a function whose name starts with `hold` is answered when it is released, one to `late-10` after 10
milliseconds, any other immediately. The response is the call's own body. The control port serves GET /state (the
counts), GET /release (ends all waiting calls) and GET /forget (resets the counts).
"""

import asyncio
import json
import re
import sys
from collections import Counter
from typing import cast

import httptools
import uvloop

LATE = re.compile(rb"/functions/late-(\d+)/")


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

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._ledger.begin(self._body)
        self._is_running = True
        if b"/functions/hold" in self._path:
            self._ledger.waiting.append(self)
        elif late := LATE.search(self._path):
            asyncio.get_running_loop().call_later(int(late[1]) / 1e3, self.answer)
        else:
            self.answer()

    def answer(self) -> None:
        if not self._is_running:
            return
        self._end()
        length = str(len(self._body)).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + length + b"\r\n\r\n"
        self._transport.write(head + self._body)

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
