"""Takes events in, has them run when there is a slot, and writes down what became of them.

An event is in the store until it has ended for good. This object claims a few events of each lane, gives lanes turns,
and starts as many runs as there are free slots; a slot that comes free is offered to whoever waits for it, so nothing
is asked again and again. All of it happens on one event loop; what must survive is in the store before anybody is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from random import random
from time import monotonic, time
from typing import Any

from ..background import BackgroundTasks
from ..policy.concurrency import Claim, Full, Plan
from ..policy.event_rules import Condition, Delays, EventRules
from ..policy.limits import Limits
from .base import Store, StoreFault, Waiting
from .delivery import Deliveries
from .event import Event
from .lanes import Lane, Work
from .misconfigured import Misconfigured
from .origin import Origin
from .prefetch import MOST_READY, Ready
from .runner import Runner, plan_of
from .settlement import Settling, Tell
from .slot_gate import Entry, Room
from .timers import CallLater

log = logging.getLogger("invoke_gateway")

_MOST_DELIVERIES = 8  # of a lane at once
_MOST_TASKS = 5_000  # whatever the limits are: each has its event in memory
_MOST_TURNS = 200  # in one go; then others have the event loop
_CLOSING_PAUSE = 0.5
_FAILED_PAUSE = 1.0  # before another try of what failed by a mistake of ours
_NAME = "dispatcher of events"

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
        room: Room,
        deliveries: Deliveries,
        limits: Callable[[], Limits],
        rules: Callable[[str, str], EventRules],
        tell: Tell,
        delays: Delays,
        now: Callable[[], float] = time,
        wall: Callable[[], float] | None = None,
        call_later: CallLater | None = None,
        dice: Callable[[], float] = random,
        background: BackgroundTasks | None = None,
        on_misconfigured: Callable[[bool], None] = lambda _: None,
        origin: Origin | None = None,
    ) -> None:
        self.store = store
        self.origin = origin or Origin()
        self._background = background or BackgroundTasks()
        self.ready = Ready(
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
        self.settling = Settling(
            store,
            self.ready,
            deliveries=deliveries,
            limits=limits,
            rules=rules,
            tell=tell,
            misconfigured=self._misconfigured,
            delays=delays,
            now=now,
            wall=wall or now,
            dice=dice,
        )
        self._turns = self.ready.turns
        self._runner = runner
        self._room = room
        self._limits = limits
        self._rules = rules
        self._tell = tell
        self._now = now
        self._tasks: dict[asyncio.Task[None], Event | None] = {}
        self._runs = 0
        self._is_pumping = False
        self._is_stopping = True
        self._is_cut_short = False
        self._loop: asyncio.AbstractEventLoop

    # Life.

    async def start(self) -> list[Waiting]:
        """Open the store and begin with what it has; what that is. Raises `CannotOpen`."""
        self._loop = asyncio.get_running_loop()
        waiting = await self.store.open(self.ready.hear)
        self._is_stopping = False
        for lane in waiting:
            self.ready.hear(lane.lane, lane.events, lane.due_at)
        return waiting

    def stop(self) -> None:
        """Start nothing any more. What comes in is kept for the next start."""
        self._is_stopping = True
        self.ready.timers.stop()
        self._misconfigured.stop()

    async def close(self, seconds: float) -> None:
        """Let what runs end, for so long; the rest stays in the store, for the next start."""
        self.stop()
        until = monotonic() + seconds
        while self._tasks and (left := until - monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=min(left, _CLOSING_PAUSE))
            if self.store.trouble is not None and not self._runs:
                break  # all that ran has ended, and the store cannot be told: it has a time of its own for that
        self.cut_short()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    def cut_short(self) -> None:
        """Let nothing end that runs still: it runs again after the next start."""
        self._is_cut_short = True
        for task in list(self._tasks):
            task.cancel()

    # What the chain and the counters say.

    async def accept(self, event: Event) -> None:
        """Keep a new event; on return it is durable. Raises `StoreFault`, and then nothing is kept."""
        self.origin.own(event)
        lane = self.ready.lane(event.lane)
        if not self._is_stopping and self.ready.may_claim(lane, event):
            await self._accept_claimed(lane, event)
        else:
            await self.store.put(event)
            self.ready.hear(event.lane, 1, event.due_at)
        self._tell.received(event.account, self.settling.label(lane))

    async def _accept_claimed(self, lane: Lane, event: Event) -> None:
        """The way of an event that no other stands before: it is not read again before it is run."""
        self.ready.bytes += event.size
        lane.arriving += 1
        try:
            await self.store.put_claimed(event)
        except asyncio.CancelledError:
            if event.key is not None:  # perhaps it is stored
                self.spawn(self.ready.give_back(lane, [event]))
            raise
        finally:
            self.ready.bytes -= event.size
            lane.arriving -= 1
        self.ready.add(lane, event)

    async def end_unrun(self, event: Event, condition: Condition, code: int, message: str) -> None:
        """Keep a new event that is never to be run: only what became of it is told. Raises `StoreFault`."""
        self.origin.own(event)
        label = self.settling.label(self.ready.lane(event.lane))
        self.settling.end_as(event, condition, code, message)
        assert event.outcome is not None
        if event.outcome.pending:
            await self.accept(event)
        else:
            self._tell.received(event.account, label)
        self._tell.dropped(event.account, label, condition, event.function)

    def note_free(self, claims: Iterable[Claim], own: str) -> None:
        """Slots of these limits have come free."""
        if not self._turns.has_blocked:
            return
        for claim in claims:
            if self._turns.offer(claim.counter or own):
                self._pump_soon()

    def note_refusal(self, full: Full, plan: Plan) -> None:
        """A call that somebody waits for was refused."""
        if isinstance(full.claim, Claim) and (self._turns.has_blocked or self._tasks):
            self._room.turn_away(full.claim.counter or plan.function_counter)

    def note_limits(self) -> None:
        """Other limits are in force. Events of an account that has settings again are held no longer."""
        self._turns.offer_all()
        self._pump_soon()
        if not self._is_stopping:
            self.spawn(self._look_for_lanes())

    async def _look_for_lanes(self) -> None:
        with suppress(StoreFault):  # which the next fetch meets as well
            for lane in await self.store.waiting():
                if lane.lane not in self.ready.lanes:
                    self.ready.hear(lane.lane, lane.events, lane.due_at)

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
            self._background.record_error(_NAME)
            self._loop.call_later(_FAILED_PAUSE, self._retry_turns)

    def _retry_turns(self) -> None:
        for lane in list(self.ready.lanes.values()):
            self.ready.give_turn(lane)

    def _give_turns(self) -> None:
        for _ in range(_MOST_TURNS):
            if self._is_stopping or (lane := self._turns.next()) is None:
                return
            offered, lane.offered = lane.offered, None
            running = lane.running
            if not self.ready.holds_next(lane):
                self.ready.look_after(lane)
            elif lane.work is Work.RUN:
                self._run_next(lane)
            else:
                self._deliver_next(lane)
            if offered is not None and lane.running == running and lane.blocked_on != offered:
                self._turns.offer(offered)  # it does not need the slot after all
        self._pump_soon()

    def spawn(self, work: Coroutine[Any, Any, None], event: Event | None = None) -> asyncio.Task[None]:
        """Do `work` beside. Where it ends before its time, the claimed `event` that it is about is given back."""
        task = self._loop.create_task(work)
        self._tasks[task] = event
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        event = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None or (task.cancelled() and not self._is_cut_short):  # a mistake of ours, or of somebody
            log.error("the dispatcher of events has failed at something", exc_info=error)
            self._background.record_error(_NAME)
            if event is not None:
                self._loop.call_later(_FAILED_PAUSE, self._give_back, event)
        if self._turns.has_blocked and self._turns.offer(_TASKS):
            self._pump_soon()

    def _give_back(self, event: Event) -> None:
        """Let an event wait again whose run or delivery ended without a result."""

        async def give_back() -> None:
            await self.store.give_back([event])
            self.ready.hear(event.lane, 1, event.due_at)

        if not self._is_stopping:
            self.spawn(give_back())

    # Running.

    def _run_next(self, lane: Lane) -> None:
        event = lane.ready[0]
        account = self._limits().of(lane.account)
        rules = self._rules(lane.account, lane.function)
        now = self._now()
        if account.is_switched_off(lane.function):
            self._end_next(lane, "ZeroReservedConcurrency", _NO_CONCURRENCY)
        elif now - event.received_at >= rules.maximum_event_age_seconds:
            self._end_next(lane, "EventAgeExceeded", _TOO_OLD)
        elif len(self._tasks) >= _MOST_TASKS:
            self._turns.block(lane, _TASKS)
        else:
            plan = plan_of(account.plan(lane.function))
            full = self._room.find_full(plan)
            if full is not None and not (full.yields_for is None and lane.not_before <= now):
                self.ready.block(lane, full)
                return
            if lane.unadmitted >= lane.window:
                return  # the lane has another turn when one of these has its slot, or is refused
            self.ready.pop(lane)
            lane.running += 1
            lane.unadmitted += 1
            self.spawn(self._run(lane, event, plan, self._room.enter(plan)), event)
            self.ready.give_turn(lane)

    def _end_next(self, lane: Lane, condition: Condition, message: str) -> None:
        """The next event ends unrun; a few at once, so that a backlog is not in memory on its way out."""
        if lane.running < MOST_READY:
            lane.running += 1
            event = self.ready.pop(lane)
            self.spawn(self._end_unrun(lane, event, condition, message), event)
            self.ready.give_turn(lane)

    async def _end_unrun(self, lane: Lane, event: Event, condition: Condition, message: str) -> None:
        try:
            await self.settling.end(lane, event, condition, 429, message)
        finally:
            lane.running -= 1
        self.ready.give_turn(lane)

    async def _run(self, lane: Lane, event: Event, plan: Plan, entry: Entry) -> None:
        def admitted() -> None:
            entry.admit()
            lane.note_admitted()
            self._tell.started(plan.account, plan.label, max(self._now() - event.received_at, 0.0))
            self.ready.give_turn(lane)

        self._runs += 1
        try:
            try:
                ran = await self._runner.run(event, plan, admitted)
            finally:
                self._runs -= 1
                entry.leave()
                if not entry.was_admitted:
                    lane.note_refused()
            await self.settling.settle(lane, event, plan, ran)
        finally:
            lane.running -= 1  # not before it is written down: whoever counts the events finds this one all the time
        self.ready.give_turn(lane)

    def _deliver_next(self, lane: Lane) -> None:
        if lane.running < _MOST_DELIVERIES:
            lane.running += 1
            event = self.ready.pop(lane)
            self.spawn(self._deliver(lane, event), event)
            self.ready.give_turn(lane)

    async def _deliver(self, lane: Lane, event: Event) -> None:
        try:
            await self.settling.deliver(lane, event)
        finally:
            lane.running -= 1
        self.ready.give_turn(lane)

    def __repr__(self) -> str:
        return f"<Dispatcher {self.ready!r} tasks={len(self._tasks)}>"
