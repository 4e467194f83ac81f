"""How each blow is dealt."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence

from .calls import Call
from .cluster import Fleet, Member
from .fault_effect import Blow
from .fault_kinds import Kind, Step
from .fault_log import LEASE, Damage
from .fault_proxy import Flow
from .store import OwnServer

AT_ONCE_SECONDS = 2.0  # within which nothing is left of a worker that was killed
LONGEST_DELAY = 0.4  # seconds that a piece is late on a slow line


class Blows:
    """Deals the blows of one round; each method returns when the blow is over. What must be seen to heal it has been
    said to `damage` then. `running`: the calls that run in the backend."""

    def __init__(
        self, fleet: Fleet, damage: Damage, clock: Callable[[], float], running: Callable[[], Sequence[Call]]
    ) -> None:
        self.fleet = fleet
        self.damage = damage
        self.clock = clock
        self.running = running
        self._ways: dict[Kind, Callable[[Step, Member], Awaitable[Blow]]] = {
            Kind.KILLED: self._kill,
            Kind.STOPPED: self._stop,
            Kind.STOPPED_SHORTLY: self._stop,
            Kind.RESTARTED: self._restart_store,
            Kind.FLUSHED: self._flush,
            Kind.FLUSHED_MEANWHILE: self._flush_meanwhile,
            Kind.CUT_OFF: self._cut_off,
            Kind.CUT_OFF_SHORTLY: self._cut_off,
            Kind.ALL_CUT_OFF: self._cut_all_off,
            Kind.SLOW: self._slow_down,
            Kind.REPLIES_LOST: self._lose_replies,
            Kind.RESET: self._reset,
            Kind.HALF_CLOSED: self._half_close,
            Kind.WORKER_KILLED: self._kill_worker,
        }

    async def deal(self, step: Step) -> Blow:
        member = self.fleet.members[step.victim]
        try:
            return await self._ways[step.kind](step, member)
        finally:
            member.relay.clear()

    def _strike(self, step: Step, members: list[Member], *, is_cut: bool = False) -> Blow:
        who = f"{members[0].gateway.name} " if len(members) == 1 else ""
        gateways = [member.gateway for member in members]
        return self.damage.strike(f"{who}{step.kind}", gateways, self.clock(), is_cut=is_cut)

    def _return(self, blow: Blow, name: str = "") -> Blow:
        """It is over; from now on every gateway must come to admit."""
        blow.ended = self.clock()
        self.damage.expect(name or blow.name, self.fleet.gateways, blow.ended, blow=blow)
        return blow

    def _expect_others(self, blow: Blow, name: str, promise: float) -> None:
        others = [gateway for gateway in self.fleet.gateways if gateway not in blow.gateways]
        if others:
            self.damage.expect(name, others, blow.began, promise, blow)

    async def _kill(self, step: Step, member: Member) -> Blow:
        blow = self._strike(step, [member], is_cut=True)
        member.kill(self.clock())
        self.damage.keep(blow, self.running())
        self._expect_others(blow, blow.name, self.damage.promise_for_lost)
        await member.start()
        name = f"{member.gateway.name} started anew"
        self.damage.expect(name, [member.gateway], self.clock(), self.damage.promise_for_lost, blow)
        return blow

    async def _kill_worker(self, step: Step, member: Member) -> Blow:
        """The rest of its gateway goes on, and gives back at once what the dead one held."""
        name = f"{member.gateway.name} {step.kind}"
        blow = self.damage.strike(name, [member.gateway], self.clock(), is_cut=True, is_partial=True)
        member.kill_worker(step.dice)
        promise = AT_ONCE_SECONDS if self.damage.heal_after == LEASE else self.damage.promise_for_lost
        self.damage.expect(blow.name, self.fleet.gateways, blow.began, promise, blow)
        await member.wait_for_worker()
        blow.ended = self.clock()
        return blow

    async def _stop(self, step: Step, member: Member) -> Blow:
        blow = self._strike(step, [member], is_cut=True)
        member.send(signal.SIGSTOP)
        try:
            self._expect_others_of_long(step, blow)
            await asyncio.sleep(step.seconds)
        finally:
            member.send(signal.SIGCONT)
        return self._return(blow, self._name_of_return(step, member))

    async def _cut_off(self, step: Step, member: Member) -> Blow:
        blow = self._strike(step, [member], is_cut=True)
        member.relay.set_flows(Flow.HOLDS, Flow.HOLDS)
        self._expect_others_of_long(step, blow)
        await asyncio.sleep(step.seconds)
        self._reconnect(step, member)
        return self._return(blow, self._name_of_return(step, member))

    def _expect_others_of_long(self, step: Step, blow: Blow) -> None:
        if self._is_long(step) and self.damage.heal_after == LEASE:
            self._expect_others(blow, f"{blow.name}: the others", self.damage.promise_for_lost)

    def _name_of_return(self, step: Step, member: Member) -> str:
        return f"{member.gateway.name} {step.kind}" + (": its return" if self._is_long(step) else "")

    def _is_long(self, step: Step) -> bool:
        return step.seconds > self.damage.lease_seconds

    def _reconnect(self, step: Step, member: Member) -> None:
        """What was held comes late, or never."""
        if step.dice.random() < 0.5:
            member.relay.reset()
        member.relay.clear()

    async def _cut_all_off(self, step: Step, _: Member) -> Blow:
        blow = self._strike(step, self.fleet.members, is_cut=True)
        for member in self.fleet.members:
            member.relay.set_flows(Flow.HOLDS, Flow.HOLDS)
        try:
            await asyncio.sleep(step.seconds)
        finally:
            for member in self.fleet.members:
                self._reconnect(step, member)
        return self._return(blow)

    async def _restart_store(self, step: Step, _: Member) -> Blow:
        blow = self._strike(step, self.fleet.members)
        store = self.fleet.store
        if isinstance(store, OwnServer):
            store.kill()
            await asyncio.sleep(step.seconds)
            await store.start()
            return self._return(blow)
        for member in self.fleet.members:  # to the gateways the same, of a store that is not ours to end
            member.relay.refuses = True
            member.relay.reset()
        await store.flush()
        await asyncio.sleep(step.seconds)
        for member in self.fleet.members:
            member.relay.clear()
        return self._return(blow)

    async def _flush(self, step: Step, _: Member) -> Blow:
        blow = self._strike(step, self.fleet.members)
        await self.fleet.store.flush()
        return self._return(blow)

    async def _flush_meanwhile(self, step: Step, member: Member) -> Blow:
        """Nobody may give away the slots of a gateway that could not yet say what it holds."""
        blow = self._strike(step, self.fleet.members)
        member.send(signal.SIGSTOP)
        try:
            await self.fleet.store.flush()
            await asyncio.sleep(step.seconds)
        finally:
            member.send(signal.SIGCONT)
        return self._return(blow, f"{member.gateway.name} {step.kind}")

    async def _slow_down(self, step: Step, member: Member) -> Blow:
        blow = self._strike(step, [member])
        member.relay.delay = (0.0, min(LONGEST_DELAY, self.damage.lease_seconds / 6))
        await asyncio.sleep(step.seconds)
        member.relay.clear()
        return self._return(blow)

    async def _lose_replies(self, step: Step, member: Member) -> Blow:
        blow = self._strike(step, [member])
        while self.clock() - blow.began < step.seconds:
            member.relay.set_flows(Flow.PASSES, Flow.SWALLOWS)
            await asyncio.sleep(step.dice.uniform(0.02, 0.15))
            member.relay.reset()
            member.relay.clear()
            await asyncio.sleep(step.dice.uniform(0.02, 0.1))
        return self._return(blow)

    async def _reset(self, step: Step, member: Member) -> Blow:
        blow = self._strike(step, [member])
        while self.clock() - blow.began < step.seconds:
            member.relay.reset()
            await asyncio.sleep(step.dice.uniform(0.01, 0.2))
        return self._return(blow)

    async def _half_close(self, step: Step, member: Member) -> Blow:
        blow = self._strike(step, [member])
        while self.clock() - blow.began < step.seconds:
            member.relay.half_close(towards_store=step.dice.random() < 0.5)
            await asyncio.sleep(step.dice.uniform(0.02, 0.3))
        return self._return(blow)
