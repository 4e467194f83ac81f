"""Runs the dispatcher's tasks, and hands back the event of a task that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..background import BackgroundTasks
from .event import Event

log = logging.getLogger("invoke_gateway")

NAME = "dispatcher of events"
"""Names the dispatcher in the metric of failed background tasks."""

FAILED_PAUSE = 1.0  # before a retry of what a bug in the gateway has made fail


class EventTasks:
    """Holds the running tasks, each with the claimed event that it is about.

    started: the number of all tasks so far.
    on_end: called after each end.
    on_lost: called with the event of a task that failed or was cancelled from outside, after a pause.
    """

    def __init__(
        self, background: BackgroundTasks, *, on_end: Callable[[], None], on_lost: Callable[[Event], None]
    ) -> None:
        self.running: dict[asyncio.Task[None], Event | None] = {}
        self.started = 0
        self._background = background
        self._on_end = on_end
        self._on_lost = on_lost
        self._is_cancelling = False

    def __len__(self) -> int:
        return len(self.running)

    def spawn(self, work: Coroutine[Any, Any, None], event: Event | None = None) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.running[task] = event
        self.started += 1
        task.add_done_callback(self._end)
        return task

    async def wait(self, seconds: float) -> None:
        """Waits at most so many seconds for all tasks."""
        await asyncio.wait(self.running, timeout=seconds)

    def cancel(self) -> None:
        """Cancels all tasks; their events stay claimed."""
        self._is_cancelling = True
        for task in list(self.running):
            task.cancel()

    async def join(self) -> None:
        await asyncio.gather(*self.running, return_exceptions=True)

    def _end(self, task: asyncio.Task[None]) -> None:
        event = self.running.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None or (task.cancelled() and not self._is_cancelling):
            log.error("a task of the event dispatcher failed; its event is released", exc_info=error)
            self._background.record_error(NAME)
            if event is not None:
                task.get_loop().call_later(FAILED_PAUSE, self._on_lost, event)
        self._on_end()
