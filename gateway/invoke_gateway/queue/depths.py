"""Counts events by function and state: those in the store, and those that this process has claimed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from math import inf
from time import monotonic, time

import msgspec

from ..policy.limits import OTHER, Limits
from .base import LaneBacklog, StoreError
from .dispatcher import Dispatcher
from .origin import Held, Origin
from .scheduling.lanes import FunctionQueue, QueueKind, split_lane

log = logging.getLogger("invoke_gateway")

SCRAPE_SECONDS = 5.0  # a scrape takes counts up to this age
_PATIENCE_SECONDS = 2.0  # the longest wait of a request; a file with ten million events takes that long
_MOST_COUNTS = 100  # of a queue that seems empty while a task runs; an adoption is one that may run for long
_BETWEEN_COUNTS_SECONDS = 0.005
_AT_ONCE = 5_000  # lanes and events between two pauses; about a millisecond


class Depth(msgspec.Struct):
    """Counts the events of one function by state.

    waiting: not run yet.
    retrying: run before.
    running: running now.
    delivering: their outcomes are being delivered.
    undelivered: their outcomes could not be delivered.
    held: of another origin.
    received_at: the arrival of the oldest event to run (seconds since the epoch; infinite without one).
    due_at: the time of the next due event, likewise.
    """

    waiting: int = 0
    retrying: int = 0
    running: int = 0
    delivering: int = 0
    undelivered: int = 0
    held: int = 0
    received_at: float = inf
    due_at: float = inf

    @property
    def events(self) -> int:
        return self.waiting + self.retrying + self.running + self.delivering + self.undelivered + self.held


STATES = ("waiting", "retrying", "running", "delivering", "undelivered", "held")

Key = tuple[str, str]
"""An account and a function."""

Depths = dict[Key, Depth]

_ANY = Origin()


def count_stored(waiting: Iterable[LaneBacklog], is_ours: Callable[[str], bool] = _ANY.is_ours) -> Depths:
    """Returns the depths of a store's backlog."""
    depths: Depths = {}
    for row in waiting:
        _, account, work, function = split_lane(row.lane)
        depth = depths.setdefault((account, function), Depth())
        if not is_ours(row.lane):
            depth.held += row.events
            continue
        if work is QueueKind.RUN:
            depth.waiting += row.events - row.retrying
            depth.retrying += row.retrying
            depth.received_at = min(depth.received_at, row.received_at)
        elif work is QueueKind.DELIVER:
            depth.delivering += row.events
        else:
            depth.undelivered += row.events
        if work is not QueueKind.KEEP:  # whose events are never due
            depth.due_at = min(depth.due_at, row.due_at)
    return depths


def count_claimed(depths: Depths, lane: FunctionQueue) -> None:
    """Adds the events that this process has claimed of a lane."""
    depth = depths.setdefault((lane.account, lane.function), Depth())
    if lane.kind is QueueKind.RUN:
        retrying = sum(event.runs > 0 for event in lane.ready)
        depth.waiting += len(lane.ready) - retrying + lane.unadmitted
        depth.retrying += retrying
        depth.running += lane.running - lane.unadmitted
        depth.received_at = min(depth.received_at, *(event.received_at for event in lane.ready), inf)
    else:
        depth.delivering += len(lane.ready) + lane.running
    depth.due_at = min(depth.due_at, *(event.due_at for event in lane.ready), inf)


def add_depths(into: Depths, more: Depths) -> None:
    for key, other in more.items():
        depth = into.setdefault(key, Depth())
        for state in STATES:
            setattr(depth, state, getattr(depth, state) + getattr(other, state))
        depth.received_at = min(depth.received_at, other.received_at)
        depth.due_at = min(depth.due_at, other.due_at)


def fold_names(depths: Depths, limits: Limits) -> Depths:
    """Returns the depths by label. Clients name functions, so functions without a label are counted together."""
    folded: Depths = {(account.account, OTHER): Depth() for account in limits.all()}
    for (account, function), depth in depths.items():
        plan = limits.of(account).plan(function)
        add_depths(folded, {(plan.account, plan.label): depth})
    return folded


