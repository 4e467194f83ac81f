"""Has the tables made again when more provisioned concurrency is allocated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..background import BackgroundTasks


class Allocation:
    """Waits for the next configuration that is allocated.

    allocate: makes the tables again
    """

    def __init__(self, allocate: Callable[[], Coroutine[Any, Any, None]], tasks: BackgroundTasks) -> None:
        self._allocate = allocate
        self._tasks = tasks
        self._timer: asyncio.TimerHandle | None = None
        self._allocating: asyncio.Task[None] | None = None

    def wait(self, seconds: float | None) -> None:
        """Replaces the wait. None: nothing is left to be allocated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._allocating = self._tasks.run_once(self._allocate(), "provisioned concurrency")
