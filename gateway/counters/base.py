"""What the chain asks of a store of counters. Memory and a shared store are two ways to keep the same promise."""

from __future__ import annotations

from typing import Protocol

from ..policy.concurrency import Full, Plan


class Slot(Protocol):
    """A lane that was taken. Whoever holds it gives it back when the backend has finished."""

    def release(self) -> None:
        """Give everything back. May be called twice, never raises, never waits."""


class Counters(Protocol):
    def look(self, plan: Plan) -> Full | None:
        """Whether `plan` is sure to be refused now. Takes nothing; `None` promises nothing."""

    async def take(self, plan: Plan) -> Slot | Full:
        """Take every claim of the first lane that has room for all of them, and one token of each rate; or nothing."""
