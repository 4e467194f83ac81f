"""The exchanges without a task: how long the next one waits for more takes."""

from __future__ import annotations

import asyncio

from invoke_gateway.counters.shared.connecting import SERVER_RULES
from invoke_gateway.counters.shared.direct_exchange import DirectExchange
from invoke_gateway.counters.shared.messages import RequestIdentity
from invoke_gateway.counters.shared.shard_context import AccountTally
from invoke_gateway.store.connection import StoreConnection
from invoke_gateway.store.exchange_protocol import ExchangeProtocol

TALLY = AccountTally("a", RequestIdentity("g-1", lease_ms=1000, keep_ms=0, patience_seconds=1.0))


class Unsent(asyncio.Transport):
    """A transport whose other side replies when the test says so."""

    def write(self, data: object) -> None:
        """Sends nothing."""


class Exchanges:
    """An exchange under way, and `waiting` takes for the next one."""

    def __init__(self) -> None:
        self.waiting = 0
        self.now = 100.0
        self.carried: list[int] = []
        self._protocol = ExchangeProtocol()
        self._protocol.connection_made(Unsent())
        link = StoreConnection("redis://127.0.0.1:1", SERVER_RULES, where="the store")
        link._protocol = self._protocol
        self.direct = DirectExchange(
            link,
            timeout_seconds=60,
            clock=lambda: self.now,
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
        self.now += 0.25

    def ask(self, takes: int) -> None:
        self.waiting += takes
        if not self.direct.is_scheduled:
            self.direct.schedule()

    def reply(self) -> None:
        self._protocol.data_received(b"+reply\r\n")

    async def run(self, takes_by_turn: list[int]) -> None:
        for takes in takes_by_turn:
            self.ask(takes)
            await asyncio.sleep(0)


async def test_a_lone_take_is_sent_in_the_next_turn_of_the_loop() -> None:
    exchanges = Exchanges()
    await exchanges.begin()
    exchanges.reply()
    exchanges.ask(1)
    await asyncio.sleep(0)
    assert exchanges.carried == [1, 1]
    exchanges.direct.close()


async def test_the_next_exchange_waits_as_long_as_each_turn_brings_more_takes() -> None:
    exchanges = Exchanges()
    await exchanges.begin()
    exchanges.ask(2)
    exchanges.reply()
    await exchanges.run([3, 1, 4])
    assert exchanges.carried == [1]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert exchanges.carried == [1, 10]
    exchanges.direct.close()


async def test_the_next_exchange_waits_no_longer_than_the_last_one_took() -> None:
    exchanges = Exchanges()
    await exchanges.begin()
    exchanges.ask(2)
    exchanges.reply()
    await exchanges.run([1, 1])
    exchanges.now += 0.2
    await exchanges.run([1])
    assert exchanges.carried == [1]
    exchanges.now += 0.1
    await exchanges.run([1, 1])
    assert exchanges.carried == [1, 6]
    exchanges.direct.close()


async def test_the_next_exchange_waits_for_no_more_than_are_worth_it() -> None:
    exchanges = Exchanges()
    await exchanges.begin()
    exchanges.ask(2)
    exchanges.reply()
    await exchanges.run([20, 20, 20, 20])
    assert exchanges.carried == [1, 42]
    exchanges.direct.close()


async def test_a_wait_for_a_turn_that_is_cancelled_keeps_no_turn() -> None:
    exchanges = Exchanges()
    await exchanges.begin()
    waiting = asyncio.ensure_future(exchanges.direct.turn())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    exchanges.reply()
    next_turn = asyncio.ensure_future(exchanges.direct.turn())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert next_turn.done()
    with next_turn.result():
        pass
    exchanges.direct.close()
