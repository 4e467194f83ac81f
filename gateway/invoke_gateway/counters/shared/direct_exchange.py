"""Exchanges batches with a server that replies, without a task: one callback of the event loop sends, another applies.

A task that waits for replies would cost three more turns of the event loop and as much CPU time again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ...store.connection import StoreConnection
from .shard_context import AccountTally

Asked = list[AccountTally]
"""Lists the accounts whose requests are in an exchange."""

# An exchange costs as much as 30 takes in it, or more: with so many it waits for no others.
_ENOUGH = 32


class DirectExchange:
    """Runs one exchange at a time on an open connection.

    count_waiting: returns the number of takes that wait for the next exchange.
    collect: returns the accounts with something due at this time, and their requests, encoded.
    apply: called with the accounts, the replies, and the time at which the requests were sent.
    on_failure: called with the accounts and the error, which is a `TimeoutError` where the reply was late.
    on_blocked: called in place of an exchange that may not begin.

    `is_on`: False while the server must be checked before another exchange.
    `sent_at`: of the last requests.
    """

    def __init__(
        self,
        link: StoreConnection,
        *,
        timeout_seconds: float,
        clock: Callable[[], float],
        count_waiting: Callable[[], int],
        collect: Callable[[float], tuple[Asked, bytes]],
        apply: Callable[[Asked, list[Any], float], None],
        on_failure: Callable[[Asked, Exception], None],
        on_blocked: Callable[[], None],
    ) -> None:
        self.is_on = False
        self.is_scheduled = False
        self._link = link
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._count_waiting = count_waiting
        self._collect = collect
        self._apply = apply
        self._on_failure = on_failure
        self._on_blocked = on_blocked
        self._is_free = asyncio.Lock()
        self._asked: Asked = []
        self.sent_at = 0.0
        self._wait_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._end: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    def schedule(self) -> None:
        """Sends what is due in the next turn of the event loop, so what else is due by then goes with it. Call it
        unless `is_scheduled`."""
        if not self.is_on:
            self._on_blocked()
            return
        self.is_scheduled = True
        if not self._asked:  # else it is sent after the exchange under way
            self._loop.call_soon(self._send_due)

    async def turn(self) -> contextlib.AbstractContextManager[None]:
        """Waits until no exchange is under way. None begins before the end of the block, which is to be entered at
        once: `with await exchange.turn()`."""
        self._loop = asyncio.get_running_loop()
        await self._is_free.acquire()
        if self._asked:
            self._end = self._loop.create_future()
            try:
                await self._end
            except BaseException:  # cancelled
                self._is_free.release()
                raise
        return self._release_at_end()

    @contextlib.contextmanager
    def _release_at_end(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._is_free.release()

    def close(self) -> None:
        self.is_on = False
        if self._timer is not None:
            self._timer.cancel()

    def _send_due(self) -> None:
        self.is_scheduled = False
        if not self.is_on or self._is_free.locked() or not self._link.is_open:
            self._on_blocked()
            return
        now = self._clock()
        asked, data = self._collect(now)
        if not asked:
            return
        self._asked = asked
        self.sent_at = now
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_seconds, self._check_time)
        self._link.send(data, len(asked), self._on_replies)

    def _send_or_wait(self, waiting: int) -> None:
        """Sends what is due, unless more takes have come in this turn of the event loop: under load the next turns
        bring others, and an exchange costs more than what it carries. No take waits longer for others than for the last
        exchange."""
        now_waiting = self._count_waiting()
        if waiting < now_waiting < _ENOUGH and self._clock() < self._wait_until:
            self._loop.call_soon(self._send_or_wait, now_waiting)
        else:
            self._send_due()

    def _on_replies(self, ended: list[Any] | Exception) -> None:
        try:
            self._apply(self._asked, self._link.read_replies(ended), self.sent_at)
        except Exception as error:
            self._finish(error)
        else:
            self._finish()

    def _check_time(self) -> None:
        """Ends an exchange that has lasted too long. One timer serves all exchanges."""
        self._timer = None
        if not self._asked:
            return
        left = self.sent_at + self._timeout_seconds - self._clock()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_time)
            return
        self._link.cancel()
        self._finish(TimeoutError())

    def _finish(self, error: Exception | None = None) -> None:
        asked, self._asked = self._asked, []
        if error is not None:
            self._on_failure(asked, error)
        if self.is_scheduled:
            now = self._clock()
            self._wait_until = now + (now - self.sent_at)
            self._loop.call_soon(self._send_or_wait, 0)
        if self._end is not None:
            if not self._end.done():
                self._end.set_result(None)
            self._end = None

    def __repr__(self) -> str:
        return f"<DirectExchange {'on' if self.is_on else 'off'}, {len(self._asked)} asked>"
