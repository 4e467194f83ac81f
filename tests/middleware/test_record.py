"""Each request is told of once, when all is over."""

from __future__ import annotations

import pytest

from invoke_gateway.asgi import Receive, Scope, Send
from invoke_gateway.exchange import Exchange
from invoke_gateway.middleware.record import Record
from tests.middleware.stages import Inside, drive


class Told:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def __call__(self, exchange: Exchange, scope: Scope) -> None:
        self.exchanges.append(exchange)


async def test_a_request_is_told_of_once_with_how_long_it_took() -> None:
    told = Told()
    times = iter([10.0, 12.5])
    await drive(Record(Inside(), on_end=told, clock=lambda: next(times)))
    (exchange,) = told.exchanges
    assert exchange.duration_seconds == 2.5


async def test_a_request_that_fails_is_told_of_too() -> None:
    told = Told()

    def fail(exchange: Exchange) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await drive(Record(Inside(fail), on_end=told))
    assert len(told.exchanges) == 1


async def test_each_request_has_an_exchange_of_its_own() -> None:
    told = Told()
    record = Record(Inside(), on_end=told)
    await drive(record)
    await drive(record)
    assert told.exchanges[0] is not told.exchanges[1]


async def test_what_is_no_request_passes_untouched() -> None:
    scopes = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    async def nothing() -> dict[str, object]:
        return {}

    async def nowhere(message: object) -> None:
        pass

    lifespan = {"type": "lifespan"}
    await Record(inside, on_end=Told())(lifespan, nothing, nowhere)
    assert scopes == [{"type": "lifespan"}]
