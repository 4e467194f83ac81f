"""Releases the slot of an exchange when its call to the backend ends.

The slot belongs to the call, not to the task that forwards it. It stays taken while the function runs, also where the
client has left or the task was cancelled; `UpstreamCall` runs the release at its end, once.
"""

from __future__ import annotations

from collections.abc import Callable

from ..exchange import Exchange


def find_release(exchange: Exchange) -> Callable[[], None]:
    """Returns the release of the exchange's slot, to be run at the end of the call; it does nothing without a slot."""
    return exchange.slot.release if exchange.slot is not None else _release_nothing


def _release_nothing() -> None:
    pass
