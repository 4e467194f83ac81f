"""Sends, reads and leaves calls. Each step of a client depends only on its random numbers, and so on the seed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from random import Random

from ..backend import encode_request
from ..calls import PlannedCall
from ..judging.checker import check_answer, record_silence
from ..judging.history import CallHistory
from ..judging.violations import Violation
from ..wire import HostPort, HttpAnswer, WireConnection, encode_head

SMALL_RECEIVE_BUFFER = 4096
LONGEST_STALL = 0.6  # seconds
LONGEST_PATIENCE = 0.06


def encode_call_head(call: PlannedCall, *, chunked: bool = False) -> bytes:
    """Returns the head of an Invoke, or of an InvokeWithResponseStream."""
    date, operation = (
        ("2021-11-15", "response-streaming-invocations") if call.is_streamed else ("2015-03-31", "invocations")
    )
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(encode_request(call))}"
    return encode_head(f"/{date}/functions/{call.function}/{operation}", call.lane.caller or call.lane.account, framing)


class ClientBehaviour(StrEnum):
    """Names the behaviour of a client."""

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


class CallRoute:
    """Routes calls to the gateway, and has the history of them."""

    def __init__(self, endpoint: HostPort, history: CallHistory) -> None:
        self.endpoint = endpoint
        self.history = history

    def direct(self, call: PlannedCall) -> HostPort:
        """Returns the address for this call."""
        return self.endpoint


async def invoke(route: CallRoute, call: PlannedCall, behaviour: ClientBehaviour, rng: Random) -> HttpAnswer | None:
    """Makes one call with this behaviour and checks its answer. Returns `None` when the client left without one."""
    history = route.history
    buffer = (
        SMALL_RECEIVE_BUFFER if behaviour in (ClientBehaviour.STALLS_IN_READING, ClientBehaviour.READS_SLOWLY) else None
    )
    try:
        async with WireConnection(route.direct(call), receive_buffer=buffer) as connection:
            history.open(call)
            return await _BEHAVIOURS[behaviour](ClientCall(route, call, rng, connection))
    except OSError as error:
        record_silence(history, call, f"{error or type(error).__name__}")
    except ValueError as error:
        history.violations.add(Violation.UNEXPECTED, f"{call} got what is not HTTP: {error}")
    return None


async def invoke_pipelined(route: CallRoute, calls: list[PlannedCall]) -> None:
    """Makes these calls in one write on one connection. Their answers must come in order."""
    history = route.history
    try:
        async with WireConnection(route.direct(calls[0])) as connection:
            for call in calls:
                call.through = calls[0].through
                history.open(call)
            for call in calls:
                history.send(call)
            await connection.send(b"".join(encode_call_head(call) + encode_request(call) for call in calls))
            for call in calls:
                answer = await connection.read_answer()
                check_answer(history, call, answer)
                if answer is None or not answer.is_whole or answer.headers.get("connection") == "close":
                    break
            for call in calls:
                history.left(call)  # those behind one whose answer ended the connection
    except OSError as error:
        record_silence(history, calls[0], f"it and those behind it: {error or type(error).__name__}")
    except ValueError as error:
        history.violations.add(Violation.UNEXPECTED, f"{calls[0]} and those behind it got what is not HTTP: {error}")


class ClientCall:
    """One call of one client on its connection."""

    def __init__(self, route: CallRoute, call: PlannedCall, rng: Random, connection: WireConnection) -> None:
        self.history = route.history
        self.call = call
        self.rng = rng
        self.connection = connection

    async def send_whole(self) -> None:
        self.history.send(self.call)
        await self.connection.send(encode_call_head(self.call) + encode_request(self.call))

    async def read(self, pause: float = 0.0) -> HttpAnswer | None:
        return self.take(await self.connection.read_answer(pause))

    def take(self, answer: HttpAnswer | None) -> HttpAnswer | None:
        check_answer(self.history, self.call, answer)
        return answer

    def leave(self) -> None:
        self.history.answers["left"] += 1
        self.history.left(self.call)
        self.rng.choice((self.connection.hang_up, self.connection.reset))()

    async def stall(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.05, LONGEST_STALL))

    async def send_parts(self, data: bytes, cuts: list[int], last: bytes = b"") -> None:
        """Send `data` in parts with a pause before each but the first; then `last`."""
        start = 0
        for cut in cuts:
            await self.connection.send(data[start:cut])
            start = cut
            await self.stall()
        self.history.send(self.call)
        await self.connection.send(data[start:] + last)


async def _stay(client: ClientCall) -> HttpAnswer | None:
    await client.send_whole()
    return await client.read()


async def _leave_before(client: ClientCall) -> HttpAnswer | None:
    whole = encode_call_head(client.call) + encode_request(client.call)
    await client.connection.send(whole[: client.rng.randrange(len(whole))])
    await asyncio.sleep(client.rng.uniform(0, LONGEST_PATIENCE))
    client.leave()
    return None


async def _leave_during(client: ClientCall) -> HttpAnswer | None:
    """Leave when the call has arrived at the backend."""
    return await _leave_when(client, client.call.arrived.wait)


async def _lose_patience(client: ClientCall) -> HttpAnswer | None:
    seconds = client.rng.uniform(0, LONGEST_PATIENCE)
    return await _leave_when(client, lambda: asyncio.sleep(seconds, True))


async def _leave_when(client: ClientCall, moment: Callable[[], Awaitable[object]]) -> HttpAnswer | None:
    await client.send_whole()
    reading = asyncio.ensure_future(client.connection.read_answer())
    waiting = asyncio.ensure_future(moment())
    try:
        await asyncio.wait([reading, waiting], return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            return client.take(reading.result())
        client.leave()
        return None
    finally:
        for task in (reading, waiting):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError, ValueError):
                await task


async def _leave_after(client: ClientCall) -> HttpAnswer | None:
    """Leave with the head of the answer read and its body not."""
    await client.send_whole()
    head = await client.connection.read_head()
    if head is not None and head.status == 200:
        client.leave()
        return None
    return client.take(None if head is None else await client.connection.read_rest(head))


async def _stall_in_head(client: ClientCall) -> HttpAnswer | None:
    head = encode_call_head(client.call)
    cuts = sorted(client.rng.sample(range(1, len(head)), 2))
    await client.send_parts(head + encode_request(client.call), cuts)
    return await client.read()


async def _stall_in_body(client: ClientCall) -> HttpAnswer | None:
    head, body = encode_call_head(client.call), encode_request(client.call)
    cuts = sorted(len(head) + cut for cut in client.rng.sample(range(len(body)), 2))
    await client.send_parts(head + body, cuts)
    return await client.read()


async def _upload_in_chunks(client: ClientCall) -> HttpAnswer | None:
    body = encode_request(client.call)
    step = max(1, len(body) // 3)
    data = encode_call_head(client.call, chunked=True)
    cuts = []
    for start in range(0, len(body), step):
        piece = body[start : start + step]
        cuts.append(len(data))
        data += b"%x\r\n%b\r\n" % (len(piece), piece)
    await client.send_parts(data, cuts, last=b"0\r\n\r\n")
    return await client.read()


async def _stall_in_reading(client: ClientCall) -> HttpAnswer | None:
    """Take nothing of the answer for a while; then leave, or read all of it."""
    await client.send_whole()
    await client.stall()
    if client.rng.random() < 0.5:
        client.leave()
        return None
    return await client.read()


async def _read_slowly(client: ClientCall) -> HttpAnswer | None:
    await client.send_whole()
    return await client.read(pause=0.02)


async def _half_close(client: ClientCall) -> HttpAnswer | None:
    """Closes the client's side and waits for the answer. A gateway may take that for a hang-up, or answer."""
    await client.send_whole()
    client.connection.half_close()
    answer = await client.connection.read_answer()
    if client.connection.has_ended and (answer is None or not answer.is_whole):
        client.leave()
        return None
    return client.take(answer)


_BEHAVIOURS: dict[ClientBehaviour, Callable[[ClientCall], Awaitable[HttpAnswer | None]]] = {
    ClientBehaviour.STAYS: _stay,
    ClientBehaviour.LEAVES_BEFORE: _leave_before,
    ClientBehaviour.LEAVES_DURING: _leave_during,
    ClientBehaviour.LEAVES_AFTER: _leave_after,
    ClientBehaviour.LOSES_PATIENCE: _lose_patience,
    ClientBehaviour.STALLS_IN_HEAD: _stall_in_head,
    ClientBehaviour.STALLS_IN_BODY: _stall_in_body,
    ClientBehaviour.UPLOADS_IN_CHUNKS: _upload_in_chunks,
    ClientBehaviour.STALLS_IN_READING: _stall_in_reading,
    ClientBehaviour.READS_SLOWLY: _read_slowly,
    ClientBehaviour.HALF_CLOSES: _half_close,
}
