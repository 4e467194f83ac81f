"""Records whether a server of the counters replies, and whether what it counts is complete."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ...store.availability import Availability
from ..base import StoreNotCounting, make_recovering
from .fallback import IN_WORDS, Policy

log = logging.getLogger("invoke_gateway")


class CountersAvailability(Availability):
    """Adds recovery to a server's availability: after a restart the store counts nothing until the gateways have
    reported their calls. `is_recovering` is True meanwhile; `on_change` is called for it, too.

    recovering: refuses a call during a recovery, and states how long that lasts.
    expected_gateways: ends a recovery as soon as so many have reported; None where it lasts a whole lease.
    """

    def __init__(
        self,
        where: str,
        gateway: str,
        policy: Policy,
        *,
        expected_gateways: int | None = None,
        on_change: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__("Shared counters", where, IN_WORDS[policy], on_change=on_change, clock=clock)
        self.unavailable_reason = "not connected yet"
        self.is_recovering = False
        self.recovering: StoreNotCounting = make_recovering("the end of lease_seconds", "")
        self.recovery_problem = ""
        self._gateway = gateway
        self._advice = _advise(expected_gateways)
        self._expected_gateways = expected_gateways
        self._has_counted = False
        self._recovers_until = self._recovers_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counts(self) -> bool:
        """True while the server may admit calls."""
        return self.unavailable_reason is None and not self.is_recovering

    def record_success(self) -> None:
        if self.unavailable_reason is not None and self._failed_at is None:
            log.info("counters shared at %s; this gateway is %s", self.where, self._gateway)
        super().record_success()

    def record_recovery(self, seconds: float) -> None:
        """Sets `is_recovering` for at most this time, in which the server admits nothing."""
        self._recovers_until = max(self._recovers_until, self._clock() + seconds)
        if self.is_recovering:
            return
        self.is_recovering = True
        self._recovers_since = self._clock()
        until = _format_time(seconds)
        self.recovering = make_recovering(until, self._advice)
        self.recovery_problem = f"The shared counters at {self.where} are being rebuilt until {until}. {self._advice}"
        self._notify()
        # A start whose wait ends by itself is no reason for an action.
        is_usual = self._expected_gateways is not None and not self._has_counted
        log.log(
            logging.INFO if is_usual else logging.WARNING,
            "%s at %s are being rebuilt, because the store is new or was restarted: until %s (%.1f s) every gateway "
            "reports its running calls. %s %s",
            self._name,
            self.where,
            until,
            seconds,
            self._consequence,
            self._advice,
        )
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end_when_due)

    def end_recovery(self) -> None:
        """Ends the recovery: every gateway has reported."""
        if not self.is_recovering:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._recovers_until = 0.0
        self.is_recovering = False
        self._has_counted = True
        self._notify()
        seconds = self._clock() - self._recovers_since
        log.info("%s at %s are complete after %.1f s", self._name, self.where, seconds)

    def _end_when_due(self) -> None:
        left = self._recovers_until - self._clock()
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._end_when_due)
            return
        self.end_recovery()

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}{' recovering' if self.is_recovering else ''}>"


def _format_time(seconds: float) -> str:
    """Returns the time in so many seconds, in RFC 3339."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _advise(expected: int | None) -> str:
    if expected is None:
        return "To end this wait sooner, set shared.expected_gateways to the number of gateways on the store."
    number = "1 gateway has" if expected == 1 else f"{expected} gateways have"
    return f"The wait ends as soon as {number} reported (shared.expected_gateways)."
