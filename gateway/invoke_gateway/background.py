"""Runs background tasks, each with an owner.

A task of asyncio that fails is silent until it is awaited; a task that runs as long as the gateway is awaited at its
end. So each of these tasks is started here. Its unexpected end is logged at once, shown as the cause `background_task`
of `degraded`, and counted. The task is started again after a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

log = logging.getLogger("invoke_gateway")

CAUSE = "background_task"
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds before a task that ended is started again
STEADY_SECONDS = 10.0  # a task that has run for this time since its last end has recovered

Work = Callable[[], Coroutine[Any, Any, None]]


class BackgroundTasks:
    """Holds the background tasks of one gateway. `failures` counts unexpected ends by the name of the task, `degraded`
    has each cause for which the gateway can be degraded, and whether it is so."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self.degraded: dict[str, bool] = {CAUSE: False}
        self._failing: set[object] = set()

    def start(self, work: Work, name: str, *, may_end: bool = False) -> BackgroundTask:
        """Runs `work()` on this event loop until the task is closed, or with `may_end` until it returns."""
        self.failures.setdefault(name, 0)  # of a series that begins at 1, Prometheus cannot see the rise
        return BackgroundTask(self, work, name, may_end=may_end)

    @contextlib.asynccontextmanager
    async def running(self, work: Work, name: str) -> AsyncIterator[BackgroundTask]:
        """Runs `work()` until the block ends."""
        task = self.start(work, name)
        try:
            yield task
        finally:
            await task.close()

    def run_once(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Runs `work` to its end. A failure is logged, whether or not a caller awaits the end."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._on_single_end)
        return task

    def _on_single_end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task %r failed", task.get_name(), exc_info=error)
            self.record_error(task.get_name())

    def record_failure(self, what: object, name: str) -> None:
        """Counts an unexpected end. The gateway is degraded until `record_recovery` is called with the same `what`."""
        self.failures[name] += 1
        self._failing.add(what)
        self.degraded[CAUSE] = True

    def record_recovery(self, what: object) -> None:
        """Ends the degradation that `what` has caused."""
        self._failing.discard(what)
        self.degraded[CAUSE] = bool(self._failing)

    def record_error(self, name: str) -> None:
        """Counts a failure that ended no task, such as that of a callback. It is shown for a while."""
        what = object()
        self.record_failure(what, name)
        asyncio.get_running_loop().call_later(STEADY_SECONDS, self.record_recovery, what)

    def handle_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Logs failures on the event loop outside of any task of the gateway: for `loop.set_exception_handler`."""
        error = context.get("exception")
        log.error("on the event loop: %s", context.get("message") or "a callback failed", exc_info=error)
        self.record_error("event loop")

    def __repr__(self) -> str:
        return f"<BackgroundTasks failures={dict(self.failures)} failing={len(self._failing)}>"


class BackgroundTask:
    """Runs one background task. It is started again after any end but `close`, `cancel` and `finish`."""

    def __init__(self, owner: BackgroundTasks, work: Work, name: str, *, may_end: bool) -> None:
        self.name = name
        self._may_end = may_end
        self._owner = owner
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._pause = SHORTEST_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._task: asyncio.Task[None]
        self._begin()

    @property
    def is_running(self) -> bool:
        return not self._task.done()

    @property
    def is_over(self) -> bool:
        """Returns whether the task has ended or is ending, and is not started again."""
        return self._is_closing

    def cancel(self) -> None:
        """Ends the task without waiting for its end."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._owner.record_recovery(self)
        self._task.cancel()

    async def close(self) -> None:
        """Ends the task and return when it has ended. Raises nothing that the task raises."""
        self.cancel()
        await asyncio.wait([self._task])

    async def finish(self) -> None:
        """Waits until the work ends by itself; it is not started again."""
        self._is_closing = True
        await asyncio.wait([self._task])
        self.cancel()

    def _begin(self) -> None:
        self._timer = None
        self._task = self._loop.create_task(self._work(), name=self.name)
        self._task.add_done_callback(self._on_end)
        if self._owner.failures[self.name]:
            self._timer = self._loop.call_later(STEADY_SECONDS, self._on_recovered)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._may_end and not task.cancelled() and error is None:
            self.cancel()
        if self._is_closing:
            if error is not None:
                log.error("background task %r failed at its end", self.name, exc_info=error)
            return
        if self._timer is not None:
            self._timer.cancel()
        how = "was cancelled" if task.cancelled() else "ended" if error is None else "failed"
        log.error("background task %r %s; it restarts in %g s", self.name, how, self._pause, exc_info=error)
        self._owner.record_failure(self, self.name)
        self._timer = self._loop.call_later(self._pause, self._begin)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _on_recovered(self) -> None:
        self._timer = None
        self._pause = SHORTEST_PAUSE
        self._owner.record_recovery(self)
        log.info("background task %r runs again", self.name)

    def __repr__(self) -> str:
        state = "closing" if self._is_closing else "running" if self.is_running else "waits to restart"
        return f"<BackgroundTask {self.name!r} {state}>"
