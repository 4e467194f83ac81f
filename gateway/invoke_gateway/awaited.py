"""Represents what a request waits for: a call to the backend, or a store's decision. Its end resumes the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Waiter(Protocol):
    """Is a future that a task waits for."""

    def done(self) -> bool: ...

    def set_result(self, result: None, /) -> None: ...


class Awaited:
    """Resumes one request at the end: by a callback, by a future for a task, or by both.

    has_ended: nothing more is waited for
    """

    __slots__ = ("_resume", "_waiter", "has_ended")

    def __init__(self) -> None:
        self.has_ended = False
        self._resume: Callable[[], None] | None = None
        self._waiter: Waiter | None = None

    def resume_at_end(self, resume: Callable[[], None] | None) -> None:
        """Has `resume` called once, as the last step of the end; None: not called."""
        self._resume = resume

    def wake(self) -> None:
        """Wakes the task that waits for a future, if there is one."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _wake_at_end(self) -> None:
        """Wakes and resumes what waits. A request that is resumed inside a coroutine has a future as well."""
        if self._waiter is not None:
            self.wake()
        resume = self._resume
        if resume is not None:
            self._resume = None
            resume()
