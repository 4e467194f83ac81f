"""How each blow is dealt."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence

from .calls import PlannedCall
from .cluster import Cluster, Node
from .fault_effect import InjectedFault
from .fault_kinds import FaultKind, PlannedFault
from .fault_log import LEASE, FaultLog
from .fault_proxy import Flow
from .store import SpawnedStore

AT_ONCE_SECONDS = 2.0  # within which nothing is left of a worker that was killed
LONGEST_DELAY = 0.4  # seconds that a piece is late on a slow line


class Nemesis:
    """Deals the blows of one round; each method returns when the blow is over. What must be seen to heal it has been
    said to `damage` then. `running`: the calls that run in the backend."""

    def __init__(
        self,
        cluster: Cluster,
        fault_log: FaultLog,
        clock: Callable[[], float],
        running: Callable[[], Sequence[PlannedCall]],
    ) -> None:
        self.cluster = cluster
        self.fault_log = fault_log
        self.clock = clock
        self.running = running
        self._injections: dict[FaultKind, Callable[[PlannedFault, Node], Awaitable[InjectedFault]]] = {
            FaultKind.KILLED: self._kill,
            FaultKind.STOPPED: self._stop,
            FaultKind.STOPPED_SHORTLY: self._stop,
            FaultKind.RESTARTED: self._restart_store,
            FaultKind.FLUSHED: self._flush,
            FaultKind.FLUSHED_MEANWHILE: self._flush_meanwhile,
            FaultKind.CUT_OFF: self._cut_off,
            FaultKind.CUT_OFF_SHORTLY: self._cut_off,
            FaultKind.ALL_CUT_OFF: self._cut_all_off,
            FaultKind.SLOW: self._slow_down,
            FaultKind.REPLIES_LOST: self._lose_replies,
            FaultKind.RESET: self._reset,
            FaultKind.HALF_CLOSED: self._half_close,
            FaultKind.WORKER_KILLED: self._kill_worker,
        }

    async def inject(self, planned: PlannedFault) -> InjectedFault:
        node = self.cluster.nodes[planned.victim]
        try:
            return await self._injections[planned.kind](planned, node)
        finally:
            node.proxy.clear()

    def _begin_fault(self, planned: PlannedFault, nodes: list[Node], *, is_cut: bool = False) -> InjectedFault:
        who = f"{nodes[0].gateway.name} " if len(nodes) == 1 else ""
        gateways = [node.gateway for node in nodes]
        return self.fault_log.begin_fault(f"{who}{planned.kind}", gateways, self.clock(), is_cut=is_cut)

    def _return(self, fault: InjectedFault, name: str = "") -> InjectedFault:
        """It is over; from now on every gateway must come to admit."""
        fault.ended = self.clock()
        self.fault_log.expect(name or fault.name, self.cluster.gateways, fault.ended, fault=fault)
        return fault

    def _expect_others(self, fault: InjectedFault, name: str, deadline: float) -> None:
        others = [gateway for gateway in self.cluster.gateways if gateway not in fault.gateways]
        if others:
            self.fault_log.expect(name, others, fault.began, deadline, fault)

    async def _kill(self, planned: PlannedFault, node: Node) -> InjectedFault:
        fault = self._begin_fault(planned, [node], is_cut=True)
        node.kill(self.clock())
        self.fault_log.keep(fault, self.running())
        self._expect_others(fault, fault.name, self.fault_log.deadline_for_lost)
        await node.start()
        name = f"{node.gateway.name} started anew"
        self.fault_log.expect(name, [node.gateway], self.clock(), self.fault_log.deadline_for_lost, fault)
        return fault

    async def _kill_worker(self, planned: PlannedFault, node: Node) -> InjectedFault:
        """The rest of its gateway goes on, and gives back at once what the dead one held."""
        name = f"{node.gateway.name} {planned.kind}"
        fault = self.fault_log.begin_fault(name, [node.gateway], self.clock(), is_cut=True, is_partial=True)
        node.kill_worker(planned.rng)
        deadline = AT_ONCE_SECONDS if self.fault_log.reclaim_after == LEASE else self.fault_log.deadline_for_lost
        self.fault_log.expect(fault.name, self.cluster.gateways, fault.began, deadline, fault)
        await node.wait_for_worker()
        fault.ended = self.clock()
        return fault

    async def _stop(self, planned: PlannedFault, node: Node) -> InjectedFault:
        fault = self._begin_fault(planned, [node], is_cut=True)
        node.send(signal.SIGSTOP)
        try:
            self._expect_others_of_long(planned, fault)
            await asyncio.sleep(planned.seconds)
        finally:
            node.send(signal.SIGCONT)
        return self._return(fault, self._name_of_return(planned, node))

    async def _cut_off(self, planned: PlannedFault, node: Node) -> InjectedFault:
        fault = self._begin_fault(planned, [node], is_cut=True)
        node.proxy.set_flows(Flow.STALL, Flow.STALL)
        self._expect_others_of_long(planned, fault)
        await asyncio.sleep(planned.seconds)
        self._reconnect(planned, node)
        return self._return(fault, self._name_of_return(planned, node))

    def _expect_others_of_long(self, planned: PlannedFault, fault: InjectedFault) -> None:
        if self._is_long(planned) and self.fault_log.reclaim_after == LEASE:
            self._expect_others(fault, f"{fault.name}: the others", self.fault_log.deadline_for_lost)

    def _name_of_return(self, planned: PlannedFault, node: Node) -> str:
        return f"{node.gateway.name} {planned.kind}" + (": its return" if self._is_long(planned) else "")

    def _is_long(self, planned: PlannedFault) -> bool:
        return planned.seconds > self.fault_log.lease_seconds

    def _reconnect(self, planned: PlannedFault, node: Node) -> None:
        """What was held comes late, or never."""
        if planned.rng.random() < 0.5:
            node.proxy.reset()
        node.proxy.clear()

    async def _cut_all_off(self, planned: PlannedFault, _: Node) -> InjectedFault:
        fault = self._begin_fault(planned, self.cluster.nodes, is_cut=True)
        for node in self.cluster.nodes:
            node.proxy.set_flows(Flow.STALL, Flow.STALL)
        try:
            await asyncio.sleep(planned.seconds)
        finally:
            for node in self.cluster.nodes:
                self._reconnect(planned, node)
        return self._return(fault)

    async def _restart_store(self, planned: PlannedFault, _: Node) -> InjectedFault:
        fault = self._begin_fault(planned, self.cluster.nodes)
        store = self.cluster.store
        if isinstance(store, SpawnedStore):
            store.kill()
            await asyncio.sleep(planned.seconds)
            await store.start()
            return self._return(fault)
        for node in self.cluster.nodes:  # to the gateways the same, of a store that is not ours to end
            node.proxy.refuses = True
            node.proxy.reset()
        await store.flush()
        await asyncio.sleep(planned.seconds)
        for node in self.cluster.nodes:
            node.proxy.clear()
        return self._return(fault)

    async def _flush(self, planned: PlannedFault, _: Node) -> InjectedFault:
        fault = self._begin_fault(planned, self.cluster.nodes)
        await self.cluster.store.flush()
        return self._return(fault)

    async def _flush_meanwhile(self, planned: PlannedFault, node: Node) -> InjectedFault:
        """Nobody may give away the slots of a gateway that could not yet say what it holds."""
        fault = self._begin_fault(planned, self.cluster.nodes)
        node.send(signal.SIGSTOP)
        try:
            await self.cluster.store.flush()
            await asyncio.sleep(planned.seconds)
        finally:
            node.send(signal.SIGCONT)
        return self._return(fault, f"{node.gateway.name} {planned.kind}")

    async def _slow_down(self, planned: PlannedFault, node: Node) -> InjectedFault:
        fault = self._begin_fault(planned, [node])
        node.proxy.delay = (0.0, min(LONGEST_DELAY, self.fault_log.lease_seconds / 6))
        await asyncio.sleep(planned.seconds)
        node.proxy.clear()
        return self._return(fault)

    async def _lose_replies(self, planned: PlannedFault, node: Node) -> InjectedFault:
        fault = self._begin_fault(planned, [node])
        while self.clock() - fault.began < planned.seconds:
            node.proxy.set_flows(Flow.PASS, Flow.DROP)
            await asyncio.sleep(planned.rng.uniform(0.02, 0.15))
            node.proxy.reset()
            node.proxy.clear()
            await asyncio.sleep(planned.rng.uniform(0.02, 0.1))
        return self._return(fault)

    async def _reset(self, planned: PlannedFault, node: Node) -> InjectedFault:
        fault = self._begin_fault(planned, [node])
        while self.clock() - fault.began < planned.seconds:
            node.proxy.reset()
            await asyncio.sleep(planned.rng.uniform(0.01, 0.2))
        return self._return(fault)

    async def _half_close(self, planned: PlannedFault, node: Node) -> InjectedFault:
        fault = self._begin_fault(planned, [node])
        while self.clock() - fault.began < planned.seconds:
            node.proxy.half_close(towards_store=planned.rng.random() < 0.5)
            await asyncio.sleep(planned.rng.uniform(0.02, 0.3))
        return self._return(fault)
