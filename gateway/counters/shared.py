"""Counters that any number of gateway processes share through a store.

What this process holds is counted here, as the embedded store counts it; a tally for each account (tally.py, which
has the theory) agrees with the store on it. Whatever is asked and released while one exchange is under way goes with
the next: the busier the gateway, the larger its batches, and a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from secrets import token_hex
from time import monotonic
from typing import Any, Literal, NamedTuple

from ..policy.concurrency import Claim, Full, Lane, Plan, RateClaim
from ..policy.limits import Limits
from .base import AWAY, REFILLING
from .lease import Heard, Lease
from .link import Link, StoreAway, describe_url
from .memory import MemoryCounters, MemorySlot, describe_empty
from .script import FORGET, base_key
from .tally import Answer, Renewed, Take, Tally, Terms, encode_forget
from .words import LimitsInWords

log = logging.getLogger("gateway")


class SharedTerms(NamedTuple):
    """How counters are shared. `keep_seconds`: how much longer than the lease the slots of a dead gateway stay taken;
    `timeout_seconds`: how long the store may take to answer; `gateway`: an id that no other process has, made if not
    given."""

    url: str
    lease_seconds: float = 10.0
    timeout_seconds: float = 0.25
    when_away: Literal["closed", "share", "open"] = "closed"
    keep_seconds: float = 0.0
    gateway: str | None = None


class StoreTotals:
    """What the store was asked, since the start. `alone`: calls answered without it, by what they were told."""

    def __init__(self) -> None:
        self.batches = 0
        self.seconds = 0.0
        self.operations = 0
        self.failures = 0
        self.alone = {"refused": 0, "admitted": 0}


class _Asked(Take):
    """A take that a request waits for."""

    __slots__ = ("answer",)

    def __init__(self, plan: Plan, answer: asyncio.Future[MemorySlot | Full]) -> None:
        super().__init__(plan)
        self.answer = answer


class SharedCounters(MemoryCounters):
    """`limits` gives the table in force. `degraded` is told whether the store is away or being refilled. `clock` gives
    monotonic seconds. Levels, ages and occupants are those of this process; `sums` are those of all, when last read."""

    def __init__(
        self,
        terms: SharedTerms,
        *,
        limits: Callable[[], Limits],
        degraded: dict[str, bool],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(clock)
        self.gateway = terms.gateway or f"g-{token_hex(4)}"
        self.terms = terms
        self.totals = StoreTotals()
        self.sums: Mapping[str, int] = {}
        self._sums_at: float | None = None
        self.why_away: str | None = "not asked yet"
        self._limits = limits
        self._degraded = degraded
        degraded |= {"store_away": False, "store_refilling": False}
        self._tallies: dict[str, Tally] = {}
        self._tally_of: dict[MemorySlot, Tally] = {}
        self._dirty: dict[Tally, None] = {}
        self._bell = asyncio.Event()
        self._link = Link(terms.url)
        self._is_free = asyncio.Lock()
        self._words = LimitsInWords(limits)
        self._lease = Lease(
            Link(terms.url),
            seconds=terms.lease_seconds,
            timeout_seconds=terms.timeout_seconds,
            tallies=lambda: list(self._tallies.values()),
            limits=self._words.of,
            tell=self._hear_renewals,
            tell_away=self._hear_silence,
        )
        self._away_since: float | None = None
        self._must_ask = False
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None] | None = None

    # A gateway's life.

    async def start(self) -> None:
        """Begin to talk to the store. Does not fail where that is away: `why_away` tells, and it is tried again."""
        self._loop = asyncio.get_running_loop()
        self._open_accounts()
        self._must_ask = True
        await self._talk()
        self._task = asyncio.create_task(self._keep_talking(), name="shared counters")
        self._lease.start()

    async def close(self) -> None:
        """Give everything back, so that nobody waits for the lease to end; unless slots are to be kept for calls that
        still run in the backend."""
        self._is_closed = True
        if self._task is not None:
            async with self._is_free:  # what is under way is heard to its end
                self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self._lease.close()
        self._answer_all_alone()
        if self.why_away is None:
            with contextlib.suppress(StoreAway, TimeoutError):
                await self._leave()
        await self._link.close()

    async def _leave(self) -> None:
        if self.terms.keep_seconds and self.held():
            await self._exchange()
            return
        await self.forget(self.gateway)

    async def forget(self, gateway: str) -> None:
        """Give back everything that a gateway holds. Raises `StoreAway` or `TimeoutError`."""
        async with asyncio.timeout(self.terms.timeout_seconds), self._is_free:
            if not self._link.is_open:
                await self._link.open()
            await self._link.call(
                ("EVALSHA", FORGET.sha, 1, base_key(account), encode_forget(gateway)) for account in self._tallies
            )

    # What the chain asks.

    async def take(self, plan: Plan) -> MemorySlot | Full:
        full = self.look(plan)
        if full is not None:  # this process alone fills the limit
            return full
        tally = self._tallies.get(plan.account) or self._open(plan.account)
        if self.why_away is not None or self._is_closed or tally.refill_until > self._clock():
            return self._take_alone(plan, tally)
        asked = _Asked(plan, self._loop.create_future())
        tally.ask(asked)
        self._ring(tally)
        try:
            return await asked.answer
        except asyncio.CancelledError:
            asked.abandon()
            if asked.answer.done() and not asked.answer.cancelled():
                answer = asked.answer.result()
                if isinstance(answer, MemorySlot):  # it came when it was too late
                    answer.release(was_call=False)
            raise

    def give_back(self, slot: MemorySlot, claims: tuple[Claim, ...], own: str, was_call: bool) -> None:
        super().give_back(slot, claims, own, was_call)
        tally = self._tally_of.pop(slot)
        tally.release(claim.counter or own for claim in claims)
        self._ring(tally)

    # What the operations listener asks.

    async def read_sums(self) -> None:
        """Bring `sums` up to date, if the store answers."""
        accounts = list(self._tallies)
        try:
            async with asyncio.timeout(self.terms.timeout_seconds), self._is_free:
                replies = await self._link.call(("HGETALL", f"{base_key(account)}:sums") for account in accounts)
        except (StoreAway, TimeoutError):
            return
        flat = [item for reply in replies for item in reply]
        self.sums = {counter.decode(): int(slots) for counter, slots in zip(flat[::2], flat[1::2], strict=True)}
        self._sums_at = self._clock()

    @property
    def gateways(self) -> int:
        """How many gateways shared the counters when the store was last heard."""
        return max((tally.gateways for tally in self._tallies.values()), default=1)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the store, in a sentence; None while it counts."""
        if self.why_away is not None:
            return f"The shared counters do not answer: {self.why_away}."
        if self._degraded["store_refilling"]:
            return "The shared counters began anew, and every gateway first tells what it runs."
        return None

    @property
    def why_not_ready(self) -> str | None:
        """The trouble, where it keeps calls from being admitted."""
        return self.trouble if self.terms.when_away == "closed" else None

    def describe(self) -> dict[str, object]:
        """For /limits: who this is, how many share the counters, and how old the sums are in seconds."""
        age = None if self._sums_at is None else round(self._clock() - self._sums_at, 3)
        return {"gateway": self.gateway, "gateways": self.gateways, "sums_age_seconds": age, "trouble": self.trouble}

    # Talking to the store.

    def _ring(self, tally: Tally) -> None:
        self._dirty[tally] = None
        self._bell.set()

    async def _keep_talking(self) -> None:
        pause = least = min(0.02, self.terms.lease_seconds / 100)
        while True:
            await self._bell.wait()
            if await self._talk():
                pause = least
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.terms.lease_seconds / 16)

    async def _talk(self) -> bool:
        """Say what there is to say. Whether the store answered."""
        self._bell.clear()
        try:
            await self._exchange()
        except (StoreAway, TimeoutError) as error:
            self._note_away(str(error) or f"no answer within {self.terms.timeout_seconds:g} s")
            return False
        except Exception:  # a mistake of ours: nobody may wait for ever
            log.exception("talking to the shared counters failed")
            await self._link.close()
            for tally in self._tallies.values():
                tally.lose()
            self._note_away("a mistake in the gateway; its log has the details")
            return False
        self._note_back()
        return True

    async def _exchange(self) -> None:
        """One round trip, and a second where the connection turns out to have been closed meanwhile."""
        bound = self.terms.timeout_seconds
        if self.why_away is not None:  # nobody waits: a connection may take its time
            bound = max(bound, self.terms.lease_seconds / 8)
        async with asyncio.timeout(bound), self._is_free:
            try:
                if self._link.is_open:
                    await self._exchange_once()
                    return
            except StoreAway:
                pass  # an idle connection may end without a sign; what was sent on it goes again as it was
            await self._link.open()
            if self._link.warning:
                log.warning("shared counters at %s: %s", describe_url(self.terms.url), self._link.warning)
            self._dirty = dict.fromkeys(self._tallies.values())
            await self._exchange_once()

    async def _exchange_once(self) -> None:
        dirty, self._dirty = self._dirty, {}
        now = self._clock()
        asked = []
        commands: list[tuple[str | bytes | int, ...]] = []
        for tally in dirty:
            request = tally.next_request(self._link.run, now)
            if request is not None:
                asked.append(tally)
                commands.append(("EVALSHA", request[0].sha, 1, base_key(tally.account), request[1]))
        if not commands and not self._must_ask:
            return
        try:
            replies = await self._link.call(commands or [("PING",)])
        except BaseException:
            for tally in asked:
                tally.lose()
            self.totals.failures += 1
            raise
        self._must_ask = False
        heard_at = self._clock()
        self.totals.batches += 1
        self.totals.seconds += heard_at - now
        for tally, reply in zip(asked, replies, strict=False):  # of a PING there is no tally
            self._receive(tally, reply, heard_at)

    def _receive(self, tally: Tally, reply: bytes, now: float) -> None:
        was = tally.acknowledged
        answers = tally.receive(reply, now)
        self.totals.operations += len(answers)
        for take, answer in answers:
            assert isinstance(take, _Asked), "nobody else asks"
            try:
                self._deliver(tally, take, answer)
            except Exception as error:  # a mistake of ours: one request fails by it, and not those that follow
                if not take.answer.done():
                    take.answer.set_exception(error)
        if tally.acknowledged is None and was is not None:
            self._tell_fenced(tally)
        elif was is None and tally.acknowledged is not None:
            self._lease.hurry()
        if tally.refill_until > now:
            self._note_refill(tally.refill_until - now)
        if not tally.is_idle:
            self._ring(tally)

    def _tell_fenced(self, tally: Tally) -> None:
        log.warning(
            "shared counters do not know %s any more: it was not heard for a lease, or they lost it; it runs %d calls "
            "of account %s and tells so before it admits another",
            self.gateway,
            self.in_use(f"{tally.account}/account"),
            tally.account,
        )

    def _deliver(self, tally: Tally, asked: _Asked, answer: Answer) -> None:
        given: MemorySlot | Full
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
            level = self._levels.get(answer.claim.counter or plan.function_counter)
            given = self._describe_full(answer.claim, level, answer.in_use, answer.claim.ceiling or 0)
        if not asked.answer.done():
            asked.answer.set_result(given)
        elif isinstance(given, MemorySlot):
            given.release(was_call=False)

    def _enter(self, plan: Plan, lane: Lane, tally: Tally) -> MemorySlot:
        slot = self._occupy(lane, plan.function_counter)
        self._tally_of[slot] = tally
        return slot

    # Without the store.

    def _take_alone(self, plan: Plan, tally: Tally) -> MemorySlot | Full:
        """What the policy says while the store says neither yes nor no."""
        is_share = self.terms.when_away == "share"
        if self.terms.when_away == "closed" or self._is_closed:
            self.totals.alone["refused"] += 1
            return AWAY if self.why_away is not None or self._is_closed else REFILLING
        full: Full | None = None
        for lane in plan.lanes:
            part = _shrink(lane, tally) if is_share else lane
            full = self._find_full(part, plan.function_counter)
            if full is None:
                break
        full = full or self._take_tokens(_thin(plan.rates, tally) if is_share else plan.rates, plan.function_counter)
        if full is not None:
            self.totals.alone["refused"] += 1
            return full
        self.totals.alone["admitted"] += 1
        tally.admit_alone(claim.counter or plan.function_counter for claim in lane.claims)
        self._ring(tally)
        return self._enter(plan, lane, tally)

    def _answer_all_alone(self) -> None:
        for tally in self._tallies.values():
            for take in tally.take_back():
                assert isinstance(take, _Asked), "nobody else asks"
                self._deliver(tally, take, None)

    def _note_away(self, why: str) -> None:
        if self.why_away is None or self._away_since is None:
            self._away_since = self._clock()
            log.error(
                "shared counters at %s do not answer (%s): %s",
                describe_url(self.terms.url),
                why,
                _POLICIES[self.terms.when_away],
            )
        self.why_away = why
        self._degraded["store_away"] = True
        self._answer_all_alone()
        self._must_ask = True
        self._bell.set()

    def _note_back(self) -> None:
        if self.why_away is None:
            return
        if self._away_since is not None:
            log.info("shared counters answer again, after %.1f s", self._clock() - self._away_since)
            self._away_since = None
        else:
            log.info("counters shared at %s; this gateway is %s", describe_url(self.terms.url), self.gateway)
        self.why_away = None
        self._degraded["store_away"] = False

    def _note_refill(self, seconds: float) -> None:
        if not self._degraded["store_refilling"]:
            self._degraded["store_refilling"] = True
            log.warning(
                "shared counters began anew: for %.1f s every gateway tells what it runs, and meanwhile %s",
                seconds,
                _POLICIES[self.terms.when_away],
            )
            self._loop.call_later(seconds, self._end_refill)

    def _end_refill(self) -> None:
        left = max((tally.refill_until for tally in self._tallies.values()), default=0.0) - self._clock()
        if left > 0:
            self._loop.call_later(left, self._end_refill)
            return
        self._degraded["store_refilling"] = False
        log.info("shared counters are complete again")

    # What the thread of the lease tells.

    def _hear_renewals(self, heard: list[Heard]) -> None:
        self._call_soon(self._note_renewals, heard)

    def _hear_silence(self, why: str) -> None:
        self._call_soon(self._note_silence)

    def _call_soon(self, do: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended, and with it this gateway
            self._loop.call_soon_threadsafe(do, *arguments)

    def _note_silence(self) -> None:
        """Look whether it is the same for the calls."""
        self._must_ask = True
        self._bell.set()

    def _note_renewals(self, heard: list[Heard]) -> None:
        for tally, epoch, renewed in heard:
            self._note_renewal(tally, epoch, renewed)
        self._open_accounts()

    def _note_renewal(self, tally: Tally, epoch: int, renewed: Renewed) -> None:
        was = tally.acknowledged
        tally.note_renewal(epoch, renewed)
        if was is not None and tally.acknowledged is None:
            self._tell_fenced(tally)
        if renewed.refill_ms:
            tally.refill_until = max(tally.refill_until, self._clock() + renewed.refill_ms / 1000)
            self._note_refill(renewed.refill_ms / 1000)
        if tally.acknowledged is None:
            self._ring(tally)
        warning = self._words.compare(tally.account, renewed.other, renewed.other_limits)
        if warning:
            log.warning("%s", warning)

    def _open_accounts(self) -> None:
        """A reload may have brought accounts: their tallies register before somebody needs them."""
        for account in self._limits().all():
            if account.account not in self._tallies:
                self._open(account.account)

    def _open(self, account: str) -> Tally:
        terms = self.terms
        tally = self._tallies[account] = Tally(
            account,
            Terms(self.gateway, int(terms.lease_seconds * 1000), int(terms.keep_seconds * 1000), terms.timeout_seconds),
        )
        self._ring(tally)
        return tally

    def __repr__(self) -> str:
        return f"<SharedCounters {self.gateway} {self.why_away or 'connected'} {list(self._tallies.values())}>"


_POLICIES = {
    "closed": "calls are refused (when_store_is_away: closed)",
    "share": "this gateway admits up to its share of each limit (when_store_is_away: share)",
    "open": "this gateway admits as if it were alone (when_store_is_away: open)",
}


def _shrink(lane: Lane, tally: Tally) -> Lane:
    return Lane(
        lane.name,
        tuple(
            claim if claim.ceiling is None else replace(claim, ceiling=tally.share_of(claim.ceiling))
            for claim in lane.claims
        ),
    )


def _thin(rates: tuple[RateClaim, ...], tally: Tally) -> tuple[RateClaim, ...]:
    return tuple(replace(rate, per_second=rate.per_second / tally.gateways) for rate in rates)
