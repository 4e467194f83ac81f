"""At the ceiling of `buffer_bytes` responses take turns: the process does not swell, and every call comes to an end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.support.backends import BackendCall, Gate, ScriptedBackend, response, says
from tests.support.clients import Client, invoke, invoke_path, request, stream_path
from tests.support.gateways import GatewayUnderTest, stands_still

pytestmark = pytest.mark.asyncio(loop_scope="module")

CEILING = 16_000_000
RESPONSE = 6_000_000
CALLS = 10
READ = 262_144  # bytes: the most that one read of a connection brings
SETTINGS = {"backend": {"timeout_seconds": 20}, "buffer_bytes": CEILING}
MOST = CEILING + CEILING // 8 + RESPONSE + CALLS * READ


async def test_many_large_responses_at_once_all_arrive_whole(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    most = 0

    async def script(call: BackendCall) -> None:
        nonlocal most
        whole = response(200, call.body[1:2] * RESPONSE)
        for start in range(0, len(whole), READ):
            await call.send(whole[start : start + READ])
            most = max(most, gateway.app.buffers.in_use)

    backend.script = gate = Gate(script)
    calls = [asyncio.create_task(invoke(gateway.listen, body=b'"%d"' % number)) for number in range(CALLS)]
    await backend.until(lambda backend: len(backend.requests) == CALLS)
    gate.open()
    answers = await asyncio.gather(*calls)
    assert [answer.body for answer in answers] == [b"%d" % number * RESPONSE for number in range(CALLS)]
    assert most <= MOST


@pytest.mark.parametrize("path", [invoke_path("checkout"), stream_path("checkout")])
async def test_clients_that_take_nothing_do_not_make_the_process_swell(
    gateway: GatewayUnderTest, backend: ScriptedBackend, path: str
) -> None:
    backend.script = gate = Gate(says(response(200, b"x" * RESPONSE, chunked=True)))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(gateway.listen, receive_buffer=65_536)) for _ in range(CALLS)]
        for client in clients:
            await client.send(request(path))
        await backend.until(lambda backend: len(backend.requests) == CALLS)
        gate.open()
        assert await stands_still(lambda: gateway.app.buffers.in_use) <= MOST
        await asyncio.gather(*(client.read_response() for client in clients))


async def test_above_the_ceiling_a_new_request_is_told_so(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    gateway.app.buffers.reserve(CEILING)
    try:
        answer = await invoke(gateway.listen)
    finally:
        gateway.app.buffers.release(CEILING)
    assert (answer.status, answer.header("x-amzn-errortype")) == (503, "ServiceException")
    assert "buffer_bytes" in answer.json()["Message"]
    assert (await invoke(gateway.listen)).status == 200
    assert len(backend.requests) == 1
