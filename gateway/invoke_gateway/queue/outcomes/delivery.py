"""Delivers outcomes to targets, and decides when a failed delivery is retried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from random import random

from ...policy.events.event_rules import Delays, EventTargets, back_off
from ...policy.os_text import printable
from ..base import Deliver, DeliveryFailed
from ..event import Event

log = logging.getLogger("invoke_gateway")


class Deliveries:
    """Delivers an outcome at most `attempts` times."""

    def __init__(self, deliver: Deliver, *, attempts: int, delays: Delays, rng: Callable[[], float] = random) -> None:
        self._deliver = deliver
        self._attempts = attempts
        self._delays = delays
        self._rng = rng

    async def deliver(self, event: Event, targets: EventTargets) -> float | None:
        """Delivers the outcome to each pending target, and keeps those that failed as pending.

        Returns None once all have received it, else the seconds until the next try, infinite after the last one.
        """
        outcome = event.outcome
        assert outcome is not None
        left = []
        for kind in outcome.pending:
            target: str | None = getattr(targets, kind)
            if target is None:
                log.warning(
                    "event %s: %s is no longer set, so its outcome is not delivered there", event.request_id, kind
                )
                continue
            try:
                await self._deliver(kind, target, event)
            except DeliveryFailed as failure:
                outcome.problem = printable(str(failure))
                left.append(kind)
            except Exception as error:  # a bug must not lose the event
                log.exception("event %s: %s failed inside the gateway", event.request_id, kind)
                outcome.problem = printable(f"{type(error).__name__}: {error}")
                left.append(kind)
        outcome.pending = tuple(left)
        if not left:
            return None
        outcome.tries += 1
        kinds = ", ".join(left)
        if outcome.tries >= self._attempts:
            log.error(
                "event %s of %s: %s not delivered in %d tries, kept for `invoke-gateway queue retry` or `drop`: %s",
                *(event.request_id, event.function, kinds, outcome.tries, outcome.problem),
            )
            return inf
        log.warning("event %s of %s: %s not delivered, will retry: %s", event.request_id, event.function, kinds,
                    outcome.problem)  # fmt: skip
        return back_off(outcome.tries, self._delays, self._rng())
