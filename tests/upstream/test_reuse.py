"""A connection is used again only while both sides agree on it, and no request is ever sent twice."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.backends import BackendCall, BackendConnection, Gate, ScriptedBackend, response, says
from tests.support.clients import Client, call, check_is_service_exception, invoke, invoke_path
from tests.support.gateways import GatewayUnderTest, eventually, serving
from tests.support.lateness import check_lasted

from .backend_errors import RESET

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH_LOOPS = True
LARGE = 48_000_000  # bytes: more than sockets hold on their way
SETTINGS = {"backend": {"timeout_seconds": 3, "keep_alive_seconds": 2}, "quotas": {"request": LARGE}}


def connections_used(backend: ScriptedBackend) -> list[int]:
    return [request.connection.number for request in backend.requests]


async def test_one_connection_serves_call_after_call(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    for _ in range(5):
        assert (await invoke(gateway.listen)).status == 200
    assert connections_used(backend) == [0] * 5


async def test_calls_that_overlap_have_connections_of_their_own(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    backend.script = gate = Gate()
    calls = [asyncio.create_task(invoke(gateway.listen)) for _ in range(10)]
    await backend.until(lambda backend: len(backend.requests) == 10)
    assert (gateway.app.pool.busy, gateway.app.pool.idle) == (10, 0)
    gate.open()
    await asyncio.gather(*calls)
    assert sorted(connections_used(backend)) == list(range(10))
    assert (gateway.app.pool.busy, gateway.app.pool.idle) == (0, 10)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(response(200, b"hello", {"Connection": "close"}), id="it says close"),
        pytest.param(response(200, b"hello").replace(b"HTTP/1.1", b"HTTP/1.0"), id="it speaks HTTP/1.0"),
        pytest.param(response(200, b"hello", {"Keep-Alive": "timeout=0"}), id="it keeps it for no time"),
    ],
)
async def test_a_connection_that_the_backend_does_not_keep_is_not_used_again(
    gateway: GatewayUnderTest, backend: ScriptedBackend, first: bytes
) -> None:
    backend.script = says(first)
    assert (await invoke(gateway.listen)).body == b"hello"
    backend.script = says(response(200, b"other"))
    assert (await invoke(gateway.listen)).body == b"other"
    assert connections_used(backend) == [0, 1]


async def test_a_connection_closed_between_two_requests_is_replaced(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    await invoke(gateway.listen)
    await backend.close_connections()
    await eventually(lambda: gateway.app.pool.idle == 0, "the gateway sees the end of the connection")
    assert (await invoke(gateway.listen)).status == 200
    assert connections_used(backend) == [0, 1]


async def test_a_backend_that_closes_after_every_response_never_costs_a_request(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """Its close is on its way before the client can have sent the next request."""

    async def script(call: BackendCall) -> None:
        call.answer()
        call.close()

    backend.script = script
    for number in range(20):
        assert (await invoke(gateway.listen)).status == 200
        assert len(backend.requests) == number + 1


async def test_a_request_that_may_have_been_received_is_not_sent_again(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """The stale connection that no pool can foresee: the backend closes it as the request arrives."""
    await invoke(gateway.listen)

    async def script(call: BackendCall) -> None:
        call.close()

    backend.on_head = script
    check_is_service_exception(await invoke(gateway.listen), RESET)
    await asyncio.sleep(0.05)  # a second attempt would need a moment
    assert len(backend.connections) == 1
    assert connections_used(backend) == [0]


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", b"x", b"\r\n"])
async def test_unasked_bytes_on_an_idle_connection_end_it(
    gateway: GatewayUnderTest, backend: ScriptedBackend, unasked: bytes
) -> None:
    await invoke(gateway.listen)
    backend.connections[0].writer.write(unasked)
    await eventually(lambda: gateway.app.pool.idle == 0, "the gateway drops the connection", timeout=1)
    backend.script = says(response(200, b"its own"))
    assert (await invoke(gateway.listen)).body == b"its own"
    assert connections_used(backend) == [0, 1]


@pytest.mark.parametrize(
    ("idle_seconds", "announced", "expected"),
    [
        (1.5, None, [0, 0]),  # half a second less than its limit: real time passes, too
        (2.1, None, [0, 1]),
        (0.3, "timeout=1", [0, 0]),
        (0.9, "timeout=1", [0, 1]),
        (0.9, "max=5, timeout=1", [0, 1]),
        (1.5, "timeout=60", [0, 0]),
        (2.1, "timeout=60", [0, 1]),
        (1.5, "timeout=soon", [0, 0]),
    ],
)
async def test_an_idle_connection_is_trusted_for_less_time_than_either_side_keeps_it(
    gateway: GatewayUnderTest,
    backend: ScriptedBackend,
    idle_seconds: float,
    announced: str | None,
    expected: list[int],
) -> None:
    backend.script = says(response(200, b"hello", {"Keep-Alive": announced} if announced else {}))
    await invoke(gateway.listen)
    (connection,) = gateway.app.pool._idle
    connection.idle_since -= idle_seconds  # as if so much time had passed
    backend.script = says(response())
    await invoke(gateway.listen)
    assert [connection.number for connection in backend.connections] == sorted(set(expected))


async def test_idle_connections_are_closed_in_time() -> None:
    async with (
        ScriptedBackend() as backend,
        serving(backend.url, backend={"url": backend.url, "keep_alive_seconds": 0.1}) as gateway,
    ):
        began = time.monotonic()
        await invoke(gateway.listen)
        async with asyncio.timeout(60):
            await backend.connections[0].closed.wait()
        check_lasted(began, 0.1)
        assert gateway.app.pool.idle == 0


async def test_with_a_keep_alive_of_0_each_connection_is_used_once() -> None:
    async with (
        ScriptedBackend() as backend,
        serving(backend.url, backend={"url": backend.url, "keep_alive_seconds": 0}) as gateway,
    ):
        async with Client(gateway.listen) as client:
            for _ in range(20):
                assert (await client.call(invoke_path("checkout"))).status == 200
        assert connections_used(backend) == list(range(20))


async def test_a_response_that_comes_before_the_whole_request_was_taken_ends_the_connection(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """What is left of the request would be the start of the next one."""

    async def refuses_early(call: BackendCall) -> None:
        call.answer(413, b'"too large"')
        await call.stay()

    backend.on_head = refuses_early
    answer = await invoke(gateway.listen, body=b'"' + b"x" * (LARGE - 2) + b'"')
    assert (answer.status, answer.body) == (413, b'"too large"')
    assert gateway.app.pool.idle == 0
    backend.on_head = None
    assert (await call(gateway.listen, invoke_path("other"))).status == 200
    assert [connection.number for connection in backend.connections] == [0, 1]


async def test_a_connection_that_the_backend_resets_at_once_is_a_fault_and_leaves_nothing(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def reset(connection: BackendConnection) -> None:
        connection.reset()

    backend.on_connection = reset
    for _ in range(20):
        answer = await invoke(gateway.listen)
        assert answer.status == 500
        assert gateway.what_is_held().keys() <= {"requests"}
    assert backend.requests == []
