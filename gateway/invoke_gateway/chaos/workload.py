"""The siege: more calls than slots at every gateway, all the time, while one blow after the other falls.

Of each lane about a third of the slots are wanted by clients whose calls outlive a lease, so that a killed
gateway leaves calls behind that still run when its slots are given to others, and one that was stopped for leases
still runs some when it comes back; the rest turn over fast, so that a lane
which can be full is full within moments.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Iterator
from random import Random

from .calls import Call, Ending
from .clients import Manner, Target, invoke
from .cluster import Fleet
from .combined_faults import Together
from .fault_effect import Blow, Healing
from .fault_kinds import Kind, Step, plan
from .fault_log import TIMEOUT, Damage
from .quotas import Account, Lane
from .timeline import AFTER_SECONDS, BEFORE_SECONDS, SAMPLE_SECONDS, Recording
from .violations import Fault

CALL_SECONDS = (0.1, 0.5)
RETRY_SECONDS = (0.08, 0.16)
CLOSED_RETRY_SECONDS = (0.4, 0.8)
PATIENCE = 10.0  # seconds beyond the promise in which a blow may still be seen to heal
PAUSE = 0.02
HEAD_START = 0.2
LAST_CALM_SECONDS = 1.0  # of load after the last blow

_MANNERS = {Manner.STAYS: 85, Manner.LEAVES_DURING: 8, Manner.LOSES_PATIENCE: 4, Manner.STALLS_IN_BODY: 3}
_ENDINGS = {
    Ending.ANSWERS: 85,
    Ending.TRICKLES: 5,
    Ending.RESETS: 4,
    Ending.BREAKS_OFF: 3,
    Ending.GARBAGE: 3,
}


class Siege:
    """`begin` is told each blow that is about to fall, `tell` how each healed."""

    def __init__(
        self,
        target: Target,
        fleet: Fleet,
        accounts: list[Account],
        damage: Damage,
        script: str,
        *,
        kinds: Collection[str],
        cut_seconds: float,
        around: Collection[str],
        begin: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        self.target = target
        self.fleet = fleet
        self.damage = damage
        self.script = script
        self.is_over = False
        self._kinds = kinds
        self._cut_seconds = cut_seconds
        self._around = around
        self._begin = begin
        self._tell = tell
        self._lanes = [lane for account in accounts for lane in account.lanes]
        self._clock = target.ledger.clock
        self._blows = Together(fleet, damage, self._clock, lambda: target.ledger.running)

    async def run(self) -> None:
        """Deal every blow of the script under load. Raises `Died`."""
        clients = [asyncio.create_task(client) for lane in self._lanes for client in self._clients(lane)]
        try:
            await self._deal_blows()
        except BaseException:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
            raise
        self.is_over = True
        await asyncio.gather(*clients)

    async def _deal_blows(self) -> None:
        healing = self.damage.expect("load alone", self.fleet.gateways, self._clock())
        await self._wait_for([healing])
        # What is kept for a gateway that cannot speak is not in an empty store: that is no promise of the time-out.
        kinds = {*self._kinds} - ({Kind.CUT_OFF_AT_RESTART} if self.damage.heal_after == TIMEOUT else set())
        members, lease = len(self.fleet.members), self.damage.lease_seconds
        workers = self.fleet.sharing.workers
        for step in plan(self.script, members, lease, self._cut_seconds, kinds, workers=workers):
            await asyncio.sleep(step.calm)
            self._begin(step.kind)
            await (self._deal_recorded(step) if step.kind in self._around else self._deal(step))
        await asyncio.sleep(LAST_CALM_SECONDS)

    async def _deal_recorded(self, step: Step) -> None:
        """With a table of each second from three before the blow until three after all was healed."""
        ledger = self.target.ledger
        ledger.recording = recording = Recording(ledger.running)
        sampling = asyncio.create_task(self._sample(recording))
        try:
            await asyncio.sleep(BEFORE_SECONDS)
            blow = await self._deal(step)
            marks = self.damage.marks(blow)
            last = max(at for at, _ in marks)
            await asyncio.sleep(blow.began + math.floor(last - blow.began) + AFTER_SECONDS + 1 - self._clock())
        finally:
            ledger.recording = None
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
        ledger.expire(self._clock())
        blow.around = recording.table(blow.began, self._clock(), blow.gateways, marks)

    async def _sample(self, recording: Recording) -> None:
        while True:
            recording.note_counted(self._clock(), *await self.fleet.count_in_flight())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _deal(self, step: Step) -> Blow:
        known = len(self.damage.healings)
        blow = await self._blows.deal(step)
        await self._wait_for(self.damage.healings[known:])
        await self._wait_for_excess(blow)
        for struck in self.damage.blows:
            if struck.over is None:
                struck.over = self._clock()
        return blow

    async def _wait_for_excess(self, blow: Blow) -> None:
        """Calls that came back beyond a limit keep it full, and their account, for as long as they run."""
        ledger = self.target.ledger
        while blow.is_cut and blow.ended is not None and self._clock() < blow.ended + ledger.function_seconds:
            ledger.expire(self._clock())
            if all(level.running <= level.ceiling for level in ledger.levels.values()):
                return
            await asyncio.sleep(PAUSE)

    async def _wait_for(self, healings: list[Healing]) -> None:
        ledger = self.target.ledger
        for healing in healings:
            latest = healing.since + healing.promise + PATIENCE
            while healing.healed_at is None and self._clock() < latest + ledger.starved_since(healing.since):
                self.fleet.check()
                await asyncio.sleep(PAUSE)
            self._tell(str(healing))
            if not healing.is_kept:
                healing.lag = ledger.add_unless_starved(Fault.NOT_HEALED, str(healing), healing.since, healing.beyond)

    # The load.

    def _clients(self, lane: Lane) -> Iterator[Coroutine[None, None, None]]:
        gateways = len(self.fleet.members)
        per_gateway = math.ceil((1.3 * lane.ceiling + 2) / max(1, gateways - 1)) if lane.ceiling else 1
        for number in range(per_gateway * gateways):
            yield self._besiege(lane, number, is_long=False)
        for number in range((lane.ceiling + 1) // 3):
            yield self._besiege(lane, number, is_long=True)

    async def _besiege(self, lane: Lane, number: int, *, is_long: bool) -> None:
        who = f"{self.script}.siege.{lane.account}.{lane.name}.{number}{'.long' if is_long else ''}"
        dice = Random(who)
        attempt = 0
        if not is_long:
            await asyncio.sleep(HEAD_START)  # of the long ones, which would seldom get a slot of a few
        while not self.is_over:
            attempt += 1
            call = self._plan(f"{who}.{attempt}", lane, dice, is_long=is_long)
            call.home = (number + self._lanes.index(lane)) % len(self.fleet.members)
            manner = Manner.STAYS if is_long else dice.choices(list(_MANNERS), list(_MANNERS.values()))[0]
            answer = await invoke(self.target, call, manner, dice)
            if answer is None or answer.status != 200:
                await asyncio.sleep(dice.uniform(*(RETRY_SECONDS if lane.ceiling else CLOSED_RETRY_SECONDS)))

    def _plan(self, id: str, lane: Lane, dice: Random, *, is_long: bool) -> Call:
        ending = dice.choices(list(_ENDINGS), list(_ENDINGS.values()))[0]
        seconds = dice.uniform(*CALL_SECONDS)
        if is_long:
            ending, seconds = Ending.ANSWERS, dice.uniform(*self.fleet.sharing.long_call_seconds)
        elif ending is Ending.TRICKLES or ending is Ending.BREAKS_OFF:
            seconds /= 2
        return Call(
            id,
            lane,
            dice.choice(lane.functions),
            ending=ending,
            seconds=seconds,
            is_large=not is_long and dice.random() < 0.1,
            is_streamed=dice.random() < 0.2,
        )
