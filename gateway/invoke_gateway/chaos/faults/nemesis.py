"""Injects each kind of fault, and records which recoveries must follow."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from ..calls import GatewayInstance, PlannedCall
from ..cluster import GatewayCluster
from ..node import ProxiedNode
from ..store import SpawnedStore
from .fault import InjectedFault
from .fault_log import LEASE, FaultLog
from .kinds import FaultKind, PlannedFault
from .proxy import Flow

AT_ONCE_SECONDS = 2.0  # within which a killed worker's slots must be free
LONGEST_DELAY = 0.4  # seconds that a piece is late on a slow line


class Nemesis:
    """Injects the faults of one round. Each method returns when its fault is over and its recoveries are recorded in
    `fault_log`. `running`: returns the calls that run in the backend."""

    def __init__(
        self,
        cluster: GatewayCluster,
        fault_log: FaultLog,
        clock: Callable[[], float],
        running: Callable[[], Sequence[PlannedCall]],
    ) -> None:
        self.cluster = cluster
        self.fault_log = fault_log
        self.clock = clock
        self.running = running
        self._injections: dict[FaultKind, Callable[[PlannedFault, ProxiedNode], Awaitable[InjectedFault]]] = {
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
            FaultKind.TWO_KILLED: self._kill_two,
            FaultKind.KILLED_WHILE_AWAY: self._kill_while_away,
            FaultKind.CUT_OFF_AT_RESTART: self._cut_off_at_restart,
        }

    async def inject(self, planned: PlannedFault) -> InjectedFault:
        node = self.cluster.nodes[planned.victim]
        try:
            return await self._injections[planned.kind](planned, node)
        finally:
            node.proxy.clear()

    def _begin(self, planned: PlannedFault, nodes: Sequence[ProxiedNode], *, is_cut: bool = False) -> InjectedFault:
        name = f"{nodes[0].gateway.name} " if len(nodes) == 1 else ""
        gateways = [node.gateway for node in nodes]
        return self.fault_log.begin_fault(f"{name}{planned.kind}", gateways, self.clock(), is_cut=is_cut)

    def _end(self, fault: InjectedFault, name: str = "") -> InjectedFault:
        """Ends a fault. Every gateway must admit calls from now on."""
        fault.ended = self.clock()
        self.fault_log.expect(name or fault.name, self.cluster.gateways, fault.ended, fault=fault)
        return fault

    def _others(self, gateways: Sequence[GatewayInstance]) -> list[GatewayInstance]:
        return [gateway for gateway in self.cluster.gateways if gateway not in gateways]

    def _expect_others(self, fault: InjectedFault, name: str) -> None:
        if others := self._others(fault.gateways):
            self.fault_log.expect(name, others, fault.began, self.fault_log.deadline_for_lost, fault)

    async def _start_again(self, fault: InjectedFault, nodes: Sequence[ProxiedNode], name: str = "") -> InjectedFault:
        await asyncio.gather(*(node.start() for node in nodes))
        gateways = [node.gateway for node in nodes]
        name = f"{name or gateways[0].name} started again"
        self.fault_log.expect(name, gateways, self.clock(), self.fault_log.deadline_for_lost, fault)
        return fault

    # Gateways.

    async def _kill(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        fault = self._kill_at_once(planned, [node])
        self._expect_others(fault, fault.name)
        return await self._start_again(fault, [node])

    async def _kill_two(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        nodes = self.cluster.nodes
        both = [node, nodes[(node.number + 1) % len(nodes)]]
        fault = self._kill_at_once(planned, both)
        self._expect_others(fault, f"{fault.name}: the others")
        return await self._start_again(fault, both, "both")

    def _kill_at_once(self, planned: PlannedFault, nodes: Sequence[ProxiedNode]) -> InjectedFault:
        fault = self._begin(planned, nodes, is_cut=True)
        for node in nodes:
            node.kill(self.clock())
        self.fault_log.keep(fault, self.running())
        return fault

    async def _kill_worker(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        """Kills one worker. The rest of its gateway goes on, and must return the dead worker's slots at once."""
        log = self.fault_log
        name = f"{node.gateway.name} {planned.kind}"
        fault = log.begin_fault(name, [node.gateway], self.clock(), is_cut=True, is_partial=True)
        node.kill_worker(planned.rng)
        deadline = AT_ONCE_SECONDS if log.reclaim_after == LEASE else log.deadline_for_lost
        log.expect(fault.name, self.cluster.gateways, fault.began, deadline, fault)
        await node.wait_for_workers()
        fault.ended = self.clock()
        return fault

    async def _stop(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, [node], is_cut=True)
        with _stopped(node):
            self._expect_others_of_long(planned, fault)
            await asyncio.sleep(planned.seconds)
        return self._end(fault, self._name_return(planned, node))

    def _expect_others_of_long(self, planned: PlannedFault, fault: InjectedFault) -> None:
        if self._is_long(planned) and self.fault_log.reclaim_after == LEASE:
            self._expect_others(fault, f"{fault.name}: the others")

    def _name_return(self, planned: PlannedFault, node: ProxiedNode) -> str:
        return f"{node.gateway.name} {planned.kind}" + (": its return" if self._is_long(planned) else "")

    def _is_long(self, planned: PlannedFault) -> bool:
        return planned.seconds > self.fault_log.lease_seconds

    # The network between gateways and store.

    @contextmanager
    def _partitioned(self, planned: PlannedFault, nodes: Sequence[ProxiedNode]) -> Iterator[None]:
        """Stalls all traffic of these nodes. At the end it is delivered late, or lost with its connection."""
        for node in nodes:
            node.proxy.set_flows(Flow.STALL, Flow.STALL)
        try:
            yield
        finally:
            for node in nodes:
                if planned.rng.random() < 0.5:
                    node.proxy.reset()
                node.proxy.clear()

    async def _cut_off(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, [node], is_cut=True)
        with self._partitioned(planned, [node]):
            self._expect_others_of_long(planned, fault)
            await asyncio.sleep(planned.seconds)
        return self._end(fault, self._name_return(planned, node))

    async def _cut_all_off(self, planned: PlannedFault, _: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, self.cluster.nodes, is_cut=True)
        with self._partitioned(planned, self.cluster.nodes):
            await asyncio.sleep(planned.seconds)
        return self._end(fault)

    async def _kill_while_away(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        """Kills a gateway while the store receives no heartbeat. The store frees nothing until the others are back."""
        fault = self._begin(planned, self.cluster.nodes, is_cut=True)
        with self._partitioned(planned, self.cluster.nodes):
            await asyncio.sleep(planned.seconds / 2)
            name = f"{node.gateway.name} killed meanwhile"
            killed = self.fault_log.begin_fault(name, [node.gateway], self.clock(), is_cut=True)
            node.kill(self.clock())
            self.fault_log.keep(killed, self.running())
            await asyncio.sleep(planned.seconds / 2)
        fault.ended = self.clock()
        others, deadline = self._others([node.gateway]), self.fault_log.deadline_for_lost
        self.fault_log.expect(f"{fault.name}: the others", others, fault.ended, deadline, fault)
        return await self._start_again(fault, [node])

    async def _slow_down(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, [node])
        node.proxy.delay = (0.0, min(LONGEST_DELAY, self.fault_log.lease_seconds / 6))
        await asyncio.sleep(planned.seconds)
        node.proxy.clear()
        return self._end(fault)

    async def _lose_replies(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, [node])
        while self.clock() - fault.began < planned.seconds:
            node.proxy.set_flows(Flow.PASS, Flow.DROP)
            await asyncio.sleep(planned.rng.uniform(0.02, 0.15))
            node.proxy.reset()
            node.proxy.clear()
            await asyncio.sleep(planned.rng.uniform(0.02, 0.1))
        return self._end(fault)

    async def _reset(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, [node])
        while self.clock() - fault.began < planned.seconds:
            node.proxy.reset()
            await asyncio.sleep(planned.rng.uniform(0.01, 0.2))
        return self._end(fault)

    async def _half_close(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, [node])
        while self.clock() - fault.began < planned.seconds:
            node.proxy.half_close(towards_store=planned.rng.random() < 0.5)
            await asyncio.sleep(planned.rng.uniform(0.02, 0.3))
        return self._end(fault)

    # The store.

    async def _restart_store(self, planned: PlannedFault, _: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, self.cluster.nodes)
        is_ours = isinstance(self.cluster.store, SpawnedStore)
        for node in self.cluster.nodes:
            node.proxy.refuses = not is_ours  # a store of the user's is not restarted, only made to look so
            if not is_ours:
                node.proxy.reset()
        await self.cluster.store.restart_empty(planned.seconds)
        for node in self.cluster.nodes:
            node.proxy.clear()
        return self._end(fault)

    async def _flush(self, planned: PlannedFault, _: ProxiedNode) -> InjectedFault:
        fault = self._begin(planned, self.cluster.nodes)
        await self.cluster.store.flush()
        return self._end(fault)

    async def _flush_meanwhile(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        """Empties the store while one gateway is stopped. The slots of that gateway must not be given away before it
        has reported them."""
        fault = self._begin(planned, self.cluster.nodes)
        with _stopped(node):
            await self.cluster.store.flush()
            await asyncio.sleep(planned.seconds)
        return self._end(fault, f"{node.gateway.name} {planned.kind}")

    async def _cut_off_at_restart(self, planned: PlannedFault, node: ProxiedNode) -> InjectedFault:
        """Empties the store while one gateway is cut off. On its return that gateway must report its calls, above the
        limit too."""
        cut = self._begin(planned, [node], is_cut=True)
        with self._partitioned(planned, [node]):
            name = "store restarted empty meanwhile"
            emptied = self.fault_log.begin_fault(name, self.cluster.gateways, self.clock())
            await self.cluster.store.restart_empty(planned.rng.uniform(0.1, 1.0))
            emptied.ended = self.clock()
            others = self._others([node.gateway])
            self.fault_log.expect(f"{emptied.name}: the others", others, emptied.ended, fault=emptied)
            await asyncio.sleep(planned.seconds)
        return self._end(cut, f"{cut.name}: its return")


@contextmanager
def _stopped(node: ProxiedNode) -> Iterator[None]:
    node.send(signal.SIGSTOP)
    try:
        yield
    finally:
        node.send(signal.SIGCONT)
