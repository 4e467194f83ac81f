"""The phases of one round. Each client throws its own dice, made from seed, round, phase and the client's number, so a
seed gives the same script again whatever the machine's speed; only how many rounds there is time for may differ.

*At the limit*: as many patient clients as there are slots, each waiting for its answer: no refusal is right.
*Burst*: hundreds at once before few slots; what is refused tries again. *Hostile*: stalls, slow readers, half-closed
and pipelined connections.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TypeVar

from .calls import Call, Ending
from .clients import Manner, Target, invoke, invoke_pipelined
from .quotas import POOL, Account, Lane

T = TypeVar("T")

LONGEST_CALL = 0.03  # seconds that a function runs
LONGEST_HOSTILE_CALL = 0.15
ABANDONED_SECONDS = (0.1, 0.25)  # that a function goes on whose client leaves: long enough for others to come
RETRY_SECONDS = (0.02, 0.3)
ATTEMPTS = 25
CALLS_AT_THE_LIMIT, PAUSED_CALLS_AT_THE_LIMIT = 6, 3  # of each client
HOSTILE_CLIENTS_PER_SLOT = 8
MOST_PIPELINED = 5

_BURST_MANNERS = {
    Manner.STAYS: 60,
    Manner.LEAVES_BEFORE: 8,
    Manner.LEAVES_DURING: 12,
    Manner.LEAVES_AFTER: 8,
    Manner.LOSES_PATIENCE: 12,
}
_HOSTILE_MANNERS = dict.fromkeys(Manner, 1)
_ENDINGS = {
    Ending.ANSWERS: 74,
    Ending.TRICKLES: 8,
    Ending.RESETS: 6,
    Ending.BREAKS_OFF: 5,
    Ending.GARBAGE: 4,
    Ending.HANGS: 1,
    Ending.LATE_ANSWER: 1,
    Ending.LATE_GARBAGE: 1,
}


class Phases:
    """`hangs`: whether the gateway's time-out is known and short enough for backends that hang. `pause`: seconds that a
    patient client waits between two calls, until its slot has surely been given back."""

    def __init__(
        self,
        target: Target,
        accounts: list[Account],
        seed: int,
        round: int,
        *,
        clients: int,
        hangs: bool,
        pause: float = 0.0,
    ) -> None:
        self.target = target
        self.accounts = accounts
        self.script = f"{seed}.{round}"
        self.clients = clients
        self.pause = pause
        self.endings = {ending: weight for ending, weight in _ENDINGS.items() if hangs or not ending.takes_long}

    def dice(self, *where: object) -> Random:
        """The dice of one client: the same for the same seed."""
        return Random("/".join(map(str, (self.script, *where))))

    # At the limit.

    async def at_the_limit(self) -> None:
        lanes = [lane for account in self.accounts for lane in account.lanes]
        await asyncio.gather(*(self._call_patiently(lane, number) for lane in lanes for number in range(lane.ceiling)))

    async def _call_patiently(self, lane: Lane, number: int) -> None:
        dice = self.dice("limit", lane.account, lane.name, number)
        for attempt in range(PAUSED_CALLS_AT_THE_LIMIT if self.pause else CALLS_AT_THE_LIMIT):
            id = f"{self.script}.limit.{lane.account}.{lane.name}.{number}.{attempt}"
            call = self._plan(id, lane, dice)
            if call.ending.is_fault:
                call.is_streamed = False  # a stream that is cut does not tell its client when the slot is free
            await invoke(self.target, call, Manner.STAYS, dice)
            await asyncio.sleep(self.pause)

    # Burst.

    async def burst(self) -> None:
        largest = max(account.concurrent_executions for account in self.accounts)
        visits = []
        for account in self.accounts:
            slots = account.concurrent_executions
            count = max(self.clients, 2 * slots) if slots == largest else 5 * slots
            visits += [self._call_until_admitted(account, number) for number in range(count)]
        await asyncio.gather(*visits)

    async def _call_until_admitted(self, account: Account, number: int) -> None:
        dice = self.dice("burst", account.account, number)
        lane = _pick_lane(account, dice)
        manner = _pick(_BURST_MANNERS, dice)
        for attempt in range(ATTEMPTS if lane.ceiling else 2):
            call = self._plan(f"{self.script}.burst.{account.account}.{number}.{attempt}", lane, dice)
            call.is_large = call.is_large or manner is Manner.LEAVES_AFTER
            if manner in (Manner.LEAVES_DURING, Manner.LOSES_PATIENCE):
                call.seconds = dice.uniform(*ABANDONED_SECONDS)
            answer = await invoke(self.target, call, manner, dice)
            if answer is None or answer.status != 429:
                return
            await asyncio.sleep(dice.uniform(*RETRY_SECONDS))
        self.target.ledger.answers["gave up"] += 1

    # Hostile.

    async def hostile(self) -> None:
        await asyncio.gather(
            *(
                self._be_hostile(account, number)
                for account in self.accounts
                for number in range(HOSTILE_CLIENTS_PER_SLOT * account.concurrent_executions)
            )
        )

    async def _be_hostile(self, account: Account, number: int) -> None:
        dice = self.dice("hostile", account.account, number)
        await asyncio.sleep(dice.uniform(0, 0.3))
        id = f"{self.script}.hostile.{account.account}.{number}"
        if dice.random() < 0.15:
            await invoke_pipelined(self.target, self._plan_pipelined(id, account, dice))
            return
        manner = _pick(_HOSTILE_MANNERS, dice)
        call = self._plan(id, _pick_lane(account, dice), dice)
        if manner in (Manner.STALLS_IN_READING, Manner.READS_SLOWLY, Manner.LEAVES_AFTER):
            call.is_large = True
        call.seconds = dice.uniform(0, LONGEST_HOSTILE_CALL)
        call.padding = dice.choice((0, 100, 5_000, 150_000))
        await invoke(self.target, call, manner, dice)

    def _plan_pipelined(self, id: str, account: Account, dice: Random) -> list[Call]:
        calls = []
        for number in range(dice.randint(2, MOST_PIPELINED)):
            call = self._plan(f"{id}.{number}", _pick_lane(account, dice), dice)
            call.is_streamed = False  # nor a hang: those behind it would wait for a time-out as well
            if call.ending.takes_long:
                call.ending = Ending.RESETS
            calls.append(call)
        return calls

    def _plan(self, id: str, lane: Lane, dice: Random) -> Call:
        return Call(
            id,
            lane,
            dice.choice(lane.functions),
            ending=_pick(self.endings, dice),
            seconds=dice.uniform(0, LONGEST_CALL),
            is_large=dice.random() < 0.2,
            is_streamed=dice.random() < 0.2,
        )


def _pick(weights: dict[T, int], dice: Random) -> T:
    return dice.choices(list(weights), list(weights.values()))[0]


def _pick_lane(account: Account, dice: Random) -> Lane:
    """Three of five calls go to the pool."""
    pool = [lane for lane in account.lanes if lane.name == POOL]
    reserved = [lane for lane in account.lanes if lane.name != POOL]
    return dice.choice(pool if not reserved or dice.random() < 0.6 else reserved)
