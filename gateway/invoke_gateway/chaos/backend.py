"""Runs each call as it is planned, and records what truly runs.

The backend stops counting a call before it sends what may end the call for the gateway. A function that has begun
finishes, even when its gateway has hung up or is dead, as on Lambda.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec

from .backend_server import BackendServer, CallPayload, GatewayConnection
from .calls import CallEnding, CallRun, PlannedCall
from .judging.history import CallHistory
from .wire import reset

# More than one read of a connection, so that a response can be left, or break off, in its middle.
LARGE = 400_000
LATE_SECONDS = 0.3  # after the gateway's time-out
# A gateway that does not end a hung call long after its time-out gets its connection cut, so that the run goes on.
GIVE_UP_SECONDS = 30.0

_GARBAGE = b"\x00\x16 this is not HTTP\r\n\r\n"


def encode_request(call: PlannedCall) -> bytes:
    return msgspec.json.encode(CallPayload(call.id, "p" * call.padding))


def encode_result(call: PlannedCall) -> bytes:
    return msgspec.json.encode(CallPayload(call.id, "r" * LARGE if call.is_large else ""))


class RecordingBackend(BackendServer[PlannedCall]):
    """The backend of calls. `history` may be replaced while nothing runs; `gate` holds the calls that wait."""

    history: CallHistory

    def __init__(self, history: CallHistory) -> None:
        super().__init__(history)
        self.gate = asyncio.Event()
        self.active = 0

    def describe_request(self, sent: PlannedCall) -> tuple[str, bytes]:
        return sent.function, encode_request(sent)

    async def run(self, sent: PlannedCall, connection: GatewayConnection) -> None:
        self.active += 1
        history = self.history
        run = history.begin(sent)
        try:
            await FunctionRun(self, run, connection).run()
        finally:
            history.end(run)
            self.active -= 1


class FunctionRun:
    """One run of a function. It ends as its call's `CallEnding` names."""

    def __init__(self, backend: RecordingBackend, run: CallRun, connection: GatewayConnection) -> None:
        self.backend = backend
        self.history = backend.history
        self.execution = run
        self.call = run.call
        self.reader = connection.reader
        self.writer = connection.writer

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
        """Sends nothing, while the history ends the function at its own time-out. Some endings send after the gateway's
        time-out."""
        ending = self.call.ending
        started = self.call.sent_at if self.call.sent_at is not None else self.history.clock()
        late = started + self.history.timeout_seconds + LATE_SECONDS - self.history.clock()
        if ending is CallEnding.HANGS:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(late + GIVE_UP_SECONDS):
                    await self.reader.read(1)
            # A gateway that was killed hangs up early; the function goes on.
            await asyncio.sleep(started + self.history.function_seconds - self.history.clock())
            self._reset()
            return
        await asyncio.sleep(max(0.0, late))
        result = encode_result(self.call)
        # It announces the close: a gateway that is late itself may take this answer, and must not reuse the connection.
        late_answer = _response_head(len(result), b"Connection: close\r\n") + result
        self._close_with(late_answer if ending is CallEnding.LATE_ANSWER else _GARBAGE)

    async def _send(self, data: bytes) -> None:
        """Sends a part that is not the last. The function goes on, even where the connection is closed."""
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
        reset(self.writer)


def _response_head(length: int, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n" % (more, length)
