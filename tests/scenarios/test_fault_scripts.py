"""What fault scripts do to slots, connections and buffers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.backends import BackendCall, Gate, ScriptedBackend, chunk
from tests.support.clients import Client, call, invoke, invoke_path, request, stream_path
from tests.support.gateways import GatewayUnderTest, eventually, serving
from tests.support.lateness import check_lasted

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS: dict[str, Any] = {"faults": True, "accounts": {"default": {"concurrent_executions": 3}}}
LATENCY = 0.4  # seconds


async def add(admin: Any, function: str | None, *steps: dict[str, Any]) -> None:
    body = json.dumps({"function": function, "steps": steps}).encode()
    answer = await call(admin, "/faults", body, {"Content-Type": "application/json"}, host="localhost")
    assert answer.status == 201, answer


async def test_an_error_takes_no_slot_and_reaches_no_backend(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """Also where the body is large, or bad: it is dealt with as for every refusal, and the connection lives on."""
    await add(gateway.admin, "checkout", {"error": "EC2ThrottledException", "repeat": 4})
    async with Client(gateway.listen) as client:
        for body in (b"{}", b"{bad", b'"' + b"x" * 3_000_000 + b'"', b"x" * 7_000_000):
            assert (await client.call(invoke_path("checkout"), body)).status == 502
            assert gateway.in_flight == 0
        assert (await client.call(invoke_path("checkout"))).status == 200
    assert len(backend.requests) == 1


async def test_a_late_call_holds_its_slot_and_others_are_throttled_meanwhile(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    await add(gateway.admin, "checkout", {"latency_seconds": LATENCY, "repeat": 3})
    loop = asyncio.get_running_loop()
    started = loop.time()
    late = [asyncio.create_task(invoke(gateway.listen)) for _ in range(3)]
    await eventually(lambda: gateway.in_flight == 3, "all slots are taken")
    assert (await invoke(gateway.listen, "report")).json()["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert backend.requests == []
    answers = await asyncio.gather(*late)
    check_lasted(started, LATENCY)
    assert [answer.status for answer in answers] == [200] * 3
    assert all((answer.header("x-invoke-gateway-decision") or "").startswith("fault-script=") for answer in answers)
    await gateway.settled()
    assert len(backend.requests) == 3


@pytest.mark.parametrize("path", [invoke_path("checkout"), stream_path("checkout")])
@pytest.mark.parametrize("leave", [Client.hang_up, Client.reset, Client.half_close])
async def test_a_client_that_hangs_up_during_a_latency_frees_its_slot_no_earlier(
    gateway: GatewayUnderTest, backend: ScriptedBackend, path: str, leave: Any
) -> None:
    """And the function runs all the same, as one whose caller has left."""
    gate = backend.script = Gate()
    await add(gateway.admin, "checkout", {"latency_seconds": LATENCY})
    loop = asyncio.get_running_loop()
    async with Client(gateway.listen) as client:
        sent = loop.time()
        await client.send(request(path))
        await eventually(lambda: gateway.in_flight == 1, "its slot is taken")
        leave(client)
        await eventually(lambda: gateway.client_connections == 0, "the gateway knows that the client has gone")
        assert gateway.in_flight == 1
        await backend.request(0)
        check_lasted(sent, LATENCY)
        assert gateway.in_flight == 1
        gate.open()
        await gateway.settled()


async def test_an_event_that_is_late_takes_no_slot(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    await add(gateway.admin, "checkout", {"latency_seconds": LATENCY})
    loop = asyncio.get_running_loop()
    started = loop.time()
    calling = asyncio.create_task(invoke(gateway.listen, headers={"X-Amz-Invocation-Type": "Event"}))
    await eventually(lambda: gateway.requests_under_way == 1, "it waits")
    assert gateway.in_flight == 0
    assert (await calling).status == 202
    check_lasted(started, LATENCY)


async def test_a_script_is_for_whoever_hands_an_event_over_and_its_run_takes_no_step(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """An error on the way in keeps nothing; a step of the next call is still there after the event has run."""
    event = {"X-Amz-Invocation-Type": "Event"}
    await add(
        gateway.admin,
        "checkout",
        {"error": "ServiceException"},
        {"cut_after_bytes": 0},
        {"error": "EC2ThrottledException"},
    )
    assert (await invoke(gateway.listen, headers=event)).status == 500
    handed_over = await invoke(gateway.listen, headers=event)
    assert (handed_over.status, handed_over.body) == (202, b""), "there is nothing of it to cut"
    ran = await backend.request(0)
    assert ran.header(b"x-amzn-requestid") == (handed_over.header("x-amzn-requestid") or "").encode()
    await gateway.settled()
    assert (await invoke(gateway.listen)).status == 502
    assert len(backend.requests) == 1


async def test_an_error_that_is_late_takes_no_slot_and_outlives_its_client(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    await add(gateway.admin, "checkout", {"error": "EFSMountTimeoutException", "latency_seconds": LATENCY, "repeat": 2})
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with Client(gateway.listen) as client, Client(gateway.listen) as leaving:
        for each in (client, leaving):
            await each.send(request(invoke_path("checkout"), b'"' + b"x" * 500_000 + b'"'))
        await eventually(lambda: gateway.requests_under_way == 2, "both wait")
        assert gateway.in_flight == 0
        leaving.reset()
        assert (await client.read_response()).status == 408
        check_lasted(started, LATENCY)
        assert (await client.call(invoke_path("checkout"))).status == 200
    await gateway.settled()
    assert len(backend.requests) == 1


async def test_a_call_that_is_refused_for_another_cause_has_taken_its_step(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """It says its own cause, not the script's."""
    await add(gateway.admin, "checkout", {"latency_seconds": 0.01}, {"error": "EFSIOException"})
    answer = await invoke(gateway.listen, body=b"{bad")
    assert (answer.status, answer.header("x-invoke-gateway-decision")) == (400, None)
    assert (await invoke(gateway.listen)).status == 410


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("path", [invoke_path("checkout"), stream_path("checkout")])
async def test_a_cut_response_has_exactly_those_bytes_and_its_connection_is_closed(
    gateway: GatewayUnderTest, backend: ScriptedBackend, path: str, is_chunked: bool
) -> None:
    body = bytes(range(256)) * 1024

    async def answer(call: BackendCall) -> None:
        call.answer(body=body, chunked=is_chunked)

    backend.script = answer
    for size in (0, 1, 40_960, 200_000, len(body) - 1):
        await add(gateway.admin, "checkout", {"cut_after_bytes": size})
        async with Client(gateway.listen) as client:
            response = await client.call(path)
            assert (response.status, response.is_whole, len(response.body)) == (200, False, size)
            assert response.body == body[:size]
            assert client.reader.at_eof()
    await add(gateway.admin, "checkout", {"cut_after_bytes": len(body)})
    response = await call(gateway.listen, path)
    assert (response.is_whole, response.body == body) == (True, True)


