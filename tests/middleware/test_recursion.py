"""Which invocations are stopped as turns of a loop, and what becomes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from invoke_gateway.exchange import Exchange
from invoke_gateway.middleware.recursion import Recursion
from invoke_gateway.policy.concurrency import Plan
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from invoke_gateway.policy.recursion import hash_function
from invoke_gateway.refusals import Refusal
from tests.middleware.stages import Inside, drive, make_exchange
from tests.support.sockets import Gateway, gateway

LIMITS = Limits(
    AccountLimits("000000000000", 10, {"allowed": FunctionLimits(may_recurse=True), "kept": FunctionLimits(2)}),
    {"111122223333": AccountLimits("111122223333", 10)},
)
OVER = ("x-amzn-trace-id", "Root=1-a;Lineage=17:d0782663:0")
EVENT = ("x-amz-invocation-type", "Event")


def path_of(function: str, operation: str = "invocations") -> str:
    return f"/2015-03-31/functions/{function}/{operation}"


@dataclass
class Driven:
    exchange: Exchange
    went_on: bool
    told: list[Plan] = field(default_factory=list)


async def run(path: str, *headers: tuple[str, str], queues_events: bool = True) -> Driven:
    inside = Inside()
    exchange = make_exchange(path, headers)
    if exchange.invocation is not None:
        function = exchange.invocation.function
        exchange.plan = LIMITS.of(function.account).plan(function.name)
    told: list[Plan] = []
    stage = Recursion(
        inside, region="us-east-1", limits=lambda: LIMITS, on_recursive=told.append, queues_events=queues_events
    )
    await drive(stage, exchange)
    return Driven(exchange, bool(inside.exchanges), told)


def lineage(count: int, function: str, account: str = "000000000000") -> tuple[str, str]:
    return "x-amzn-trace-id", f"Root=1-a;Lineage={count}:{hash_function('us-east-1', account, function).decode()}:0"


@pytest.mark.parametrize("operation", ["invocations", "response-streaming-invocations"])
@pytest.mark.parametrize("function", ["checkout", "kept", "arn:aws:lambda:us-east-1:111122223333:function:checkout:7"])
async def test_a_call_beyond_the_bound_is_refused_and_counted(function: str, operation: str) -> None:
    driven = await run(path_of(function, operation), OVER)
    assert not driven.went_on
    assert driven.exchange.refusal is Refusal.RECURSIVE
    assert driven.exchange.refusal_values == {"function": "kept" if function == "kept" else "checkout"}
    assert driven.told == [driven.exchange.plan]
    assert not driven.exchange.is_recursive


async def test_a_function_that_may_loop_is_not_stopped() -> None:
    driven = await run(path_of("allowed"), OVER)
    assert (driven.went_on, driven.exchange.refusal, driven.told) == (True, None, [])


@pytest.mark.parametrize("queues_events", [True, False])
@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("x-amzn-trace-id", ""),),
        (("x-amzn-trace-id", "Root=1-a;Lineage=99:unreadable"),),
        (lineage(15, "checkout"),),
        (lineage(16, "other"),),
        (lineage(16, "checkout", "111122223333"),),
        (OVER, ("x-amz-invocation-type", "DryRun")),
    ],
)
async def test_all_else_goes_on(headers: tuple[tuple[str, str], ...], queues_events: bool) -> None:
    """A chain below the bound, or at it with another function or account; a dry run, which runs nothing."""
    driven = await run(path_of("checkout"), *headers, queues_events=queues_events)
    assert (driven.went_on, driven.exchange.refusal, driven.told) == (True, None, [])
    assert not driven.exchange.is_recursive


async def test_what_is_no_invocation_goes_on() -> None:
    assert (await run("/2015-03-31/functions", OVER)).went_on


@pytest.mark.parametrize("version", ["checkout", "checkout:7", "checkout:live"])
async def test_all_versions_of_a_function_count_as_one(version: str) -> None:
    assert (await run(path_of(version), lineage(16, "checkout"))).exchange.refusal is Refusal.RECURSIVE


@pytest.mark.parametrize(("operation", "headers"), [("invocations", (EVENT,)), ("invoke-async", ())])
async def test_an_event_that_is_queued_is_marked_and_accepted(
    operation: str, headers: tuple[tuple[str, str], ...]
) -> None:
    """It is counted now: nobody else sees that it is dropped."""
    driven = await run(path_of("checkout", operation), OVER, *headers)
    assert driven.went_on
    assert driven.exchange.is_recursive
    assert driven.exchange.refusal is None
    assert len(driven.told) == 1


async def test_an_event_that_goes_to_the_backend_as_it_is_is_refused() -> None:
    """The backend would run it."""
    driven = await run(path_of("checkout"), OVER, EVENT, queues_events=False)
    assert not driven.went_on
    assert driven.exchange.refusal is Refusal.RECURSIVE
    assert not driven.exchange.is_recursive


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(metric_functions=1, accounts={"default": {"functions": {"checkout": {}}}}) as started:
        yield started


def test_boto3_inside_a_function_raises_the_typed_exception(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends on what the runtime gave it; the stopped calls are counted."""
    ours = hash_function("us-east-1", "000000000000", "checkout").decode()
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "probe")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root=1-a;Lineage={ours}:16|d0782663:2")
    with contextlib.closing(served.boto3()) as client:
        for method in (client.invoke, client.invoke_with_response_stream):
            with pytest.raises(client.exceptions.RecursiveInvocationException) as raised:
                method(FunctionName="checkout")
            response = raised.value.response
            assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
            assert response["ResponseMetadata"]["RetryAttempts"] == 0
            assert response["Type"] == "User"
            assert "checkout" in response["Message"]
            assert "recursive_loop" in response["Message"]
        assert client.invoke(FunctionName="report")["StatusCode"] == 200
        monkeypatch.setenv("_X_AMZN_TRACE_ID", "Lineage=17:d0782663:2")
        with pytest.raises(ClientError):
            client.invoke(FunctionName="report")
    samples: dict[str, Any] = served.metrics()
    for function, count in {"checkout": 2, "other": 1}.items():
        name = f'recursive_invocations_dropped_total{{account="000000000000",function="{function}"}}'
        assert samples[name] == count
    assert samples['refusals_total{error="RecursiveInvocationException"}'] == 3
