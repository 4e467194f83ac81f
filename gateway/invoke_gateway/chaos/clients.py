"""Clients: how a call is sent, read, left. What each does depends on its dice alone, and so on the seed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from random import Random

from .backend import encode_request
from .calls import Call
from .checker import judge, note_silence
from .history import Ledger
from .violations import Fault
from .wire import Answer, Connection, Endpoint, encode_head

SMALL_RECEIVE_BUFFER = 4096
LONGEST_STALL = 0.6  # seconds
LONGEST_PATIENCE = 0.06


class Manner(StrEnum):
    """What a client does."""

    STAYS = "stays"
    LEAVES_BEFORE = "leaves before"
    LEAVES_DURING = "leaves during"
    LEAVES_AFTER = "leaves after"
    LOSES_PATIENCE = "loses patience"
    STALLS_IN_HEAD = "stalls in head"
    STALLS_IN_BODY = "stalls in body"
    UPLOADS_IN_CHUNKS = "uploads in chunks"
    STALLS_IN_READING = "stalls in reading"
    READS_SLOWLY = "reads slowly"
    HALF_CLOSES = "half-closes"


class Target:
    """Where clients call, and who keeps the books."""

    def __init__(self, endpoint: Endpoint, ledger: Ledger) -> None:
        self.endpoint = endpoint
        self.ledger = ledger

    def direct(self, call: Call) -> Endpoint:
        """Where this call goes."""
        return self.endpoint


async def invoke(target: Target, call: Call, manner: Manner, dice: Random) -> Answer | None:
    """Make one call in this manner and judge what comes; `None` when the client left without its answer."""
    ledger = target.ledger
    buffer = SMALL_RECEIVE_BUFFER if manner in (Manner.STALLS_IN_READING, Manner.READS_SLOWLY) else None
    try:
        async with Connection(target.direct(call), receive_buffer=buffer) as connection:
            ledger.open(call)
            return await _MANNERS[manner](Visit(target, call, dice, connection))
    except OSError as error:
        note_silence(ledger, call, f"{error or type(error).__name__}")
    except ValueError as error:
        ledger.faults.add(Fault.UNEXPECTED, f"{call} got what is not HTTP: {error}")
    return None


async def invoke_pipelined(target: Target, calls: list[Call]) -> None:
    """Make these calls in one write on one connection; their answers must come in order."""
    ledger = target.ledger
    try:
        async with Connection(target.direct(calls[0])) as connection:
            for call in calls:
                call.through = calls[0].through
                ledger.open(call)
            for call in calls:
                ledger.send(call)
            await connection.send(b"".join(encode_head(call) + encode_request(call) for call in calls))
            for call in calls:
                answer = await connection.read_answer()
                judge(ledger, call, answer)
                if answer is None or not answer.is_whole or answer.headers.get("connection") == "close":
                    break
            for call in calls:
                ledger.left(call)  # those behind one whose answer ended the connection
    except OSError as error:
        note_silence(ledger, calls[0], f"it and those behind it: {error or type(error).__name__}")
    except ValueError as error:
        ledger.faults.add(Fault.UNEXPECTED, f"{calls[0]} and those behind it got what is not HTTP: {error}")


class Visit:
    """One call of one client on its connection."""

    def __init__(self, target: Target, call: Call, dice: Random, connection: Connection) -> None:
        self.ledger = target.ledger
        self.call = call
        self.dice = dice
        self.connection = connection

    async def send_whole(self) -> None:
        self.ledger.send(self.call)
        await self.connection.send(encode_head(self.call) + encode_request(self.call))

    async def read(self, pause: float = 0.0) -> Answer | None:
        return self.take(await self.connection.read_answer(pause))

    def take(self, answer: Answer | None) -> Answer | None:
        judge(self.ledger, self.call, answer)
        return answer

    def leave(self) -> None:
        self.ledger.answers["left"] += 1
        self.ledger.left(self.call)
        self.dice.choice((self.connection.hang_up, self.connection.reset))()

    async def stall(self) -> None:
        await asyncio.sleep(self.dice.uniform(0.05, LONGEST_STALL))

    async def send_parts(self, data: bytes, cuts: list[int], last: bytes = b"") -> None:
        """Send `data` in parts with a pause before each but the first; then `last`."""
        start = 0
        for cut in cuts:
            await self.connection.send(data[start:cut])
            start = cut
            await self.stall()
        self.ledger.send(self.call)
        await self.connection.send(data[start:] + last)


async def _stay(visit: Visit) -> Answer | None:
    await visit.send_whole()
    return await visit.read()


async def _leave_before(visit: Visit) -> Answer | None:
    whole = encode_head(visit.call) + encode_request(visit.call)
    await visit.connection.send(whole[: visit.dice.randrange(len(whole))])
    await asyncio.sleep(visit.dice.uniform(0, LONGEST_PATIENCE))
    visit.leave()
    return None


async def _leave_during(visit: Visit) -> Answer | None:
    """Leave when the call has arrived at the backend."""
    return await _leave_when(visit, visit.call.arrived.wait)


async def _lose_patience(visit: Visit) -> Answer | None:
    seconds = visit.dice.uniform(0, LONGEST_PATIENCE)
    return await _leave_when(visit, lambda: asyncio.sleep(seconds, True))


async def _leave_when(visit: Visit, moment: Callable[[], Awaitable[object]]) -> Answer | None:
    await visit.send_whole()
    reading = asyncio.ensure_future(visit.connection.read_answer())
    waiting = asyncio.ensure_future(moment())
    try:
        await asyncio.wait([reading, waiting], return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            return visit.take(reading.result())
        visit.leave()
        return None
    finally:
        for task in (reading, waiting):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError, ValueError):
                await task


async def _leave_after(visit: Visit) -> Answer | None:
    """Leave with the head of the answer read and its body not."""
    await visit.send_whole()
    head = await visit.connection.read_head()
    if head is not None and head.status == 200:
        visit.leave()
        return None
    return visit.take(None if head is None else await visit.connection.read_rest(head))


async def _stall_in_head(visit: Visit) -> Answer | None:
    head = encode_head(visit.call)
    cuts = sorted(visit.dice.sample(range(1, len(head)), 2))
    await visit.send_parts(head + encode_request(visit.call), cuts)
    return await visit.read()


async def _stall_in_body(visit: Visit) -> Answer | None:
    head, body = encode_head(visit.call), encode_request(visit.call)
    cuts = sorted(len(head) + cut for cut in visit.dice.sample(range(len(body)), 2))
    await visit.send_parts(head + body, cuts)
    return await visit.read()


async def _upload_in_chunks(visit: Visit) -> Answer | None:
    body = encode_request(visit.call)
    step = max(1, len(body) // 3)
    data = encode_head(visit.call, chunked=True)
    cuts = []
    for start in range(0, len(body), step):
        piece = body[start : start + step]
        cuts.append(len(data))
        data += b"%x\r\n%b\r\n" % (len(piece), piece)
    await visit.send_parts(data, cuts, last=b"0\r\n\r\n")
    return await visit.read()


async def _stall_in_reading(visit: Visit) -> Answer | None:
    """Take nothing of the answer for a while; then leave, or read all of it."""
    await visit.send_whole()
    await visit.stall()
    if visit.dice.random() < 0.5:
        visit.leave()
        return None
    return await visit.read()


async def _read_slowly(visit: Visit) -> Answer | None:
    await visit.send_whole()
    return await visit.read(pause=0.02)


async def _half_close(visit: Visit) -> Answer | None:
    """Say goodbye and wait for the answer. A gateway may take that for a hang-up; it must do one or the other."""
    await visit.send_whole()
    visit.connection.half_close()
    answer = await visit.connection.read_answer()
    if visit.connection.has_ended and (answer is None or not answer.is_whole):
        visit.leave()
        return None
    return visit.take(answer)


_MANNERS: dict[Manner, Callable[[Visit], Awaitable[Answer | None]]] = {
    Manner.STAYS: _stay,
    Manner.LEAVES_BEFORE: _leave_before,
    Manner.LEAVES_DURING: _leave_during,
    Manner.LEAVES_AFTER: _leave_after,
    Manner.LOSES_PATIENCE: _lose_patience,
    Manner.STALLS_IN_HEAD: _stall_in_head,
    Manner.STALLS_IN_BODY: _stall_in_body,
    Manner.UPLOADS_IN_CHUNKS: _upload_in_chunks,
    Manner.STALLS_IN_READING: _stall_in_reading,
    Manner.READS_SLOWLY: _read_slowly,
    Manner.HALF_CLOSES: _half_close,
}
