"""Takes events in, has them run when there is a slot, and writes down what became of them.

An event is in the store until it has ended for good. This object claims a few events of each lane, gives lanes turns,
and starts as many runs as there are free slots; a slot that comes free is offered to whoever waits for it, so nothing
is asked again and again. All of it happens on one event loop; what must survive is in the store before anybody is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import random
from time import monotonic, time

from ..background import BackgroundTasks
from ..policy.concurrency import Claim, Full, Plan
from ..policy.event_rules import Condition, Delays, EventRules
from ..policy.limits import Limits
from .base import LaneBacklog, Store, StoreError
from .delivery import Deliveries
from .event import Event
from .event_tasks import FAILED_PAUSE, NAME, EventTasks
from .lanes import FunctionQueue, QueueKind
from .misconfigured import Misconfigured
from .origin import Origin
from .prefetch import MOST_READY, Prefetch
from .runner import Runner, plan_of
from .settlement import EventRecorder, Settlement
from .slot_gate import SlotGate, SlotRequest
from .timers import CallLater

log = logging.getLogger("invoke_gateway")

_MOST_DELIVERIES = 8  # of a lane at once
_MOST_TASKS = 5_000  # whatever the limits are: each has its event in memory
_MOST_TURNS = 200  # in one go; then others have the event loop
_CLOSING_PAUSE = 0.5

_TASKS = "\0tasks"
"""Stands for the limit of tasks, as the counters' names do for theirs."""

_NO_CONCURRENCY = "The function's reserved concurrency is 0."
_TOO_OLD = "The event grew older than maximum_event_age_seconds before it could run."


