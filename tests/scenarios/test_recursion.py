"""Functions that call one another through the gateway, and are stopped where they do so for ever."""

from __future__ import annotations

import pytest

from invoke_gateway.policy.recursion import hash_function
from tests.support.backends import BackendCall, Script, ScriptedBackend
from tests.support.clients import Response, call, invoke_path
from tests.support.gateways import GatewayUnderTest, eventually, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALLOWED = {"functions": {"allowed": {"recursive_loop": "Allow"}, "reserved": {"reserved_concurrent_executions": 20}}}
SETTINGS = {"accounts": {"default": {"requests_per_second": "off", **ALLOWED}}}

STARTS = [
    None,
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
    "Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=1:d0782663:0",
    "root=1-5759e988-bd862e3fe1be46a994272793;lineage=a87bd80c:1|68fd508a:5;self=1-x",
]


def calls_on(gateway: GatewayUnderTest, functions: dict[str, str], most: int = 60) -> Script:
    """Each function calls another through the gateway, with the trace header that it got; its answer is the other's."""

    async def script(arrived: BackendCall) -> None:
        function = arrived.function or ""
        trace = arrived.header(b"x-amzn-trace-id")
        assert trace is not None, "every invocation has a trace header"
        if function not in functions or len(arrived.backend.requests) >= most:
            arrived.answer(200, b'"the end"')
            return
        inner = await invoke(gateway, functions[function], trace.decode())
        arrived.answer(200 if inner.status == 400 else inner.status, inner.body)

    return script


async def invoke(gateway: GatewayUnderTest, function: str, trace: str | None = None, **headers: str) -> Response:
    given = {**headers, **({"X-Amzn-Trace-Id": trace} if trace is not None else {})}
    return await call(gateway.listen, invoke_path(function), b"{}", given)


def ran(backend: ScriptedBackend) -> list[str | None]:
    return [arrived.function for arrived in backend.requests]


@pytest.mark.parametrize("trace", STARTS)
@pytest.mark.parametrize("function", ["checkout", "reserved"])
async def test_a_function_that_calls_itself_runs_16_times(
    gateway: GatewayUnderTest, backend: ScriptedBackend, function: str, trace: str | None
) -> None:
    backend.script = calls_on(gateway, {function: function})
    answer = await invoke(gateway, function, trace)
    assert ran(backend) == [function] * 16
    assert answer.json()["Type"] == "User"
    assert function in answer.json()["Message"]
    assert gateway.in_flight == 0


@pytest.mark.parametrize("trace", STARTS)
async def test_two_functions_that_call_each_other_run_16_times_each(
    gateway: GatewayUnderTest, backend: ScriptedBackend, trace: str | None
) -> None:
    backend.script = calls_on(gateway, {"first": "second", "second": "first"})
    answer = await invoke(gateway, "first", trace)
    assert ran(backend) == ["first", "second"] * 16
    assert "first" in answer.json()["Message"]


