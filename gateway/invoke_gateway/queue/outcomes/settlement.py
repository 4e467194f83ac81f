"""Records the outcome of a run: in the store, then at the targets.

The store has an event's outcome before any target receives it, so an event that has ended never runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

from ...policy.concurrency import Plan
from ...policy.events.event_rules import Condition, Delays, EventRules, after_function_error, after_return, back_off
from ...policy.limits import Limits
from ..base import Store
from ..event import Event, Outcome
from ..scheduling.lanes import FunctionQueue, QueueKind
from ..scheduling.prefetch import NO_LIMIT, Prefetch
from ..scheduling.slot_gate import Blocked
from .delivery import Deliveries
from .history import DROPPED, EndedEvents, describe_end
from .misconfigured import Misconfigured
from .run_result import RunResult

_NEVER = 100 * 365 * 86_400.0
_BY_HAND = "An operator dropped the event."


class EventRecorder(Protocol):
    """Counts events. `function` is the label under which a function is counted."""

    def received(self, account: str, function: str) -> None: ...

    def started(self, account: str, function: str, age_seconds: float) -> None:
        """Counts a run that has its slot."""

    def retried(self, account: str, function: str, cause: str) -> None:
        """Counts an event that will run again. `cause` is `error`, `throttle` or `system`."""

    def dropped(self, account: str, function: str, condition: str, name: str) -> None:
        """Counts a dropped event. `name` is the function's own, for people."""

    def not_delivered(self, account: str, function: str, kind: str) -> None:
        """Counts a target whose last delivery failed."""