async def test_the_slot_of_a_cut_stream_follows_the_backend(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    may_end = asyncio.Event()

    async def answer(call: BackendCall) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 1000))
        await may_end.wait()
        call.end()
        await call.send(chunk(b"y" * 1000) + chunk(b""))

    backend.script = answer
    await add(gateway.admin, "checkout", {"cut_after_bytes": 10})
    response = await call(gateway.listen, stream_path("checkout"))
    assert (response.is_whole, response.body) == (False, b"x" * 10)
    assert (gateway.in_flight, gateway.requests_under_way) == (1, 0)
    may_end.set()
    await gateway.settled()
    assert gateway.app.pool.idle == 1  # the backend's response was read to its end: its connection is good


async def test_a_large_answer_that_is_cut_gives_its_bytes_back(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def answer(call: BackendCall) -> None:
        call.answer(body=b"x" * 5_000_000)

    backend.script = answer
    await add(gateway.admin, "checkout", {"cut_after_bytes": 4_000_000})
    response = await invoke(gateway.listen)
    assert (response.is_whole, len(response.body)) == (False, 4_000_000)
    await gateway.settled()
    assert gateway.app.buffers.in_use == 0


async def test_a_late_call_that_a_drain_cuts_off_gives_its_slot_back_and_reaches_no_backend() -> None:
    async with ScriptedBackend() as backend:
        async with serving(backend.url, faults=True, drain_seconds=0.2) as gateway, Client(gateway.listen) as client:
            await add(gateway.admin, "checkout", {"latency_seconds": 60})
            await client.send(request(invoke_path("checkout")))
            await eventually(lambda: gateway.in_flight == 1, "its slot is taken")
        assert gateway.app.counters.counts() == {}
        assert backend.requests == []


async def test_a_late_call_counts_as_slow(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    labels = {"account": "000000000000", "function": "other"}
    before = await gateway.metric("duration_seconds_sum", **labels)
    await add(gateway.admin, "checkout", {"latency_seconds": 0.1})
    await invoke(gateway.listen)
    assert await gateway.metric("duration_seconds_sum", **labels) - before >= 0.1
