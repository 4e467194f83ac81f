"""Shares counters among any number of gateway processes through a store.

The slots of this process are counted in `LocalSlots`. For each account a tally (tally.py, which has the theory) agrees
on them with the store. Requests and releases during one exchange go with the next: the busier the gateway, the larger
its batches. A lone request is sent immediately.

This file is longer than 300 lines. Its one class is the whole `Counters` protocol, and each part passes requests on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from secrets import token_hex
from time import monotonic

from ...background import BackgroundTasks
from ...policy.concurrency import LimitReached, Plan, RateClaim, renew_plan
from ...policy.limits import Limits
from ..base import UNAVAILABLE, OnFree
from ..local_slots import LocalSlot, LocalSlots
from ..rates import Rates, describe_empty, take_now
from .control_documents import ControlDocuments
from .fallback import choose_part
from .holder_snapshots import HolderSnapshots
from .limits_digest import LimitsDigest
from .messages import Refused, RequestIdentity, Take
from .servers import make_servers, read_sums
from .shard_context import AccountTally, ShardContext
from .shared_config import SharedConfig, StoreTotals
from .store_admin import StoreAdmin
from .tally import Answer, Holding

_WAIT_SECONDS = 0.01


class SharedCounters:
    """Admits calls by a store.

    limits: returns the table in force.
    degraded: its keys store_unavailable, store_recovering and limits_mismatch are kept up to date.
    clock: returns monotonic seconds.

    Counts, ages and usage are those of this process; `sums` are those of all gateways, as last read.
    """

    def __init__(
        self,
        config: SharedConfig,
        *,
        limits: Callable[[], Limits],
        degraded: dict[str, bool],
        tasks: BackgroundTasks | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._slots = slots = LocalSlots(clock, self._on_release)
        self._rates = Rates(slots.in_use)
        self.check = slots.check
        self.in_use = slots.in_use
        self.oldest_seconds = slots.oldest_seconds
        self.counts = slots.counts
        self.usage = slots.usage
        self.oldest_slots = slots.oldest_slots
        self.gateway = config.gateway or f"g-{token_hex(4)}"
        self.config = config
        self.totals = StoreTotals()
        self.sums: Mapping[str, int] = {}
        self._sums_at: float | None = None
        self._limits = limits
        self._degraded = degraded
        degraded |= {"store_unavailable": False, "store_recovering": False, "limits_mismatch": False}
        self._tallies: dict[str, AccountTally] = {}
        self._limits_digest = LimitsDigest(limits)
        self._snapshots = HolderSnapshots(
            self,
            gateway=self.gateway,
            accounts=lambda: self._tallies,
            kept_seconds=2 * config.lease_seconds + config.keep_seconds + 2,  # longer than its slots, then it ends
            clock=clock,
        )
        self.store_admin = StoreAdmin(
            lambda account: self._tallies[account].shard.make_link,
            lease_seconds=config.lease_seconds,
            keep_seconds=config.keep_seconds,
            timeout_seconds=config.timeout_seconds,
        )
        self.control = ControlDocuments(
            self._tallies,
            where=lambda account: self._tallies[account].shard,
            lease_seconds=config.lease_seconds,
            refuse_pending=self._refuse_pending,
        )
        self._servers = make_servers(
            ShardContext(
                config=config,
                gateway=self.gateway,
                limits_digest=self._limits_digest,
                totals=self.totals,
                more=self._snapshots.commands,
                deliver=self._deliver,
                on_change=self._note_availability,
                on_renewed=self._on_renewed,
                on_stale=self.control.note_stale,
                clock=clock,
                tasks=tasks or BackgroundTasks(),
            )
        )
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Starts the exchanges. It does not fail where the store is unavailable: `trouble` has the cause."""
        self._loop = asyncio.get_running_loop()
        self._open_accounts()
        await self._servers.start()
        self._snapshots.start()

    async def wait_complete(self, seconds: float) -> None:
        """Waits for the end of a recovery, at most so long. Later calls are admitted, or refused with the cause."""
        end = self._clock() + seconds
        while self._degraded["store_recovering"] and self._clock() < end:  # noqa: ASYNC110 (rare, and soon over)
            await asyncio.sleep(_WAIT_SECONDS)

    async def close(self) -> None:
        """Releases everything, so that no gateway waits for the lease to end. Where slots are to be kept for calls that
        still run in the backend, they are reported instead."""
        self._is_closed = True
        self._snapshots.close()
        await self._servers.close()

    # Admission.

    async def acquire(self, plan: Plan) -> LocalSlot | LimitReached:
        taken = self.acquire_now(plan)
        return await taken if isinstance(taken, Take) else taken

    def acquire_now(self, plan: Plan) -> LocalSlot | LimitReached | Take:
        tally = self._tallies.get(plan.account) or self._open(plan.account)
        shard = tally.shard
        recovers_until = tally.recovers_until
        if (
            shard.availability.unavailable_reason is not None
            or (recovers_until and recovers_until > self._clock())
            or self._is_closed
        ):
            return self.check(plan) or self._acquire_locally(plan, tally)
        take = Take(plan, self._loop)
        shard.enqueue(tally, take)
        return take

    @property
    def on_free(self) -> OnFree | None:
        return self._slots.on_free

    @on_free.setter
    def on_free(self, call: OnFree | None) -> None:
        self._slots.on_free = call

    def _on_release(self, slot: LocalSlot) -> None:
        holding = slot.granted_by
        tally: AccountTally = holding.tally
        tally.release(holding)
        tally.shard.mark_dirty(tally)

    # What the admin listener asks.

    async def read_sums(self) -> None:
        """Reads `sums` again, where the store replies."""
        sums = await read_sums(self._servers)
        if sums is None:
            return
        self.sums = sums
        self._sums_at = self._clock()

    @property
    def unavailable_reason(self) -> str | None:
        """Returns the cause where the store, or a part of it, is unavailable; else None."""
        states = [owner.availability for owner in self._servers.owners()]
        reasons = [(state.where, state.unavailable_reason) for state in states if state.unavailable_reason is not None]
        if len(states) == 1:
            return reasons[0][1] if reasons else None
        return "; ".join(f"{where}: {reason}" for where, reason in reasons) or None

    @property
    def accounts(self) -> list[str]:
        """Lists the accounts that this gateway counts."""
        return list(self._tallies)

    @property
    def gateways(self) -> int:
        """Returns the number of gateways on the store, as of its last reply."""
        return max((tally.gateways for tally in self._tallies.values()), default=1)

    @property
    def trouble(self) -> str | None:
        """Returns the store's problem as a sentence; None while it counts."""
        if self.unavailable_reason is not None:
            return f"The shared counters are unavailable: {self.unavailable_reason}."
        if self._degraded["store_recovering"]:
            states = [owner.availability for owner in self._servers.owners()]
            return " ".join(state.recovery_problem for state in states if state.is_recovering)
        return None

    @property
    def why_not_ready(self) -> str | None:
        """Returns the problem where it keeps calls of every account from being admitted, else None."""
        if self.config.on_store_failure != "refuse":
            return None
        owners = [owner for owner in self._servers.owners() if owner.tallies]
        return None if any(owner.availability.counts for owner in owners) else self.trouble

    def describe(self) -> dict[str, object]:
        """Returns the section of /limits: the id, the number of gateways, and the age of the sums (seconds)."""
        age = None if self._sums_at is None else round(self._clock() - self._sums_at, 3)
        return {"gateway": self.gateway, "gateways": self.gateways, "sums_age_seconds": age, "trouble": self.trouble}

    # Answers of the store.

    def _deliver(self, tally: AccountTally, asked: Take, answer: Answer) -> None:
        """Answers a pending request; without an answer, by the policy."""
        try:
            given: LocalSlot | LimitReached
            if isinstance(answer, Holding):
                given = self._slots.occupy(answer.lane, asked.plan.function_counter)
                given.granted_by = answer
            elif asked.has_ended:
                return
            else:
                given = self._refuse(tally, asked.plan, answer)
            asked.end(given)
        except Exception as error:  # a bug: one request fails by it, and not those that follow
            asked.fail(error)

    def _refuse(self, tally: AccountTally, plan: Plan, answer: Refused | None) -> LocalSlot | LimitReached:
        """Returns the refusal; without an answer, the decision by the policy."""
        if answer is None:
            return self._acquire_locally(plan, tally)
        if isinstance(answer.claim, RateClaim):
            return describe_empty(answer.claim)
        return self._slots.describe_limit_reached(answer.claim, plan.function_counter, answer.in_use)

    def _acquire_locally(self, plan: Plan, tally: AccountTally) -> LocalSlot | LimitReached:
        """Decides by the policy while the store is unavailable or recovering."""
        policy = self.config.on_store_failure
        if policy == "refuse" or self._is_closed:
            self.totals.fallback["refused"] += 1
            state = tally.shard.availability
            is_away = state.unavailable_reason is not None or self._is_closed
            return UNAVAILABLE if is_away else state.recovering
        lanes, rates = choose_part(policy, renew_plan(plan), tally)
        full: LimitReached | None = None
        for lane in lanes:
            full = self._slots.find_limit_reached(lane, plan.function_counter) or self._rates.find_empty(
                lane.rates, plan.function_counter
            )
            if full is None:
                break
        found = full or self._rates.find((*lane.rates, *rates), plan.function_counter)
        if isinstance(found, LimitReached):
            self.totals.fallback["refused"] += 1
            return found
        take_now(found)
        self.totals.fallback["admitted"] += 1
        holding = tally.holding_of(lane, plan.function_counter)
        tally.admit_locally(holding)
        tally.shard.mark_dirty(tally)
        slot = self._slots.occupy(lane, plan.function_counter)
        slot.granted_by = holding
        return slot

    def _note_availability(self) -> None:
        states = [owner.availability for owner in self._servers.owners()]
        self._degraded["store_unavailable"] = any(state.unavailable_reason is not None for state in states)
        self._degraded["store_recovering"] = any(state.is_recovering for state in states)

    def _on_renewed(self) -> None:
        self._degraded["limits_mismatch"] = self._limits_digest.differ
        self._open_accounts()

    # Accounts.

    def on_limits_changed(self) -> None:
        """Puts the table in force for the calls that wait for the store, too."""
        table = self._limits()
        for account, tally in self._tallies.items():
            limits = table.of(account)
            if limits.account == account:  # else the settings do not name it any more
                tally.set_revision(limits.control_revision)
                tally.shard.mark_dirty(tally)

    def _refuse_pending(self, account: str) -> None:
        """Answers the waiting calls of an account by the policy."""
        tally = self._tallies[account]
        for take in tally.cancel_pending():
            self._deliver(tally, take, None)

    def _open_accounts(self) -> None:
        """Opens the accounts that a reload has brought: their tallies register before a call needs them."""
        for account in self._limits().all():
            if account.account not in self._tallies:
                self._open(account.account)

    def _open(self, account: str) -> AccountTally:
        config = self.config
        tally = self._tallies[account] = AccountTally(
            account,
            RequestIdentity(
                self.gateway,
                int(config.lease_seconds * 1000),
                int(config.keep_seconds * 1000),
                config.timeout_seconds,
                config.workers,
                config.expected_gateways or 0,
            ),
        )
        limits = self._limits().of(account)
        if limits.account == account:
            tally.set_revision(limits.control_revision)
        self._servers.assign(tally)
        return tally

    def __repr__(self) -> str:
        return f"<SharedCounters {self.gateway} {self._servers!r}>"
