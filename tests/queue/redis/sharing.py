"""Gateways' stores on one server, and short ways to use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from invoke_gateway.queue.base import StoreError
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.redis.store import StreamStore
from tests.support.event_places import LANE, NOW, StreamPlace, hear_nothing, make_event
from tests.support.relay import Relay

LEASE = 3.0  # seconds; a busy machine stands still for a part of one now and then
TIMEOUT = 1.2
MANY = 1 << 30


@asynccontextmanager
async def sharing(
    place: StreamPlace, hear: Callable[[str, int, float], None] = hear_nothing, **more: Any
) -> AsyncIterator[StreamStore]:
    store = place.make(**{"lease_seconds": LEASE, "timeout_seconds": TIMEOUT, **more})
    await store.open(hear)
    try:
        yield store
    finally:
        await store.close()


async def fetch(store: StreamStore, lane: str = LANE, now: float = NOW, most: int = 100) -> list[Event]:
    return (await store.claim_due(lane, now, most, MANY)).events


def ids(events: list[Event]) -> list[str]:
    return [event.request_id for event in events]


async def shown(store: StreamStore, lane: str = LANE) -> list[tuple[str, int, bool]]:
    return [(event.request_id, event.runs, is_claimed) for event, is_claimed in await store.oldest(lane, 1000)]


async def at_last(ask: Callable[[], Any]) -> Any:
    """Ask until the store answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await ask()
            except StoreError as fault:
                if fault.kind != "unavailable":
                    raise
                await asyncio.sleep(0.05)


async def put_claimed(store: StreamStore, name: str) -> Event:
    event = make_event(name)
    await store.enqueue_claimed(event)
    return event


async def held(relay: Relay, asking: asyncio.Task[Any]) -> None:
    """Wait until the gateway has given up what the relay holds."""
    with pytest.raises(StoreError):
        await asking
    assert relay.has_held


async def ack(store: StreamStore, event: Event) -> None:
    await store.ack(event)


async def requeue(store: StreamStore, event: Event) -> None:
    event.runs += 1
    await store.requeue(event)


async def update(store: StreamStore, event: Event) -> None:
    event.runs += 1
    await store.update(event)


async def release(store: StreamStore, event: Event) -> None:
    await store.release([event])
