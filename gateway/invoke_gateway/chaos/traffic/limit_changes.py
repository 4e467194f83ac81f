"""Changes limits by Lambda's own operations while clients fill them (`judging/changes_history.py` has the rules).

In turn it sets the reservation of one function and the provisioned concurrency of one version of another. Clients call
both, and functions of the pool that both make smaller.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from random import Random
from time import monotonic

from ..backend import RecordingBackend
from ..calls import PlannedCall
from ..cluster import GatewayCluster
from ..judging.changes_history import IN_FORCE_SECONDS, ChangesHistory, ChangingLimit
from ..judging.history import CallHistory
from ..judging.violations import Violation
from ..quotas import CHANGED_FUNCTION, POOL, SPILLING_FUNCTION, SPILLING_VERSION, AccountQuota, QuotaLane
from ..target import GatewayTarget
from ..wire import HostPort, WireConnection, encode_head
from .clients import CallRoute, ClientBehaviour, invoke

CHANGE_SECONDS = 0.2
CHANGES = 40
HIGHEST = 6
HIGHEST_PROVISIONED = 4
CLIENTS_PER_GATEWAY = 8  # of each lane
CALL_SECONDS = (0.02, 0.15)
RETRY_SECONDS = (0.005, 0.04)
SETTLE_SECONDS = 1.0  # after the last change, until gateways without calls know that it is gone
STILL_SECONDS = 2 * IN_FORCE_SECONDS  # under the last limits: a refusal while slots are free is certain then

RESERVATION = f"/2017-10-31/functions/{CHANGED_FUNCTION}/concurrency"
PROVISIONED = f"/2019-09-30/functions/{SPILLING_FUNCTION}/provisioned-concurrency?Qualifier={SPILLING_VERSION}"


class LimitChanges:
    """Runs the phase `limit changes` of one round. `totals`: Puts, calls admitted, and the longest Put (seconds)."""

    def __init__(
        self,
        target: GatewayCluster | GatewayTarget,
        backend: RecordingBackend,
        accounts: Sequence[AccountQuota],
        script: str,
    ) -> None:
        self._target = target
        self._backend = backend
        self._account = max(accounts, key=lambda account: account.unreserved)
        self._script = script
        self._is_over = False
        self.puts = self.admitted = 0
        self.longest_put = 0.0

    def _endpoints(self) -> list[HostPort]:
        target = self._target
        return [node.invoke for node in target.nodes] if isinstance(target, GatewayCluster) else [target.invoke]

    async def run(self, history: CallHistory) -> None:
        """Adds what is wrong to `history`."""
        unreserved = self._account.unreserved
        reserved = min(HIGHEST, unreserved // 2)
        provisioned = min(HIGHEST_PROVISIONED, unreserved - reserved - 1)
        if provisioned < 1:
            return  # an account that has nothing to set
        is_shared = isinstance(self._target, GatewayCluster)
        changes = ChangesHistory(
            self._account,
            reserved,
            history.function_seconds,
            history.timeout_seconds,
            is_shared=is_shared,
        )
        changes.lag, changes.recovery_seconds = history.lag, history.recovery_seconds
        self._backend.history = changes
        rng = Random(f"{self._script}.changes")
        try:
            await self._reserve(changes, reserved, 0)
            await self._provision(changes, provisioned, 0)
            lanes = [changes.lane(CHANGED_FUNCTION), changes.lane(POOL), changes.spilling]
            clients = [
                asyncio.create_task(self._run_client(changes, lane, number))
                for lane in lanes
                for number in range(CLIENTS_PER_GATEWAY * len(self._endpoints()))
            ]
            for number in range(2, CHANGES):
                await asyncio.sleep(CHANGE_SECONDS)
                if number % 2:
                    await self._reserve(changes, rng.choice([0, 1, 1, 2, 3, reserved]), number)
                else:
                    await self._provision(changes, rng.choice([0, 1, provisioned, provisioned]), number)
            await asyncio.sleep(STILL_SECONDS if is_shared else 0)
            self._is_over = True
            await asyncio.gather(*clients)
            await self._send("DELETE", RESERVATION, 0)
            await self._send("DELETE", PROVISIONED, 0)
            await asyncio.sleep(SETTLE_SECONDS if is_shared else 0)
        finally:
            self._backend.history = history
        self.admitted = changes.answers["200"]
        for violation, count in changes.violations.counts.items():
            for example in changes.violations.examples[violation]:
                history.violations.add(violation, example, 0)
            history.violations.counts[violation] += count

    def _route(self, changes: ChangesHistory) -> CallRoute:
        return self._target.route(changes)

    async def _run_client(self, changes: ChangesHistory, lane: QuotaLane, number: int) -> None:
        route = self._route(changes)
        who = f"{self._script}.changes.{lane.name}.{number}"
        rng = Random(who)
        attempt = 0
        while not self._is_over:
            attempt += 1
            seconds = rng.uniform(*CALL_SECONDS)
            call = PlannedCall(f"{who}.{attempt}", lane, rng.choice(lane.functions), seconds=seconds)
            call.home = number
            answer = await invoke(route, call, ClientBehaviour.STAYS, rng)
            if answer is None or answer.status != 200:
                await asyncio.sleep(rng.uniform(*RETRY_SECONDS))

    async def _reserve(self, changes: ChangesHistory, slots: int, number: int) -> None:
        """Sets the reservation at one gateway after the other."""
        body = {"ReservedConcurrentExecutions": slots}
        await self._put(changes, changes.reserved, slots, self._send("PUT", RESERVATION, number, body))

    async def _provision(self, changes: ChangesHistory, slots: int, number: int) -> None:
        """Sets the provisioned concurrency of the version; 0 ends it."""
        body = {"ProvisionedConcurrentExecutions": slots}
        sending = self._send("PUT", PROVISIONED, number, body) if slots else self._send("DELETE", PROVISIONED, number)
        await self._put(changes, changes.provisioned, slots, sending)

    async def _put(
        self,
        changes: ChangesHistory,
        limit: ChangingLimit,
        slots: int,
        sending: Coroutine[None, None, tuple[int, bytes]],
    ) -> None:
        asked_at = monotonic()
        limit.ask(slots, asked_at)
        status, text = await sending
        answered_at = monotonic()
        if not 200 <= status < 300:
            example = f"a change to {slots} slots got {status} {text!r}"
            if status >= 500:  # a store that was late, perhaps with all of this machine
                changes.add_unless_overloaded(Violation.UNEXPECTED, example, asked_at - changes.recovery_seconds)
            else:
                changes.violations.add(Violation.UNEXPECTED, example)
            return
        limit.note_answered(answered_at)
        self.puts += 1
        self.longest_put = max(self.longest_put, answered_at - asked_at)

    async def _send(self, method: str, path: str, number: int, document: object = None) -> tuple[int, bytes]:
        body = b"" if document is None else json.dumps(document).encode()
        head = encode_head(path, self._account.account, f"Content-Length: {len(body)}", method=method)
        endpoints = self._endpoints()
        async with WireConnection(endpoints[number % len(endpoints)]) as connection:
            await connection.send(head + body)
            answer = await connection.read_answer()
        return (0, b"") if answer is None else (answer.status, answer.body[:200])

    def describe(self) -> str:
        return (
            f"Limit changes: {self.puts} Puts while {self.admitted} calls were admitted; "
            f"a Put took at most {self.longest_put:.3f} s."
        )
