"""What the chain asks of a store of counters. Memory and a shared store are two ways to keep the same promise."""

from __future__ import annotations

from typing import Protocol

from ..exchange import Slot
from ..policy.concurrency import Full, Plan, RateClaim
from ..refusals import Refusal


class Away(Full):
    """The store can say neither yes nor no, and without it nothing is admitted. `claim.limit` is the state it is in."""

    def describe(self) -> str:
        return f"counters={self.claim.limit}"


AWAY = Away(RateClaim("", 0, Refusal.COUNTERS_AWAY, "away"), 0, 0, 1.0)
REFILLING = Away(RateClaim("", 0, Refusal.COUNTERS_REFILLING, "refilling"), 0, 0, 1.0)


class Counters(Protocol):
    def look(self, plan: Plan) -> Full | None:
        """The claim that has no room now. Takes nothing; `None` promises nothing, for rates are not looked at: a
        bucket fills while a body is read."""

    async def take(self, plan: Plan) -> Slot | Full:
        """Take every claim of the first lane that has room for all of them, and one token of each rate; or nothing."""
