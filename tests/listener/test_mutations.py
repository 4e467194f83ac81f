"""Mutated requests get well-formed answers, or none."""

from __future__ import annotations

import asyncio
import random
import re

import pytest

from tests.support.sockets import (
    PATIENCE,
    Answer,
    Closed,
    Stream,
    chunked,
    gateway,
    invoke,
    refusal_of,
)

from .framing import CHUNKED, EXPECT, head
from .framing import SETTINGS as SETTINGS

EXAMPLES = 300
INVOCATION = re.compile(rb"/functions/.+/(invocations|invoke-async)\b")  # read whole before it is forwarded
BASES = (
    invoke("echo", b'{"a": [1, 2, 3]}', "Connection: close", "X-Amz-Log-Type: None"),
    head(CHUNKED, "Connection: close") + chunked(b'{"a": ', b"[1, 2, 3]}"),
    invoke("echo", b"", "Connection: close", EXPECT, "Content-Length: 6291457", length=False),
    invoke("echo", b"{}") + invoke("echo", b"[]", "Connection: close"),
    b"GET /2015-03-31/functions?MaxItems=1 HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
    invoke("echo", b"x" * 2000, "Connection: close", path="/2014-11-13/functions/echo/invoke-async/"),
)
ALPHABET = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b":",
    b" ",
    b"\t",
    b",",
    b";",
    b"0",
    b"-",
    b"\xff",
    b"%",
    b"/",
    b"chunked",
    b"{",
)


def mutate(dice: random.Random) -> bytes:
    """A valid request with one to four places changed, dropped, doubled or cut off."""
    data = bytearray(dice.choice(BASES))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        end = min(len(data), at + dice.choice((1, 1, 2, 5, 20)))
        match dice.randrange(6):
            case 0:
                data[at:end] = dice.randbytes(end - at)
            case 1:
                data[at:at] = dice.choice(ALPHABET) * dice.choice((1, 1, 1, 200))
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * dice.choice((1, 2, 50))
            case 4:
                del data[max(at, 1) :]
            case 5:
                data[at:end] = dice.choice(ALPHABET)
    return bytes(data)


async def exchange(port: int, data: bytes, dice: random.Random) -> bytes | None:
    """Everything that comes back when `data` is sent in one to three pieces; `None` where the connection was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(3)))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        while piece := await asyncio.wait_for(reader.read(1 << 16), PATIENCE):
            received += piece
    except ConnectionError:
        return None  # sent on after the connection had been closed: what had come before is lost
    finally:
        writer.transport.abort()
    return received


def read_answers(received: bytes) -> list[Answer]:
    pieces = iter([received, b""])
    stream = Stream(lambda: next(pieces))
    answers = []
    try:
        while True:
            answers.append(stream.answer())
    except Closed:
        return answers


@pytest.mark.parametrize("seed", range(3))
def test_mutated_requests_get_well_formed_answers_or_none(seed: int) -> None:
    """And whatever is forwarded is one well-formed request for each answer that the backend gave."""
    dice = random.Random(seed)
    sent = [mutate(dice) for _ in range(EXAMPLES // 3)]

    async def send_all(port: int) -> list[bytes | None]:
        return await asyncio.gather(*(exchange(port, data, random.Random(data)) for data in sent))

    with gateway(
        read_timeout_seconds=0.3, keep_alive_seconds=0.3, accounts={"default": {"requests_per_second": "off"}}
    ) as served:
        received = asyncio.run(send_all(served.port))
        served.until_idle()
        assert served.send(invoke()).status == 200
        forwarded = len(served.on_loop(lambda: served.backend.requests)) - 1
        assert [call for call in served.on_loop(lambda: served.backend.broken) if INVOCATION.search(call.target)] == []
    from_backend = 0
    for data, answer_bytes in zip(sent, received, strict=True):
        for answer in read_answers(answer_bytes or b""):
            assert answer.status != 500, data
            if answer.status == 200:
                from_backend += 1
            elif answer.status != 100:
                assert answer.status in (400, 404, 408, 413, 417, 431, 501, 505), data
                refusal_of(answer)
    assert 0 <= forwarded - from_backend <= received.count(None)
