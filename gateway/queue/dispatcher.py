"""Takes events in, has them run when there is a slot, and writes down what became of them.

An event is in the store until it has ended for good. This object claims a few events of each lane, gives lanes turns,
and starts as many runs as there are free slots; a slot that comes free is offered to whoever waits for it, so nothing
is asked again and again. All of it happens on one event loop; what must survive is in the store before anybody is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from math import inf
from random import random
from time import monotonic, time
from typing import Any, Protocol

from ..policy.concurrency import Claim, Full, Plan
from ..policy.events import Condition, Delays, EventRules, after_function_error, after_return, back_off
from ..policy.limits import Limits
from .base import Store, StoreFault
from .deliveries import Deliveries
from .event import Event, Outcome
from .lanes import Lane, Turns, Work, name_lane
from .room import Entry, NoRoom, Room
from .run import Ran, Runner, plan_of
from .timers import CallLater, Timers

log = logging.getLogger("gateway")

_MOST_READY = 256  # events of a lane that are claimed ahead
_MOST_READY_BYTES = 4 * 1024 * 1024
_ALL_READY_BYTES = 64 * 1024 * 1024  # of all lanes; beyond it those that must wait give theirs back
_FEW_READY = 64  # the next are fetched while these are run
_MOST_DELIVERIES = 8  # of a lane at once
_LONGEST_TIMER = 60.0  # a clock that was set is noticed
_STORE_PAUSE = 1.0
_CLOSING_PAUSE = 0.5
_MOST_TASKS = 5_000  # whatever the limits are: each has its event in memory
_MOST_TURNS = 200  # in one go; then others have the event loop


class Tell(Protocol):
    """Who counts. `function` is the label under which a function is counted."""

    def received(self, account: str, function: str) -> None: ...

    def started(self, account: str, function: str, age_seconds: float) -> None:
        """A run has its slot."""

    def retried(self, account: str, function: str, cause: str) -> None:
        """The event will be run again, for `error`, or is tried again, for `throttle` or `system`."""

    def dropped(self, account: str, function: str, condition: str) -> None: ...

    def not_delivered(self, account: str, function: str, kind: str) -> None:
        """A target has failed for the last time."""


class Dispatcher:
    """`rules` gives a function's, `limits` the table in force. `now` is seconds since the epoch, `call_later` the event
    loop's unless a test has another clock."""

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
        call_later: CallLater | None = None,
        dice: Callable[[], float] = random,
    ) -> None:
        self.store = store
        self.lanes: dict[str, Lane] = {}
        self._runner = runner
        self._room = room
        self._deliveries = deliveries
        self._limits = limits
        self._rules = rules
        self._tell = tell
        self._delays = delays
        self._now = now
        self._dice = dice
        self._turns = Turns()
        self._timers = Timers(self._ring, now=now, call_later=call_later)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready_bytes = 0
        self._is_pumping = False
        self._is_stopping = True
        self._loop: asyncio.AbstractEventLoop

    # Life.

    async def start(self) -> None:
        """Open the store and begin with what it has. Raises `CannotOpen`."""
        self._loop = asyncio.get_running_loop()
        waiting = await self.store.open(self.hear)
        self._is_stopping = False
        for lane in waiting:
            self.hear(lane.lane, lane.events, lane.due_at)

    def stop(self) -> None:
        """Start nothing any more. What comes in is kept for the next start."""
        self._is_stopping = True
        self._timers.stop()

    async def close(self, seconds: float) -> None:
        """Let what runs end, for so long; the rest stays in the store, for the next start."""
        self.stop()
        until = monotonic() + seconds
        while self._tasks and (left := until - monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=min(left, _CLOSING_PAUSE))
            if self.store.trouble is not None and not any(lane.running for lane in self.lanes.values()):
                break  # all that ran has ended, and the store cannot be told: it has a time of its own for that
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    # What the chain and the counters say.

    async def accept(self, event: Event) -> None:
        """Keep a new event; on return it is durable. Raises `StoreFault`, and then nothing is kept."""
        lane = self._lane(event.lane)
        if self._may_claim(lane, event):
            self._ready_bytes += event.size
            lane.arriving += 1
            try:
                await self.store.put_claimed(event)
            except BaseException as error:
                self._ready_bytes -= event.size
                if isinstance(error, asyncio.CancelledError) and event.key is not None:  # perhaps it is stored
                    self._spawn(self._give_back(lane, [event]))
                raise
            finally:
                lane.arriving -= 1
            lane.ready.append(event)
        else:
            await self.store.put(event)
            lane = self._lane(event.lane)
            lane.note_stored(event.due_at)
        self._give_turn(lane)
        self._tell.received(event.account, self._label(lane))

    async def end_unrun(self, event: Event, condition: Condition, code: int, message: str) -> None:
        """Keep a new event that is never to be run: only what became of it is told. Raises `StoreFault`."""
        label = self._label(self._lane(event.lane))
        self._end_as(event, condition, code, message)
        assert event.outcome is not None
        if event.outcome.pending:
            await self.accept(event)
        else:
            self._tell.received(event.account, label)
        self._tell.dropped(event.account, label, condition)

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
        """Other limits are in force."""
        self._turns.offer_all()
        self._pump_soon()

    def hear(self, lane: str, events: int, due_at: float) -> None:
        """Events have come into a lane of the store."""
        found = self._lane(lane)
        found.note_stored(due_at, events)
        self._give_turn(found)

    # What people say (control.py).

    def find_ready(self, lane: str, is_it: Callable[[Event], bool]) -> Event | None:
        """The first of the events of a lane that are claimed and not yet under way which `is_it`."""
        found = self.lanes.get(lane)
        return None if found is None else next(filter(is_it, found.ready), None)

    def withdraw(self, lane: str, is_it: Callable[[Event], bool]) -> Event | None:
        """The same, taken out: it stays claimed, and whoever has it ends it, writes it back or puts it back."""
        event = self.find_ready(lane, is_it)
        if event is not None:
            self.lanes[lane].ready.remove(event)
            self._ready_bytes -= event.size
            self._give_turn(self.lanes[lane])
        return event

    def put_first(self, event: Event) -> None:
        """An event that was withdrawn is the next of its lane, and tried now."""
        self._push_back(self._lane(event.lane), event)
        self.hurry(event.lane)

    def hurry(self, lane: str) -> None:
        """Try a lane now, whatever it waits for."""
        found = self._lane(lane)
        found.not_before, found.tries = 0.0, 0
        self._turns.add(found)
        self._pump_soon()

    def tell_dropped(self, event: Event, condition: str) -> None:
        self._tell.dropped(event.account, self._limits().of(event.account).plan(event.function).label, condition)

    # Turns.

    def _lane(self, name: str) -> Lane:
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = Lane(name)
        return lane

    def _label(self, lane: Lane) -> str:
        return self._limits().of(lane.account).plan(lane.function).label

    def _may_claim(self, lane: Lane, event: Event) -> bool:
        """Whether a new event may go right to those that are ready: no other stands before it in the store."""
        return (
            not self._is_stopping
            and not lane.is_fetching
            and len(lane.ready) < _MOST_READY
            and lane.next_due_at > event.due_at
            and self._ready_bytes + event.size <= _ALL_READY_BYTES
        )

    def _give_turn(self, lane: Lane) -> None:
        if lane.blocked_on is None and lane.work is not Work.KEEP:
            self._turns.add(lane)
            self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._is_pumping and not self._is_stopping:
            self._is_pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Give every lane its turns, until none can use one."""
        self._is_pumping = False
        for _ in range(_MOST_TURNS):
            if self._is_stopping or (lane := self._turns.next()) is None:
                return
            offered, lane.offered = lane.offered, None
            running = lane.running
            if not self._holds_next(lane):
                self._look_after(lane)
            elif lane.work is Work.RUN:
                self._run_next(lane)
            else:
                self._deliver_next(lane)
            if offered is not None and lane.running == running and lane.blocked_on != offered:
                self._turns.offer(offered)  # it does not need the slot after all
        self._pump_soon()

    def _holds_next(self, lane: Lane) -> bool:
        """Whether the lane has a ready event that may be begun with. What others have by now is let go of."""
        while lane.ready:
            holds = self.store.holds(lane.ready[0])
            if holds:
                return True
            if holds is None:
                self._block(lane, NoRoom(_NOBODY, _STORE_PAUSE))
                return False
            self._pop(lane)
        return False

    def _look_after(self, lane: Lane) -> None:
        """A lane without ready events: fetch, wait until the next is due, or forget it."""
        if lane.is_fetching or lane.blocked_on is not None:
            return
        due_at = max(lane.next_due_at, lane.not_before if lane.tries else 0.0)
        if due_at <= self._now():
            self._fetch(lane)
        elif due_at < inf:
            self._timers.wake_at(lane, due_at)
        elif lane.is_idle and self.lanes.get(lane.name) is lane:
            del self.lanes[lane.name]

    def _fetch(self, lane: Lane) -> None:
        lane.is_fetching = True
        lane.heard_due_at = inf
        most = max(1, min(_MOST_READY, 20_000 // (len(self.lanes) or 1)))
        if self._ready_bytes > _ALL_READY_BYTES:
            most = 1
        self._spawn(self._fetch_now(lane, most))

    async def _fetch_now(self, lane: Lane, most: int) -> None:
        try:
            fetched = await self.store.fetch(lane.name, self._now(), most, _MOST_READY_BYTES)
        except StoreFault as fault:
            log.error("events of %s cannot be read, tried again in %g s: %s", lane.name, _STORE_PAUSE, fault)
            lane.is_fetching = False
            self._timers.wake_at(lane, self._now() + _STORE_PAUSE)
            return
        lane.is_fetching = False
        lane.ready.extend(fetched.events)
        lane.stored = max(0, lane.stored - len(fetched.events))
        self._ready_bytes += sum(event.size for event in fetched.events)
        lane.next_due_at = lane.heard_due_at  # of what came while the store was reading
        if fetched.next_due_at is not None:
            lane.next_due_at = min(lane.next_due_at, fetched.next_due_at)
        self._give_turn(lane)

    def _pop(self, lane: Lane) -> Event:
        event = lane.ready.popleft()
        self._ready_bytes -= event.size
        if len(lane.ready) < _FEW_READY and lane.next_due_at <= self._now() and not lane.is_fetching:
            self._fetch(lane)
        return event

    def _push_back(self, lane: Lane, event: Event) -> None:
        lane.ready.appendleft(event)
        self._ready_bytes += event.size

    def _ring(self, lane: Lane) -> None:
        self._turns.add(lane)
        self._pump_soon()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # a mistake of ours
            log.error("the dispatcher of events has failed at something", exc_info=error)
        if self._turns.has_blocked and self._turns.offer(_TASKS):
            self._pump_soon()

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
                self._block(lane, full)
                return
            if lane.unadmitted >= lane.window:
                return  # the lane has another turn when one of these has its slot, or is refused
            self._pop(lane)
            lane.running += 1
            lane.unadmitted += 1
            self._spawn(self._run(lane, event, plan, self._room.enter(plan)))
            self._give_turn(lane)

    def _end_next(self, lane: Lane, condition: Condition, message: str) -> None:
        """The next event ends unrun; a few at once, so that a backlog is not in memory on its way out."""
        if lane.running < _MOST_READY:
            lane.running += 1
            self._spawn(self._end_unrun(lane, self._pop(lane), condition, message))
            self._give_turn(lane)

    async def _end_unrun(self, lane: Lane, event: Event, condition: Condition, message: str) -> None:
        try:
            await self._end(lane, event, condition, 429, message)
        finally:
            lane.running -= 1
        self._give_turn(lane)

    def _block(self, lane: Lane, full: NoRoom) -> None:
        self._turns.block(lane, full.counter)
        now = self._now()
        self._timers.wake_at(lane, max(lane.not_before, now) if full.yields_for is None else now + full.yields_for)
        if self._ready_bytes > _ALL_READY_BYTES and lane.ready:
            events = list(lane.ready)
            lane.ready.clear()
            self._ready_bytes -= sum(event.size for event in events)
            self._spawn(self._give_back(lane, events))

    async def _give_back(self, lane: Lane, events: list[Event]) -> None:
        await self.store.give_back(events)
        lane.note_stored(min(event.due_at for event in events), len(events))

    async def _run(self, lane: Lane, event: Event, plan: Plan, entry: Entry) -> None:
        def admitted() -> None:
            entry.admit()
            lane.note_admitted()
            self._tell.started(plan.account, plan.label, self._now() - event.received_at)
            self._give_turn(lane)

        try:
            ran = await self._runner.run(event, plan, admitted)
        finally:
            entry.leave()
            lane.running -= 1
            if not entry.was_admitted:
                lane.note_refused()
        await self._settle(lane, event, plan, ran)
        self._give_turn(lane)

    async def _settle(self, lane: Lane, event: Event, plan: Plan, ran: Ran) -> None:
        """Write down what became of a run."""
        rules = self._rules(lane.account, lane.function)
        age = self._now() - event.received_at
        if ran.kind not in ("refused", "away"):
            lane.tries = 0
        if ran.kind == "ok":
            event.answer = ran.answer
            await self._end(lane, event, "Success", 200, "")
        elif ran.kind == "error":
            event.runs += 1
            event.answer = ran.answer
            decided = after_function_error(event.runs, age, rules, self._delays)
            if isinstance(decided, str):
                await self._end(lane, event, decided, 200, ran.message)
            else:
                await self._postpone(lane, event, decided)
                self._tell.retried(plan.account, plan.label, "error")
        elif ran.kind == "returned":
            event.returns += 1
            decided = after_return(event.returns, age, rules, self._delays, self._dice())
            if isinstance(decided, str):
                await self._end(lane, event, decided, ran.code, ran.message)
            else:
                await self._postpone(lane, event, decided)
                self._tell.retried(plan.account, plan.label, "throttle" if ran.code == 429 else "system")
        elif ran.kind == "rejected":
            await self._end(lane, event, "RetriesExhausted", ran.code, ran.message)
        else:
            await self._wait_with_all(lane, event, plan, ran, rules)

    async def _wait_with_all(self, lane: Lane, event: Event, plan: Plan, ran: Ran, rules: EventRules) -> None:
        """The whole lane goes back to the queue: it had no slot, or nobody can be reached."""
        now = self._now()
        if lane.not_before <= now:  # else another of its events has met the same
            lane.tries += 1
            lane.not_before = now + back_off(lane.tries, self._delays, self._dice())
        self._tell.retried(plan.account, plan.label, "throttle" if ran.kind == "refused" else "system")
        self._push_back(lane, event)
        while lane.ready and lane.not_before - lane.ready[0].received_at >= rules.maximum_event_age_seconds:
            await self._end(lane, self._pop(lane), "EventAgeExceeded", ran.code, ran.message)
        if ran.counter is not None and lane.unadmitted == 0:
            self._block(lane, NoRoom(ran.counter, None))
        elif ran.counter is None:
            self._block(lane, NoRoom(_NOBODY, None))

    async def _postpone(self, lane: Lane, event: Event, seconds: float) -> None:
        event.due_at = self._now() + seconds
        await self.store.postpone(event)
        lane.note_stored(event.due_at)

    # Ends.

    def _end_as(self, event: Event, condition: Condition, code: int, message: str) -> None:
        pending = self._rules(event.account, event.function).targets.of(condition)
        event.outcome = Outcome(condition, self._now(), code, message, event.answer, pending)
        event.answer = None
        event.lane = name_lane(event.account, Work.DELIVER, event.function)

    async def _end(self, lane: Lane, event: Event, condition: Condition, code: int, message: str) -> None:
        if condition != "Success":
            self._tell.dropped(lane.account, self._label(lane), condition)
        if not self._rules(event.account, event.function).targets.of(condition):
            await self.store.finish(event)
            return
        self._end_as(event, condition, code, message)
        event.due_at = self._now()
        await self.store.rewrite(event)  # from here on it is not run again, whatever happens
        delivery = self._lane(event.lane)
        self._ready_bytes += event.size
        delivery.ready.append(event)
        self._give_turn(delivery)

    def _deliver_next(self, lane: Lane) -> None:
        if lane.running >= _MOST_DELIVERIES:
            return
        event = self._pop(lane)
        lane.running += 1
        self._spawn(self._deliver(lane, event))
        self._give_turn(lane)

    async def _deliver(self, lane: Lane, event: Event) -> None:
        try:
            delay = await self._deliveries.deliver(event, self._rules(lane.account, lane.function).targets)
            if delay is None:
                await self.store.finish(event)
            elif delay < inf:
                await self._postpone(lane, event, delay)
            else:
                assert event.outcome is not None
                for kind in event.outcome.pending:
                    self._tell.not_delivered(lane.account, self._label(lane), kind)
                event.lane = name_lane(lane.account, Work.KEEP, lane.function)
                await self._postpone(self._lane(event.lane), event, _NEVER)
        finally:
            lane.running -= 1
        self._give_turn(lane)

    def __repr__(self) -> str:
        return f"<Dispatcher lanes={len(self.lanes)} tasks={len(self._tasks)}>"


_TASKS = "\0tasks"
_NOBODY = "\0nobody"  # stands for no limit: a lane behind it waits for its time
_NEVER = 100 * 365 * 86_400.0
_NO_CONCURRENCY = "The function's reserved concurrency is 0."
_TOO_OLD = "The event grew older than maximum_event_age_seconds before it could run."
