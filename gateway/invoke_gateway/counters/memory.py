"""Counts in the memory of one process. A check and a take without an await between them need no lock."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from ..policy.concurrency import LimitReached, Plan
from .base import OnFree
from .local_slots import LocalSlot, LocalSlots
from .rates import Rates, take_now


class MemoryCounters:
    """The embedded store. `clock` returns monotonic seconds; rates use the event loop's clock."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._slots = slots = LocalSlots(clock)
        self._rates = Rates(slots.in_use)
        self.check = slots.check
        self.in_use = slots.in_use
        self.oldest_seconds = slots.oldest_seconds
        self.counts = slots.counts
        self.usage = slots.usage
        self.oldest_slots = slots.oldest_slots

    async def acquire(self, plan: Plan) -> LocalSlot | LimitReached:
        return self.acquire_now(plan)

    def acquire_now(self, plan: Plan) -> LocalSlot | LimitReached:
        reached: LimitReached | None = None
        function_counter = plan.function_counter
        for lane in plan.lanes:
            reached = self._slots.find_limit_reached(lane, function_counter)
            if reached is None and lane.rates:
                reached = self._rates.find_empty(lane.rates, function_counter)
            if reached is None:
                break
        else:
            assert reached is not None, "a plan has at least one lane"
            return reached
        rates = (*lane.rates, *plan.rates) if lane.rates else plan.rates
        if rates:
            buckets = self._rates.find(rates, function_counter)
            if isinstance(buckets, LimitReached):
                return buckets
            take_now(buckets)
        return self._slots.occupy(lane, function_counter)

    @property
    def on_free(self) -> OnFree | None:
        return self._slots.on_free

    @on_free.setter
    def on_free(self, call: OnFree | None) -> None:
        self._slots.on_free = call

    def __repr__(self) -> str:
        return f"<MemoryCounters {self.counts()}>"