class Settlement:
    """Settles runs.

    rules: returns a function's rules
    limits: returns the limits in force
    history: keeps the events that end here
    """

    def __init__(
        self,
        store: Store,
        prefetch: Prefetch,
        *,
        deliveries: Deliveries,
        limits: Callable[[], Limits],
        rules: Callable[[Event], EventRules],
        recorder: EventRecorder,
        history: EndedEvents,
        misconfigured: Misconfigured,
        delays: Delays,
        now: Callable[[], float],
        wall: Callable[[], float],
        rng: Callable[[], float],
    ) -> None:
        self._store = store
        self._prefetch = prefetch
        self._deliveries = deliveries
        self._limits = limits
        self._rules = rules
        self._recorder = recorder
        self._history = history
        self._misconfigured = misconfigured
        self._delays = delays
        self._now = now
        self._wall = wall
        self._rng = rng

    async def settle(
        self, lane: FunctionQueue, event: Event, plan: Plan, result: RunResult, run_seconds: float | None = None
    ) -> None:
        """Records the outcome of a run.

        run_seconds: the duration of the run; None where it had no slot
        """
        rules = self._rules(event)
        age = self._now() - event.received_at
        if result.kind not in ("refused", "unreachable"):
            lane.tries = 0
        if result.remedy is not None:
            self._misconfigured.note(lane, result)
        elif result.kind in ("ok", "error"):
            self._misconfigured.clear(lane)
        if result.kind == "ok":
            event.answer = result.answer
            await self.end(lane, event, "Success", 200, "", run_seconds)
        elif result.kind == "error":
            event.runs += 1
            event.answer = result.answer
            decided = after_function_error(event.runs, age, rules, self._delays)
            if isinstance(decided, str):
                await self.end(lane, event, decided, 200, result.message, run_seconds)
            else:
                await self._requeue(lane, event, decided)
                self._recorder.retried(plan.account, plan.label, "error")
        elif result.kind in ("returned", "misconfigured"):
            event.requeues += 1
            decided = after_return(event.requeues, age, rules, self._delays, self._rng())
            if isinstance(decided, str):
                await self.end(lane, event, decided, result.code, result.message, run_seconds)
            else:
                await self._requeue(lane, event, decided)
                self._recorder.retried(plan.account, plan.label, "throttle" if result.code == 429 else "system")
        elif result.kind == "rejected":
            await self.end(lane, event, "RetriesExhausted", result.code, result.message, run_seconds)
        else:
            await self._block_lane(lane, event, plan, result)

    async def _block_lane(self, lane: FunctionQueue, event: Event, plan: Plan, result: RunResult) -> None:
        """Puts the event back and blocks its lane, which has no slot or cannot reach the backend or the counters."""
        now = self._now()
        if lane.not_before <= now:  # else another of its events was refused already
            lane.tries += 1
            lane.not_before = now + back_off(lane.tries, self._delays, self._rng())
        self._recorder.retried(plan.account, plan.label, "throttle" if result.kind == "refused" else "system")
        self._prefetch.push_back(lane, event)
        while lane.ready and self._is_too_old(lane.ready[0], lane.not_before):
            await self.end(lane, self._prefetch.pop(lane), "EventAgeExceeded", result.code, result.message)
        table = plan.table
        if table is not None and table.successor is not None:
            self._prefetch.give_turn(lane)  # the limits that refused it were replaced meanwhile
        elif result.counters and lane.unadmitted == 0:
            self._prefetch.block(lane, Blocked(result.counters, None))
        elif not result.counters:
            self._prefetch.block(lane, Blocked((NO_LIMIT,), None))

    def _is_too_old(self, event: Event, at: float) -> bool:
        return at - event.received_at >= self._rules(event).maximum_event_age_seconds

    async def _requeue(self, lane: FunctionQueue, event: Event, seconds: float) -> None:
        event.due_at = self._now() + seconds
        await self._store.requeue(event)
        lane.note_stored(event.due_at)

    def end_as(self, event: Event, condition: Condition, code: int, message: str) -> None:
        pending = self._rules(event).targets.of(condition)
        event.outcome = Outcome(condition, self._wall(), code, message, event.answer, pending)
        event.answer = None
        event.lane = self._prefetch.origin.name_lane(event.account, QueueKind.DELIVER, event.function)

    async def end(
        self,
        lane: FunctionQueue,
        event: Event,
        condition: Condition,
        code: int,
        message: str,
        run_seconds: float | None = None,
    ) -> None:
        ended = describe_end(event, condition, code, message, self._now(), run_seconds)
        if condition != "Success":
            self._recorder.dropped(lane.account, self.label(lane), condition, lane.function)
            if lane.running <= 1 and not lane.ready and lane.next_due_at == inf:
                self._misconfigured.forget(lane)  # this was its last event
        if not self._rules(event).targets.of(condition):
            await self._store.ack(event)
            self._history.add(event, ended)
            return
        self.end_as(event, condition, code, message)
        event.due_at = self._now()
        await self._store.update(event)  # from here on the event never runs again
        ended.delivery = "pending"
        self._history.add(event, ended)
        self._prefetch.add(self._prefetch.lane(event.lane), event)

    async def deliver(self, lane: FunctionQueue, event: Event) -> None:
        """Delivers an outcome to the pending targets, and records whether that ends the event."""
        delay = await self._deliveries.deliver(event, self._rules(event).targets)
        if delay is None:
            await self._store.ack(event)
            self._history.add_delivery(event, "delivered", self._now())
        elif delay < inf:
            await self._requeue(lane, event, delay)
        else:
            assert event.outcome is not None
            for kind in event.outcome.pending:
                self._recorder.not_delivered(lane.account, self.label(lane), kind)
            event.lane = self._prefetch.origin.name_lane(lane.account, QueueKind.KEEP, lane.function)
            await self._requeue(self._prefetch.lane(event.lane), event, _NEVER)
            self._history.add_delivery(event, "undelivered", self._now())

    def record_dropped(self, event: Event) -> None:
        """Records an event that an operator has dropped: before its end, or before the delivery of its outcome."""
        now = self._now()
        if event.outcome is not None:  # then it was counted when it ended
            self._history.add_delivery(event, "dropped", now)
            return
        label = self._limits().of(event.account).plan(event.function).label
        self._recorder.dropped(event.account, label, DROPPED, event.function)
        self._history.add(event, describe_end(event, DROPPED, 0, _BY_HAND, now))

    def label(self, lane: FunctionQueue) -> str:
        """Returns the label under which the lane's function is counted."""
        return self._limits().of(lane.account).plan(lane.function).label
