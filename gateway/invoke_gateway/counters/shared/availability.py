"""Records whether a server of the counters replies, and whether what it counts is complete."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ...store.availability import Availability
from .fallback import IN_WORDS, Policy

log = logging.getLogger("invoke_gateway")


class CountersAvailability(Availability):
    """Adds recovery to a server's availability: after a restart the store counts nothing until the gateways have
    reported their calls. `is_recovering` is True meanwhile; `on_change` is called for it, too."""

    def __init__(
        self, where: str, gateway: str, policy: Policy, *, on_change: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        super().__init__("Shared counters", where, IN_WORDS[policy], on_change=on_change, clock=clock)
        self.unavailable_reason = "not connected yet"
        self.is_recovering = False
        self._gateway = gateway
        self._recovers_until = 0.0

    @property
    def counts(self) -> bool:
        """True while the server may admit calls."""
        return self.unavailable_reason is None and not self.is_recovering

    def record_success(self) -> None:
        if self.unavailable_reason is not None and self._failed_at is None:
            log.info("counters shared at %s; this gateway is %s", self.where, self._gateway)
        super().record_success()

    def record_recovery(self, seconds: float) -> None:
        """Sets `is_recovering` for this time, in which the server admits nothing."""
        self._recovers_until = max(self._recovers_until, self._clock() + seconds)
        if self.is_recovering:
            return
        self.is_recovering = True
        self._notify()
        log.warning(
            "%s at %s are being rebuilt after a store restart: for %.1f s every gateway reports its running calls. %s",
            self._name,
            self.where,
            seconds,
            self._consequence,
        )
        asyncio.get_running_loop().call_later(seconds, self._end_recovery)

    def _end_recovery(self) -> None:
        left = self._recovers_until - self._clock()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._end_recovery)
            return
        self.is_recovering = False
        self._notify()
        log.info("%s at %s are complete again", self._name, self.where)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}{' recovering' if self.is_recovering else ''}>"
