"""Claims a few events of each lane ahead, and holds the state of the lanes.

An event that is claimed ahead need not wait for the store when a slot comes free. The backlog stays in the store: of a
lane's stored events only the time of the first is known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

from ...policy.events.event_rules import Delays
from ..base import ClaimedEvents, Store, StoreError
from ..event import Event
from ..origin import Origin
from .lanes import FunctionQueue, QueueKind, RoundRobin
from .slot_gate import Blocked
from .timers import CallLater, Timers

log = logging.getLogger("invoke_gateway")

MOST_READY = 256  # events of a lane
_MOST_READY_BYTES = 4 * 1024 * 1024
_ALL_READY_EVENTS = 20_000  # about, of all lanes
_ALL_READY_BYTES = 64 * 1024 * 1024  # of all lanes; beyond it blocked lanes release their events
_FEW_READY = 64  # the next events are claimed while these run
_STORE_PAUSE = 1.0

_SLACK = 1.0  # seconds, for clocks that differ slightly

NO_LIMIT = "\0no limit"
"""Stands for no limit: a lane behind it waits for its time."""


def _bound_age(event: Event, now: float) -> None:
    """Keeps the age of an event from being negative. An ended event keeps its time, which its targets receive."""
    if event.outcome is None:
        event.received_at = min(event.received_at, now)


class Prefetch:
    """Holds the claimed events of all lanes.

    spawn: starts a task.
    pump: called when a lane may have a turn.
    now: returns seconds since the epoch.
    delays: bound how long an event waits.
    """

    def __init__(
        self,
        store: Store,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        pump: Callable[[], None],
        now: Callable[[], float],
        call_later: CallLater | None,
        origin: Origin,
        delays: Delays,
    ) -> None:
        self.origin = origin
        self._delays = delays
        self.lanes: dict[str, FunctionQueue] = {}
        self.round_robin = RoundRobin()
        self.timers = Timers(self._on_timer, now=now, call_later=call_later, longest_wait=delays.longest_wait)
        self.bytes = 0
        self._store = store
        self._spawn = spawn
        self._pump = pump
        self._now = now

    def lane(self, name: str) -> FunctionQueue:
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = FunctionQueue(name)
        return lane

    def note_enqueued(self, name: str, events: int, due_at: float) -> None:
        """Records events that have come into a lane of the store. Events of another origin are held."""
        if not self.origin.is_ours(name):
            return
        lane = self.lane(name)
        lane.note_stored(due_at, events)
        self.give_turn(lane)

    def may_claim(self, lane: FunctionQueue, event: Event) -> bool:
        """Returns whether a new event may be claimed at once: no stored event precedes it."""
        return (
            not lane.is_claiming
            and len(lane.ready) < MOST_READY
            and lane.next_due_at > event.due_at
            and self.bytes + event.size <= _ALL_READY_BYTES
        )

    def give_turn(self, lane: FunctionQueue) -> None:
        if not lane.blocked_on and lane.kind is not QueueKind.KEEP:
            self.round_robin.add(lane)
            self._pump()

    def add(self, lane: FunctionQueue, event: Event) -> None:
        """Appends a claimed event that is due."""
        lane.ready.append(event)
        self.bytes += event.size
        self.give_turn(lane)

    def pop(self, lane: FunctionQueue) -> Event:
        event = lane.ready.popleft()
        self.bytes -= event.size
        if len(lane.ready) < _FEW_READY and lane.next_due_at <= self._now() and not lane.is_claiming:
            self._start_claim(lane)
        return event

    def push_back(self, lane: FunctionQueue, event: Event) -> None:
        lane.ready.appendleft(event)
        self.bytes += event.size

    def find(self, lane: str, is_it: Callable[[Event], bool]) -> Event | None:
        """Returns the first claimed event of a lane that is not running and satisfies `is_it`."""
        found = self.lanes.get(lane)
        return None if found is None else next(filter(is_it, found.ready), None)

    def withdraw(self, lane: str, is_it: Callable[[Event], bool]) -> Event | None:
        """Removes and returns the event that `find` would return. The event stays claimed: the caller must end, requeue
        or return it."""
        event = self.find(lane, is_it)
        if event is not None:
            self.lanes[lane].ready.remove(event)
            self.bytes -= event.size
            self.give_turn(self.lanes[lane])
        return event

    def put_first(self, event: Event) -> None:
        """Makes a withdrawn event the next of its lane, and tries it now."""
        self.push_back(self.lane(event.lane), event)
        self.retry_now(event.lane)

    def retry_now(self, lane: str) -> None:
        """Tries a lane now, whatever it waits for."""
        found = self.lane(lane)
        found.not_before, found.tries = 0.0, 0
        self.round_robin.add(found)
        self._pump()

    # Lanes without an event to run.

    def owns_next(self, lane: FunctionQueue) -> bool:
        """Returns whether the lane has a claimed event to begin with. Events whose claims are lost are dropped from
        memory."""
        while lane.ready:
            owns = self._store.owns_claim(lane.ready[0])
            if owns:
                return True
            if owns is None:
                self.block(lane, Blocked((NO_LIMIT,), _STORE_PAUSE))
                return False
            self.pop(lane)
        return False

    def advance(self, lane: FunctionQueue) -> None:
        """Claims events for a lane that has none, waits until its next is due, or removes an idle lane."""
        if lane.is_claiming or lane.blocked_on:
            return
        now = self._now()
        latest = now + self._delays.longest_wait
        lane.not_before = min(lane.not_before, latest)
        due_at = max(lane.next_due_at, lane.not_before if lane.tries else 0.0)
        if latest + _SLACK < due_at < inf:
            self._begin_claim(lane, self._bring_forward(lane))
        elif due_at <= now:
            self._start_claim(lane)
        elif due_at < inf:
            self.timers.wake_at(lane, due_at)
        elif lane.is_idle and self.lanes.get(lane.name) is lane:
            del self.lanes[lane.name]

    def block(self, lane: FunctionQueue, blocked: Blocked) -> None:
        self.round_robin.block(lane, *blocked.counters)
        now = self._now()
        self.timers.wake_at(lane, max(lane.not_before, now) if blocked.yields_for is None else now + blocked.yields_for)
        if self.bytes > _ALL_READY_BYTES and lane.ready:
            events = list(lane.ready)
            lane.ready.clear()
            self.bytes -= sum(event.size for event in events)
            self._spawn(self.release(lane, events))

    async def release(self, lane: FunctionQueue, events: list[Event]) -> None:
        await self._store.release(events)
        lane.note_stored(min(event.due_at for event in events), len(events))

    def _begin_claim(self, lane: FunctionQueue, fetch: Coroutine[Any, Any, None]) -> None:
        lane.is_claiming = True
        lane.new_due_at = inf
        self._spawn(fetch)

    async def _bring_forward(self, lane: FunctionQueue) -> None:
        """Makes every event of a lane due now, after a clock was ahead when the events were stored.

        All of them are due later than any event can be, and the time that they have waited cannot be found.
        """
        fetched = await self._claim(lane, inf, MOST_READY)
        if fetched is None:
            return
        now = self._now()
        for event in fetched.events:
            event.due_at = min(event.due_at, now)
            _bound_age(event, now)
        log.warning(
            "%d events of %s were due later than the settings allow, because a clock was set; they are due now",
            *(len(fetched.events), lane.name),
        )
        await asyncio.gather(*map(self._store.requeue, fetched.events))
        lane.is_claiming = False
        due = [event.due_at for event in fetched.events]
        lane.next_due_at = min([*due, lane.new_due_at, *([] if fetched.next_due_at is None else [fetched.next_due_at])])
        self.give_turn(lane)

    def _start_claim(self, lane: FunctionQueue) -> None:
        most = max(1, min(MOST_READY, _ALL_READY_EVENTS // (len(self.lanes) or 1)))
        if self.bytes > _ALL_READY_BYTES:
            most = 1
        self._begin_claim(lane, self._claim_now(lane, most))

    async def _claim(self, lane: FunctionQueue, due_by: float, most: int) -> ClaimedEvents | None:
        try:
            return await self._store.claim_due(lane.name, due_by, most, _MOST_READY_BYTES)
        except StoreError as fault:
            log.error("events of %s cannot be read; retry in %g s: %s", lane.name, _STORE_PAUSE, fault)
            lane.is_claiming = False
            self.timers.wake_at(lane, self._now() + _STORE_PAUSE)
            return None
        except BaseException:  # a bug or a cancellation: the lane must not wait for ever
            lane.is_claiming = False
            self.timers.wake_at(lane, self._now() + _STORE_PAUSE)
            raise

    async def _claim_now(self, lane: FunctionQueue, most: int) -> None:
        fetched = await self._claim(lane, self._now(), most)
        if fetched is None:
            return
        lane.is_claiming = False
        now = self._now()
        for event in fetched.events:
            _bound_age(event, now)
        lane.ready.extend(fetched.events)
        lane.stored = max(0, lane.stored - len(fetched.events))
        self.bytes += sum(event.size for event in fetched.events)
        lane.next_due_at = lane.new_due_at  # of the events that arrived during the claim
        if fetched.next_due_at is not None:
            lane.next_due_at = min(lane.next_due_at, fetched.next_due_at)
        self.give_turn(lane)

    def _on_timer(self, lane: FunctionQueue) -> None:
        self.round_robin.add(lane)
        self._pump()

    def __repr__(self) -> str:
        return f"<Prefetch lanes={len(self.lanes)} bytes={self.bytes}>"
