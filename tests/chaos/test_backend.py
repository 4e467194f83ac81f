"""The backend of a proof stops counting a call before the gateway can know that it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from time import monotonic

import pytest
import pytest_asyncio

from invoke_gateway.chaos.backend import RecordingBackend, encode_request
from invoke_gateway.chaos.calls import CallEnding, PlannedCall
from invoke_gateway.chaos.judging.history import CallHistory
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.quotas import WHOLE, AccountQuota
from invoke_gateway.chaos.traffic.clients import encode_call_head
from invoke_gateway.chaos.wire import HostPort, WireConnection
from tests.support.gateways import eventually

ACCOUNT = AccountQuota("000000000000", 4)
(POOL,) = ACCOUNT.lanes


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[tuple[RecordingBackend, HostPort]]:
    backend = RecordingBackend(CallHistory([ACCOUNT], 0.2, 0.4))
    yield backend, await backend.listen("127.0.0.1", 0)
    await backend.stop()


def plan(backend: RecordingBackend, ending: CallEnding, **more: object) -> PlannedCall:
    call = PlannedCall(f"{ending}-{Random().random()}", POOL, "prove-one", ending=ending, **more)
    backend.history.open(call)
    backend.history.send(call)
    return call


@pytest.mark.parametrize("ending", [ending for ending in CallEnding if ending is not CallEnding.WAITS])
@pytest.mark.parametrize("is_large", [False, True])
async def test_a_call_runs_when_its_request_is_whole_and_no_longer_when_its_end_is_seen(
    backend: tuple[RecordingBackend, HostPort], ending: CallEnding, is_large: bool
) -> None:
    stub, endpoint = backend
    began = monotonic()
    stub.history.clock = lambda: began  # a function whose time is over when its request arrives does not begin
    call = plan(stub, ending, seconds=0.01, is_large=is_large)
    if ending not in (CallEnding.HANGS, CallEnding.LATE_ANSWER, CallEnding.LATE_GARBAGE):
        stub.history.function_seconds, stub.history.timeout_seconds = 50.0, 60.0
    track = stub.history.tracks[ACCOUNT.account, WHOLE]
    whole = encode_call_head(call) + encode_request(call)
    async with WireConnection(endpoint) as connection:
        await connection.send(whole[:-1])
        await asyncio.sleep(0.02)
        assert track.highest == 0
        await connection.send(whole[-1:])
        await eventually(lambda: track.highest == 1, "the call does not run")
        stub.history.clock = monotonic
        if ending is CallEnding.HANGS:  # it is the gateway that gives up
            await asyncio.sleep(0.45)
            connection.hang_up()
        try:
            answer = await connection.read_answer()
        except ValueError:
            answer = None  # garbage
        stub.history.expire(monotonic())
        assert (track.running, track.highest) == (0, 1)
    is_answered = answer is not None and answer.is_whole
    assert is_answered == (ending in (CallEnding.ANSWERS, CallEnding.TRICKLES, CallEnding.LATE_ANSWER))


async def test_a_function_runs_on_when_the_gateway_hangs_up(backend: tuple[RecordingBackend, HostPort]) -> None:
    stub, endpoint = backend
    stub.history.function_seconds, stub.history.timeout_seconds = 50.0, 60.0
    call = plan(stub, CallEnding.ANSWERS, seconds=30)
    async with WireConnection(endpoint) as connection:
        await connection.send(encode_call_head(call) + encode_request(call))
        await call.arrived.wait()
        connection.reset()
    assert stub.history.tracks[ACCOUNT.account, WHOLE].running == 1


async def test_what_nobody_sent_is_noted(backend: tuple[RecordingBackend, HostPort]) -> None:
    stub, endpoint = backend
    never_opened = PlannedCall("x", POOL, "prove-one")
    async with WireConnection(endpoint) as connection:
        await connection.send(encode_call_head(never_opened) + encode_request(never_opened))
        assert await connection.read_answer() is not None
    assert stub.history.violations.counts == {Violation.NOT_WHOLE: 1}
