"""Tests the pace of the clients of events."""

from __future__ import annotations

import asyncio

from invoke_gateway.chaos.events.clients import Pace


async def test_while_a_gateway_is_stopped_only_a_share_of_the_events_is_handed_over() -> None:
    pace = Pace(100)
    for _ in range(20):
        await pace.take_turn()
    pace.spare(3)
    for _ in range(20):
        await pace.take_turn()
    waiting = asyncio.ensure_future(pace.take_turn())
    await asyncio.sleep(0)
    assert not waiting.done()
    pace.hurry()
    await waiting
