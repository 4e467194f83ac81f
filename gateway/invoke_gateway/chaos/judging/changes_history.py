"""Judges calls while limits change: each call by the limits that may have been in force at its time.

A Put is in force at some moment between its request and its answer. So a call may have been admitted by any limit that
was in force between its own last byte and its arrival at the backend, and by no other: after a Put was answered, none
by the limit before. Calls that run already stay, so more may run than a lowered limit; but no call joins them.

Which calls of a provisioned version have its slots, and which have spilled over into the pool, is not visible. Visible
is that the pool alone never has more than its highest size, nor pool and version together more than both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import NamedTuple

from ..calls import CallRun, PlannedCall
from ..quotas import (
    CHANGED_FUNCTION,
    POOL,
    SPILLING_FUNCTION,
    SPILLING_VERSION,
    UNRESERVED_REASON,
    WHOLE,
    AccountQuota,
    QuotaLane,
)
from .concurrency_track import ConcurrencyTrack
from .history import RELEASE_SECONDS, CallHistory
from .violations import Violation

IN_FORCE_SECONDS = 1.0  # in which a change is in force on all gateways


class LimitInForce(NamedTuple):
    """Holds a limit, and when its Put was asked for and answered (infinite: not yet)."""

    slots: int
    asked_at: float
    answered_at: float


class ChangingLimit:
    """The values of one limit over time."""

    def __init__(self, limits: Sequence[LimitInForce] = ()) -> None:
        self.limits = list(limits)

    def _find(self, since: float, until: float) -> list[int]:
        ends = [limit.answered_at for limit in self.limits[1:]] + [math.inf]
        return [
            limit.slots
            for limit, end in zip(self.limits, ends, strict=True)
            if limit.asked_at <= until and end >= since
        ]

    def most(self, since: float, until: float) -> int:
        """Returns the highest value that may have been in force at a moment of this time."""
        return max(self._find(since, until), default=0)

    def least(self, since: float, until: float) -> int:
        """Returns the lowest value that may have been in force at a moment of this time."""
        return min(self._find(since, until), default=0)

    def ask(self, slots: int, asked_at: float) -> None:
        self.limits.append(LimitInForce(slots, asked_at, math.inf))

    def note_answered(self, answered_at: float) -> None:
        self.limits[-1] = self.limits[-1]._replace(answered_at=answered_at)


class ChangesHistory(CallHistory):
    """The history of calls of an account in which one reservation and one version's provisioned concurrency change.

    highest: of the reservation
    is_shared: True where gateways share the counters, and learn of a change a moment later
    """

    def __init__(
        self,
        account: AccountQuota,
        highest: int,
        seconds: float,
        timeout_seconds: float,
        *,
        is_shared: bool = True,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        reservations = {**account.reservations, CHANGED_FUNCTION: highest}
        self.quota = replace(account, reservations=reservations)
        super().__init__([self.quota], seconds, timeout_seconds, clock)
        self.limits_change = True
        self.release_seconds = RELEASE_SECONDS if is_shared else 0.0
        self._in_force_seconds = IN_FORCE_SECONDS if is_shared else 0.0
        self._unreserved = account.unreserved
        self.reserved, self.provisioned = ChangingLimit(), ChangingLimit()
        name = account.account
        self.spilling = QuotaLane(
            name, SPILLING_FUNCTION, self._unreserved, UNRESERVED_REASON, (f"{SPILLING_FUNCTION}:{SPILLING_VERSION}",)
        )
        self.tracks[name, SPILLING_FUNCTION] = ConcurrencyTrack(name, SPILLING_FUNCTION, self._unreserved)

    def lane(self, name: str) -> QuotaLane:
        """Returns the lane of the calls of the reservation, or of the pool."""
        return next(lane for lane in self.quota.lanes if lane.name == name)

    def largest_pool(self, since: float, until: float) -> int:
        return self._unreserved - self.reserved.least(since, until) - self.provisioned.least(since, until)

    def smallest_pool(self, since: float, until: float) -> int:
        return self._unreserved - self.reserved.most(since, until) - self.provisioned.most(since, until)

    def check_ceiling(self, track: ConcurrencyTrack[CallRun], counted: int, sent: PlannedCall) -> None:
        now = self.clock()
        since = now if sent.sent_at is None else sent.sent_at
        if track.name == CHANGED_FUNCTION:
            self._check(track, counted, self.reserved.most(since, now), sent)
        elif track.name == POOL:
            self._check(track, counted, self.largest_pool(since, now), sent)
            self._check_pool_and_version(sent, now)
        elif track.name == SPILLING_FUNCTION:
            self._check_pool_and_version(sent, now)
        else:
            super().check_ceiling(track, counted, sent)

    def _check(self, track: ConcurrencyTrack[CallRun], counted: int, most: int, sent: PlannedCall) -> None:
        if counted > most:
            text = f"{track.account}/{track.name}: {sent} is number {counted}, and the limit was at most {most}"
            self.violations.add(Violation.OVERSHOOT, text)

    def _check_pool_and_version(self, sent: PlannedCall, now: float) -> None:
        """Checks what runs of both against the highest limits since the oldest of these calls was sent."""
        both = [self.tracks[self.quota.account, name] for name in (POOL, SPILLING_FUNCTION)]
        since = min((run.call.sent_at or now for track in both for run in track.runs), default=now)
        running = sum(track.running for track in both)
        most = self.largest_pool(since, now) + self.provisioned.most(since, now)
        if running > most:
            text = f"{sent} is number {running} of pool and provisioned version, which had at most {most}"
            self.violations.add(Violation.OVERSHOOT, f"{self.quota.account}: {text}")

    def open(self, call: PlannedCall) -> None:
        super().open(call)
        call.opened_indices = {name: len(track.possible) for (_, name), track in self.tracks.items()}

    def was_free(self, call: PlannedCall) -> bool:
        """True where fewer others than the lowest limits of this time could hold a slot. Others may fill the account.
        A gateway may refuse by a limit that another gateway has raised a moment before."""
        now = self.clock()
        since = call.opened_at - self._in_force_seconds
        names = [name for _, name in self.tracks if name != WHOLE]
        held = {name: self._count_held_since(call, name) for name in names}
        if sum(held.values()) >= self.quota.concurrent_executions:
            return False
        if call.lane.name == CHANGED_FUNCTION:
            return held[CHANGED_FUNCTION] < self.reserved.least(since, now)
        return held[POOL] + held[SPILLING_FUNCTION] < self.smallest_pool(since, now)

    def _count_held_since(self, call: PlannedCall, name: str) -> int:
        if name == call.lane.name:
            return self.count_held(call)
        possible = self.tracks[self.quota.account, name].possible
        return max(possible[call.opened_indices[name] - 1 :])
