"""Tells targets what became of an event, and decides when one that failed is tried again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from random import random

from ..policy.event_rules import Delays, EventTargets, back_off
from ..policy.os_text import printable
from .base import Deliver, DeliveryFailed
from .event import Event

log = logging.getLogger("invoke_gateway")


class Deliveries:
    """A message is tried `attempts` times."""

    def __init__(self, deliver: Deliver, *, attempts: int, delays: Delays, rng: Callable[[], float] = random) -> None:
        self._deliver = deliver
        self._attempts = attempts
        self._delays = delays
        self._rng = rng

    async def deliver(self, event: Event, targets: EventTargets) -> float | None:
        """Tell everybody who is still to be told: notes on the outcome who is left. None when all have been told; else
        the seconds until the next try, infinite when that was the last."""
        outcome = event.outcome
        assert outcome is not None
        left = []
        for kind in outcome.pending:
            target: str | None = getattr(targets, kind)
            if target is None:
                log.warning("event %s: %s is no longer set, so nobody is told", event.request_id, kind)
                continue
            try:
                await self._deliver(kind, target, event)
            except DeliveryFailed as failure:
                outcome.problem = printable(str(failure))
                left.append(kind)
            except Exception as error:  # a mistake of ours must not lose the event
                log.exception("event %s: %s failed inside the gateway", event.request_id, kind)
                outcome.problem = printable(f"{type(error).__name__}: {error}")
                left.append(kind)
        outcome.pending = tuple(left)
        if not left:
            return None
        outcome.tries += 1
        words = ", ".join(left)
        if outcome.tries >= self._attempts:
            log.error(
                "event %s of %s: %s not delivered in %d tries, kept for `invoke-gateway queue retry` or `drop`: %s",
                *(event.request_id, event.function, words, outcome.tries, outcome.problem),
            )
            return inf
        log.warning("event %s of %s: %s not delivered, tried again: %s", event.request_id, event.function, words,
                    outcome.problem)  # fmt: skip
        return back_off(outcome.tries, self._delays, self._rng())
