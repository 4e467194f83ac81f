"""Accepts events, runs them when a slot is free, and records their outcomes.

An event stays in the store until it has ended. The dispatcher claims a few events of each lane, gives the lanes their
turns, and starts as many runs as there are free slots. A slot that comes free is offered to the lane that waits for it,
so no lane polls. All of it happens on one event loop; the store has every change before a target receives it.

This file is longer than 300 lines. Its one class connects the parts of the queue, which stand in files of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from random import random
from time import monotonic, time

from ..background import BackgroundTasks
from ..policy.concurrency import Claim, LimitReached, Plan, without_rates
from ..policy.events.event_rules import Condition, Delays, EventRules
from ..policy.limits import Limits
from .base import LaneBacklog, Store, StoreError
from .event import Event
from .event_tasks import FAILED_PAUSE, NAME, EventTasks
from .intake import Intake
from .origin import Origin
from .outcomes.delivery import Deliveries
from .outcomes.history import EndedEvents
from .outcomes.misconfigured import Misconfigured
from .outcomes.settlement import EventRecorder, Settlement
from .runner import Runner
from .scheduling.lanes import FunctionQueue, QueueKind
from .scheduling.prefetch import MOST_READY, Prefetch
from .scheduling.slot_gate import SlotGate, SlotRequest
from .scheduling.timers import CallLater

log = logging.getLogger("invoke_gateway")

_MOST_DELIVERIES = 8  # of a lane at the same time
_MOST_TASKS = 5_000  # whatever the limits are: each has its event in memory
_MOST_TURNS = 200  # before other callbacks of the event loop run
_CLOSING_PAUSE = 0.5

_TASKS = "\0tasks"
"""Names the limit of tasks, as the counters' names do for their limits."""

_NO_CONCURRENCY = "The function's reserved concurrency is 0."
_TOO_OLD = "The event grew older than maximum_event_age_seconds before it could run."


