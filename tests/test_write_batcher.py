"""Steps run behind the reads of one cycle of the loop, and all small writes are made behind the steps."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import pytest

from invoke_gateway.write_batcher import WriteBatcher


class Transport:
    def __init__(self, log: list[object]) -> None:
        self._log = log

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self._log.append(data)


def make_transport(log: list[object]) -> asyncio.WriteTransport:
    return cast("asyncio.WriteTransport", Transport(log))


async def test_writes_are_made_behind_all_steps_also_those_that_steps_add() -> None:
    log: list[object] = []
    batcher, transport = WriteBatcher(), make_transport(log)

    def first() -> None:
        log.append("first")
        batcher.write(transport, b"1")
        batcher.defer(lambda: log.append("added"))

    batcher.write(transport, b"0")
    batcher.defer(first)
    batcher.defer(lambda: log.append("second"))
    assert log == []
    await asyncio.sleep(0)
    assert log == ["first", "second", "added", b"0", b"1"]
    await asyncio.sleep(0)
    batcher.defer(lambda: log.append("later"))
    await asyncio.sleep(0)
    assert log[5:] == ["later"]


async def test_a_lone_step_and_its_writes_are_made_at_once_and_what_follows_behind_the_cycle() -> None:
    log: list[object] = []
    batcher, transport = WriteBatcher(), make_transport(log)

    def lone() -> None:
        log.append("lone")
        batcher.write(transport, b"0")
        batcher.defer(lambda: log.append("added"))

    batcher.run_soon(lone)
    assert log == ["lone", b"0"]
    batcher.run_soon(lambda: batcher.write(transport, b"1"))
    batcher.run_soon(lambda: log.append("second"))
    assert log == ["lone", b"0"]
    await asyncio.sleep(0)
    assert log == ["lone", b"0", "added", "second", b"1"]


async def test_a_step_runs_behind_its_cycle_until_a_cycle_had_a_single_step() -> None:
    log: list[object] = []
    batcher = WriteBatcher()

    async def run_cycle(*names: str) -> list[object]:
        """Returns what has run before the end of the cycle."""
        del log[:]
        for name in names:
            batcher.run_soon(lambda name=name: log.append(name))  # type: ignore[misc]  # mypy infers no default
        at_once = log[:]
        await asyncio.sleep(0)
        assert log == list(names)
        return at_once

    assert await run_cycle("a") == ["a"]
    assert await run_cycle("a", "b") == ["a"]
    assert await run_cycle("a", "b", "c") == []
    assert await run_cycle("a") == []
    assert await run_cycle("a") == ["a"]
    assert await run_cycle() == []
    assert await run_cycle("a") == ["a"]


async def test_a_step_that_fails_at_once_is_logged_and_its_callback_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    log: list[object] = []
    batcher, transport = WriteBatcher(), make_transport(log)

    def fail() -> None:
        raise RuntimeError("broken")

    with caplog.at_level(logging.ERROR, logger="invoke_gateway"):
        batcher.run_soon(fail)
    assert "a step of a request failed" in caplog.text
    batcher.write(transport, b"0")
    assert log == [], "no step runs at once any more"
    await asyncio.sleep(0)
    assert log == [b"0"]


async def test_a_step_that_fails_is_logged_and_takes_no_other_step_with_it(caplog: pytest.LogCaptureFixture) -> None:
    log: list[object] = []
    batcher, transport = WriteBatcher(), make_transport(log)

    def fail() -> None:
        raise RuntimeError("broken")

    batcher.defer(fail)
    batcher.defer(lambda: batcher.write(transport, b"1"))
    with caplog.at_level(logging.ERROR, logger="invoke_gateway"):
        await asyncio.sleep(0)
    assert log == [b"1"]
    assert "a step of a request failed" in caplog.text


async def test_a_flush_writes_now_and_leaves_the_steps() -> None:
    log: list[object] = []
    batcher, transport = WriteBatcher(), make_transport(log)
    batcher.defer(lambda: log.append("step"))
    batcher.write(transport, b"1")
    batcher.flush()
    assert log == [b"1"]
    await asyncio.sleep(0)
    assert log == [b"1", "step"]
