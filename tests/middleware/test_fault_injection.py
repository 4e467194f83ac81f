"""The two stages of fault scripts, driven with plain values; the sleep is ours."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.asgi import INJECTED, App, Receive, Scope, Send
from invoke_gateway.exchange import Exchange
from invoke_gateway.middleware.fault_injection import FaultInjection, InjectedDelay
from invoke_gateway.policy.concurrency import Plan
from invoke_gateway.policy.fault_script import FaultScripts, FaultStep, Injected
from invoke_gateway.policy.invoke_errors import find_error
from invoke_gateway.policy.limits import DEFAULT_ACCOUNT, AccountLimits
from tests.middleware.stages import Driven, Inside, drive, make_exchange

ERROR = find_error("EC2ThrottledException")


class Sleep:
    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


class Bench:
    """An `FaultInjection` with scripts of its own before `app`; what it tells, and how long it sleeps."""

    def __init__(self, *steps: FaultStep, app: App | None = None, **options: Any) -> None:
        self.scripts = FaultScripts()
        self.scripts.add(DEFAULT_ACCOUNT, "echo", steps)
        self.told: list[tuple[str, ...]] = []
        self.inside = Inside()
        self.sleep = Sleep()
        self.stage = FaultInjection(
            app or self.inside,
            scripts=self.scripts,
            on_injected=self._on_injected,
            region="us-east-1",
            sleep=self.sleep,
            **options,
        )

    def _on_injected(self, plan: Plan, injected: Injected) -> None:
        assert plan.account == DEFAULT_ACCOUNT
        self.told.append(injected.step.faults)

    async def drive(self, exchange: Exchange | None = None) -> Driven:
        return await drive(self.stage, exchange or invocation())


def invocation(path: str = "/2015-03-31/functions/echo/invocations") -> Exchange:
    exchange = make_exchange(path)
    assert exchange.invocation is not None
    exchange.plan = AccountLimits(DEFAULT_ACCOUNT, 5).plan(exchange.invocation.function.name)
    return exchange


class Answers:
    """The rest of the chain: sends a response in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.has_finished = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.has_finished = True


def sent_body(driven: Driven) -> tuple[bytes, bool]:
    """All of the body, and whether it was ended."""
    bodies = driven.sent[1:]
    return b"".join(message["body"] for message in bodies), not bodies[-1].get("more_body", False)


async def test_an_error_is_noted_before_anything_is_read_or_taken() -> None:
    bench = Bench(FaultStep(error=ERROR))
    driven = await bench.drive()
    assert driven.exchange.refusal is ERROR
    assert (driven.reads, driven.sent, bench.inside.exchanges) == (0, [], [])
    assert bench.told == [("EC2ThrottledException",)]


async def test_an_error_that_is_late_is_noted_after_the_time() -> None:
    bench = Bench(FaultStep(error=ERROR, latency_seconds=2))
    exchange = invocation()
    driven = await bench.drive(exchange)
    assert driven.exchange.refusal is ERROR
    assert bench.sleep.slept == [2]


@pytest.mark.parametrize(
    ("path", "arn"),
    [
        ("echo", "arn:aws:lambda:us-east-1:000000000000:function:echo:$LATEST"),
        ("echo:live", "arn:aws:lambda:us-east-1:000000000000:function:echo:live"),
        ("111122223333:echo", "arn:aws:lambda:us-east-1:111122223333:function:echo:$LATEST"),
        (
            "arn:aws-cn:lambda:us-east-1:111122223333:function:echo",
            "arn:aws-cn:lambda:us-east-1:111122223333:function:echo:$LATEST",
        ),
    ],
)
async def test_a_function_that_is_not_found_is_named_as_aws_names_it(path: str, arn: str) -> None:
    bench = Bench(FaultStep(error=find_error("ResourceNotFoundException")))
    driven = await bench.drive(invocation(f"/2015-03-31/functions/{path}/invocations"))
    assert driven.exchange.refusal_values == {"arn": arn}


async def test_what_is_no_invocation_takes_no_step() -> None:
    bench = Bench(FaultStep(error=ERROR))
    await bench.drive(Exchange(0.0))
    assert len(bench.inside.exchanges) == 1
    assert bench.scripts.all()[0].calls == 0


async def test_a_call_that_passes_finds_everything_as_without_a_script() -> None:
    bench = Bench(FaultStep(1), app=Answers(b"abc"))
    driven = await bench.drive()
    assert driven.head["headers"] == [(b"a", b"b")]
    assert sent_body(driven) == (b"abc", True)
    assert bench.told == []


@pytest.mark.parametrize(
    ("pieces", "limit", "body", "is_whole"),
    [
        ((b"abcdef",), 3, b"abc", False),
        ((b"abcdef",), 0, b"", False),
        ((b"abcdef",), 5, b"abcde", False),
        ((b"abcdef",), 6, b"abcdef", True),
        ((b"abcdef",), 7, b"abcdef", True),
        ((b"ab", b"cd", b"ef"), 3, b"abc", False),
        ((b"ab", b"cd", b"ef"), 4, b"abcd", False),
        ((b"ab", b"cd"), 4, b"abcd", True),
        ((), 0, b"", True),
    ],
)
async def test_a_response_that_is_longer_is_cut_to_the_byte_and_never_ended(
    pieces: tuple[bytes, ...], limit: int, body: bytes, is_whole: bool
) -> None:
    app = Answers(*pieces)
    driven = await Bench(FaultStep(cut_after_bytes=limit), app=app).drive()
    assert sent_body(driven) == (body, is_whole)
    assert app.has_finished == is_whole


@pytest.mark.parametrize("step", [FaultStep(cut_after_bytes=1), FaultStep(latency_seconds=1)])
async def test_a_response_to_which_something_is_done_says_so_unless_the_header_is_off(step: FaultStep) -> None:
    driven = await Bench(step, app=Answers(b"a")).drive()
    assert driven.header(b"x-invoke-gateway-decision") == b'fault-script="1", step=1'
    driven = await Bench(step, app=Answers(b"a"), decision_header=False).drive()
    assert driven.header(b"x-invoke-gateway-decision") is None


def delayed(app: App, sleep: Sleep, step: FaultStep | None) -> App:
    async def stage(scope: Scope, receive: Receive, send: Send) -> None:
        if step is not None:
            scope[INJECTED] = Injected("1", 1, step)
        await InjectedDelay(app, sleep=sleep)(scope, receive, send)

    return stage


@pytest.mark.parametrize(
    ("step", "slept", "seconds"),
    [(None, [], 1.0), (FaultStep(cut_after_bytes=1), [], 1.0), (FaultStep(latency_seconds=2.5), [2.5], 3.5)],
)
async def test_a_late_call_waits_before_the_backend_and_counts_as_slow(
    step: FaultStep | None, slept: list[float], seconds: float
) -> None:
    sleep = Sleep()

    def take_a_second(exchange: Exchange) -> None:
        assert sleep.slept == slept
        exchange.backend_seconds = 1.0

    driven = await drive(delayed(Inside(take_a_second), sleep, step))
    assert driven.exchange.backend_seconds == seconds


async def test_a_late_call_that_never_reached_the_backend_has_no_duration() -> None:
    driven = await drive(delayed(Inside(), Sleep(), FaultStep(latency_seconds=1)))
    assert driven.exchange.backend_seconds is None
