"""A bound on time for one task that waits again and again."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Bound:
    """As `asyncio.timeout`: what takes longer than so many seconds is cancelled and ends in `TimeoutError`. That one
    makes a timer and drops it each time, 6 µs for every exchange with the store; here one timer runs on, and looks when
    it fires whether there is anything to end. Not for two tasks at once."""

    def __init__(self) -> None:
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[object] | None = None
        self._cancellations = 0
        self._is_over = False

    def within(self, seconds: float) -> Bound:
        """To be entered at once."""
        self._loop = loop = asyncio.get_running_loop()
        self._deadline = deadline = loop.time() + seconds
        timer = self._timer
        if timer is not None and timer.when() > deadline:
            timer.cancel()
            timer = None
        if timer is None:
            self._timer = loop.call_at(deadline, self._look)
        return self

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        assert task is not None
        self._cancellations = task.cancelling()
        self._is_over = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._deadline = None
        if self._is_over and task is not None:
            others = task.uncancel() > self._cancellations
            if kind is asyncio.CancelledError and not others:
                raise TimeoutError from error

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None or self._task is None:
            return
        if self._deadline > self._loop.time():
            self._timer = self._loop.call_at(self._deadline, self._look)
            return
        self._is_over = True
        self._task.cancel()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<Bound {'in use' if self._task else 'idle'}>"
