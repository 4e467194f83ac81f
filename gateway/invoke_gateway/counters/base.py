"""Declares what a store of counters must do. A store written from this file alone serves the gateway.

Memory and a shared store are two implementations. tests/counters/test_contract.py runs against each of them, and
tests/counters/toy_store.py is a third.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from ..exchange import Slot
from ..policy.concurrency import Claim, LimitReached, Plan, RateClaim, SlotUsage
from ..refusals import Refusal
from .pending_slot import PendingSlot


class StoreNotCounting(LimitReached):
    """Refuses a call while the store cannot count, under the policy `refuse`. `claim.limit` is the store's state."""

    values: Mapping[str, object] = MappingProxyType({})

    def describe(self) -> str:
        return f"counters={self.claim.limit}"

    @property
    def refusal_values(self) -> Mapping[str, object]:
        return self.values


UNAVAILABLE = StoreNotCounting(RateClaim("", 0, Refusal.COUNTERS_UNAVAILABLE, "away"), 0, 0, 1.0)


def make_recovering(until: str, advice: str) -> StoreNotCounting:
    """Returns the refusal of calls while counters are rebuilt.

    until: the time in words. advice: how to shorten the wait.
    """
    recovering = StoreNotCounting(RateClaim("", 0, Refusal.COUNTERS_RECOVERING, "refilling"), 0, 0, 1.0)
    recovering.values = {"until": until, "advice": advice}
    return recovering


OnFree = Callable[[tuple[Claim, ...], str], None]


class CountedSlot(Slot, Protocol):
    """Is a slot together with the counter of the function that took it."""

    @property
    def function_counter(self) -> str: ...


class SlotCounts(Protocol):
    """Reads how many slots are in use now. A counter that no slot holds is 0."""

    def in_use(self, counter: str) -> int:
        """Returns the number of slots that hold `counter`."""

    def oldest_seconds(self, counter: str) -> float:
        """Returns the age of the oldest slot that holds `counter`; 0 without one (seconds)."""

    def counts(self) -> dict[str, int]:
        """Returns each counter that at least one slot holds, with the number of its slots."""


class Counters(SlotCounts, Protocol):
    """Admits calls, for one event loop. The counts are those of this process.

    on_free: called after slots have come free, with their claims and the function's own counter.
    """

    on_free: OnFree | None

    def check(self, plan: Plan) -> LimitReached | None:
        """Returns the claim that has no room now. Takes nothing. None is no promise: rates are not checked, because a
        bucket fills while a body is read."""

    async def acquire(self, plan: Plan) -> CountedSlot | LimitReached:
        """Takes every claim of the first lane that has room for all of them, and one token of each rate; or nothing."""

    def acquire_now(self, plan: Plan) -> CountedSlot | LimitReached | PendingSlot[Any]:
        """Does the same at once; where a store has to be asked, returns what is to be awaited, once."""

    def usage(self, counter: str, most: int) -> list[SlotUsage]:
        """Returns the functions whose slots hold `counter`, most slots first. Only its `most` oldest slots count."""

    def oldest_slots(self, counter: str, most: int) -> Sequence[tuple[CountedSlot, float]]:
        """Returns the slots that hold `counter` with their ages (seconds), oldest first, at most `most`."""


class Environments(Protocol):
    """Admits calls of functions that isolate tenants."""

    async def acquire(self, plan: Plan, environments: Claim, tenant: bytes) -> Slot | LimitReached:
        """Takes an environment of the tenant, an idle one if there is one, and a lane of the plan; or nothing."""


class SharedState(Protocol):
    """Reads the state of counters that gateways share."""

    @property
    def why_not_ready(self) -> str | None:
        """Returns the reason why no call is admitted; None where calls are."""

    @property
    def trouble(self) -> str | None:
        """Returns the problem of the store, also where calls are admitted without it."""

    @property
    def sums(self) -> Mapping[str, int]:
        """Returns the slots of all gateways by counter, as they were last read."""

    async def read_sums(self) -> None:
        """Reads the slots of all gateways from the store; without a reply the last sums stay."""

    def describe(self) -> dict[str, object]:
        """Describes the store, and the gateways that share it."""
