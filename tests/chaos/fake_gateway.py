"""A tiny gateway that keeps the rules, or breaks one of them on purpose: the proof of the proof."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from enum import StrEnum
from typing import Self

SLOTS, RESERVED = 6, 2
CEILINGS = {"checkout": RESERVED, "unreserved": SLOTS - RESERVED}
REASONS = {
    "checkout": "ReservedFunctionConcurrentInvocationLimitExceeded",
    "unreserved": "ConcurrentInvocationLimitExceeded",
}


class Flaw(StrEnum):
    NONE = "none"
    ONE_TOO_MANY = "one too many"
    ONE_TOO_FEW = "one too few"
    FREES_ON_HANG_UP = "frees on hang-up"
    LOSES_SLOTS = "loses slots"
    KEEPS_SLOTS = "keeps slots"
    SWAPS_REASONS = "swaps the reasons"
    SENDS_TWICE = "sends twice"
    RUNS_REFUSED = "runs what it refuses"
    MIXES_ANSWERS = "mixes answers up"
    SWALLOWS = "never answers"
    FAILS = "fails without a reason"
    RATES = "refuses by a rate"


class FakeGateway:
    """Invoke API and admin listener on one port; one request per connection."""

    def __init__(self, backend: tuple[str, int], flaw: Flaw, timeout_seconds: float = 10) -> None:
        self.backend = backend
        self.timeout_seconds = timeout_seconds
        self.flaw = flaw
        self.in_flight = dict.fromkeys(CEILINGS, 0)
        self.lost = dict.fromkeys(CEILINGS, 0)
        self.count = 0
        self.last_body = b"{}"
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            answer = self._limits() if head.startswith(b"GET /limits") else await self._invoke(head, reader)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
        writer.close()

    def _limits(self) -> bytes:
        row = {"function": "checkout", "ceiling": RESERVED, "reserved": True, "in_flight": self.in_flight["checkout"]}
        account = {
            "account": "000000000000",
            "concurrent_executions": SLOTS,
            "in_flight": sum(self.in_flight.values()),
            "unreserved": {"ceiling": SLOTS - RESERVED, "in_flight": self.in_flight["unreserved"]},
            "functions": [row],
        }
        return answer(200, {"accounts": [account]})

    async def _invoke(self, head: bytes, reader: asyncio.StreamReader) -> bytes | None:
        body = await read_body(head, reader)
        flaw, lane = self.flaw, "checkout" if b"/functions/checkout/" in head else "unreserved"
        self.count += 1
        unlucky = self.count % 7 == 0
        ceiling = CEILINGS[lane] + {Flaw.ONE_TOO_MANY: 1, Flaw.ONE_TOO_FEW: -1}.get(flaw, 0)
        if flaw is Flaw.RATES and self.count > 20:
            return throttle("FunctionInvocationRateLimitExceeded")
        if self.in_flight[lane] + self.lost[lane] >= ceiling:
            if flaw is Flaw.RUNS_REFUSED:
                await self._forward(head, body)
            other = "checkout" if lane == "unreserved" else "unreserved"
            return throttle(REASONS[other if flaw is Flaw.SWAPS_REASONS else lane])
        self.in_flight[lane] += 1
        forwarding = asyncio.ensure_future(self._forward(head, body))
        if flaw is Flaw.FREES_ON_HANG_UP:
            gone = asyncio.ensure_future(reader.read())
            await asyncio.wait([forwarding, gone], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            self.in_flight[lane] -= 1
            result = await forwarding
        else:
            result = await forwarding
            self.in_flight[lane] -= not (flaw is Flaw.KEEPS_SLOTS and unlucky)
        if result is None:
            self.lost[lane] += flaw is Flaw.LOSES_SLOTS and not self.lost[lane]
            if flaw is Flaw.SENDS_TWICE:
                await self._forward(head, body)
            return answer(500, {"Type": "Service", "Message": "it broke"}, "ServiceException")
        if unlucky and flaw is Flaw.SWALLOWS:
            return None
        if unlucky and flaw is Flaw.FAILS:
            return answer(502, {})
        if unlucky and flaw is Flaw.MIXES_ANSWERS:
            result, self.last_body = self.last_body, result
        self.last_body = result
        return answer(200, result)

    async def _forward(self, head: bytes, body: bytes) -> bytes | None:
        """The backend's body, `None` where it did not answer well."""
        head = re.sub(rb"\r\ntransfer-encoding: chunked", b"\r\nContent-Length: %d" % len(body), head, flags=re.I)
        try:
            reader, writer = await asyncio.open_connection(*self.backend, limit=1 << 20)
        except OSError:
            return None
        try:
            async with asyncio.timeout(self.timeout_seconds):
                writer.write(head + body)
                response = await reader.readuntil(b"\r\n\r\n")
                return await read_body(response, reader) if response.startswith(b"HTTP/1.1 200") else None
        except (asyncio.IncompleteReadError, OSError):
            return None
        finally:
            writer.close()


async def read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    if b"chunked" in head:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        return body
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.I)
    return await reader.readexactly(int(length[1])) if length else b""


def answer(status: int, body: object, code: str = "") -> bytes:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = f"x-amzn-errortype: {code}\r\nconnection: close\r\ncontent-length: {len(encoded)}"
    return f"HTTP/1.1 {status} X\r\n{headers}\r\n\r\n".encode() + encoded


def throttle(reason: str) -> bytes:
    body = {"Reason": reason, "Type": "User", "message": "Rate Exceeded."}
    return answer(429, body, "TooManyRequestsException")
