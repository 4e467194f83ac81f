"""Counts as a third store, written from `counters/base.py` alone: a list of slots and the times of tokens."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from invoke_gateway.counters.base import OnFree
from invoke_gateway.exchange import Holder
from invoke_gateway.policy.concurrency import WARM_SECONDS, GrowthClaim, Lane, LimitReached, Plan, RateClaim, SlotUsage
from invoke_gateway.policy.retry_after import NEVER


class ToySlot:
    holder: Holder | None

    def __init__(self, store: ToyCounters, lane: Lane, function_counter: str) -> None:
        self.store, self.lane, self.function_counter = store, lane, function_counter
        self.counters = [claim.counter or function_counter for claim in lane.claims]
        self.taken_at = asyncio.get_running_loop().time()

    def release(self, *, was_call: bool = True) -> None:
        self.holder = None
        if self in self.store.slots:
            self.store.slots.remove(self)
            if self.store.on_free is not None:
                self.store.on_free(self.lane.claims, self.function_counter)


class ToyCounters:
    def __init__(self) -> None:
        self.on_free: OnFree | None = None
        self.slots: list[ToySlot] = []
        self.tokens: dict[str, deque[float]] = {}  # when each was taken
        self.levels: dict[str, dict[int, int]] = {}  # the highest of each minute

    def check(self, plan: Plan) -> LimitReached | None:
        reached = [self._find_reached(lane, plan.function_counter) for lane in plan.lanes]
        return None if None in reached else reached[-1]

    async def acquire(self, plan: Plan) -> ToySlot | LimitReached:
        return self.acquire_now(plan)

    def acquire_now(self, plan: Plan) -> ToySlot | LimitReached:
        reached = [self._find_reached(lane, plan.function_counter, with_rates=True) for lane in plan.lanes]
        if None not in reached:
            return reached[-1]
        lane = plan.lanes[reached.index(None)]
        for rate in plan.rates:
            if (empty := self._find_empty(rate, plan.function_counter)) is not None:
                return empty
        now = asyncio.get_running_loop().time()
        for rate in (*lane.rates, *plan.rates):
            if self._grows(rate, plan.function_counter):
                self.tokens[_bucket_of(rate, plan.function_counter)].append(now)
            if isinstance(rate, GrowthClaim):
                minutes, minute = (
                    self.levels.setdefault(_bucket_of(rate, plan.function_counter), {}),
                    int(now // WARM_SECONDS),
                )
                minutes[minute] = max(minutes.get(minute, 0), self.in_use(rate.counter) + 1)
        slot = ToySlot(self, lane, plan.function_counter)
        self.slots.append(slot)
        return slot

    def in_use(self, counter: str) -> int:
        return self.counts().get(counter, 0)

    def oldest_seconds(self, counter: str) -> float:
        return next((age for _, age in self.oldest_slots(counter, 1)), 0.0)

    def counts(self) -> dict[str, int]:
        return dict(Counter(counter for slot in self.slots for counter in slot.counters))

    def usage(self, counter: str, most: int) -> list[SlotUsage]:
        found = self.oldest_slots(counter, most)
        slots = Counter(slot.function_counter for slot, _ in found)
        oldest = {slot.function_counter: age for slot, age in reversed(found)}
        return [SlotUsage(name, count, oldest[name]) for name, count in slots.most_common()]

    def oldest_slots(self, counter: str, most: int) -> list[tuple[ToySlot, float]]:
        now = asyncio.get_running_loop().time()
        return [(slot, now - slot.taken_at) for slot in self.slots if counter in slot.counters][:most]

    def _find_reached(self, lane: Lane, function_counter: str, *, with_rates: bool = False) -> LimitReached | None:
        for claim in lane.claims:
            in_use = self.in_use(claim.counter or function_counter)
            if claim.ceiling is not None and in_use >= claim.ceiling:
                return LimitReached(claim, in_use, claim.ceiling, 1.0 if claim.ceiling else NEVER)
        for rate in lane.rates if with_rates else ():
            if (empty := self._find_empty(rate, function_counter)) is not None:
                return empty
        return None

    def _grows(self, rate: RateClaim, function_counter: str) -> bool:
        if not isinstance(rate, GrowthClaim):
            return True
        minute = int(asyncio.get_running_loop().time() // WARM_SECONDS)
        known = self.levels.get(_bucket_of(rate, function_counter), {})
        return self.in_use(rate.counter) >= max(known.get(minute, 0), known.get(minute - 1, 0))

    def _find_empty(self, rate: RateClaim, function_counter: str) -> LimitReached | None:
        taken = self.tokens.setdefault(_bucket_of(rate, function_counter), deque())
        now = asyncio.get_running_loop().time()
        seconds = max(1.0, 1 / rate.per_second if rate.per_second else 1.0)
        burst = int(max(1.0, rate.per_second)) if rate.per_second else 0
        if isinstance(rate, GrowthClaim):
            seconds, burst = rate.most / rate.per_second, int(rate.most)
            if not self._grows(rate, function_counter):
                return None
        while taken and taken[0] <= now - seconds:
            taken.popleft()
        if len(taken) < burst:
            return None
        ceiling = rate.most if isinstance(rate, GrowthClaim) else rate.per_second
        return LimitReached(rate, burst, ceiling, 1 / rate.per_second if rate.per_second else NEVER)


def _bucket_of(rate: RateClaim, function_counter: str) -> str:
    return f"{rate.bucket or function_counter} {rate.per_second}"
