"""Counters that any number of gateway processes share through a store.

What this process holds is counted here, as the embedded store counts it; a tally for each account (tally.py, which
has the theory) agrees with the store on it. Whatever is asked and released while one exchange is under way goes with
the next: the busier the gateway, the larger its batches, and a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from secrets import token_hex
from time import monotonic

from ...background import BackgroundTasks
from ...policy.concurrency import Claim, Lane, LimitReached, Plan, RateClaim
from ...policy.limits import Limits
from ..base import RECOVERING, UNAVAILABLE, OnFree
from ..local_slots import LocalSlot, LocalSlots
from ..rates import Rates, describe_empty, take_now
from .fallback import choose_part
from .holder_snapshots import Listing
from .limits_digest import LimitsInWords
from .messages import Answer, Take, Terms
from .servers import make_servers, read_sums
from .shard_context import AccountTally, Context
from .shared_config import SharedTerms, StoreTotals
from .store_admin import Inquiry


class _Asked(Take):
    """A take that a request waits for."""

    __slots__ = ("answer",)

    def __init__(self, plan: Plan, answer: asyncio.Future[LocalSlot | LimitReached]) -> None:
        super().__init__(plan)
        self.answer = answer


class SharedCounters:
    """`limits` gives the table in force. `degraded` is told whether the store is away or being refilled, and whether
    another gateway has other limits. `clock` gives monotonic seconds. Levels, ages and occupants are those of this
    process; `sums` are those of all, when last read."""

    def __init__(
        self,
        terms: SharedTerms,
        *,
        limits: Callable[[], Limits],
        degraded: dict[str, bool],
        tasks: BackgroundTasks | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._slots = slots = LocalSlots(clock, self._on_release)
        self._rates = Rates()
        self.check = slots.check
        self.in_use = slots.in_use
        self.oldest_seconds = slots.oldest_seconds
        self.counts = slots.counts
        self.usage = slots.usage
        self.oldest_slots = slots.oldest_slots
        self.gateway = terms.gateway or f"g-{token_hex(4)}"
        self.terms = terms
        self.totals = StoreTotals()
        self.sums: Mapping[str, int] = {}
        self._sums_at: float | None = None
        self._limits = limits
        self._degraded = degraded
        degraded |= {"store_unavailable": False, "store_recovering": False, "limits_mismatch": False}
        self._tallies: dict[str, AccountTally] = {}
        self._tally_of: dict[LocalSlot, AccountTally] = {}
        self._words = LimitsInWords(limits)
        self._listing = Listing(
            self,
            gateway=self.gateway,
            accounts=lambda: self._tallies,
            kept_seconds=2 * terms.lease_seconds + terms.keep_seconds + 2,  # longer than its slots, then it ends
            clock=clock,
        )
        self.inquiry = Inquiry(
            lambda account: self._tallies[account].shard.make_link,
            lease_seconds=terms.lease_seconds,
            keep_seconds=terms.keep_seconds,
            timeout_seconds=terms.timeout_seconds,
        )
        self._servers = make_servers(
            Context(
                terms=terms,
                gateway=self.gateway,
                words=self._words,
                totals=self.totals,
                more=self._listing.commands,
                deliver=self._deliver,
                tell=self._note_availability,
                heard=self._note_heartbeat,
                clock=clock,
                tasks=tasks or BackgroundTasks(),
            )
        )
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Begin to talk to the store. Does not fail where that is away: `trouble` tells, and it is tried again."""
        self._loop = asyncio.get_running_loop()
        self._open_accounts()
        await self._servers.start()
        self._listing.start()

    async def close(self) -> None:
        """Give everything back, so that nobody waits for the lease to end; unless slots are to be kept for calls that
        still run in the backend."""
        self._is_closed = True
        self._listing.close()
        await self._servers.close()

    # What the chain asks.

    async def acquire(self, plan: Plan) -> LocalSlot | LimitReached:
        full = self.check(plan)
        if full is not None:  # this process alone fills the limit
            return full
        tally = self._tallies.get(plan.account) or self._open(plan.account)
        shard = tally.shard
        if shard.availability.unavailable_reason is not None or tally.refill_until > self._clock() or self._is_closed:
            return self._take_alone(plan, tally)
        asked = _Asked(plan, self._loop.create_future())
        tally.ask(asked)
        shard.ring(tally)
        try:
            return await asked.answer
        except asyncio.CancelledError:
            asked.abandon()
            if asked.answer.done() and not asked.answer.cancelled():
                answer = asked.answer.result()
                if isinstance(answer, LocalSlot):  # it came when it was too late
                    answer.release(was_call=False)
            raise

    @property
    def on_free(self) -> OnFree | None:
        return self._slots.on_free

    @on_free.setter
    def on_free(self, call: OnFree | None) -> None:
        self._slots.on_free = call

    def _on_release(self, slot: LocalSlot, claims: tuple[Claim, ...], function_counter: str) -> None:
        tally = self._tally_of.pop(slot)
        tally.release(claim.counter or function_counter for claim in claims)
        tally.shard.ring(tally)

    # What the admin listener asks.

    async def read_sums(self) -> None:
        """Bring `sums` up to date, if the store answers."""
        sums = await read_sums(self._servers)
        if sums is None:
            return
        self.sums = sums
        self._sums_at = self._clock()

    @property
    def unavailable_reason(self) -> str | None:
        """Why the store, or a part of it, does not answer; None while it does."""
        states = [place.availability for place in self._servers.places()]
        reasons = [(state.where, state.unavailable_reason) for state in states if state.unavailable_reason is not None]
        if len(states) == 1:
            return reasons[0][1] if reasons else None
        return "; ".join(f"{where}: {reason}" for where, reason in reasons) or None

    @property
    def accounts(self) -> list[str]:
        """The accounts that this gateway counts."""
        return list(self._tallies)

    @property
    def gateways(self) -> int:
        """How many gateways shared the counters when the store was last heard."""
        return max((tally.gateways for tally in self._tallies.values()), default=1)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the store, in a sentence; None while it counts."""
        if self.unavailable_reason is not None:
            return f"The shared counters do not answer: {self.unavailable_reason}."
        if self._degraded["store_recovering"]:
            return "The shared counters began anew, and every gateway first tells what it runs."
        return None

    @property
    def why_not_ready(self) -> str | None:
        """The trouble, where it keeps calls of every account from being admitted."""
        if self.terms.on_store_failure != "refuse":
            return None
        places = [place for place in self._servers.places() if place.tallies]
        return None if any(place.availability.counts for place in places) else self.trouble

    def describe(self) -> dict[str, object]:
        """For /limits: who this is, how many share the counters, and how old the sums are in seconds."""
        age = None if self._sums_at is None else round(self._clock() - self._sums_at, 3)
        return {"gateway": self.gateway, "gateways": self.gateways, "sums_age_seconds": age, "trouble": self.trouble}

    # What the store says.

    def _deliver(self, tally: AccountTally, asked: Take, answer: Answer) -> None:
        """Answer a request that waits; with None, as the policy says."""
        assert isinstance(asked, _Asked), "nobody else asks"
        try:
            self._answer(tally, asked, answer)
        except Exception as error:  # a mistake of ours: one request fails by it, and not those that follow
            if not asked.answer.done():
                asked.answer.set_exception(error)

    def _answer(self, tally: AccountTally, asked: _Asked, answer: Answer) -> None:
        given: LocalSlot | LimitReached
        plan = asked.plan
        if answer is None:
            if asked.answer.done():
                return
            given = self._take_alone(plan, tally)
        elif isinstance(answer, int):
            given = self._enter(plan, plan.lanes[answer], tally)
        elif isinstance(answer.claim, RateClaim):
            given = describe_empty(answer.claim)
        else:
            given = self._slots.describe_limit_reached(answer.claim, plan.function_counter, answer.in_use)
        if not asked.answer.done():
            asked.answer.set_result(given)
        elif isinstance(given, LocalSlot):
            given.release(was_call=False)

    def _enter(self, plan: Plan, lane: Lane, tally: AccountTally) -> LocalSlot:
        slot = self._slots.occupy(lane, plan.function_counter)
        self._tally_of[slot] = tally
        return slot

    def _take_alone(self, plan: Plan, tally: AccountTally) -> LocalSlot | LimitReached:
        """What the policy says while the store says neither yes nor no."""
        policy = self.terms.on_store_failure
        if policy == "refuse" or self._is_closed:
            self.totals.alone["refused"] += 1
            is_away = tally.shard.availability.unavailable_reason is not None or self._is_closed
            return UNAVAILABLE if is_away else RECOVERING
        lanes, rates = choose_part(policy, plan, tally)
        full: LimitReached | None = None
        for lane in lanes:
            full = self._slots.find_limit_reached(lane, plan.function_counter)
            if full is None:
                break
        found = full or self._rates.find(rates, plan.function_counter)
        if isinstance(found, LimitReached):
            self.totals.alone["refused"] += 1
            return found
        take_now(found)
        self.totals.alone["admitted"] += 1
        tally.admit_alone(claim.counter or plan.function_counter for claim in lane.claims)
        tally.shard.ring(tally)
        return self._enter(plan, lane, tally)

    def _note_availability(self) -> None:
        states = [place.availability for place in self._servers.places()]
        self._degraded["store_unavailable"] = any(state.unavailable_reason is not None for state in states)
        self._degraded["store_recovering"] = any(state.is_recovering for state in states)

    def _note_heartbeat(self) -> None:
        self._degraded["limits_mismatch"] = self._words.differ
        self._open_accounts()

    # Accounts.

    def _open_accounts(self) -> None:
        """A reload may have brought accounts: their tallies register before somebody needs them."""
        for account in self._limits().all():
            if account.account not in self._tallies:
                self._open(account.account)

    def _open(self, account: str) -> AccountTally:
        terms = self.terms
        tally = self._tallies[account] = AccountTally(
            account,
            Terms(self.gateway, int(terms.lease_seconds * 1000), int(terms.keep_seconds * 1000), terms.timeout_seconds),
        )
        self._servers.place(tally)
        return tally

    def __repr__(self) -> str:
        return f"<SharedCounters {self.gateway} {self._servers!r}>"
