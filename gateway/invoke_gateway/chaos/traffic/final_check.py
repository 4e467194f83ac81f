"""Checks after the traffic that nothing is in flight, and that exactly as many slots as there are can be taken again.

Every lane is filled with calls that the backend keeps open, then one more is refused. A call whose client left may
still be on its way to the backend and take a slot. So a failed attempt is repeated after another wait, and only what
fails each time is a violation: a lost slot stays lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from random import Random
from typing import Any, NamedTuple

from ..backend import RecordingBackend
from ..calls import CallEnding, PlannedCall
from ..judging.violations import Violation
from ..quotas import AccountQuota, QuotaLane, count_in_flight
from .clients import CallRoute, ClientBehaviour, invoke

PATIENCE = 30.0  # seconds in which a gateway may get to 0 in flight once nothing runs any more
PAUSE = 0.05
ATTEMPTS = 4  # of the filling
MOST_ATTEMPTS = 20  # that may take longer than the functions' time-out before the machine is called too slow

Fetch = Callable[[], Awaitable[dict[str, Any]]]


class Filling(NamedTuple):
    """The result of an attempt. `is_slow`: the functions' own time-out may have ended some calls before all had
    arrived, so the attempt has no result."""

    is_slow: bool
    failed: list[str]


class FinalCheck:
    """The final check of a round. `fetch`: returns the gateway's /limits."""

    def __init__(
        self, route: CallRoute, backend: RecordingBackend, accounts: list[AccountQuota], script: str, fetch: Fetch
    ) -> None:
        self.route = route
        self.history = route.history
        self.backend = backend
        self.accounts = accounts
        self.fetch = fetch
        self.script = script
        self._numbers = count()

    async def check(self) -> None:
        """Records every slot that is in flight, missing or doubled."""
        left = await self.settle()
        if left:
            self.history.violations.add(Violation.MISSING, f"/limits shows {left} in flight after the traffic", left)
            return
        failures = 0
        for _ in range(MOST_ATTEMPTS):
            filling = await self._fill()
            await self.settle()
            if filling.is_slow:
                continue
            if not filling.failed:
                return
            failures += 1
            if failures == ATTEMPTS:
                for example in filling.failed:
                    self.history.violations.add(Violation.MISSING, example)
                return
        self.history.violations.add(
            Violation.NOT_JUDGED,
            f"the slots could not be filled within {self.history.function_seconds:g} s: the machine is too busy",
        )

    async def settle(self) -> int:
        """Waits until the backend is idle and /limits shows 0 several times. Returns what /limits still shows when
        all time-outs and the patience have passed."""
        clock = self.history.clock
        deadline = max(clock(), self.history.last_sent_at + self.history.timeout_seconds) + PATIENCE
        zeros = 0
        while zeros < 3:
            in_flight = count_in_flight(await self.fetch())
            zeros = 0 if in_flight or self.backend.active else zeros + 1
            if in_flight and clock() > deadline:
                return in_flight
            await asyncio.sleep(PAUSE)
        await asyncio.sleep(self.history.release_seconds)
        self.history.expire(clock())
        self.history.release_all()
        return 0

    async def _fill(self) -> Filling:
        """Fills every lane, then calls each once more. (The history records what is admitted then.)"""
        self.backend.gate = asyncio.Event()
        started = self.history.clock()
        lanes = [lane for account in self.accounts for lane in account.lanes]
        calls = {lane: [self._plan(lane) for _ in range(lane.ceiling)] for lane in lanes}
        tasks = {call: self._start(call) for of_lane in calls.values() for call in of_lane}
        failed = []
        try:
            for lane in lanes:
                arrived = await self._count_arrivals(calls[lane], tasks)
                if arrived < lane.ceiling:
                    failed.append(f"{lane.account}/{lane.name}: {arrived} of {lane.ceiling} slots can be taken again")
            if not failed:
                more = [self._plan(lane) for lane in lanes]
                tasks |= {call: self._start(call) for call in more}
                await self._count_arrivals(more, tasks)
            is_slow = self.history.clock() - started >= self.history.function_seconds
        finally:
            self.backend.gate.set()
            await asyncio.gather(*tasks.values())
        return Filling(is_slow, failed)

    async def _count_arrivals(self, calls: list[PlannedCall], tasks: dict[PlannedCall, asyncio.Task[None]]) -> int:
        """Counts the calls that reach the backend. The others are answered without it."""
        for call in calls:
            arrival = asyncio.ensure_future(call.arrived.wait())
            await asyncio.wait([arrival, tasks[call]], return_when=asyncio.FIRST_COMPLETED)
            arrival.cancel()
        return sum(call.arrivals > 0 for call in calls)

    def _start(self, call: PlannedCall) -> asyncio.Task[None]:
        return asyncio.create_task(self._invoke(call))

    def _plan(self, lane: QuotaLane) -> PlannedCall:
        id = f"{self.script}.fill.{lane.account}.{lane.name}.{next(self._numbers)}"
        return PlannedCall(id, lane, lane.functions[0], ending=CallEnding.WAITS)

    async def _invoke(self, call: PlannedCall) -> None:
        await invoke(self.route, call, ClientBehaviour.STAYS, Random(0))
