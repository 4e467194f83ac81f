"""An event loop whose clock goes on only when nothing is left to do: hours pass in moments, and no machine is too slow.

Sockets, threads and processes have no place on it: nothing would wait for them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _NoSockets(selectors.SelectSelector):
    """Instead of waiting, sets the clock of the loop forward to the next timer."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that never comes")
        self.loop.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now`: seconds since the loop was made."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _NoSockets()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; its waits take no real time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
