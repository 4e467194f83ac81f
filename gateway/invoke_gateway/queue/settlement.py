"""What becomes of an event: it is written down, and told to whom it concerns.

Once an event has ended its outcome is in the store before anybody is told of it; so it is never run again for want of
somebody to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

from ..policy.concurrency import Plan
from ..policy.event_rules import Condition, Delays, EventRules, after_function_error, after_return, back_off
from ..policy.limits import Limits
from .base import Store
from .delivery import Deliveries
from .event import Event, Outcome
from .lanes import Lane, Work
from .misconfigured import Misconfigured
from .prefetch import NOBODY, Ready
from .run_result import Ran
from .slot_gate import NoRoom

_NEVER = 100 * 365 * 86_400.0


class Tell(Protocol):
    """Who counts. `function` is the label under which a function is counted."""

    def received(self, account: str, function: str) -> None: ...

    def started(self, account: str, function: str, age_seconds: float) -> None:
        """A run has its slot."""

    def retried(self, account: str, function: str, cause: str) -> None:
        """The event will be run again, for `error`, or is tried again, for `throttle` or `system`."""

    def dropped(self, account: str, function: str, condition: str, name: str) -> None:
        """`name` is the function's own, for people."""

    def not_delivered(self, account: str, function: str, kind: str) -> None:
        """A target has failed for the last time."""


class Settling:
    """`rules` gives a function's, `limits` the table in force."""

    def __init__(
        self,
        store: Store,
        ready: Ready,
        *,
        deliveries: Deliveries,
        limits: Callable[[], Limits],
        rules: Callable[[str, str], EventRules],
        tell: Tell,
        misconfigured: Misconfigured,
        delays: Delays,
        now: Callable[[], float],
        wall: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._store = store
        self._ready = ready
        self._deliveries = deliveries
        self._limits = limits
        self._rules = rules
        self._tell = tell
        self._misconfigured = misconfigured
        self._delays = delays
        self._now = now
        self._wall = wall
        self._dice = dice

    async def settle(self, lane: Lane, event: Event, plan: Plan, ran: Ran) -> None:
        """Write down what became of a run."""
        rules = self._rules(lane.account, lane.function)
        age = self._now() - event.received_at
        if ran.kind not in ("refused", "away"):
            lane.tries = 0
        if ran.remedy is not None:
            self._misconfigured.note(lane, ran)
        elif ran.kind in ("ok", "error"):
            self._misconfigured.clear(lane)
        if ran.kind == "ok":
            event.answer = ran.answer
            await self.end(lane, event, "Success", 200, "")
        elif ran.kind == "error":
            event.runs += 1
            event.answer = ran.answer
            decided = after_function_error(event.runs, age, rules, self._delays)
            if isinstance(decided, str):
                await self.end(lane, event, decided, 200, ran.message)
            else:
                await self._postpone(lane, event, decided)
                self._tell.retried(plan.account, plan.label, "error")
        elif ran.kind in ("returned", "misconfigured"):
            event.returns += 1
            decided = after_return(event.returns, age, rules, self._delays, self._dice())
            if isinstance(decided, str):
                await self.end(lane, event, decided, ran.code, ran.message)
            else:
                await self._postpone(lane, event, decided)
                self._tell.retried(plan.account, plan.label, "throttle" if ran.code == 429 else "system")
        elif ran.kind == "rejected":
            await self.end(lane, event, "RetriesExhausted", ran.code, ran.message)
        else:
            await self._wait_with_all(lane, event, plan, ran, rules)

    async def _wait_with_all(self, lane: Lane, event: Event, plan: Plan, ran: Ran, rules: EventRules) -> None:
        """The whole lane goes back to the queue: it had no slot, or nobody can be reached."""
        now = self._now()
        if lane.not_before <= now:  # else another of its events has met the same
            lane.tries += 1
            lane.not_before = now + back_off(lane.tries, self._delays, self._dice())
        self._tell.retried(plan.account, plan.label, "throttle" if ran.kind == "refused" else "system")
        self._ready.push_back(lane, event)
        while lane.ready and lane.not_before - lane.ready[0].received_at >= rules.maximum_event_age_seconds:
            await self.end(lane, self._ready.pop(lane), "EventAgeExceeded", ran.code, ran.message)
        if ran.counter is not None and lane.unadmitted == 0:
            self._ready.block(lane, NoRoom(ran.counter, None))
        elif ran.counter is None:
            self._ready.block(lane, NoRoom(NOBODY, None))

    async def _postpone(self, lane: Lane, event: Event, seconds: float) -> None:
        event.due_at = self._now() + seconds
        await self._store.postpone(event)
        lane.note_stored(event.due_at)

    def end_as(self, event: Event, condition: Condition, code: int, message: str) -> None:
        pending = self._rules(event.account, event.function).targets.of(condition)
        event.outcome = Outcome(condition, self._wall(), code, message, event.answer, pending)
        event.answer = None
        event.lane = self._ready.origin.name_lane(event.account, Work.DELIVER, event.function)

    async def end(self, lane: Lane, event: Event, condition: Condition, code: int, message: str) -> None:
        if condition != "Success":
            self._tell.dropped(lane.account, self.label(lane), condition, lane.function)
            if lane.running <= 1 and not lane.ready and lane.next_due_at == inf:
                self._misconfigured.forget(lane)  # it was the last
        if not self._rules(event.account, event.function).targets.of(condition):
            await self._store.finish(event)
            return
        self.end_as(event, condition, code, message)
        event.due_at = self._now()
        await self._store.rewrite(event)  # from here on it is not run again, whatever happens
        self._ready.add(self._ready.lane(event.lane), event)

    async def deliver(self, lane: Lane, event: Event) -> None:
        """Tell those who are to be told, and write down whether that has ended it."""
        delay = await self._deliveries.deliver(event, self._rules(lane.account, lane.function).targets)
        if delay is None:
            await self._store.finish(event)
        elif delay < inf:
            await self._postpone(lane, event, delay)
        else:
            assert event.outcome is not None
            for kind in event.outcome.pending:
                self._tell.not_delivered(lane.account, self.label(lane), kind)
            event.lane = self._ready.origin.name_lane(lane.account, Work.KEEP, lane.function)
            await self._postpone(self._ready.lane(event.lane), event, _NEVER)

    def tell_dropped(self, event: Event, condition: str) -> None:
        """An event was dropped, and not by what became of it."""
        label = self._limits().of(event.account).plan(event.function).label
        self._tell.dropped(event.account, label, condition, event.function)

    def label(self, lane: Lane) -> str:
        """Under which its function is counted."""
        return self._limits().of(lane.account).plan(lane.function).label
