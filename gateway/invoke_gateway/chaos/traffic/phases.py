"""Plans and runs the phases of one round.

The random numbers of each client come from seed, round, phase and the client's number. So a seed gives the same script
again on any machine; only the number of rounds may differ.

*At the limit*: as many patient clients as there are slots, each waiting for its answer. No refusal is right.
*Burst*: hundreds of calls at once before few slots. A refused client tries again.
*Hostile*: stalls, slow readers, half-closed and pipelined connections.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TypeVar

from ..calls import CallEnding, PlannedCall
from ..quotas import POOL, AccountQuota, QuotaLane
from .clients import CallRoute, ClientBehaviour, invoke, invoke_pipelined

T = TypeVar("T")

LONGEST_CALL = 0.03  # seconds that a function runs
LONGEST_HOSTILE_CALL = 0.15
ABANDONED_SECONDS = (0.1, 0.25)  # that a function goes on whose client leaves: long enough for others to come
RETRY_SECONDS = (0.02, 0.3)
ATTEMPTS = 25
CALLS_AT_THE_LIMIT, PAUSED_CALLS_AT_THE_LIMIT = 6, 3  # of each client
HOSTILE_CLIENTS_PER_SLOT = 8
MOST_PIPELINED = 5

_BURST_BEHAVIOURS = {
    ClientBehaviour.STAYS: 60,
    ClientBehaviour.LEAVES_BEFORE: 8,
    ClientBehaviour.LEAVES_DURING: 12,
    ClientBehaviour.LEAVES_AFTER: 8,
    ClientBehaviour.LOSES_PATIENCE: 12,
}
_HOSTILE_BEHAVIOURS = dict.fromkeys(ClientBehaviour, 1)
_ENDINGS = {
    CallEnding.ANSWERS: 74,
    CallEnding.TRICKLES: 8,
    CallEnding.RESETS: 6,
    CallEnding.BREAKS_OFF: 5,
    CallEnding.GARBAGE: 4,
    CallEnding.HANGS: 1,
    CallEnding.LATE_ANSWER: 1,
    CallEnding.LATE_GARBAGE: 1,
}


class Phases:
    """The phases of one round. `hangs`: True where the gateway's time-out is known and short enough for backends
    that hang. `pause`: seconds that a patient client waits between two calls, until its slot has surely been freed."""

    def __init__(
        self,
        route: CallRoute,
        accounts: list[AccountQuota],
        seed: int,
        round: int,
        *,
        clients: int,
        hangs: bool,
        pause: float = 0.0,
    ) -> None:
        self.route = route
        self.accounts = accounts
        self.script = f"{seed}.{round}"
        self.clients = clients
        self.pause = pause
        self.endings = {ending: weight for ending, weight in _ENDINGS.items() if hangs or not ending.takes_long}

    def rng(self, *where: object) -> Random:
        """Returns the random numbers of one client: the same for the same seed."""
        return Random("/".join(map(str, (self.script, *where))))

    # At the limit.

    async def at_the_limit(self) -> None:
        lanes = [lane for account in self.accounts for lane in account.lanes]
        await asyncio.gather(*(self._call_patiently(lane, number) for lane in lanes for number in range(lane.ceiling)))

    async def _call_patiently(self, lane: QuotaLane, number: int) -> None:
        rng = self.rng("limit", lane.account, lane.name, number)
        for attempt in range(PAUSED_CALLS_AT_THE_LIMIT if self.pause else CALLS_AT_THE_LIMIT):
            id = f"{self.script}.limit.{lane.account}.{lane.name}.{number}.{attempt}"
            call = self._plan(id, lane, rng)
            if call.ending.is_fault:
                call.is_streamed = False  # a stream that is cut does not show its client when the slot is free
            await invoke(self.route, call, ClientBehaviour.STAYS, rng)
            await asyncio.sleep(self.pause)

    # Burst.

    async def burst(self) -> None:
        largest = max(account.concurrent_executions for account in self.accounts)
        clients = []
        for account in self.accounts:
            slots = account.concurrent_executions
            count = max(self.clients, 2 * slots) if slots == largest else 5 * slots
            clients += [self._call_until_admitted(account, number) for number in range(count)]
        await asyncio.gather(*clients)

    async def _call_until_admitted(self, account: AccountQuota, number: int) -> None:
        rng = self.rng("burst", account.account, number)
        lane = _pick_lane(account, rng)
        behaviour = _pick(_BURST_BEHAVIOURS, rng)
        for attempt in range(ATTEMPTS if lane.ceiling else 2):
            call = self._plan(f"{self.script}.burst.{account.account}.{number}.{attempt}", lane, rng)
            call.is_large = call.is_large or behaviour is ClientBehaviour.LEAVES_AFTER
            if behaviour in (ClientBehaviour.LEAVES_DURING, ClientBehaviour.LOSES_PATIENCE):
                call.seconds = rng.uniform(*ABANDONED_SECONDS)
            answer = await invoke(self.route, call, behaviour, rng)
            if answer is None or answer.status != 429:
                return
            await asyncio.sleep(rng.uniform(*RETRY_SECONDS))
        self.route.history.answers["gave up"] += 1

    # Hostile.

    async def hostile(self) -> None:
        await asyncio.gather(
            *(
                self._be_hostile(account, number)
                for account in self.accounts
                for number in range(HOSTILE_CLIENTS_PER_SLOT * account.concurrent_executions)
            )
        )

    async def _be_hostile(self, account: AccountQuota, number: int) -> None:
        rng = self.rng("hostile", account.account, number)
        await asyncio.sleep(rng.uniform(0, 0.3))
        id = f"{self.script}.hostile.{account.account}.{number}"
        if rng.random() < 0.15:
            await invoke_pipelined(self.route, self._plan_pipelined(id, account, rng))
            return
        behaviour = _pick(_HOSTILE_BEHAVIOURS, rng)
        call = self._plan(id, _pick_lane(account, rng), rng)
        if behaviour in (ClientBehaviour.STALLS_IN_READING, ClientBehaviour.READS_SLOWLY, ClientBehaviour.LEAVES_AFTER):
            call.is_large = True
        call.seconds = rng.uniform(0, LONGEST_HOSTILE_CALL)
        call.padding = rng.choice((0, 100, 5_000, 150_000))
        await invoke(self.route, call, behaviour, rng)

    def _plan_pipelined(self, id: str, account: AccountQuota, rng: Random) -> list[PlannedCall]:
        calls = []
        for number in range(rng.randint(2, MOST_PIPELINED)):
            call = self._plan(f"{id}.{number}", _pick_lane(account, rng), rng)
            call.is_streamed = False  # nor a hang: those behind it would wait for a time-out as well
            if call.ending.takes_long:
                call.ending = CallEnding.RESETS
            calls.append(call)
        return calls

    def _plan(self, id: str, lane: QuotaLane, rng: Random) -> PlannedCall:
        return PlannedCall(
            id,
            lane,
            rng.choice(lane.functions),
            ending=_pick(self.endings, rng),
            seconds=rng.uniform(0, LONGEST_CALL),
            is_large=rng.random() < 0.2,
            is_streamed=rng.random() < 0.2,
        )


def _pick(weights: dict[T, int], rng: Random) -> T:
    return rng.choices(list(weights), list(weights.values()))[0]


def _pick_lane(account: AccountQuota, rng: Random) -> QuotaLane:
    """Picks the pool for three of five calls."""
    pool = [lane for lane in account.lanes if lane.name == POOL]
    reserved = [lane for lane in account.lanes if lane.name != POOL]
    return rng.choice(pool if not reserved or rng.random() < 0.6 else reserved)
