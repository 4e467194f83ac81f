"""Represents a slot that a store is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Generic, TypeVar

from ..awaited import Awaited
from ..exchange import Slot
from ..policy.concurrency import LimitReached

SlotType = TypeVar("SlotType", bound=Slot)


class PendingSlot(Awaited, Generic[SlotType]):
    """Gives a store's decision to the one request that awaits it. Raises the error that came instead.

    A request that stops waiting gives back its slot, also one that comes later.

    loop: the event loop of the request
    """

    __slots__ = ("_decision", "_error", "_loop")

    _error: Exception

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.has_ended = False
        self._resume = None
        self._waiter = None
        self._loop = loop
        self._decision: SlotType | LimitReached | None = None

    def end(self, decision: SlotType | LimitReached) -> None:
        """Gives the decision. A slot that no request waits for any more is released."""
        if not self.has_ended:
            self._decision = decision
            self.has_ended = True
            self._wake_at_end()
        else:
            _give_back(decision)

    def fail(self, error: Exception) -> None:
        """Raises `error` in the request that waits."""
        if not self.has_ended:
            self._error = error
            self.has_ended = True
            self._wake_at_end()

    def __await__(self) -> Generator[object, None, SlotType | LimitReached]:
        if not self.has_ended:
            assert self._loop is not None  # it is awaited
            self._waiter = waiter = self._loop.create_future()
            try:
                yield from waiter
            except BaseException:  # cancelled
                self._stop()
                raise
        decision = self._decision
        if decision is None:
            raise self._error
        return decision

    def abandon(self) -> None:
        """Tells the store that nothing waits for the decision any more."""

    def _stop(self) -> None:
        if self._decision is not None:  # it came too late
            _give_back(self._decision)
        elif not self.has_ended:
            self.has_ended = True
            self.abandon()


def _give_back(decision: Slot | LimitReached) -> None:
    if not isinstance(decision, LimitReached):
        decision.release(was_call=False)
