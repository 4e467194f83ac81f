"""Records whether a store replies, and logs each change once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

log = logging.getLogger("invoke_gateway")


class Availability:
    """Holds the availability of one server.

    name: of what the server keeps, as log lines begin ("Shared counters").
    where: the server's address for people.
    consequence: what the gateway does while the server is unavailable, as a sentence.
    unavailable_reason: the cause; None while the server replies.
    on_change: called whenever `unavailable_reason` has changed.
    clock: returns monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        where: str,
        consequence: str,
        *,
        on_change: Callable[[], None] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.where = where
        self.unavailable_reason: str | None = None
        self._name = name
        self._consequence = consequence
        self._on_change = on_change
        self._clock = clock
        self._failed_at: float | None = None
        self._warning: str | None = None

    def record_failure(self, reason: str) -> None:
        reason = reason.rstrip(".")
        if self._failed_at is None:
            self._failed_at = self._clock()
            extra = {"fields": {"kind": "store_unavailable", "store": self.where, "reason": reason}}
            log.error("%s at %s unavailable: %s. %s", self._name, self.where, reason, self._consequence, extra=extra)
        self.unavailable_reason = reason
        self._notify()

    def record_success(self) -> None:
        if self.unavailable_reason is None:
            return
        if self._failed_at is not None:
            seconds = self._clock() - self._failed_at
            extra = {"fields": {"kind": "store_available", "store": self.where, "seconds": round(seconds, 3)}}
            log.info("%s at %s available again after %.1f s", self._name, self.where, seconds, extra=extra)
            self._failed_at = None
        self.unavailable_reason = None
        self._notify()

    def warn(self, warning: str | None) -> None:
        """Logs a warning about the server's settings, unless it was the last one."""
        if warning is not None and warning != self._warning:
            log.warning("%s at %s: %s", self._name, self.where, warning)
        self._warning = warning

    def _notify(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where} {self.unavailable_reason or 'available'}>"
