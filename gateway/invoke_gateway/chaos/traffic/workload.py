"""Loads every gateway with more calls than it has slots, while one fault after the other is injected.

Clients whose calls outlive a lease want about a third of the slots of each lane. So a killed gateway leaves calls
behind that still run when its slots are given to others. A gateway that was stopped for leases still runs some on
its return. The other calls are short, so that a lane which can be full is full within moments.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Iterator
from random import Random

from ..calls import CallEnding, PlannedCall
from ..cluster import GatewayCluster
from ..faults.fault import InjectedFault, Recovery
from ..faults.fault_log import TIMEOUT, FaultLog
from ..faults.kinds import FaultKind, PlannedFault, plan_faults
from ..faults.nemesis import Nemesis
from ..faults.timeline import AFTER_SECONDS, BEFORE_SECONDS, SAMPLE_SECONDS, Timeline
from ..quotas import AccountQuota, QuotaLane
from .clients import CallRoute, ClientBehaviour, invoke

CALL_SECONDS = (0.1, 0.5)
RETRY_SECONDS = (0.08, 0.16)
CLOSED_RETRY_SECONDS = (0.4, 0.8)
PATIENCE = 10.0  # seconds after the deadline in which a recovery may still be seen
PAUSE = 0.02
HEAD_START = 0.2
LAST_CALM_SECONDS = 1.0  # of load after the last fault

_BEHAVIOURS = {
    ClientBehaviour.STAYS: 85,
    ClientBehaviour.LEAVES_DURING: 8,
    ClientBehaviour.LOSES_PATIENCE: 4,
    ClientBehaviour.STALLS_IN_BODY: 3,
}
_ENDINGS = {
    CallEnding.ANSWERS: 85,
    CallEnding.TRICKLES: 5,
    CallEnding.RESETS: 4,
    CallEnding.BREAKS_OFF: 3,
    CallEnding.GARBAGE: 3,
}


class Workload:
    """The load and the faults of one round. `begin`: called with each fault before it. `tell`: called with each
    recovery."""

    def __init__(
        self,
        route: CallRoute,
        cluster: GatewayCluster,
        accounts: list[AccountQuota],
        fault_log: FaultLog,
        script: str,
        *,
        kinds: Collection[str],
        partition_seconds: float,
        timeline: Collection[str],
        begin: Callable[[str], None],
        log: Callable[[str], None],
    ) -> None:
        self.route = route
        self.cluster = cluster
        self.fault_log = fault_log
        self.script = script
        self.is_over = False
        self._kinds = kinds
        self._partition_seconds = partition_seconds
        self._timelines = timeline
        self._begin = begin
        self._log = log
        self._lanes = [lane for account in accounts for lane in account.lanes]
        self._clock = route.history.clock
        self._nemesis = Nemesis(cluster, fault_log, self._clock, lambda: route.history.running)

    async def run(self) -> None:
        """Injects every fault of the script under load. Raises `Died`."""
        clients = [asyncio.create_task(client) for lane in self._lanes for client in self._clients(lane)]
        try:
            await self._inject_faults()
        except BaseException:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
            raise
        self.is_over = True
        await asyncio.gather(*clients)

    async def _inject_faults(self) -> None:
        recovery = self.fault_log.expect("load alone", self.cluster.gateways, self._clock())
        await self._wait_for([recovery])
        # An empty store does not hold what is kept for a gateway that is cut off, so the time-out cannot be kept then.
        kinds = {*self._kinds} - ({FaultKind.CUT_OFF_AT_RESTART} if self.fault_log.reclaim_after == TIMEOUT else set())
        nodes, lease = len(self.cluster.nodes), self.fault_log.lease_seconds
        workers = self.cluster.sharing.workers
        for planned in plan_faults(self.script, nodes, lease, self._partition_seconds, kinds, workers=workers):
            await asyncio.sleep(planned.calm)
            self._begin(planned.kind)
            await (self._inject_with_timeline(planned) if planned.kind in self._timelines else self._inject(planned))
        await asyncio.sleep(LAST_CALM_SECONDS)

    async def _inject_with_timeline(self, planned: PlannedFault) -> None:
        """Injects a fault, and records each second from three before it until three after the last recovery."""
        history = self.route.history
        history.timeline = timeline = Timeline(history.running)
        sampling = asyncio.create_task(self._sample(timeline))
        try:
            await asyncio.sleep(BEFORE_SECONDS)
            fault = await self._inject(planned)
            marks = self.fault_log.marks(fault)
            last = max(at for at, _ in marks)
            await asyncio.sleep(fault.began + math.floor(last - fault.began) + AFTER_SECONDS + 1 - self._clock())
        finally:
            history.timeline = None
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
        history.expire(self._clock())
        fault.timeline = timeline.table(fault.began, self._clock(), fault.gateways, marks)

    async def _sample(self, timeline: Timeline) -> None:
        while True:
            timeline.record_counted(self._clock(), *await self.cluster.count_in_flight())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _inject(self, planned: PlannedFault) -> InjectedFault:
        known = len(self.fault_log.recoveries)
        fault = await self._nemesis.inject(planned)
        await self._wait_for(self.fault_log.recoveries[known:])
        await self._wait_for_excess(fault)
        for affected in self.fault_log.faults:
            if affected.over is None:
                affected.over = self._clock()
        return fault

    async def _wait_for_excess(self, fault: InjectedFault) -> None:
        """Waits until no limit is exceeded. Calls that came back beyond a limit keep it and their account full
        while they run."""
        history = self.route.history
        while fault.is_cut and fault.ended is not None and self._clock() < fault.ended + history.function_seconds:
            history.expire(self._clock())
            if all(track.running <= track.ceiling for track in history.tracks.values()):
                return
            await asyncio.sleep(PAUSE)

    async def _wait_for(self, recoveries: list[Recovery]) -> None:
        history = self.route.history
        for recovery in recoveries:
            latest = recovery.since + recovery.deadline + PATIENCE
            while recovery.recovered_at is None and self._clock() < latest + history.overloaded_since(recovery.since):
                self.cluster.check()
                await asyncio.sleep(PAUSE)
            self._log(str(recovery))
            if not recovery.within_deadline:
                history.add_late_recovery(recovery)

    # The load.

    def _clients(self, lane: QuotaLane) -> Iterator[Coroutine[None, None, None]]:
        gateways = len(self.cluster.nodes)
        per_gateway = math.ceil((1.3 * lane.ceiling + 2) / max(1, gateways - 1)) if lane.ceiling else 1
        for number in range(per_gateway * gateways):
            yield self._run_client(lane, number, is_long=False)
        for number in range((lane.ceiling + 1) // 3):
            yield self._run_client(lane, number, is_long=True)

    async def _run_client(self, lane: QuotaLane, number: int, *, is_long: bool) -> None:
        who = f"{self.script}.siege.{lane.account}.{lane.name}.{number}{'.long' if is_long else ''}"
        rng = Random(who)
        attempt = 0
        if not is_long:
            await asyncio.sleep(HEAD_START)  # of the long ones, which would seldom get a slot of a few
        while not self.is_over:
            attempt += 1
            call = self._plan(f"{who}.{attempt}", lane, rng, is_long=is_long)
            call.home = (number + self._lanes.index(lane)) % len(self.cluster.nodes)
            behaviour = (
                ClientBehaviour.STAYS if is_long else rng.choices(list(_BEHAVIOURS), list(_BEHAVIOURS.values()))[0]
            )
            answer = await invoke(self.route, call, behaviour, rng)
            if answer is None or answer.status != 200:
                await asyncio.sleep(rng.uniform(*(RETRY_SECONDS if lane.ceiling else CLOSED_RETRY_SECONDS)))

    def _plan(self, id: str, lane: QuotaLane, rng: Random, *, is_long: bool) -> PlannedCall:
        ending = rng.choices(list(_ENDINGS), list(_ENDINGS.values()))[0]
        seconds = rng.uniform(*CALL_SECONDS)
        if is_long:
            ending, seconds = CallEnding.ANSWERS, rng.uniform(*self.cluster.sharing.long_call_seconds)
        elif ending is CallEnding.TRICKLES or ending is CallEnding.BREAKS_OFF:
            seconds /= 2
        return PlannedCall(
            id,
            lane,
            rng.choice(lane.functions),
            ending=ending,
            seconds=seconds,
            is_large=not is_long and rng.random() < 0.1,
            is_streamed=rng.random() < 0.2,
        )
