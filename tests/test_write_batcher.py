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
