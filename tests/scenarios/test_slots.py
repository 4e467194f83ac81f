"""A slot is held from just before forwarding until the backend has finished: not longer, and not less."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backends import OK, BackendCall, Gate, ScriptedBackend, answer_ok, response, says
from tests.support.clients import Client, Response, call, invoke, invoke_path, request
from tests.support.gateways import GatewayUnderTest, eventually, stands_still

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 4
RESERVED = 1
SETTINGS = {
    "async": {"mode": "forward"},
    "backend": {"timeout_seconds": 10},
    "read_timeout_seconds": 10,
    "accounts": {
        "default": {
            "concurrent_executions": LIMIT,
            "requests_per_second": "off",
            "functions": {
                "reserved": {"reserved_concurrent_executions": RESERVED, "requests_per_second": "off"},
                "closed": {"reserved_concurrent_executions": 0},
            },
        }
    },
}
POOL = LIMIT - RESERVED
PATH = invoke_path("checkout")
ACCOUNT = ("000000000000", None)
OF_POOL = "ConcurrentInvocationLimitExceeded"
OF_RESERVATION = "ReservedFunctionConcurrentInvocationLimitExceeded"


def check_is_throttle(answer: Response, reason: str) -> None:
    assert answer.status == 429, answer
    assert answer.header("x-amzn-errortype") == "TooManyRequestsException"
    assert answer.json() == {"Reason": reason, "Type": "User", "message": "Rate Exceeded."}


async def filled(gateway: GatewayUnderTest, backend: ScriptedBackend, gate: Gate) -> list[asyncio.Task[Response]]:
    """Calls that take every slot of the unreserved pool and wait for `gate`."""
    backend.script = gate
    calls = [asyncio.create_task(invoke(gateway.listen)) for _ in range(POOL)]
    await backend.until(lambda backend: len(backend.requests) == POOL)
    return calls


# How many, and for whom.


async def test_a_call_that_has_ended_takes_no_slot(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    for _ in range(LIMIT + 1):
        assert (await invoke(gateway.listen)).status == 200
        assert gateway.in_flight == 0


async def test_exactly_as_many_calls_as_there_are_slots_run_at_once(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    gate = Gate()
    calls = await filled(gateway, backend, gate)
    for _ in range(3):
        check_is_throttle(await invoke(gateway.listen), OF_POOL)
    assert (await gateway.limits())["in_flight"] == POOL
    gate.open()
    assert [answer.status for answer in await asyncio.gather(*calls)] == [200] * POOL
    assert backend.highest[ACCOUNT] == POOL
    assert len(backend.requests) == POOL, "what is refused never reaches the backend"


async def test_one_call_that_ends_makes_room_for_one(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    gates = [Gate() for _ in range(POOL + 1)]

    async def script(call: BackendCall) -> None:
        await gates[len(backend.requests) - 1](call)

    backend.script = script
    calls = [asyncio.create_task(invoke(gateway.listen)) for _ in range(POOL)]
    await backend.until(lambda backend: len(backend.requests) == POOL)
    gates[0].open()
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    calls.append(asyncio.create_task(invoke(gateway.listen)))
    await backend.until(lambda backend: len(backend.requests) == POOL + 1)
    check_is_throttle(await invoke(gateway.listen), OF_POOL)
    for gate in gates:
        gate.open()
    assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
    assert backend.highest[ACCOUNT] == POOL


async def test_a_reservation_and_the_pool_lend_nothing_to_each_other(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    gate = Gate()
    calls = await filled(gateway, backend, gate)
    calls.append(asyncio.create_task(invoke(gateway.listen, "reserved")))
    await backend.until(lambda backend: len(backend.requests) == LIMIT)
    check_is_throttle(await invoke(gateway.listen, "reserved"), OF_RESERVATION)
    check_is_throttle(await invoke(gateway.listen, "other"), OF_POOL)
    check_is_throttle(await invoke(gateway.listen, "closed"), OF_RESERVATION)
    gate.open()
    await asyncio.gather(*calls)
    assert backend.highest[ACCOUNT] == LIMIT
    assert backend.highest["000000000000", "reserved"] == RESERVED


@pytest.mark.parametrize(("kind", "status"), [("Event", 202), ("DryRun", 204)])
async def test_event_and_dry_run_take_no_slot_and_need_none(
    gateway: GatewayUnderTest, backend: ScriptedBackend, kind: str, status: int
) -> None:
    gate = Gate()
    calls = await filled(gateway, backend, gate)
    backend.script = also = Gate(says(response(status, b"")))
    others = [
        asyncio.create_task(invoke(gateway.listen, function, b"{}", {"X-Amz-Invocation-Type": kind}))
        for function in ("checkout", "reserved", "closed")
    ]
    await backend.until(lambda backend: len(backend.requests) == POOL + 3)
    assert gateway.in_flight == POOL
    also.open()
    assert [answer.status for answer in await asyncio.gather(*others)] == [status] * 3
    gate.open()
    await asyncio.gather(*calls)


async def test_what_is_no_invocation_takes_no_slot_and_needs_none(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    gate = Gate()
    calls = await filled(gateway, backend, gate)
    backend.script = answer_ok
    assert (await call(gateway.listen, "/2015-03-31/functions", None, method="GET")).status == 200
    assert gateway.in_flight == POOL
    gate.open()
    await asyncio.gather(*calls)


async def test_pipelined_calls_on_one_connection_run_one_after_the_other(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async with Client(gateway.listen) as client:
        await client.send(request(PATH) * 10)
        assert [(await client.read_response()).status for _ in range(10)] == [200] * 10
    assert backend.highest[ACCOUNT] == 1
    assert len(backend.requests) == 10


# Before the backend has the call.


@pytest.mark.parametrize("leave", [Client.hang_up, Client.reset, Client.half_close])
@pytest.mark.parametrize("share", [0.1, 0.9], ids=["in its head", "in its body"])
async def test_a_client_that_leaves_before_its_request_is_whole_has_taken_nothing(
    gateway: GatewayUnderTest, backend: ScriptedBackend, leave: object, share: float
) -> None:
    whole = request(PATH, b'"' + b"x" * 1000 + b'"')
    async with Client(gateway.listen) as client:
        await client.send(whole[: int(len(whole) * share)])
        await eventually(lambda: gateway.client_connections == 1, "the gateway has accepted")
        leave(client)
        await eventually(lambda: gateway.client_connections == 0, "the gateway knows that the client has left")
    await gateway.settled()
    assert backend.requests == backend.broken == backend.connections == []


async def test_a_slow_upload_holds_no_slot(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    """Any number of them may crawl while others take every slot there is."""
    slow = request(PATH, b'"' + b"x" * 1000 + b'"')
    clients = [Client(gateway.listen) for _ in range(2 * LIMIT)]
    for client in clients:
        await client.__aenter__()
        await client.send(slow[:-1])
    await eventually(lambda: gateway.requests_under_way == 2 * LIMIT, "the gateway reads their bodies")
    assert gateway.in_flight == 0
    gate = Gate()
    calls = await filled(gateway, backend, gate)
    gate.open()
    assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
    for client in clients:
        await client.send(slow[-1:])
        assert (await client.read_response()).status == 200
        await client.__aexit__()


async def test_slots_that_go_while_a_body_arrives_are_gone(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    """Nothing was kept for it; what it is told is what is true when it asks."""
    slow = request(PATH, b'"' + b"x" * 1000 + b'"')
    async with Client(gateway.listen) as client:
        await client.send(slow[:-1])
        await eventually(lambda: gateway.requests_under_way == 1, "the gateway reads its body")
        gate = Gate()
        calls = await filled(gateway, backend, gate)
        await client.send(slow[-1:])
        check_is_throttle(await client.read_response(), OF_POOL)
        gate.open()
        await asyncio.gather(*calls)


async def test_a_request_sure_to_be_refused_is_refused_before_its_body_is_read(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    gate = Gate()
    calls = await filled(gateway, backend, gate)
    async with Client(gateway.listen) as client:
        await client.send(request(PATH, None, {"Content-Length": "100000"}))
        head = await client.read_head()
        assert head.status == 429
    gate.open()
    await asyncio.gather(*calls)


# While the backend works.


@pytest.mark.parametrize("leave", [Client.hang_up, Client.reset, Client.half_close])
async def test_hanging_up_keeps_the_slot_until_the_backend_ends(
    gateway: GatewayUnderTest, backend: ScriptedBackend, leave: object
) -> None:
    backend.script = gate = Gate()
    clients = [Client(gateway.listen) for _ in range(POOL)]
    for client in clients:
        await client.__aenter__()
        await client.send(request(PATH))
    await backend.until(lambda backend: len(backend.requests) == POOL)
    for client in clients:
        leave(client)
    await eventually(lambda: gateway.client_connections == 0, "the gateway knows that they have left")
    assert gateway.in_flight == backend.running[ACCOUNT] == POOL
    check_is_throttle(await invoke(gateway.listen), OF_POOL)
    gate.open()
    await gateway.settled()
    assert gateway.app.pool.idle == POOL, "the responses were read to their ends"
    assert (await invoke(gateway.listen)).status == 200
    for client in clients:
        await client.__aexit__()


async def test_a_client_that_times_out_and_tries_again_does_not_get_a_second_slot_for_the_first(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    backend.script = gate = Gate()
    async with Client(gateway.listen) as client:
        await client.send(request(invoke_path("reserved")))
        await backend.request(0)
    await eventually(lambda: gateway.client_connections == 0, "the gateway knows that the client has left")
    for _ in range(3):
        check_is_throttle(await invoke(gateway.listen, "reserved"), OF_RESERVATION)
    gate.open()
    await gateway.settled()
    assert backend.highest["000000000000", "reserved"] == 1


async def test_the_slot_is_held_to_the_last_byte_of_the_response(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """A head, or most of a body, is not the end."""
    steps = [asyncio.Event() for _ in range(2)]
    pieces = (OK + b"Content-Length: 10\r\n\r\n", b"12345", b"67890")

    async def script(call: BackendCall) -> None:
        await call.send(pieces[0])
        await steps[0].wait()
        await call.send(pieces[1])
        await steps[1].wait()
        call.end()
        call.write(pieces[2])

    backend.script = script
    calling = asyncio.create_task(invoke(gateway.listen))
    await backend.request(0)
    assert gateway.in_flight == 1
    steps[0].set()
    await eventually(lambda: gateway.app.buffers.in_use == 5, "half of the body has come")
    assert gateway.in_flight == 1
    steps[1].set()
    assert (await calling).body == b"1234567890"
    assert gateway.in_flight == 0


@pytest.mark.parametrize("leave", [Client.hang_up, Client.reset])
async def test_hanging_up_in_the_middle_of_a_response_keeps_the_slot_until_its_end(
    gateway: GatewayUnderTest, backend: ScriptedBackend, leave: object
) -> None:
    may_end = asyncio.Event()

    async def script(call: BackendCall) -> None:
        await call.send(OK + b"Content-Length: 100\r\n\r\n" + b"x" * 99)
        await may_end.wait()
        call.end()
        call.write(b"x")

    backend.script = script
    async with Client(gateway.listen) as client:
        await client.send(request(PATH))
        await eventually(lambda: gateway.app.buffers.in_use == 99, "most of the response has come")
        leave(client)
        await eventually(lambda: gateway.client_connections == 0, "the gateway knows that the client has left")
    assert gateway.in_flight == 1
    may_end.set()
    await gateway.settled()
    assert gateway.app.pool.idle == 1


# After the backend has ended.


async def test_a_client_that_reads_slowly_does_not_keep_its_slot(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """The response leaves the backend at the backend's speed and waits here."""
    size = 6_000_000
    backend.script = says(response(200, b"x" * size))
    async with Client(gateway.listen, receive_buffer=65_536) as client:
        await client.send(request(PATH))
        head = await client.read_head()
        assert gateway.in_flight == 0
        assert await stands_still(lambda: gateway.app.buffers.in_use) == size, "the client has taken next to nothing"
        assert (await invoke(gateway.listen)).status == 200
        received = 0
        async for piece in client.body_pieces(head):
            received += len(piece)
    assert received == size


@pytest.mark.parametrize("leave", [Client.hang_up, Client.reset])
async def test_a_client_that_leaves_in_its_response_leaves_nothing_behind(
    gateway: GatewayUnderTest, backend: ScriptedBackend, leave: object
) -> None:
    backend.script = says(response(200, b"x" * 6_000_000))
    async with Client(gateway.listen, receive_buffer=65_536) as client:
        await client.send(request(PATH))
        await client.read_head()
        leave(client)
        await gateway.settled()
    assert gateway.app.pool.idle == 1