async def test_a_function_that_may_loop_is_never_stopped_and_others_are_not_for_it(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    backend.script = calls_on(gateway, {"allowed": "allowed"}, most=40)
    answer = await invoke(gateway, "allowed")
    assert ran(backend) == ["allowed"] * 40
    assert answer.body == b'"the end"'
    trace = (backend.requests[-1].header(b"x-amzn-trace-id") or b"").decode()
    assert (await invoke(gateway, "checkout", trace)).status == 200


async def test_a_long_chain_of_different_functions_is_no_loop(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    backend.script = calls_on(gateway, {f"f{number}": f"f{number + 1}" for number in range(50)})
    assert (await invoke(gateway, "f0")).body == b'"the end"'
    assert len(backend.requests) == 51


async def test_separate_calls_of_one_function_are_no_loop(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    """Each begins a chain of its own; so do those of a client that traces them under one root without a lineage."""
    for trace in [None] * 20 + ["Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"] * 20:
        assert (await invoke(gateway, "checkout", trace)).status == 200
    roots = [(arrived.header(b"x-amzn-trace-id") or b"").partition(b";")[0] for arrived in backend.requests]
    assert len(set(roots)) == 21


async def test_a_lineage_that_cannot_be_read_goes_on_untouched(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    trace = "ROOT=1-a; X=y;Lineage=99:nobody-reads-this:0;;Self"
    for _ in range(20):
        assert (await invoke(gateway, "checkout", trace)).status == 200
    assert {arrived.header(b"x-amzn-trace-id") for arrived in backend.requests} == {trace.encode()}


async def test_a_loop_that_others_let_go_on_is_stopped_whoever_counted_it(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    for lineage in ("17:d0782663:0", "a87bd80c:1|d0782663:17"):
        assert (await invoke(gateway, "checkout", f"Lineage={lineage}")).status == 400
    assert backend.requests == []


async def test_a_streaming_call_is_counted_as_well(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    await counts(gateway, backend, "response-streaming-invocations")


async def test_an_event_that_the_backend_gets_as_it_is_is_counted_as_well() -> None:
    async with ScriptedBackend() as backend, serving(backend.url, **{"async": {"mode": "forward"}}) as gateway:
        await counts(gateway, backend, "invoke-async")


async def counts(gateway: GatewayUnderTest, backend: ScriptedBackend, operation: str) -> None:
    path = f"/2021-11-15/functions/checkout/{operation}"
    ours = hash_function("us-east-1", "000000000000", "checkout").decode()
    assert (await call(gateway.listen, path, b"{}", {"X-Amzn-Trace-Id": f"Lineage=15:{ours}:0"})).status == 200
    assert backend.requests[0].header(b"x-amzn-trace-id") == f"Lineage=16:{ours}:0".encode()
    assert (await call(gateway.listen, path, b"{}", {"X-Amzn-Trace-Id": f"Lineage=16:{ours}:0"})).status == 400


async def test_a_function_that_sends_itself_events_runs_16_times_and_the_next_event_is_dropped(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    statuses = []

    async def script(arrived: BackendCall) -> None:
        trace = arrived.header(b"x-amzn-trace-id")
        assert trace is not None
        inner = await invoke(gateway, "checkout", trace.decode(), **{"X-Amz-Invocation-Type": "Event"})
        statuses.append(inner.status)
        arrived.answer(200, b"{}")

    backend.script = script
    before = dropped(gateway)
    assert (await invoke(gateway, "checkout", **{"X-Amz-Invocation-Type": "Event"})).status == 202
    await eventually(lambda: dropped(gateway) == before + 1 and len(statuses) == 16, "the last event is dropped")
    assert len(backend.requests) == 16
    assert statuses == [202] * 16


def dropped(gateway: GatewayUnderTest) -> int:
    return gateway.app.events.totals.drops["000000000000", "other", "RecursiveInvocation"]


async def test_what_is_no_invocation_has_the_header_that_it_came_with(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    await call(gateway.listen, "/2015-03-31/functions", b"{}", {"X-Amzn-Trace-Id": "Lineage=99:d0782663:0"})
    await call(gateway.listen, "/2015-03-31/functions", b"{}")
    traces = [arrived.header(b"x-amzn-trace-id") for arrived in backend.requests]
    assert traces == [b"Lineage=99:d0782663:0", None]


async def test_functions_that_are_each_others_destinations_are_a_loop_as_any_other() -> None:
    functions = {"one": {"on_success": "function:two"}, "two": {"on_success": "function:one"}}
    accounts = {"default": {"requests_per_second": "off", "functions": functions}}
    async with ScriptedBackend() as backend, serving(backend.url, accounts=accounts) as gateway:
        assert (await invoke(gateway, "one", **{"X-Amz-Invocation-Type": "Event"})).status == 202
        drops = gateway.app.events.totals.drops
        await eventually(lambda: bool(drops), "the chain ends")
        assert (ran(backend).count("one"), ran(backend).count("two")) == (16, 16)
        assert drops == {("000000000000", "one", "RecursiveInvocation"): 1}