class QueueGauges:
    """Holds the depths by label for Prometheus. A label that was shown once stays, with zeros."""

    def __init__(self, store: str, *, now: Callable[[], float] = time) -> None:
        self.store = store
        self._now = now
        self._labelled: Depths = {}

    def replace(self, labelled: Depths) -> None:
        """Replaces the depths; a label that was shown stays."""
        self._labelled = {key: Depth() for key in self._labelled} | labelled

    def rows(self) -> Iterator[tuple[tuple[str, str, str], int]]:
        for key, depth in list(self._labelled.items()):
            for state in STATES:
                yield (*key, state), getattr(depth, state)

    def oldest(self) -> Iterator[tuple[tuple[str], float]]:
        received: dict[str, float] = {}
        for (account, _), depth in self._labelled.items():
            received[account] = min(received.get(account, inf), depth.received_at)
        now = self._now()
        for account, at in received.items():
            yield (account,), max(now - at, 0.0) if at < inf else 0.0


class QueueMonitor:
    """Counts the queue's events on request, one count at a time.

    stored: the depths of the store.
    labelled_stored: the same by label.
    here: the depths of the events that this process has claimed.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        limits: Callable[[], Limits],
        gauges: QueueGauges,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.gauges = gauges
        self.stored: Depths = {}
        self.here: Depths = {}
        self.held: list[Held] = []
        self.labelled_stored: Depths = {}
        self._dispatcher = dispatcher
        self._limits = limits
        self._clock = clock
        self._refreshed_at = -inf
        self._refresh: asyncio.Task[None] | None = None
        self._fault: str | None = None

    @property
    def problem(self) -> str | None:
        """Returns why the store cannot store or read events; None where it can."""
        return self._dispatcher.store.problem or self._fault

    @property
    def degraded(self) -> dict[str, bool]:
        """Returns whether the queue is degraded, by cause."""
        return {"event_store": self.problem is not None, "events_held": bool(self.held)}

    async def refresh(self, *, at_most_every: float, patience: float = _PATIENCE_SECONDS) -> None:
        """Counts again, unless the last count is younger than `at_most_every` seconds.

        A count that takes longer than `patience` seconds goes on in the background; until it ends the last one stays.
        """
        if self._refresh is None and self._clock() - self._refreshed_at >= at_most_every:
            self._refresh = asyncio.create_task(self._refresh_now(), name="count the queue")
            self._refresh.add_done_callback(self._end_refresh)
        if self._refresh is not None:
            await asyncio.wait([self._refresh], timeout=patience)

    def _end_refresh(self, refresh: asyncio.Task[None]) -> None:
        self._refresh = None
        if not refresh.cancelled() and (error := refresh.exception()) is not None:  # a bug
            log.error("the queue could not be counted", exc_info=error)
            self._fault = f"It could not be counted: {error!r}"
        self._refreshed_at = self._clock()

    async def _refresh_now(self) -> None:
        """Counts the store's events, then the claimed ones.

        A task that moves an event between the store and this process can keep it out of both counts. So a queue that
        seems empty is counted again, until no task has run beside the counts.
        """
        tasks = self._dispatcher.tasks
        for _ in range(_MOST_COUNTS):
            started, running = tasks.started, len(tasks)
            await self._count_all()
            if _has_work(self.stored) or _has_work(self.here) or self._fault is not None:
                break
            if not running and tasks.started == started:
                break
            await asyncio.sleep(_BETWEEN_COUNTS_SECONDS)
        await self._fold_all()

    async def _count_all(self) -> None:
        try:
            waiting = await self._dispatcher.store.backlog()
        except StoreError as fault:
            self._fault = str(fault)
        else:
            self._fault = None
            origin = self._dispatcher.origin
            self.stored = await asyncio.to_thread(count_stored, waiting, origin.is_ours)
            self.held = await asyncio.to_thread(origin.sum_held, waiting)
        self.here = await self.count_claimed()

    async def _fold_all(self) -> None:
        limits = self._limits()
        self.labelled_stored = await asyncio.to_thread(fold_names, self.stored, limits)
        labelled = await asyncio.to_thread(fold_names, self.here, limits)
        add_depths(labelled, self.labelled_stored)
        self.gauges.replace(labelled)

    async def count_claimed(self) -> Depths:
        """Returns the depths of the events that this process has claimed."""
        depths: Depths = {}
        done = 0
        for lane in list(self._dispatcher.prefetch.lanes.values()):
            if lane.ready or lane.running:
                count_claimed(depths, lane)
            done += 1 + len(lane.ready)
            if done >= _AT_ONCE:
                await asyncio.sleep(0)
                done = 0
        return depths

    async def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])


def _has_work(depths: Depths) -> bool:
    return any(depth.events > depth.undelivered + depth.held for depth in depths.values())
