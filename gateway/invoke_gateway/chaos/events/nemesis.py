"""Injects faults into the gateways while they work, at random moments, one after the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from ..judging.violations import Violation
from .clients import Pace
from .cluster import EventCluster, EventNode
from .event import EventFault, EventFaultKind
from .history import EventHistory

# A fault begins after up to this part of its share of what is still to happen (every event accepted, every event done);
# the last one while something is left to do.
MOST_SHARES, LATEST = 1.8, 0.95
LONG_LEASES, SHORT_LEASES = 1.6, 0.35
RETURN_SECONDS = 1.0  # for which a gateway that comes back may go on with what it has lost


class PlannedEventFault(NamedTuple):
    """A fault that is to hit one gateway for some seconds. `part`, 0 to 1: how much happens before."""

    kind: EventFaultKind
    part: float
    victim: int
    seconds: float


def plan_event_faults(rng: Random, fault_count: int, cluster: int, lease_seconds: float) -> list[PlannedEventFault]:
    """Plans `fault_count` faults. One gateway is killed each time; several are killed, stopped for long and stopped
    shortly in turn. Besides, one gateway is ended by SIGTERM, which must lose nothing and repeat nothing."""
    ways = (
        [EventFaultKind.KILLED]
        if cluster == 1
        else [EventFaultKind.KILLED, EventFaultKind.STOPPED, EventFaultKind.STOPPED_SHORTLY]
    )
    kinds = [ways[number % len(ways)] for number in range(fault_count)] + [EventFaultKind.RESTARTED]
    rng.shuffle(kinds)
    seconds = {
        EventFaultKind.STOPPED: LONG_LEASES * lease_seconds,
        EventFaultKind.STOPPED_SHORTLY: SHORT_LEASES * lease_seconds,
    }
    return [PlannedEventFault(kind, rng.random(), rng.randrange(cluster), seconds.get(kind, 0.0)) for kind in kinds]


def choose_moment(part: float, now: int, end: int, left: int) -> int:
    """Returns the progress at which the next of the faults that are left begins, between now and the end."""
    rest = max(0, end - now)
    return now + int(min(part * MOST_SHARES * rest / left, LATEST * rest))


class EventNemesis:
    """Injects the planned faults. `injected`: what was done. `poll`: records the letters that the gateways have
    written."""

    def __init__(
        self,
        cluster: EventCluster,
        history: EventHistory,
        pace: Pace,
        poll: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self.injected: list[EventFault] = []
        self.is_injecting = False
        self._poll = poll
        self._cluster = cluster
        self._history = history
        self._pace = pace
        self._log = log

    async def inject(self, steps: Sequence[PlannedEventFault], end: int) -> None:
        """Injects all faults. `end`: the progress when all is done. Raises `Died` where a gateway does not come up
        again."""
        for number, step in enumerate(steps):
            left = len(steps) - number
            await self._history.reach(choose_moment(step.part, self._history.progress, end, left))
            self.is_injecting = True
            self._cluster.check()
            node = self._cluster.nodes[step.victim]
            fault = EventFault(step.kind, node.gateway, self._history.clock())
            self.injected.append(fault)
            self._log(f"{fault.gateway.name} {step.kind}: {self._history.accepted} accepted, {self._history.done} done")
            if step.kind is EventFaultKind.KILLED:
                await self._kill(fault, node)
            elif step.kind is EventFaultKind.RESTARTED:
                await self._restart(fault, node)
            else:
                self._pace.spare(left)
                await self._stop(fault, node, step.seconds)
                self._pace.hurry()
            self.is_injecting = False

    async def _kill(self, fault: EventFault, node: EventNode) -> None:
        node.kill(self._history.clock())
        self._poll()
        fault.ended = self._history.clock()
        self._history.excuse(fault.gateway)
        await node.start()

    async def _restart(self, fault: EventFault, node: EventNode) -> None:
        trouble = await node.end()
        fault.ended = self._history.clock()
        if trouble is not None:
            self._history.violations.add(Violation.NOT_ENDED, trouble)
            self._history.excuse(fault.gateway)
        await node.start()

    async def _stop(self, fault: EventFault, node: EventNode, seconds: float) -> None:
        node.send(signal.SIGSTOP)
        if fault.kind.excuses:
            self._history.excuse(fault.gateway)
        try:
            await asyncio.sleep(seconds)
        finally:
            node.send(signal.SIGCONT)
            fault.ended = self._history.clock()
        if fault.kind.excuses:
            self._history.excuse(fault.gateway, fault.ended + RETURN_SECONDS)
