"""Changes a limit by Lambda's own operation while clients fill it, and checks each call against the limit of its time.

A Put is in force at some moment between its request and its answer. So a call may have been admitted by any limit that
was in force between its own last byte and its arrival at the backend, and by no other: after a Put was answered, none
by the limit before. Calls that run already stay, so more may run than a lowered limit; but no call joins them.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from random import Random
from time import monotonic
from typing import NamedTuple

from ..backend import RecordingBackend
from ..calls import CallRun, PlannedCall
from ..cluster import GatewayCluster
from ..judging.concurrency_track import ConcurrencyTrack
from ..judging.history import CallHistory
from ..judging.violations import Violation
from ..quotas import CHANGED_FUNCTION, AccountQuota, QuotaLane
from ..wire import HostPort, WireConnection, encode_head
from .clients import ClientBehaviour, invoke

CHANGE_SECONDS = 0.2
CHANGES = 30
HIGHEST = 6
CLIENTS_PER_GATEWAY = 8
CALL_SECONDS = (0.02, 0.15)
RETRY_SECONDS = (0.005, 0.04)
SETTLE_SECONDS = 1.0  # after the last change, until gateways without calls know that it is gone


class LimitInForce(NamedTuple):
    """Holds a limit, and when its Put was asked for and answered (infinite: not yet)."""

    slots: int
    asked_at: float
    answered_at: float


class ChangesHistory(CallHistory):
    """The history of calls of one function whose limit changes."""

    def __init__(self, account: AccountQuota, highest: int, seconds: float, timeout_seconds: float) -> None:
        self.quota = AccountQuota(
            account.account, account.concurrent_executions, {**account.reservations, CHANGED_FUNCTION: highest}
        )
        super().__init__([self.quota], seconds, timeout_seconds)
        self.limits: list[LimitInForce] = []

    def most(self, since: float, until: float) -> int:
        """Returns the highest limit that may have been in force at a moment of this time."""
        ends = [limit.answered_at for limit in self.limits[1:]] + [math.inf]
        return max(
            (
                limit.slots
                for limit, end in zip(self.limits, ends, strict=True)
                if limit.asked_at <= until and end >= since
            ),
            default=0,
        )

    def check_ceiling(self, track: ConcurrencyTrack[CallRun], counted: int, sent: PlannedCall) -> None:
        if track.name != CHANGED_FUNCTION:
            super().check_ceiling(track, counted, sent)
            return
        now = self.clock()
        most = self.most(now if sent.sent_at is None else sent.sent_at, now)
        if counted > most:
            text = f"{track.account}/{track.name}: {sent} is number {counted}, and the limit was at most {most}"
            self.violations.add(Violation.OVERSHOOT, text)

    def was_free(self, call: PlannedCall) -> bool:
        """Returns False: while a limit rises, a gateway may refuse by the lower one for a moment."""
        return False


class LimitChanges:
    """Runs the phase `limit changes` of one round. `totals`: Puts, calls admitted, and the longest Put (seconds)."""

    def __init__(
        self, cluster: GatewayCluster, backend: RecordingBackend, accounts: Sequence[AccountQuota], script: str
    ) -> None:
        self._cluster = cluster
        self._backend = backend
        self._account = max(accounts, key=lambda account: account.unreserved)
        self._script = script
        self._is_over = False
        self.puts = self.admitted = 0
        self.longest_put = 0.0

    async def run(self, history: CallHistory) -> None:
        """Adds what is wrong to `history`."""
        highest = min(HIGHEST, self._account.unreserved)
        changes = ChangesHistory(self._account, highest, history.function_seconds, history.timeout_seconds)
        lane = next(lane for lane in changes.quota.lanes if lane.name == CHANGED_FUNCTION)
        self._backend.history = changes
        rng = Random(f"{self._script}.changes")
        try:
            await self._put(changes, highest, 0)
            clients = [
                asyncio.create_task(self._run_client(changes, lane, number))
                for number in range(CLIENTS_PER_GATEWAY * len(self._cluster.nodes))
            ]
            for number in range(1, CHANGES):
                await asyncio.sleep(CHANGE_SECONDS)
                await self._put(changes, rng.choice([0, 1, 1, 2, 3, highest]), number)
            self._is_over = True
            await asyncio.gather(*clients)
            await self._send("DELETE", 0)
            await asyncio.sleep(SETTLE_SECONDS)
        finally:
            self._backend.history = history
        self.admitted = changes.answers["200"]
        for violation, count in changes.violations.counts.items():
            for example in changes.violations.examples[violation]:
                history.violations.add(violation, example, 0)
            history.violations.counts[violation] += count

    async def _run_client(self, changes: ChangesHistory, lane: QuotaLane, number: int) -> None:
        route = self._cluster.route(changes)
        rng = Random(f"{self._script}.changes.{number}")
        attempt = 0
        while not self._is_over:
            attempt += 1
            seconds = rng.uniform(*CALL_SECONDS)
            call = PlannedCall(f"{self._script}.changes.{number}.{attempt}", lane, CHANGED_FUNCTION, seconds=seconds)
            call.home = number
            answer = await invoke(route, call, ClientBehaviour.STAYS, rng)
            if answer is None or answer.status != 200:
                await asyncio.sleep(rng.uniform(*RETRY_SECONDS))

    async def _put(self, changes: ChangesHistory, slots: int, number: int) -> None:
        """Sets the limit at one gateway after the other."""
        asked_at = monotonic()
        changes.limits.append(LimitInForce(slots, asked_at, math.inf))
        status, text = await self._send("PUT", number, {"ReservedConcurrentExecutions": slots})
        answered_at = monotonic()
        if status != 200:
            changes.violations.add(Violation.UNEXPECTED, f"PutFunctionConcurrency {slots} got {status} {text!r}")
            return
        changes.limits[-1] = LimitInForce(slots, asked_at, answered_at)
        self.puts += 1
        self.longest_put = max(self.longest_put, answered_at - asked_at)

    async def _send(self, method: str, number: int, document: object = None) -> tuple[int, bytes]:
        body = b"" if document is None else json.dumps(document).encode()
        path = f"/2017-10-31/functions/{CHANGED_FUNCTION}/concurrency"
        head = encode_head(path, self._account.account, f"Content-Length: {len(body)}", method=method)
        endpoint: HostPort = self._cluster.nodes[number % len(self._cluster.nodes)].invoke
        async with WireConnection(endpoint) as connection:
            await connection.send(head + body)
            answer = await connection.read_answer()
        return (0, b"") if answer is None else (answer.status, answer.body[:200])

    def describe(self) -> str:
        return (
            f"Limit changes: {self.puts} Puts while {self.admitted} calls were admitted; "
            f"a Put took at most {self.longest_put:.3f} s."
        )
