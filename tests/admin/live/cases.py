"""A gateway's state, for the tests of the live page."""

from __future__ import annotations

from typing import Any

from invoke_gateway.admin.live.document import LiveView, find_configured
from invoke_gateway.admin.live.episodes import Episodes
from invoke_gateway.admin.live.last_minute import LastMinute
from invoke_gateway.admin.live.query import LiveQuery
from invoke_gateway.admin.live.sparklines import Sparklines
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from invoke_gateway.telemetry.last_refusals import LastRefusals
from invoke_gateway.telemetry.totals import Totals

REASON = "ConcurrentInvocationLimitExceeded"
FEW = {name: FunctionLimits() for name in ("alpha", "beta", "gamma", "delta")}


class Shared:
    """Says what all gateways hold."""

    def __init__(self, **slots: int) -> None:
        self.sums: dict[str, int] = {f"000000000000/{counter}": number for counter, number in slots.items()}
        self.age: float | None = 0.4
        self.reads = 0

    def describe(self) -> dict[str, object]:
        return {"gateway": "g-7f3a2b1c", "gateways": 3, "sums_age_seconds": self.age, "trouble": None}

    async def read_sums(self) -> None:
        self.reads += 1
        if self.reads == 1:
            raise ValueError("what it said makes no sense")


class Case:
    """A view of counters that a test fills."""

    def __init__(
        self, *named: AccountLimits, labelled: int = 1000, shared: Shared | None = None, **functions: FunctionLimits
    ) -> None:
        self.account = AccountLimits("000000000000", 20, functions or FEW, labelled=labelled)
        self.limits = Limits(self.account, {each.account: each for each in named})
        self.counters = MemoryCounters()
        self.totals = Totals()
        self.snapshots = 0
        self.time = 1_800_000_000.0
        self.sparklines = Sparklines(self.counters)
        self.episodes = Episodes(self.totals, now=lambda: self.time)
        self.last_minute = LastMinute(self.totals, clock=lambda: self.time)
        self.last_refusals = LastRefusals(self.counters, holds=dict, now=lambda: self.time)
        self.gateway: dict[str, object] = {"problems": []}
        self.view = LiveView(
            limits=self._limits_now,
            levels=self.counters,
            totals=self.totals,
            sparklines=self.sparklines,
            episodes=self.episodes,
            activity=self.last_minute,
            holds=dict,
            refusals=self.last_refusals,
            describe_gateway=lambda: self.gateway,
            is_draining=lambda: False,
            shared=shared,
        )

    def _limits_now(self) -> Limits:
        self.snapshots += 1
        return self.limits

    async def run(self, *functions: str) -> None:
        for function in functions:
            await self.counters.acquire(self.account.plan(function))

    def throttle(self, label: str, count: int) -> None:
        self.totals.of("000000000000", label).throttles[REASON] = count

    async def ask(self, query: LiveQuery = LiveQuery()) -> Any:  # noqa: B008  # it is immutable
        snapshot = self.view.take_snapshot()
        return self.view.describe(query, snapshot, await find_configured(self.limits, query))

    async def rows(self, query: LiveQuery = LiveQuery()) -> list[str]:  # noqa: B008  # it is immutable
        return [row["function"] for row in (await self.ask(query))["functions"]]
