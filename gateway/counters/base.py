"""What the chain asks of a store of counters. Memory and a shared store are two ways to keep the same promise."""

from __future__ import annotations

from typing import Protocol

from ..exchange import Slot
from ..policy.concurrency import Full, Plan


class Counters(Protocol):
    def look(self, plan: Plan) -> Full | None:
        """The claim that has no room now. Takes nothing; `None` promises nothing, for rates are not looked at: a
        bucket fills while a body is read."""

    async def take(self, plan: Plan) -> Slot | Full:
        """Take every claim of the first lane that has room for all of them, and one token of each rate; or nothing."""
