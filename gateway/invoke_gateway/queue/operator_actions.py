"""Shows, retries and drops single events for an operator.

A claimed event that does not run yet is withdrawn from memory; any other event is claimed first. So an operation and a
run never have the same event at the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Literal, NamedTuple

from .dispatcher import Dispatcher
from .event import Event
from .scheduling.lanes import QueueKind, split_lane

log = logging.getLogger("invoke_gateway")

Action = Literal["retry", "drop"]

MOST_EVENTS = 1_000  # of one request id
MOST_LANES = 100  # are read for the oldest events

_WORKS = {"undelivered": QueueKind.KEEP, "delivering": QueueKind.DELIVER}


class EventStatus(NamedTuple):
    """Holds an event and its state. `is_running`: it is running or being delivered, or another gateway has
    claimed it."""

    event: Event
    state: str
    is_running: bool


class ActionResult(NamedTuple):
    """Holds the names of the events of an action: those that are done, and those that another owner has claimed."""

    done: list[str]
    running: list[str]


class EventFilter(NamedTuple):
    """Selects events; None selects all."""

    account: str | None = None
    function: str | None = None
    state: str | None = None
    most: int = 20


class OperatorActions:
    """Carries out operations on single events. `now` returns seconds since the epoch."""

    def __init__(self, dispatcher: Dispatcher, *, now: Callable[[], float]) -> None:
        self._prefetch = dispatcher.prefetch
        self._settlement = dispatcher.settlement
        self._store = dispatcher.store
        self._origin = dispatcher.origin
        self._now = now

    async def find(self, request_id: str, most: int) -> list[EventStatus]:
        """Returns the events of a request id. Raises `StoreError`."""
        return [self._describe(*row) for row in await self._store.find(request_id, most)]

    async def oldest(self, event_filter: EventFilter) -> tuple[list[EventStatus], bool]:
        """Returns the events that arrived first, and whether there are more.

        Of a lane it reads the events that are due first; of more than a hundred lanes, those whose events have waited
        longest. Raises `StoreError`.
        """
        lanes = await self._list_lanes(event_filter)
        found: list[EventStatus] = []
        is_cut = len(lanes) > MOST_LANES
        for lane in lanes[:MOST_LANES]:
            rows = [self._describe(*row) for row in await self._store.oldest(lane, event_filter.most)]
            is_cut = is_cut or len(rows) == event_filter.most
            found += [seen for seen in rows if event_filter.state in (None, seen.state)]
            found.sort(key=lambda seen: seen.event.received_at)
            is_cut = is_cut or len(found) > event_filter.most
            del found[event_filter.most :]  # an event may have a megabyte
        return found, is_cut

    async def _list_lanes(self, event_filter: EventFilter) -> list[str]:
        """Returns the names of the lanes that may have such events, those with the oldest events first."""
        lanes = {row.lane: row.received_at for row in await self._store.backlog()}
        for lane in list(self._prefetch.lanes.values()):
            if lane.ready or lane.running:
                first = lane.ready[0].received_at if lane.ready else self._now()
                lanes[lane.name] = min(lanes.get(lane.name, first), first)
        return [name for name in sorted(lanes, key=lanes.__getitem__) if self._may_hold(name, event_filter)]

    def _may_hold(self, lane: str, event_filter: EventFilter) -> bool:
        _, account, work, function = split_lane(lane)
        if event_filter.account not in (None, account) or event_filter.function not in (None, function):
            return False
        if event_filter.state is None:
            return True
        if not self._origin.is_ours(lane):
            return event_filter.state == "held"
        return _WORKS.get(event_filter.state, QueueKind.RUN) is work and event_filter.state != "held"

    def _describe(self, event: Event, is_claimed: bool) -> EventStatus:
        is_running = is_claimed and self._prefetch.find(event.lane, lambda e: name_of(e) == name_of(event)) is None
        work = split_lane(event.lane).kind
        if not self._origin.is_ours(event.lane):
            return EventStatus(event, "held", is_running)
        if work is QueueKind.KEEP:
            return EventStatus(event, "undelivered", is_running)
        if work is QueueKind.DELIVER:
            return EventStatus(event, "delivering", is_running)
        return EventStatus(event, "running" if is_running else "retrying" if event.runs else "waiting", is_running)

    async def apply(
        self, action: Action, request_id: str, *, skip: Collection[str] = (), only_ready: bool = False
    ) -> ActionResult:
        """Applies an action to all events of a request id.

        skip: names of events to leave out.
        only_ready: restricts it to events that this process has claimed.

        Raises `StoreError`.
        """
        result = ActionResult([], [])
        apply_one = self._retry if action == "retry" else self._drop
        for event, is_claimed in await self._store.find(request_id, MOST_EVENTS):
            name = name_of(event)
            if name in skip:
                continue
            if await self._apply_one(apply_one, event, is_claimed, only_ready):
                result.done.append(name)
            else:
                result.running.append(name)
        return result

    async def _apply_one(
        self, apply_one: Callable[[Event, bool], Awaitable[None]], event: Event, is_claimed: bool, only_ready: bool
    ) -> bool:
        name = name_of(event)
        ready = self._prefetch.withdraw(event.lane, lambda one: name_of(one) == name) if is_claimed else None
        if ready is not None:
            await apply_one(ready, True)
            return True
        if is_claimed or only_ready or event.key is None:
            return False
        taken = await self._store.claim_one(event.key)
        if taken is None:
            return False
        await apply_one(taken, False)
        return True

    async def _retry(self, event: Event, was_ready: bool) -> None:
        if not was_ready and not self._origin.is_ours(event.lane):
            self._origin.adopt(event, self._now())
        if event.outcome is not None:
            event.outcome.tries = 0
            event.lane = self._origin.name_lane(event.account, QueueKind.DELIVER, event.function)
        event.due_at = self._now()
        if was_ready:
            self._prefetch.put_first(event)
            return
        await self._store.requeue(event)
        self._prefetch.note_enqueued(event.lane, 1, event.due_at)
        self._prefetch.retry_now(event.lane)

    async def _drop(self, event: Event, was_ready: bool) -> None:
        log.warning("event %s of %s is dropped by a request to the admin listener", event.request_id, event.function)
        self._settlement.record_dropped(event)
        await self._store.ack(event)


def name_of(event: Event) -> str:
    """Returns the store's name of an event. In Redis the key of a claimed event ends with its claim."""
    key = event.key
    return key.partition(b" ")[0].decode() if isinstance(key, bytes) else str(key)
