"""Whether the backend is up: looked for now and then, and seen from the calls where there are any."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import pytest

from invoke_gateway.backend_errors import BackendError, BackendUnreachable
from invoke_gateway.buffers import Buffers
from invoke_gateway.upstream.health import BackendState, BackendWatch
from invoke_gateway.upstream.pool import Pool
from tests.support.gateways import eventually

ORIGIN = "http://backend:8080"


class FakePool:
    """A backend that is up or down, as the test says. `probes` counts connections that were tried for the look."""

    def __init__(self) -> None:
        self.answered_at = self.failed_at = -1.0
        self.is_up = True
        self.probes = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def probe(self) -> None:
        self.probes += 1
        await self.gate.wait()
        if not self.is_up:
            raise BackendUnreachable("Connection refused")


@contextlib.asynccontextmanager
async def looking(pool: FakePool, *, up_seconds: float = 0.02) -> AsyncIterator[BackendWatch]:
    watch = BackendWatch(BackendState(ORIGIN), pool, up_seconds=up_seconds, down_seconds=0.01)
    work = asyncio.create_task(watch.keep_checking())
    try:
        yield watch
        assert not work.done(), work
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def test_it_is_unknown_until_it_was_looked_for() -> None:
    state = BackendState(ORIGIN)
    assert state.describe() == {"backend": "unknown"}
    pool = FakePool()
    await BackendWatch(state, pool).settle(5)
    assert state.describe() == {"backend": "up"}
    await BackendWatch(state, pool).settle(5)
    assert pool.probes == 1, "what is known is not looked for again"


async def test_changes_are_logged_once_each_and_the_first_look_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pool = FakePool()
    async with looking(pool) as watch:
        await eventually(lambda: watch.state.is_up, "up")
        assert caplog.messages == []
        pool.is_up = False
        await eventually(lambda: watch.state.is_up is False, "down")
        seen = pool.probes
        await eventually(lambda: pool.probes > seen + 3, "it is looked for while it is down")
        assert watch.state.describe() == {
            "backend": "down",
            "backend_error": "The backend refused the connection. Check that it runs and that backend.url is right. "
            "(Connection refused)",
        }
        pool.is_up = True
        await eventually(lambda: watch.state.is_up, "up again")
    down, up = caplog.messages
    assert down.startswith(f"backend {ORIGIN} is down: The backend refused the connection.")
    assert up.startswith(f"backend {ORIGIN} is up again, after ")


async def test_a_state_that_a_supervisor_logs_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    state = BackendState(ORIGIN, is_logged=False)
    state.record_up()
    state.record_down("why")
    state.record_up()
    assert caplog.messages == []


async def test_calls_that_are_answered_are_as_good_as_a_look() -> None:
    pool = FakePool()
    pool.is_up = False  # to new connections, as where a backend takes one at a time
    pool.answered_at = float("inf")
    async with looking(pool) as watch:
        await eventually(lambda: watch.state.is_up, "up")
        assert pool.probes == 0


async def test_a_call_without_a_connection_hastens_the_look() -> None:
    pool = FakePool()
    async with looking(pool, up_seconds=600) as watch:
        watch.record_failure()
        await eventually(lambda: pool.probes == 1, "a look")
        pool.is_up = False
        for _ in range(100):
            watch.record_failure()
        await eventually(lambda: watch.state.is_up is False, "down")
        assert pool.probes == 2, "a hundred failures are one look"


async def test_a_failure_after_an_answer_is_looked_into() -> None:
    pool = FakePool()
    pool.answered_at, pool.failed_at = 1e12, 2e12
    async with looking(pool):
        await eventually(lambda: pool.probes > 0, "a look")


async def test_those_who_want_to_know_at_once_share_one_connection() -> None:
    pool = FakePool()
    pool.gate.clear()
    watch = BackendWatch(BackendState(ORIGIN), pool)
    waiting = [asyncio.create_task(watch.settle(5)) for _ in range(50)]
    await eventually(lambda: pool.probes == 1, "a look")
    waiting[0].cancel()
    pool.gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (pool.probes, watch.state.is_up) == (1, True)


async def test_a_look_that_takes_long_keeps_nobody() -> None:
    pool = FakePool()
    pool.gate.clear()
    watch = BackendWatch(BackendState(ORIGIN), pool)
    await watch.settle(0.01)
    assert watch.state.is_up is None
    pool.gate.set()
    await eventually(lambda: watch.state.is_up, "the look goes on")


async def test_a_pool_notes_when_connections_are_opened_and_when_not() -> None:
    failures: list[None] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        pool = Pool("127.0.0.1", port, buffers=Buffers(1))
        pool.on_failure = lambda: failures.append(None)
        await pool.probe()
        assert pool.answered_at > pool.failed_at == -1.0
    with pytest.raises(BackendError):
        await pool.probe()
    assert pool.failed_at >= pool.answered_at  # uvloop's clock has steps of 1 ms
    assert len(failures) == 1
    await pool.close()
