"""Blows that fall at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from .calls import Call
from .cluster import Fleet, Member
from .fault_effect import Blow
from .fault_kinds import Kind, Step
from .fault_log import Damage
from .fault_proxy import Flow
from .nemesis import Blows
from .store import OwnServer


class Together(Blows):
    """Deals those too of which two fall at once."""

    def __init__(
        self, fleet: Fleet, damage: Damage, clock: Callable[[], float], running: Callable[[], Sequence[Call]]
    ) -> None:
        super().__init__(fleet, damage, clock, running)
        self._ways |= {
            Kind.TWO_KILLED: self._kill_two,
            Kind.KILLED_WHILE_AWAY: self._kill_while_away,
            Kind.CUT_OFF_AT_RESTART: self._cut_off_at_restart,
        }

    async def _kill_two(self, step: Step, member: Member) -> Blow:
        members = self.fleet.members
        both = [member, members[(member.number + 1) % len(members)]]
        blow = self._strike(step, both, is_cut=True)
        for one in both:
            one.kill(self.clock())
        self.damage.keep(blow, self.running())
        self._expect_others(blow, f"{blow.name}: the others", self.damage.promise_for_lost)
        await asyncio.gather(*(one.start() for one in both))
        anew = [one.gateway for one in both]
        self.damage.expect("both started anew", anew, self.clock(), self.damage.promise_for_lost, blow)
        return blow

    async def _kill_while_away(self, step: Step, member: Member) -> Blow:
        """The store hears of nobody for longer than a lease: so it frees nothing, and must find out later who died."""
        blow = self._strike(step, self.fleet.members, is_cut=True)
        for one in self.fleet.members:
            one.relay.set_flows(Flow.HOLDS, Flow.HOLDS)
        try:
            await asyncio.sleep(step.seconds / 2)
            name = f"{member.gateway.name} killed meanwhile"
            killed = self.damage.strike(name, [member.gateway], self.clock(), is_cut=True)
            member.kill(self.clock())
            self.damage.keep(killed, self.running())
            await asyncio.sleep(step.seconds / 2)
        finally:
            for one in self.fleet.members:
                self._reconnect(step, one)
        blow.ended = self.clock()
        others = [gateway for gateway in self.fleet.gateways if gateway is not member.gateway]
        self.damage.expect(f"{blow.name}: the others", others, blow.ended, self.damage.promise_for_lost, blow)
        await member.start()
        name = f"{member.gateway.name} started anew"
        self.damage.expect(name, [member.gateway], self.clock(), self.damage.promise_for_lost, blow)
        return blow

    async def _cut_off_at_restart(self, step: Step, member: Member) -> Blow:
        """Who could not say in time what it runs must say it when it is back, above the limit too."""
        cut = self._strike(step, [member], is_cut=True)
        member.relay.set_flows(Flow.HOLDS, Flow.HOLDS)
        try:
            emptied = self.damage.strike("store restarted empty meanwhile", self.fleet.gateways, self.clock())
            await self._empty_store(step)
            emptied.ended = self.clock()
            others = [gateway for gateway in self.fleet.gateways if gateway is not member.gateway]
            self.damage.expect(f"{emptied.name}: the others", others, emptied.ended, blow=emptied)
            await asyncio.sleep(step.seconds)
        finally:
            self._reconnect(step, member)
        return self._return(cut, f"{cut.name}: its return")

    async def _empty_store(self, step: Step) -> None:
        store = self.fleet.store
        if isinstance(store, OwnServer):
            store.kill()
            await asyncio.sleep(step.dice.uniform(0.1, 1.0))
            await store.start()
        else:
            await store.flush()
