"""Implements an event loop whose clock advances only when nothing is left to do: hours pass in moments.

Sockets, threads and processes do not work on it: the loop does not wait for them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _NoSockets(selectors.SelectSelector):
    """Sets the clock of the loop forward to the next timer, instead of waiting."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that never comes")
        self.loop.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs on a virtual clock. `now`: seconds since the loop was made."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _NoSockets()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of `work`; its waits take no real time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