class Dispatcher:
    """`rules` gives a function's, `limits` the table in force. `now` is seconds since the epoch, `call_later` the event
    loop's unless a test has another clock. `on_misconfigured` is called with whether the backend refuses events
    until somebody changes a setting."""

    def __init__(
        self,
        store: Store,
        *,
        runner: Runner,
        slot_gate: SlotGate,
        deliveries: Deliveries,
        limits: Callable[[], Limits],
        rules: Callable[[str, str], EventRules],
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
        self._tasks = EventTasks(self._background, on_end=self._offer_task, on_lost=self._release)
        self.spawn = self._tasks.spawn
        self.prefetch = Prefetch(
            store,
            spawn=self.spawn,
            pump=self._pump_soon,
            now=now,
            call_later=call_later,
            origin=self.origin,
            delays=delays,
        )
        # Twice the longest pause: within this time an event that is still refused is tried again.
        self._misconfigured = Misconfigured(on_misconfigured, seconds=2 * delays.longest, call_later=call_later)
        self.settlement = Settlement(
            store,
            self.prefetch,
            deliveries=deliveries,
            limits=limits,
            rules=rules,
            recorder=recorder,
            misconfigured=self._misconfigured,
            delays=delays,
            now=now,
            wall=wall or now,
            rng=rng,
        )
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

    # Life.

    async def start(self) -> list[LaneBacklog]:
        """Open the store and begin with what it has; what that is. Raises `CannotOpen`."""
        self._loop = asyncio.get_running_loop()
        waiting = await self.store.open(self.prefetch.note_enqueued)
        self._is_stopping = False
        for lane in waiting:
            self.prefetch.note_enqueued(lane.lane, lane.events, lane.due_at)
        return waiting

    def stop(self) -> None:
        """Start nothing any more. What comes in is kept for the next start."""
        self._is_stopping = True
        self.prefetch.timers.stop()
        self._misconfigured.stop()

    async def close(self, seconds: float) -> None:
        """Let what runs end, for so long; the rest stays in the store, for the next start."""
        self.stop()
        until = monotonic() + seconds
        while self._tasks and (left := until - monotonic()) > 0:
            await self._tasks.wait(min(left, _CLOSING_PAUSE))
            if self.store.problem is not None and not self._runs:
                break  # all that ran has ended, and the store cannot be told: it has a time of its own for that
        self.cancel_running()
        await self._tasks.join()
        await self.store.close()

    def cancel_running(self) -> None:
        """Let nothing end that runs still: it runs again after the next start."""
        self._tasks.cancel()

    # What the chain and the counters say.

    async def accept(self, event: Event) -> None:
        """Keep a new event; on return it is durable. Raises `StoreError`, and then nothing is kept."""
        self.origin.own(event)
        lane = self.prefetch.lane(event.lane)
        if not self._is_stopping and self.prefetch.may_claim(lane, event):
            await self._accept_claimed(lane, event)
        else:
            await self.store.enqueue(event)
            self.prefetch.note_enqueued(event.lane, 1, event.due_at)
        self._recorder.received(event.account, self.settlement.label(lane))

    async def _accept_claimed(self, lane: FunctionQueue, event: Event) -> None:
        """The way of an event that no other stands before: it is not read again before it is run."""
        self.prefetch.bytes += event.size
        lane.arriving += 1
        try:
            await self.store.enqueue_claimed(event)
        except asyncio.CancelledError:
            if event.key is not None:  # perhaps it is stored
                self.spawn(self.prefetch.release(lane, [event]))
            raise
        finally:
            self.prefetch.bytes -= event.size
            lane.arriving -= 1
        self.prefetch.add(lane, event)

    async def finish_without_run(self, event: Event, condition: Condition, code: int, message: str) -> None:
        """Keep a new event that is never to be run: only what became of it is told. Raises `StoreError`."""
        self.origin.own(event)
        label = self.settlement.label(self.prefetch.lane(event.lane))
        self.settlement.end_as(event, condition, code, message)
        assert event.outcome is not None
        if event.outcome.pending:
            await self.accept(event)
        else:
            self._recorder.received(event.account, label)
        self._recorder.dropped(event.account, label, condition, event.function)

    def on_slots_free(self, claims: Iterable[Claim], own: str) -> None:
        """Slots of these limits have come free."""
        if not self._round_robin.has_blocked:
            return
        for claim in claims:
            if self._round_robin.offer(claim.counter or own):
                self._pump_soon()

    def on_call_refused(self, full: Full, plan: Plan) -> None:
        """A call that somebody waits for was refused."""
        if isinstance(full.claim, Claim) and (self._round_robin.has_blocked or self._tasks):
            self._slot_gate.yield_to_calls(full.claim.counter or plan.function_counter)

    def on_limits_changed(self) -> None:
        """Other limits are in force. Events of an account that has settings again are held no longer."""
        self._round_robin.offer_all()
        self._pump_soon()
        if not self._is_stopping:
            self.spawn(self._find_new_lanes())

    async def _find_new_lanes(self) -> None:
        with suppress(StoreError):  # which the next fetch meets as well
            for lane in await self.store.backlog():
                if lane.lane not in self.prefetch.lanes:
                    self.prefetch.note_enqueued(lane.lane, lane.events, lane.due_at)

    # Turns.

    def _pump_soon(self) -> None:
        if not self._is_pumping and not self._is_stopping:
            self._is_pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Give every lane its turns, until none can use one. A mistake of ours with one lane is not the end of that."""
        self._is_pumping = False
        try:
            self._give_turns()
        except Exception:
            log.exception("the dispatcher of events has failed at giving turns, and goes on")
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
            if offered is not None and lane.running == running and lane.blocked_on != offered:
                self._round_robin.offer(offered)  # it does not need the slot after all
        self._pump_soon()

    def _offer_task(self) -> None:
        if self._round_robin.has_blocked and self._round_robin.offer(_TASKS):
            self._pump_soon()

    def _release(self, event: Event) -> None:
        """Let an event wait again whose run or delivery ended without a result."""

        async def give_back() -> None:
            await self.store.release([event])
            self.prefetch.note_enqueued(event.lane, 1, event.due_at)

        if not self._is_stopping:
            self.spawn(give_back())

    # Running.

    def _run_next(self, lane: FunctionQueue) -> None:
        event = lane.ready[0]
        account = self._limits().of(lane.account)
        rules = self._rules(lane.account, lane.function)
        now = self._now()
        if account.is_switched_off(lane.function):
            self._end_next(lane, "ZeroReservedConcurrency", _NO_CONCURRENCY)
        elif now - event.received_at >= rules.maximum_event_age_seconds:
            self._end_next(lane, "EventAgeExceeded", _TOO_OLD)
        elif len(self._tasks) >= _MOST_TASKS:
            self._round_robin.block(lane, _TASKS)
        else:
            plan = plan_of(account.plan(lane.function))
            blocked = self._slot_gate.find_blocked(plan)
            if blocked is not None and not (blocked.yields_for is None and lane.not_before <= now):
                self.prefetch.block(lane, blocked)
                return
            if lane.unadmitted >= lane.window:
                return  # the lane has another turn when one of these has its slot, or is refused
            self.prefetch.pop(lane)
            lane.running += 1
            lane.unadmitted += 1
            self.spawn(self._run(lane, event, plan, self._slot_gate.request_slot(plan)), event)
            self.prefetch.give_turn(lane)

    def _end_next(self, lane: FunctionQueue, condition: Condition, message: str) -> None:
        """The next event ends unrun; a few at once, so that a backlog is not in memory on its way out."""
        if lane.running < MOST_READY:
            lane.running += 1
            event = self.prefetch.pop(lane)
            self.spawn(self._finish_without_run(lane, event, condition, message), event)
            self.prefetch.give_turn(lane)

    async def _finish_without_run(self, lane: FunctionQueue, event: Event, condition: Condition, message: str) -> None:
        try:
            await self.settlement.end(lane, event, condition, 429, message)
        finally:
            lane.running -= 1
        self.prefetch.give_turn(lane)

    async def _run(self, lane: FunctionQueue, event: Event, plan: Plan, request: SlotRequest) -> None:
        def admitted() -> None:
            request.admit()
            lane.note_admitted()
            self._recorder.started(plan.account, plan.label, max(self._now() - event.received_at, 0.0))
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
            await self.settlement.settle(lane, event, plan, result)
        finally:
            lane.running -= 1  # not before it is written down: whoever counts the events finds this one all the time
        self.prefetch.give_turn(lane)

    def _deliver_next(self, lane: FunctionQueue) -> None:
        if lane.running < _MOST_DELIVERIES:
            lane.running += 1
            event = self.prefetch.pop(lane)
            self.spawn(self._deliver(lane, event), event)
            self.prefetch.give_turn(lane)

    async def _deliver(self, lane: FunctionQueue, event: Event) -> None:
        try:
            await self.settlement.deliver(lane, event)
        finally:
            lane.running -= 1
        self.prefetch.give_turn(lane)

    def __repr__(self) -> str:
        return f"<Dispatcher {self.prefetch!r} tasks={len(self._tasks)}>"
