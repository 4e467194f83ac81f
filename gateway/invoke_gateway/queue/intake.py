"""Accepts new events: stores them durably, and claims those that no other precedes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..policy.events.event_rules import Condition
from .base import Store
from .event import Event
from .origin import Origin
from .outcomes.history import EndedEvents, describe_end
from .outcomes.settlement import EventRecorder, Settlement
from .scheduling.lanes import FunctionQueue
from .scheduling.prefetch import Prefetch


class Intake:
    """Stores new events. `may_claim` is False while no event may start.

    history: keeps the events that end without a run
    now: returns seconds since the epoch
    spawn: starts a task
    """

    def __init__(
        self,
        store: Store,
        prefetch: Prefetch,
        settlement: Settlement,
        *,
        origin: Origin,
        recorder: EventRecorder,
        history: EndedEvents,
        now: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.may_claim = False
        self._store = store
        self._prefetch = prefetch
        self._settlement = settlement
        self._origin = origin
        self._recorder = recorder
        self._history = history
        self._now = now
        self._spawn = spawn

    async def accept(self, event: Event) -> None:
        """Stores a new event durably. Raises `StoreError`, and then nothing is stored."""
        self._origin.own(event)
        lane = self._prefetch.lane(event.lane)
        if self.may_claim and self._prefetch.may_claim(lane, event):
            await self._accept_claimed(lane, event)
        else:
            await self._store.enqueue(event)
            self._prefetch.note_enqueued(event.lane, 1, event.due_at)
        self._recorder.received(event.account, self._settlement.label(lane))

    async def _accept_claimed(self, lane: FunctionQueue, event: Event) -> None:
        """Stores and claims an event that no other precedes, so that it is not read again before its run."""
        self._prefetch.bytes += event.size
        lane.arriving += 1
        try:
            await self._store.enqueue_claimed(event)
        except asyncio.CancelledError:
            if event.key is not None:  # it may be stored
                self._spawn(self._prefetch.release(lane, [event]))
            raise
        finally:
            self._prefetch.bytes -= event.size
            lane.arriving -= 1
        self._prefetch.add(lane, event)

    async def finish_without_run(self, event: Event, condition: Condition, code: int, message: str) -> None:
        """Stores a new event that must never run, so that only its outcome is delivered. Raises `StoreError`."""
        self._origin.own(event)
        label = self._settlement.label(self._prefetch.lane(event.lane))
        ended = describe_end(event, condition, code, message, self._now())
        self._settlement.end_as(event, condition, code, message)
        assert event.outcome is not None
        if event.outcome.pending:
            await self.accept(event)
            ended.delivery = "pending"
        else:
            self._recorder.received(event.account, label)
        self._history.add(event, ended)
        self._recorder.dropped(event.account, label, condition, event.function)
