"""Keeps the last refusals, with the functions that were using the exhausted limit.

In a flood of refusals only a sample is kept. A refusal that is not kept costs one look into a small table. A kept one
costs a look at the slots of its limit, and the spacing bounds how often that happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from time import time
from typing import Any

from ..counters.base import Counters
from ..exchange import Exchange
from ..policy.concurrency import Claim, LimitReached
from ..policy.counter_names import function_of

KEPT = 100
# Seconds between two kept refusals: by the same limit, so that a flood at one limit does not hide others; and by any
# limit, so that a flood at many limits costs nothing either.
SAME_SECONDS = 1.0
ANY_SECONDS = 0.1

_MOST_SLOTS_LOOKED_AT = 1000  # about 0.1 ms
_MOST_OCCUPANTS = 4
_MOST_LIMITS = 1000  # with a spacing of their own; each caller's rate is one, so there may be any number


class LastRefusals:
    """Keeps the newest refusals as documents.

    holds: returns the slots of each counter that are held by way of /holds
    now: returns seconds since the epoch
    """

    def __init__(
        self, levels: Counters, *, holds: Callable[[], Mapping[str, int]], now: Callable[[], float] = time
    ) -> None:
        self._levels = levels
        self._holds = holds
        self._now = now
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._next_at: dict[int, float] = {}
        self._next_of_any = float("-inf")
        self._flooded: object = None
        self._flooded_until = 0.0
        self._latest = 0

    def record(self, exchange: Exchange) -> None:
        """Keeps a refused request, unless a refusal by the same limit was kept a moment ago. The time of arrival
        counts, so no clock is read."""
        full = exchange.full
        limit = full.claim if full is not None else exchange.refusal
        if limit is self._flooded and exchange.received_at < self._flooded_until:  # nearly all in a flood
            return
        at = exchange.received_at
        # An id may come to mean another limit after a reload; then one refusal is kept too few.
        next_at = self._next_at.get(id(limit), at)
        self._flooded, self._flooded_until = limit, next_at
        if at < next_at or at < self._next_of_any:
            return
        if len(self._next_at) >= _MOST_LIMITS:
            self._next_at.clear()
        self._next_at[id(limit)] = self._flooded_until = at + SAME_SECONDS
        self._next_of_any = at + ANY_SECONDS
        self._latest += 1
        self._kept.append(self._describe(exchange, full))

    def newest_first(self) -> list[dict[str, Any]]:
        """Returns the kept refusals (docs/guides/live-page.md)."""
        return list(reversed(self._kept))

    def _describe(self, exchange: Exchange, full: LimitReached | None) -> dict[str, Any]:
        refusal, plan, invocation = exchange.refusal, exchange.plan, exchange.invocation
        assert refusal is not None
        refused: dict[str, Any] = {
            "id": self._latest,
            "at": round(self._now(), 3),
            "account": plan.account if plan is not None else None,
            "function": invocation.function.name if invocation is not None else None,
            **exchange.describe_holder(),
            "status": refusal.status,
            "error": refusal.code,
            "reason": refusal.reason,
            "injected": refusal.is_injected,
        }
        if full is not None:
            refused |= {"limit": full.claim.limit, "in_use": full.in_use, "ceiling": full.ceiling}
            if isinstance(full.claim, Claim) and plan is not None:
                refused |= self._describe_occupants(full.claim.counter or plan.function_counter)
        else:
            # Numbers only: a text may repeat what the client sent.
            numbers = exchange.refusal_values.items()
            refused |= {
                f"{name}_bytes": value for name, value in numbers if name in ("limit", "size") and type(value) is int
            }
        return refused

    def _describe_occupants(self, counter: str) -> dict[str, object]:
        held = self._holds()
        usage = self._levels.usage(counter, _MOST_SLOTS_LOOKED_AT)
        shown = usage[:_MOST_OCCUPANTS]
        return {
            "held": held.get(counter, 0),
            "occupied_by": [
                {
                    "function": function_of(occupant.function_counter),
                    "slots": occupant.slots,
                    "held": min(occupant.slots, held.get(occupant.function_counter, 0)),
                    "oldest_seconds": round(occupant.oldest_seconds, 3),
                }
                for occupant in shown
            ],
            "others": len(usage) - len(shown),
        }