class Dispatcher:
    """Dispatches the events of one store.

    rules: returns the rules of a function.
    limits: returns the limits in force.
    now: returns seconds since the epoch.
    call_later: the event loop's, but for a test with a clock of its own.
    on_misconfigured: called with whether the backend refuses events until a setting is changed.
    """

    def __init__(
        self,
        store: Store,
        *,
        runner: Runner,
        slot_gate: SlotGate,
        deliveries: Deliveries,
        limits: Callable[[], Limits],
        rules: Callable[[Event], EventRules],
        recorder: EventRecorder,
        delays: Delays,
        now: Callable[[], float] = time,
        wall: Callable[[], float] | None = None,
        call_later: CallLater | None = None,
        rng: Callable[[], float] = random,
        background: BackgroundTasks | None = None,
        on_misconfigured: Callable[[bool], None] = lambda _: None,
        origin: Origin | None = None,
    ) -> None:
        self.store = store
        self.origin = origin or Origin()
        self._background = background or BackgroundTasks()
        self.tasks = EventTasks(self._background, on_end=self._offer_task, on_lost=self._release)
        self.spawn = self.tasks.spawn
        self.prefetch = Prefetch(
            store,
            spawn=self.spawn,
            pump=self._pump_soon,
            now=now,
            call_later=call_later,
            origin=self.origin,
            delays=delays,
        )
        # Twice the longest pause: within this time every event that is still refused is tried again.
        self._misconfigured = Misconfigured(on_misconfigured, seconds=2 * delays.longest, call_later=call_later)
        self.history = EndedEvents()
        self.settlement = Settlement(
            store,
            self.prefetch,
            deliveries=deliveries,
            limits=limits,
            rules=rules,
            recorder=recorder,
            history=self.history,
            misconfigured=self._misconfigured,
            delays=delays,
            now=now,
            wall=wall or now,
            rng=rng,
        )
        self._intake = Intake(
            store,
            self.prefetch,
            self.settlement,
            origin=self.origin,
            recorder=recorder,
            history=self.history,
            now=now,
            spawn=self.spawn,
        )
        self.accept = self._intake.accept
        self.finish_without_run = self._intake.finish_without_run
        self._round_robin = self.prefetch.round_robin
        self._runner = runner
        self._slot_gate = slot_gate
        self._limits = limits
        self._rules = rules
        self._recorder = recorder
        self._now = now
        self._runs = 0
        self._is_pumping = False
        self._is_stopping = True
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> list[LaneBacklog]:
        """Opens the store, begins with its backlog, and returns that. Raises `CannotOpen`."""
        self._loop = asyncio.get_running_loop()
        waiting = await self.store.open(self.prefetch.note_enqueued)
        self._is_stopping, self._intake.may_claim = False, True
        for lane in waiting:
            self.prefetch.note_enqueued(lane.lane, lane.events, lane.due_at)
        return waiting

    def stop(self) -> None:
        """Starts no more runs. New events are still stored, for the next start."""
        self._is_stopping, self._intake.may_claim = True, False
        self.prefetch.timers.stop()
        self._misconfigured.stop()

    async def close(self, seconds: float) -> None:
        """Waits at most so many seconds for the running events. The other events stay stored for the next start."""
        self.stop()
        until = monotonic() + seconds
        while self.tasks and (left := until - monotonic()) > 0:
            await self.tasks.wait(min(left, _CLOSING_PAUSE))
            if self.store.problem is not None and not self._runs:
                break  # all runs have ended; closing the store has a time-out of its own
        self.cancel_running()
        await self.tasks.join()
        await self.store.close()

    def cancel_running(self) -> None:
        """Cancels the running events, which run again after the next start."""
        self.tasks.cancel()

    def on_slots_free(self, claims: Iterable[Claim], own: str) -> None:
        """Offers the freed slots of these limits to the lanes behind them."""
        if not self._round_robin.blocked:
            return
        for claim in claims:
            if self._round_robin.offer(claim.counter or own):
                self._pump_soon()

    def on_call_refused(self, full: LimitReached, plan: Plan) -> None:
        """Records that a synchronous call was refused, so that events yield to calls."""
        if isinstance(full.claim, Claim) and (self._round_robin.blocked or self.tasks.running):
            self._slot_gate.yield_to_calls(full.claim.counter or plan.function_counter)

    def on_limits_changed(self) -> None:
        """Offers all slots again after a reload, and takes up the events of accounts that have settings again."""
        self._round_robin.offer_all()
        self._pump_soon()
        if not self._is_stopping:
            self.spawn(self._find_new_lanes())

    async def _find_new_lanes(self) -> None:
        with suppress(StoreError):  # the next claim meets it as well
            for lane in await self.store.backlog():
                if lane.lane not in self.prefetch.lanes:
                    self.prefetch.note_enqueued(lane.lane, lane.events, lane.due_at)

    def _pump_soon(self) -> None:
        if not self._is_pumping and not self._is_stopping:
            self._is_pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Gives every lane its turns, until no lane can use one. A bug that one lane triggers does not end that."""
        self._is_pumping = False
        try:
            self._give_turns()
        except Exception:  # a bug: the events of other lanes must still run
            log.exception("the event dispatcher failed at giving turns; it retries in %g s", FAILED_PAUSE)
            self._background.record_error(NAME)
            self._loop.call_later(FAILED_PAUSE, self._retry_pump)

    def _retry_pump(self) -> None:
        for lane in list(self.prefetch.lanes.values()):
            self.prefetch.give_turn(lane)

    def _give_turns(self) -> None:
        for _ in range(_MOST_TURNS):
            if self._is_stopping or (lane := self._round_robin.next()) is None:
                return
            offered, lane.offered = lane.offered, None
            running = lane.running
            if not self.prefetch.owns_next(lane):
                self.prefetch.advance(lane)
            elif lane.kind is QueueKind.RUN:
                self._run_next(lane)
            else:
                self._deliver_next(lane)
            if offered is not None and lane.running == running and offered not in lane.blocked_on:
                self._round_robin.offer(offered)  # the lane did not use the slot
        self._pump_soon()

    def _offer_task(self) -> None:
        if self._round_robin.blocked and self._round_robin.offer(_TASKS):
            self._pump_soon()

    def _release(self, event: Event) -> None:
        """Releases an event whose run or delivery ended without a result."""

        async def give_back() -> None:
            await self.store.release([event])
            self.prefetch.note_enqueued(event.lane, 1, event.due_at)

        if not self._is_stopping:
            self.spawn(give_back())

    def _run_next(self, lane: FunctionQueue) -> None:
        event = lane.ready[0]
        account = self._limits().of(lane.account)
        rules = self._rules(event)
        now = self._now()
        if account.is_switched_off(lane.function):
            self._end_next(lane, "ZeroReservedConcurrency", _NO_CONCURRENCY)
        elif now - event.received_at >= rules.maximum_event_age_seconds:
            self._end_next(lane, "EventAgeExceeded", _TOO_OLD)
        elif len(self.tasks) >= _MOST_TASKS:
            self._round_robin.block(lane, _TASKS)
        else:
            plan = without_rates(account.plan(lane.function, event.qualifier))
            blocked = self._slot_gate.find_blocked(plan)
            if blocked is not None and not (blocked.yields_for is None and lane.not_before <= now):
                self.prefetch.block(lane, blocked)
                return
            if lane.unadmitted >= lane.window:
                return  # the lane has its next turn when one of these is admitted or refused
            self.prefetch.pop(lane)
            lane.running += 1
            lane.unadmitted += 1
            self.spawn(self._run(lane, event, plan, self._slot_gate.request_slot(plan)), event)
            self.prefetch.give_turn(lane)

    def _end_next(self, lane: FunctionQueue, condition: Condition, message: str) -> None:
        """Ends the next event unrun; few at a time, so that a long backlog is not read into memory."""
        if lane.running < MOST_READY:
            self._settle_next(lane, lambda event: self.settlement.end(lane, event, condition, 429, message))

    def _deliver_next(self, lane: FunctionQueue) -> None:
        if lane.running < _MOST_DELIVERIES:
            self._settle_next(lane, lambda event: self.settlement.deliver(lane, event))

    def _settle_next(self, lane: FunctionQueue, settle: Callable[[Event], Awaitable[None]]) -> None:
        lane.running += 1
        event = self.prefetch.pop(lane)
        self.spawn(self._settle(lane, event, settle), event)
        self.prefetch.give_turn(lane)

    async def _settle(self, lane: FunctionQueue, event: Event, settle: Callable[[Event], Awaitable[None]]) -> None:
        try:
            await settle(event)
        finally:
            lane.running -= 1
        self.prefetch.give_turn(lane)

    async def _run(self, lane: FunctionQueue, event: Event, plan: Plan, request: SlotRequest) -> None:
        started_at: float | None = None

        def admitted() -> None:
            nonlocal started_at
            request.admit()
            lane.note_admitted()
            started_at = self._now()
            self._recorder.started(plan.account, plan.label, max(started_at - event.received_at, 0.0))
            self.prefetch.give_turn(lane)

        self._runs += 1
        try:
            try:
                result = await self._runner.run(event, plan, admitted)
            finally:
                self._runs -= 1
                request.end()
                if not request.was_admitted:
                    lane.note_refused()
            run_seconds = None if started_at is None else self._now() - started_at
            await self.settlement.settle(lane, event, plan, result, run_seconds)
        finally:
            lane.running -= 1  # after the store has the outcome, so that every count of the events includes this one
        self.prefetch.give_turn(lane)

    def __repr__(self) -> str:
        return f"<Dispatcher {self.prefetch!r} tasks={len(self.tasks)}>"
