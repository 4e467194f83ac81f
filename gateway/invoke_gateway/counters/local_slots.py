"""Counts the slots that calls of this process hold. A store of counters uses it, whatever decides over its slots.

A counter's value is the number of slots that hold it: there is no second number that could disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import Any

from ..exchange import Holder
from ..policy.concurrency import Claim, Lane, LimitReached, Plan, SlotUsage
from ..policy.retry_after import NEVER, estimate_free_seconds
from .base import OnFree

# Weight of the latest call in the usual duration: about the last eight calls count.
_NEWEST_WEIGHT = 0.125

_NEVER = float("-inf")

# So many states are kept for the functions that are called next.
_SPARE_STATES = 64

# An estimate is good for this long; a burst of refusals must not search for the oldest call each time.
_ESTIMATE_SECONDS = 0.05


class CounterState:
    """Holds one counter: the slots that hold it, oldest first, and the usual duration of its calls."""

    __slots__ = ("estimate", "estimated_at", "running", "usual_seconds")

    def __init__(self) -> None:
        self.running: dict[LocalSlot, None] = {}
        self.usual_seconds: float | None = None
        self.estimate = 0.0
        self.estimated_at = _NEVER

    def oldest_seconds(self, now: float) -> float:
        """Returns the age of the oldest call that holds the counter; 0 without one."""
        oldest = next(iter(self.running), None)
        return 0.0 if oldest is None else now - oldest.taken_at

    def retry_seconds(self, now: float) -> float:
        if now - self.estimated_at > _ESTIMATE_SECONDS:
            self.estimate = estimate_free_seconds(self.usual_seconds, self.oldest_seconds(now), len(self.running))
            self.estimated_at = now
        return self.estimate


class LocalSlot:
    """Holds the claims of one admitted call, until it is released.

    granted_by: what the store has of it beside this process; only a store that counts elsewhere sets it
    """

    __slots__ = ("_owner", "function_counter", "granted_by", "holder", "lane", "taken_at")

    holder: Holder | None  # not there until it is set by the caller, so that taking a slot costs no more
    granted_by: Any

    def __init__(self, owner: LocalSlots, lane: Lane, function_counter: str, taken_at: float) -> None:
        self._owner: LocalSlots | None = owner
        self.lane = lane
        self.function_counter = function_counter
        self.taken_at = taken_at

    def release(self, *, was_call: bool = True) -> None:
        owner, self._owner = self._owner, None
        self.holder = None  # which refers to this slot, and to what the client has sent
        if owner is not None:
            owner.release(self, self.lane.claims, self.function_counter, was_call)

    def __repr__(self) -> str:
        counters = [claim.counter or self.function_counter for claim in self.lane.claims]
        return f"<LocalSlot {'held' if self._owner else 'released'} {counters}>"


class LocalSlots:
    """Counts slots by counter.

    clock: returns monotonic seconds.
    on_release: called for the store with each slot that was released.
    on_free: called after that, with the claims and the function's own counter (`Counters.on_free`).
    """

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        on_release: Callable[[LocalSlot], None] | None = None,
    ) -> None:
        self._clock = clock
        self._on_release = on_release
        self.on_free: OnFree | None = None
        self._states: dict[str, CounterState] = {}
        self._spare: list[CounterState] = []
        self._usual_seconds: dict[str, float] = {}

    def find_limit_reached(self, lane: Lane, function_counter: str) -> LimitReached | None:
        """Returns the first claim of the lane that has no room; None where all have."""
        states = self._states
        for counter, ceiling, claim in lane.bounds:
            state = states.get(counter or function_counter)
            in_use = len(state.running) if state is not None else 0
            if in_use >= ceiling:
                return self._describe(claim, state, in_use, ceiling)
        return None

    def check(self, plan: Plan) -> LimitReached | None:
        """Returns the claim of the last lane that has no room; None where a lane has room for all of its claims."""
        reached: LimitReached | None = None
        for lane in plan.lanes:
            reached = self.find_limit_reached(lane, plan.function_counter)
            if reached is None:
                break
        return reached

    def describe_limit_reached(self, claim: Claim, function_counter: str, in_use: int) -> LimitReached:
        """Returns the refusal for a claim that a store found full. The estimate is from this process's calls."""
        return self._describe(claim, self._states.get(claim.counter or function_counter), in_use, claim.ceiling or 0)

    def occupy(self, lane: Lane, function_counter: str) -> LocalSlot:
        """Takes a slot of every counter of the lane, whatever their ceilings."""
        states = self._states
        claims = lane.claims
        slot = LocalSlot(self, lane, function_counter, self._clock())
        for claim in claims:
            counter = claim.counter or function_counter
            state = states.get(counter)
            if state is None:
                state = states[counter] = self._spare.pop() if self._spare else CounterState()
                if claim.ceiling is not None:
                    state.usual_seconds = self._usual_seconds.get(counter)
            state.running[slot] = None
        return slot

    def release(self, slot: LocalSlot, claims: tuple[Claim, ...], function_counter: str, was_call: bool) -> None:
        seconds = self._clock() - slot.taken_at
        states = self._states
        for claim in claims:
            state = states[claim.counter or function_counter]
            running = state.running
            del running[slot]
            if was_call and claim.ceiling is not None:
                usual = state.usual_seconds
                state.usual_seconds = seconds if usual is None else usual + (seconds - usual) * _NEWEST_WEIGHT
            if not running and not claim.counter:
                self._put_away(function_counter, state, claim)
        if self._on_release is not None:
            self._on_release(slot)
        if self.on_free is not None:
            self.on_free(claims, function_counter)

    def in_use(self, counter: str) -> int:
        """Returns the number of slots that hold `counter`."""
        state = self._states.get(counter)
        return len(state.running) if state is not None else 0

    def oldest_seconds(self, counter: str) -> float:
        state = self._states.get(counter)
        return state.oldest_seconds(self._clock()) if state is not None else 0.0

    def counts(self) -> dict[str, int]:
        """Returns each counter that at least one slot holds, with the number of its slots."""
        return {name: len(state.running) for name, state in self._states.items() if state.running}

    def usage(self, counter: str, most: int) -> list[SlotUsage]:
        """Returns the functions whose slots hold `counter`, most slots first. Only its `most` oldest slots count."""
        state = self._states.get(counter)
        if state is None:
            return []
        now = self._clock()
        slots: dict[str, int] = {}
        oldest: dict[str, float] = {}
        for slot in islice(state.running, most):
            name = slot.function_counter
            slots[name] = slots.get(name, 0) + 1
            oldest.setdefault(name, now - slot.taken_at)
        found = [SlotUsage(name, count, oldest[name]) for name, count in slots.items()]
        return sorted(found, key=lambda usage: (-usage.slots, -usage.oldest_seconds))

    def oldest_slots(self, counter: str, most: int) -> list[tuple[LocalSlot, float]]:
        """Returns the slots that hold `counter` with their ages (seconds), oldest first, at most `most`."""
        state = self._states.get(counter)
        now = self._clock()
        return [(slot, now - slot.taken_at) for slot in islice(state.running, most)] if state is not None else []

    def _describe(self, claim: Claim, state: CounterState | None, in_use: int, ceiling: int) -> LimitReached:
        if not ceiling:
            return LimitReached(claim, in_use, ceiling, NEVER)
        retry = state.retry_seconds(self._clock()) if state is not None else estimate_free_seconds(None, 0, 0)
        return LimitReached(claim, in_use, ceiling, retry)

    def _put_away(self, function_counter: str, state: CounterState, claim: Claim) -> None:
        """Removes a function's state when no call holds it. The usual duration stays only where a limit may need it:
        a function without a limit may be a name that a client invented, and such names must not pile up."""
        del self._states[function_counter]
        if claim.ceiling is not None and state.usual_seconds is not None:
            self._usual_seconds[function_counter] = state.usual_seconds
        if len(self._spare) < _SPARE_STATES:
            state.usual_seconds = None
            state.estimated_at = _NEVER
            self._spare.append(state)

    def __repr__(self) -> str:
        return f"<LocalSlots {self.counts()}>"
