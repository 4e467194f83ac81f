"""The backend of a proof stops counting a call before the gateway can know that it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from time import monotonic

import pytest
import pytest_asyncio

from gateway.proving.backend import Backend, encode_request
from gateway.proving.calls import Call, Ending
from gateway.proving.faults import Fault
from gateway.proving.ledger import Ledger
from gateway.proving.quotas import WHOLE, Account
from gateway.proving.wire import Connection, Endpoint, encode_head

ACCOUNT = Account("000000000000", 4)
(POOL,) = ACCOUNT.lanes


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[tuple[Backend, Endpoint]]:
    backend = Backend(Ledger([ACCOUNT], 0.2, 0.4))
    url = await backend.start("127.0.0.1", 0)
    yield backend, Endpoint("127.0.0.1", int(url.rpartition(":")[2]))
    await backend.stop()


def plan(backend: Backend, ending: Ending, **more: object) -> Call:
    call = Call(f"{ending}-{Random().random()}", POOL, "prove-one", ending=ending, **more)
    backend.ledger.open(call)
    backend.ledger.send(call)
    return call


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.WAITS])
@pytest.mark.parametrize("is_large", [False, True])
async def test_a_call_runs_when_its_request_is_whole_and_no_longer_when_its_end_is_seen(
    backend: tuple[Backend, Endpoint], ending: Ending, is_large: bool
) -> None:
    stub, endpoint = backend
    call = plan(stub, ending, seconds=0.01, is_large=is_large)
    if ending not in (Ending.HANGS, Ending.LATE_ANSWER, Ending.LATE_GARBAGE):
        stub.ledger.timeout_seconds = 60.0  # a function whose time is over when its request arrives does not begin
    level = stub.ledger.levels[ACCOUNT.account, WHOLE]
    whole = encode_head(call) + encode_request(call)
    async with Connection(endpoint) as connection:
        await connection.send(whole[:-1])
        await asyncio.sleep(0.02)
        assert level.highest == 0
        await connection.send(whole[-1:])
        if ending is Ending.HANGS:  # it is the gateway that gives up
            await asyncio.sleep(0.45)
            connection.hang_up()
        try:
            answer = await connection.read_answer()
        except ValueError:
            answer = None  # garbage
        stub.ledger.expire(monotonic())
        assert (level.running, level.highest) == (0, 1)
    is_answered = answer is not None and answer.is_whole
    assert is_answered == (ending in (Ending.ANSWERS, Ending.TRICKLES, Ending.LATE_ANSWER))


async def test_a_function_runs_on_when_the_gateway_hangs_up(backend: tuple[Backend, Endpoint]) -> None:
    stub, endpoint = backend
    call = plan(stub, Ending.ANSWERS, seconds=0.1)
    async with Connection(endpoint) as connection:
        await connection.send(encode_head(call) + encode_request(call))
        await call.arrived.wait()
        connection.reset()
    assert stub.ledger.levels[ACCOUNT.account, WHOLE].running == 1


async def test_what_nobody_sent_is_noted(backend: tuple[Backend, Endpoint]) -> None:
    stub, endpoint = backend
    never_opened = Call("x", POOL, "prove-one")
    async with Connection(endpoint) as connection:
        await connection.send(encode_head(never_opened) + encode_request(never_opened))
        assert await connection.read_answer() is not None
    assert stub.ledger.faults.counts == {Fault.NOT_WHOLE: 1}
