"""Blows that fall at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from .calls import PlannedCall
from .cluster import Cluster, Node
from .fault_effect import InjectedFault
from .fault_kinds import FaultKind, PlannedFault
from .fault_log import FaultLog
from .fault_proxy import Flow
from .nemesis import Nemesis
from .store import SpawnedStore


class CombinedNemesis(Nemesis):
    """Deals those too of which two fall at once."""

    def __init__(
        self,
        cluster: Cluster,
        fault_log: FaultLog,
        clock: Callable[[], float],
        running: Callable[[], Sequence[PlannedCall]],
    ) -> None:
        super().__init__(cluster, fault_log, clock, running)
        self._injections |= {
            FaultKind.TWO_KILLED: self._kill_two,
            FaultKind.KILLED_WHILE_AWAY: self._kill_while_away,
            FaultKind.CUT_OFF_AT_RESTART: self._cut_off_at_restart,
        }

    async def _kill_two(self, planned: PlannedFault, node: Node) -> InjectedFault:
        nodes = self.cluster.nodes
        both = [node, nodes[(node.number + 1) % len(nodes)]]
        fault = self._begin_fault(planned, both, is_cut=True)
        for one in both:
            one.kill(self.clock())
        self.fault_log.keep(fault, self.running())
        self._expect_others(fault, f"{fault.name}: the others", self.fault_log.deadline_for_lost)
        await asyncio.gather(*(one.start() for one in both))
        anew = [one.gateway for one in both]
        self.fault_log.expect("both started anew", anew, self.clock(), self.fault_log.deadline_for_lost, fault)
        return fault

    async def _kill_while_away(self, planned: PlannedFault, node: Node) -> InjectedFault:
        """The store hears of nobody for longer than a lease: so it frees nothing, and must find out later who died."""
        fault = self._begin_fault(planned, self.cluster.nodes, is_cut=True)
        for one in self.cluster.nodes:
            one.proxy.set_flows(Flow.STALL, Flow.STALL)
        try:
            await asyncio.sleep(planned.seconds / 2)
            name = f"{node.gateway.name} killed meanwhile"
            killed = self.fault_log.begin_fault(name, [node.gateway], self.clock(), is_cut=True)
            node.kill(self.clock())
            self.fault_log.keep(killed, self.running())
            await asyncio.sleep(planned.seconds / 2)
        finally:
            for one in self.cluster.nodes:
                self._reconnect(planned, one)
        fault.ended = self.clock()
        others = [gateway for gateway in self.cluster.gateways if gateway is not node.gateway]
        self.fault_log.expect(f"{fault.name}: the others", others, fault.ended, self.fault_log.deadline_for_lost, fault)
        await node.start()
        name = f"{node.gateway.name} started anew"
        self.fault_log.expect(name, [node.gateway], self.clock(), self.fault_log.deadline_for_lost, fault)
        return fault

    async def _cut_off_at_restart(self, planned: PlannedFault, node: Node) -> InjectedFault:
        """Who could not say in time what it runs must say it when it is back, above the limit too."""
        cut = self._begin_fault(planned, [node], is_cut=True)
        node.proxy.set_flows(Flow.STALL, Flow.STALL)
        try:
            emptied = self.fault_log.begin_fault("store restarted empty meanwhile", self.cluster.gateways, self.clock())
            await self._empty_store(planned)
            emptied.ended = self.clock()
            others = [gateway for gateway in self.cluster.gateways if gateway is not node.gateway]
            self.fault_log.expect(f"{emptied.name}: the others", others, emptied.ended, fault=emptied)
            await asyncio.sleep(planned.seconds)
        finally:
            self._reconnect(planned, node)
        return self._return(cut, f"{cut.name}: its return")

    async def _empty_store(self, planned: PlannedFault) -> None:
        store = self.cluster.store
        if isinstance(store, SpawnedStore):
            store.kill()
            await asyncio.sleep(planned.rng.uniform(0.1, 1.0))
            await store.start()
        else:
            await store.flush()
