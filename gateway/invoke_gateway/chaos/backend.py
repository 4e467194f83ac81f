"""The backend that a proof runs on: it does with each call what the call's plan says, and tells the ledger the truth.

It stops counting a call before it sends what may end the call for the gateway. What a function has begun it finishes,
whether or not the gateway still listens or lives, as on Lambda.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from contextlib import suppress

import msgspec

from .calls import CallEnding, CallRun, PlannedCall
from .history import CallHistory
from .violations import Violation

MAX_HEAD_BYTES = 1024 * 1024
# More than one read of a connection, so that a response can be left, or break off, in its middle.
LARGE = 400_000
LATE_SECONDS = 0.3  # after the gateway's time-out
# A gateway that does not end a hung call long after its time-out gets its connection cut, so that the run goes on.
GIVE_UP_SECONDS = 30.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_GARBAGE = b"\x00\x16 this is not HTTP\r\n\r\n"


class CallPayload(msgspec.Struct):
    """A request's body, and the answer to it."""

    id: str
    padding: str = ""


def encode_request(call: PlannedCall) -> bytes:
    return msgspec.json.encode(CallPayload(call.id, "p" * call.padding))


def encode_result(call: PlannedCall) -> bytes:
    return msgspec.json.encode(CallPayload(call.id, "r" * LARGE if call.is_large else ""))


class RecordingBackend:
    """`ledger` may be replaced while nothing runs; `gate` holds calls that wait."""

    def __init__(self, history: CallHistory) -> None:
        self.history = history
        self.gate = asyncio.Event()
        self.active = 0
        self.arrivals = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def start(self, host: str, port: int) -> str:
        """Listen; the URL. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD_BYTES, backlog=4096)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                body = await read_body(head, reader)
                await self._take(head, body, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
            pass  # between two requests a connection may end at any time, and what never arrived whole never ran
        finally:
            writer.close()

    async def _take(self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        history = self.history
        call = self._find(head, body)
        self.arrivals += 1
        if call is None:
            line = head.partition(b"\r\n")[0]
            history.violations.add(
                Violation.NOT_WHOLE, f"the backend got what nobody sent: {line[:80]!r} {body[:80]!r}"
            )
            writer.write(_response_head(2) + b"{}")
            return
        self.active += 1
        run = history.begin(call)
        try:
            await FunctionRun(self, run, reader, writer).run()
        finally:
            history.end(run)
            self.active -= 1

    def _find(self, head: bytes, body: bytes) -> PlannedCall | None:
        try:
            call = self.history.calls.get(msgspec.json.decode(body, type=CallPayload).id)
        except msgspec.MsgspecError:
            return None
        if call is None or b"/functions/%b/" % call.function.encode() not in head or body != encode_request(call):
            return None
        return call


class FunctionRun:
    """One run of a function: what `Ending` says, by name."""

    def __init__(
        self, backend: RecordingBackend, run: CallRun, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.backend = backend
        self.history = backend.history
        self.execution = run
        self.call = run.call
        self.reader = reader
        self.writer = writer

    async def run(self) -> None:
        ending = self.call.ending
        if ending.takes_long:
            await self._hang()
            return
        if ending is CallEnding.WAITS:
            await self.backend.gate.wait()
        await asyncio.sleep(self.call.seconds)
        if ending is CallEnding.RESETS:
            self._reset()
        elif ending is CallEnding.BREAKS_OFF:
            await self._break_off()
        elif ending is CallEnding.GARBAGE:
            self._close_with(_GARBAGE)
        elif ending is CallEnding.TRICKLES:
            await self._trickle()
        else:
            await self._answer()

    async def _answer(self) -> None:
        result = encode_result(self.call)
        whole = _response_head(len(result)) + result
        if self.call.is_large:  # the call goes on after its head, and after most of its body
            await self._send(whole[:300_000])
            await asyncio.sleep(self.call.seconds)
            whole = whole[300_000:]
        self._end_with(whole)

    async def _trickle(self) -> None:
        result = encode_result(self.call)
        await self._send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        step = -(-len(result) // 5)
        for start in range(0, len(result), step):
            piece = result[start : start + step]
            await self._send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(self.call.seconds / 4)
        self._end_with(b"0\r\n\r\n")

    async def _break_off(self) -> None:
        await self._send(_response_head(LARGE) + b"r" * (LARGE // 2))
        await asyncio.sleep(self.call.seconds)
        self._close_with(b"r")

    async def _hang(self) -> None:
        """Say nothing; the ledger ends the function at its own time-out. Some speak after the gateway's."""
        ending = self.call.ending
        started = self.call.sent_at if self.call.sent_at is not None else self.history.clock()
        late = started + self.history.timeout_seconds + LATE_SECONDS - self.history.clock()
        if ending is CallEnding.HANGS:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(late + GIVE_UP_SECONDS):
                    await self.reader.read(1)
            # A gateway that was killed hangs up early; the function knows nothing of that.
            await asyncio.sleep(started + self.history.function_seconds - self.history.clock())
            self._reset()
            return
        await asyncio.sleep(max(0.0, late))
        result = encode_result(self.call)
        # It announces the close: a gateway that is late itself may take this answer, and must not reuse the connection.
        late_answer = _response_head(len(result), b"Connection: close\r\n") + result
        self._close_with(late_answer if ending is CallEnding.LATE_ANSWER else _GARBAGE)

    async def _send(self, data: bytes) -> None:
        """Send a part that is not the last. Nobody may be there to take it: the function goes on."""
        if not self.writer.is_closing():
            self.writer.write(data)
            with suppress(OSError):
                async with asyncio.timeout(self.history.timeout_seconds + GIVE_UP_SECONDS):
                    await self.writer.drain()

    def _end_with(self, data: bytes) -> None:
        self.history.end(self.execution)
        if not self.writer.is_closing():
            self.writer.write(data)

    def _close_with(self, data: bytes) -> None:
        self._end_with(data)
        self.writer.close()

    def _reset(self) -> None:
        self.history.end(self.execution)
        plain: socket.socket | None = self.writer.get_extra_info("socket")
        if plain is not None and not self.writer.is_closing():
            with suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    if _CHUNKED.search(head):
        pieces = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(pieces)
    length = _LENGTH.search(head)
    return await reader.readexactly(int(length[1])) if length else b""


def _response_head(length: int, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n" % (more, length)
