"""The exchanges without a task: how long the next one waits for more takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from invoke_gateway.counters.shared.direct_exchange import DirectExchange
from invoke_gateway.counters.shared.shard_context import AccountTally
from invoke_gateway.store.connection import StoreConnection

TALLY = cast("AccountTally", object())


class Link:
    """A connection whose replies come when the test says so."""

    is_open = True

    def __init__(self) -> None:
        self.sent = 0
        self._on_end: Callable[[list[Any]], None] | None = None

    def send(self, data: bytes, count: int, on_end: Callable[[list[Any]], None]) -> None:
        assert self._on_end is None, "one exchange at a time"
        self.sent += 1
        self._on_end = on_end

    def reply(self) -> None:
        on_end, self._on_end = self._on_end, None
        assert on_end is not None
        on_end([b"reply"])

    def read_replies(self, replies: list[Any]) -> list[Any]:
        return replies

    def cancel(self) -> None:
        self._on_end = None


class Exchanges:
    """An exchange under way, and `waiting` takes for the next one."""

    def __init__(self) -> None:
        self.waiting = 0
        self.carried: list[int] = []
        self.link = Link()
        self.direct = DirectExchange(
            cast("StoreConnection", self.link),
            timeout_seconds=60,
            clock=asyncio.get_running_loop().time,
            count_waiting=lambda: self.waiting,
            collect=self._collect,
            apply=lambda asked, replies, sent_at: None,
            on_failure=lambda asked, error: None,
            on_blocked=lambda: None,
        )

    def _collect(self, now: float) -> tuple[list[AccountTally], bytes]:
        self.carried.append(self.waiting)
        self.waiting = 0
        return [TALLY], b"request"

    async def begin(self) -> None:
        with await self.direct.turn():
            self.direct.is_on = True
        self.ask(1)
        await asyncio.sleep(0)
        assert self.carried == [1]

    def ask(self, takes: int) -> None:
        self.waiting += takes
        if not self.direct.is_scheduled:
            self.direct.schedule()

    async def run(self, takes_by_turn: list[int]) -> None:
        for takes in takes_by_turn:
            self.ask(takes)
            await asyncio.sleep(0)


async def test_a_lone_take_is_sent_in_the_next_turn_of_the_loop() -> None:
    exchanges = Exchanges()
    await exchanges.begin()
    exchanges.link.reply()
    exchanges.ask(1)
    await asyncio.sleep(0)
    assert exchanges.carried == [1, 1]
    exchanges.direct.close()


async def test_the_next_exchange_waits_as_long_as_each_turn_brings_more_takes() -> None:
    exchanges = Exchanges()
    await exchanges.begin()
    exchanges.ask(2)
    exchanges.link.reply()
    await exchanges.run([3, 1, 4])
    assert exchanges.carried == [1]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert exchanges.carried == [1, 10]
    exchanges.direct.close()


async def test_the_next_exchange_waits_for_no_more_than_are_worth_it() -> None:
    exchanges = Exchanges()
    await exchanges.begin()
    exchanges.ask(2)
    exchanges.link.reply()
    await exchanges.run([20, 20, 20, 20])
    assert exchanges.carried == [1, 42]
    exchanges.direct.close()
