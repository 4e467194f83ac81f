"""The queue of events and its null twin are used alike."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.app.events import EventQueue, NoEventQueue
from invoke_gateway.app.gateway import Gateway
from invoke_gateway.settings import Settings


def make_gateway(**values: Any) -> Gateway:
    return Gateway(Settings.model_validate(values), backend_url="http://127.0.0.1:9")


def public(events: object) -> set[str]:
    return {name for name in dir(events) if not name.startswith("_")}


async def test_both_have_the_same_attributes() -> None:
    queue, none = make_gateway().events, make_gateway(**{"async": {"mode": "forward"}}).events
    assert (type(queue), type(none)) == (EventQueue, NoEventQueue)
    assert public(queue) == public(none)


@pytest.mark.parametrize("action", ["drain", "cancel_running", "on_limits_changed"])
async def test_the_null_twin_does_nothing(action: str) -> None:
    assert getattr(NoEventQueue(), action)() is None


async def test_the_null_twin_opens_and_closes_nothing() -> None:
    events = NoEventQueue()
    await events.start()
    await events.refresh()
    await events.close(0.0)
    assert events.make_enqueue(with_faults=True) is None
