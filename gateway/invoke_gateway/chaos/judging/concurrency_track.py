"""Counts what runs at once: a track for each limit, and the history that has one for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from ..quotas import WHOLE, AccountQuota
from .violations import Violation, Violations

S = TypeVar("S")  # a request that a client sent
R = TypeVar("R")  # a run of it


@dataclass
class Peak:
    """The highest true overlap of one limit. `highest_with_lost`: with the runs of gateways that have lost their
    slots."""

    account: str
    name: str
    ceiling: int
    highest: int
    highest_with_lost: int = 0

    @property
    def overshoot(self) -> int:
        return max(0, self.highest - self.ceiling)

    def as_json(self, *, with_lost: bool = False) -> dict[str, Any]:
        return {
            "account": self.account,
            "limit": self.name,
            "ceiling": self.ceiling,
            "highest": self.highest,
            "overshoot": self.overshoot,
            **({"highest_with_lost": self.highest_with_lost} if with_lost else {}),
        }


class ConcurrencyTrack(Peak, Generic[R]):
    """One limit over time. `series`: each change of `running`. `possible`: each change of the number that may hold a
    slot, since the last final check."""

    def __init__(self, account: str, name: str, ceiling: int) -> None:
        super().__init__(account, name, ceiling, 0)
        self.running = 0
        self.runs: set[R] = set()
        self.series: list[tuple[float, int]] = []
        self.possible: list[int] = [0]

    def begin(self, run: R, now: float, lost: int = 0) -> int:
        """Returns how many run now, this one included, without the `lost` that need not count."""
        self.runs.add(run)
        self._change(+1, now)
        self.highest = max(self.highest, self.running - lost)
        self.highest_with_lost = max(self.highest_with_lost, self.running)
        return self.running - lost

    def end(self, run: R, now: float) -> None:
        self.runs.discard(run)
        self._change(-1, now)

    def _change(self, by: int, now: float) -> None:
        self.running += by
        self.series.append((now, self.running))

    def may_hold(self, by: int) -> None:
        self.possible.append(self.possible[-1] + by)

    def __repr__(self) -> str:
        return f"<ConcurrencyTrack {self.account}/{self.name} {self.running}/{self.ceiling} highest={self.highest}>"


class ConcurrencyHistory(Generic[S, R]):
    """Records what clients sent, what ran at once, and the violations of one seed."""

    def __init__(self, accounts: Sequence[AccountQuota], clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.violations = Violations()
        self.sent: dict[str, S] = {}
        self.tracks: dict[tuple[str, str], ConcurrencyTrack[R]] = {}
        for account in accounts:
            ceilings = {WHOLE: account.concurrent_executions, **{lane.name: lane.ceiling for lane in account.lanes}}
            for name, ceiling in ceilings.items():
                self.tracks[account.account, name] = ConcurrencyTrack(account.account, name, ceiling)

    @property
    def peaks(self) -> list[Peak]:
        return list(self.tracks.values())

    def check_ceiling(self, track: ConcurrencyTrack[R], counted: int, sent: S) -> None:
        if counted > track.ceiling:
            text = f"{track.account}/{track.name}: {sent} is number {counted} of {track.ceiling}"
            self.violations.add(Violation.OVERSHOOT, text)
