"""Runs a coroutine as a task that is cancelled at the n-th place where it waits."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any


class Cancelled(Exception):
    """Reports that the coroutine was cancelled and has ended so."""


class Stepped:
    """Runs `work` and cancels it at its `step`-th wait, counted from 0.

    `late` cancels after the awaited result has arrived, in the moment before the coroutine continues. There a value may
    be lost that one side has given and the other has not yet taken.
    """

    def __init__(self, work: Coroutine[Any, Any, None], step: int, *, late: bool) -> None:
        self.has_cancelled = False
        self._step = step
        self._late = late
        self._task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._run(work))

    async def end(self) -> None:
        """Waits until the work has ended. Raises its exception, `Cancelled` for a cancellation."""
        try:
            await self._task
        except asyncio.CancelledError:
            raise Cancelled from None

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        await self._drive(work)

    @types.coroutine
    def _drive(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        step = 0
        send, value = work.send, None
        while True:
            try:
                waits_for = send(value)
            except StopIteration:
                return
            if step == self._step:
                self._cancel_at(waits_for)
            step += 1
            try:
                value = yield waits_for
                send = work.send
            except BaseException as error:
                send, value = work.throw, error

    def _cancel_at(self, waits_for: asyncio.Future[Any] | None) -> None:
        if self._late and waits_for is not None:
            # Before the task's own callback, which is added once the future has been yielded to it.
            waits_for.add_done_callback(lambda _: self._cancel())
        else:
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if not self._task.done():
            self.has_cancelled = self._task.cancel()
