"""One limit of the ledger."""

from __future__ import annotations

from .calls import CallRun


class ConcurrencyTrack:
    """One limit: how many run now, how many at most did, the changes over time, how many may hold a slot."""

    def __init__(self, account: str, name: str, ceiling: int) -> None:
        self.account = account
        self.name = name
        self.ceiling = ceiling
        self.running = 0
        self.highest = 0
        self.highest_with_lost = 0  # also counting what runs on for gateways that have lost its slots
        self.runs: set[CallRun] = set()
        self.series: list[tuple[float, int]] = []
        # Of possible holders: each change since all was quiet; the last is the present number.
        self.possible: list[int] = [0]

    def begin(self, run: CallRun, now: float, lost: int = 0) -> int:
        """How many run now, this one included, but for the `lost` that need not count."""
        self.runs.add(run)
        self._change(+1, now)
        self.highest = max(self.highest, self.running - lost)
        self.highest_with_lost = max(self.highest_with_lost, self.running)
        return self.running - lost

    def end(self, run: CallRun, now: float) -> None:
        self.runs.discard(run)
        self._change(-1, now)

    def _change(self, by: int, now: float) -> None:
        self.running += by
        self.series.append((now, self.running))

    def may_hold(self, by: int) -> None:
        self.possible.append(self.possible[-1] + by)

    @property
    def overshoot(self) -> int:
        return max(0, self.highest - self.ceiling)

    def __repr__(self) -> str:
        return f"<Level {self.account}/{self.name} {self.running}/{self.ceiling} highest={self.highest}>"
