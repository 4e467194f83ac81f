"""Slots that callers beside the gateway use are no part of the pool, whoever counts them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from invoke_gateway.outside import watch
from tests.support.backends import BackendCall, ScriptedBackend
from tests.support.clients import call, invoke_path
from tests.support.gateways import GatewayUnderTest, eventually, make_settings, serving


class HoldingBackend(ScriptedBackend):
    """Answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.on_head = self._answer

    async def _answer(self, call: BackendCall) -> None:
        await call.read_body()
        await self.may_answer.wait()
        call.answer()


async def count_admitted(gateway: GatewayUnderTest, backend: HoldingBackend, calls: int) -> int:
    """Sends so many calls at once, and returns how many were admitted."""
    backend.may_answer.clear()
    under_way = [asyncio.create_task(call(gateway.listen, invoke_path("checkout"), b"{}")) for _ in range(calls)]
    await eventually(
        lambda: gateway.in_flight + sum(task.done() for task in under_way) == calls, "each call is decided"
    )
    backend.may_answer.set()
    answers = await asyncio.gather(*under_way)
    await gateway.settled()
    assert {answer.status for answer in answers} <= {200, 429}
    return sum(answer.status == 200 for answer in answers)


async def test_a_number_is_no_part_of_the_pool() -> None:
    account = {"concurrent_executions": 10, "outside_concurrency": 4, "requests_per_second": "off"}
    functions = {"functions": {"reserved": {"reserved_concurrent_executions": 3}}}
    async with (
        HoldingBackend() as backend,
        serving(backend.url, accounts={"default": {**account, **functions}}) as gateway,
    ):
        assert await count_admitted(gateway, backend, 6) == 3
        limits = await gateway.limits()
        assert (limits["concurrent_executions"], limits["outside_concurrency"]) == (10, 4)
        assert limits["unreserved"]["ceiling"] == 3
        changed = {"default": {**account, **functions, "outside_concurrency": 2}}
        await gateway.app.adopt(make_settings(backend.url, accounts=changed))
        assert await count_admitted(gateway, backend, 6) == 5
        assert await gateway.metric("outside_concurrency", account="000000000000") == 2


async def test_a_command_is_read_again_and_a_failure_keeps_the_last_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_TICK_SECONDS", 0.05)
    file = tmp_path / "slots"
    file.write_text("7")
    account = {"concurrent_executions": 10, "requests_per_second": "off", "outside_interval_seconds": 0.05}
    source = {"outside_concurrency": f"command:cat {file}"}

    async with (
        HoldingBackend() as backend,
        serving(backend.url, accounts={"default": {**account, **source}}) as gateway,
    ):

        def pool() -> int:
            return gateway.app.tables.limits.default.unreserved_concurrent_executions

        await eventually(lambda: pool() == 3, "the first number is in force")
        assert await count_admitted(gateway, backend, 5) == 3
        file.write_text("9")
        await eventually(lambda: pool() == 1, "the second number is in force")
        assert await count_admitted(gateway, backend, 5) == 1
        file.unlink()
        await eventually(lambda: gateway.app.degraded["outside_concurrency"], "the gateway is degraded")
        assert pool() == 1
        status = (await call(gateway.admin, "/status", None, method="GET", host="localhost")).json()
        (problem,) = [each for each in status["problems"] if each["cause"] == "outside_concurrency"]
        assert "the command cat ended with status 1; 9 stays in force" in problem["detail"]
        file.write_text("0")
        await eventually(lambda: pool() == 10, "the third number is in force")
        assert not gateway.app.degraded["outside_concurrency"]
        await gateway.app.adopt(make_settings(backend.url, accounts={"default": account}))
        assert gateway.app.outside._task is None
        assert pool() == 10


async def test_calls_in_flight_keep_their_slots_when_the_pool_becomes_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_TICK_SECONDS", 0.05)
    file = tmp_path / "slots"
    file.write_text("0")
    account = {"concurrent_executions": 4, "requests_per_second": "off", "outside_interval_seconds": 0.05}
    source = {"outside_concurrency": f"command:cat {file}"}
    async with (
        HoldingBackend() as backend,
        serving(backend.url, accounts={"default": {**account, **source}}) as gateway,
    ):
        await eventually(lambda: gateway.app.outside.watch.slots, "the first number is read")
        running = [asyncio.create_task(call(gateway.listen, invoke_path("checkout"), b"{}")) for _ in range(3)]
        await eventually(lambda: gateway.in_flight == 3, "three calls run")
        file.write_text("3")
        await eventually(
            lambda: gateway.app.tables.limits.default.unreserved_concurrent_executions == 1, "the pool has one slot"
        )
        assert (await call(gateway.listen, invoke_path("checkout"), b"{}")).status == 429
        assert gateway.in_flight == 3
        backend.may_answer.set()
        assert {answer.status for answer in await asyncio.gather(*running)} == {200}
        await gateway.settled()
        assert (await call(gateway.listen, invoke_path("checkout"), b"{}")).status == 200
