"""The end of a call to the backend releases the slot of its exchange, once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from invoke_gateway.upstream.call import UpstreamCall
from invoke_gateway.upstream.slot_release import find_release


class Slot:
    def __init__(self) -> None:
        self.releases = 0

    def release(self) -> None:
        self.releases += 1


def exchange(slot: Slot | None) -> Any:
    return SimpleNamespace(slot=slot)


def test_the_end_of_a_call_releases_the_slot_once() -> None:
    slot = Slot()
    call = UpstreamCall(0, find_release(exchange(slot)))
    assert slot.releases == 0, "the slot is taken while the function runs"
    call.end()
    call.end()
    assert slot.releases == 1


def test_a_call_without_a_slot_releases_nothing() -> None:
    UpstreamCall(0, find_release(exchange(None))).end()
