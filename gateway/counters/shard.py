"""The conversation with one server of the store: which accounts it counts, batches one after the other, the heartbeat,
and whether it is there. Servers know nothing of each other: what happens to one is no matter to another's accounts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from .lease import Heard, Lease
from .link import Command, Link, StoreAway
from .script import FORGET, base_key
from .standing import Standing
from .tally import Answer, Renewed, Take, Tally, encode_forget
from .terms import SharedTerms, StoreTotals
from .words import LimitsInWords

log = logging.getLogger("gateway")


class AccountTally(Tally):
    """A tally, and the server that counts its account."""

    shard: Shard


class Shard:
    """`make_link` makes connections to the server. `deliver` is told the answer to a take (None: neither yes nor no),
    `tell` that its standing has changed, and `heard` that a heartbeat was answered."""

    def __init__(
        self,
        make_link: Callable[[], Link],
        terms: SharedTerms,
        gateway: str,
        *,
        words: LimitsInWords,
        totals: StoreTotals,
        deliver: Callable[[AccountTally, Take, Answer], None],
        tell: Callable[[], None],
        heard: Callable[[], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.tallies: dict[str, AccountTally] = {}
        self._link = make_link()
        self.standing = Standing(self._link.where, gateway, terms.when_away, tell=tell, clock=clock)
        self._terms = terms
        self._gateway = gateway
        self._words = words
        self._totals = totals
        self._deliver = deliver
        self._heard = heard
        self._clock = clock
        self._dirty: dict[AccountTally, None] = {}
        self._bell = asyncio.Event()
        self._is_free = asyncio.Lock()
        self._lease = Lease(
            make_link(),
            seconds=terms.lease_seconds,
            timeout_seconds=terms.timeout_seconds,
            tallies=lambda: list(self.tallies.values()),
            limits=words.of,
            tell=self._hear_renewals,
            tell_away=self._hear_silence,
        )
        self._must_ask = True
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None] | None = None

    # Its life.

    async def start(self) -> None:
        """Begin to talk. Does not fail where the server is away: `why_away` tells, and it is tried again."""
        self._loop = asyncio.get_running_loop()
        await self._talk()
        self._task = asyncio.create_task(self._keep_talking(), name="shared counters")
        self._lease.start()

    async def close(self) -> None:
        """Give everything back, so that nobody waits for the lease to end; unless slots are to be kept for calls that
        still run in the backend."""
        if self._task is not None:
            async with self._is_free:  # what is under way is heard to its end
                self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self._lease.close()
        self._answer_all_alone()
        if self.standing.why_away is None:
            with contextlib.suppress(StoreAway, TimeoutError):
                await self._leave()
        await self._link.close()

    async def _leave(self) -> None:
        if self._terms.keep_seconds and any(tally.held for tally in self.tallies.values()):
            await self._exchange()
            return
        async with asyncio.timeout(self._terms.timeout_seconds):
            if not self._link.is_open:
                await self._link.open()
            await self._link.call(
                ("EVALSHA", FORGET.sha, 1, base_key(account), encode_forget(self._gateway)) for account in self.tallies
            )

    # What is said.

    def adopt(self, tally: AccountTally) -> None:
        """Count an account here."""
        tally.shard = self
        self.tallies[tally.account] = tally
        self.ring(tally)

    def ring(self, tally: AccountTally) -> None:
        """There may be something to say."""
        self._dirty[tally] = None
        self._bell.set()

    async def ask(self, commands: list[Command]) -> list[Any] | None:
        """The replies to commands that change nothing; None when there are none within the time bound."""
        try:
            async with asyncio.timeout(self._terms.timeout_seconds), self._is_free:
                return await self._link.call(commands)
        except (StoreAway, TimeoutError):
            return None

    async def _keep_talking(self) -> None:
        pause = least = min(0.02, self._terms.lease_seconds / 100)
        while True:
            await self._bell.wait()
            if await self._talk():
                pause = least
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._terms.lease_seconds / 16)

    async def _talk(self) -> bool:
        """Say what there is to say. Whether the server answered."""
        self._bell.clear()
        try:
            await self._exchange()
        except (StoreAway, TimeoutError) as error:
            self._note_away(str(error) or f"no answer within {self._terms.timeout_seconds:g} s")
            return False
        except Exception:  # a mistake of ours: nobody may wait for ever
            log.exception("talking to the shared counters failed")
            await self._link.close()
            for tally in self.tallies.values():
                tally.lose()
            self._note_away("a mistake in the gateway; its log has the details")
            return False
        self.standing.note_back()
        return True

    async def _exchange(self) -> None:
        """One round trip, and a second where the connection turns out to have been closed meanwhile."""
        bound = self._terms.timeout_seconds
        if self.standing.why_away is not None:  # nobody waits: a connection may take its time
            bound = max(bound, self._terms.lease_seconds / 8)
        async with asyncio.timeout(bound), self._is_free:
            try:
                if self._link.is_open:
                    await self._exchange_once()
                    return
            except StoreAway:
                pass  # an idle connection may end without a sign; what was sent on it goes again as it was
            await self._link.open()
            if self._link.warning:
                log.warning("shared counters at %s: %s", self._link.where, self._link.warning)
            self._dirty = dict.fromkeys(self.tallies.values())
            await self._exchange_once()

    async def _exchange_once(self) -> None:
        dirty, self._dirty = self._dirty, {}
        now = self._clock()
        asked = []
        commands: list[Command] = []
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
            self._totals.failures += 1
            raise
        self._must_ask = False
        heard_at = self._clock()
        self._totals.batches += 1
        self._totals.seconds += heard_at - now
        for tally, reply in zip(asked, replies, strict=False):  # of a PING there is no tally
            self._receive(tally, reply, heard_at)

    # What is heard.

    def _receive(self, tally: AccountTally, reply: bytes, now: float) -> None:
        was = tally.acknowledged
        answers = tally.receive(reply, now)
        self._totals.operations += len(answers)
        for take, answer in answers:
            self._deliver(tally, take, answer)
        if tally.acknowledged is None and was is not None:
            self._tell_fenced(tally)
        elif was is None and tally.acknowledged is not None:
            self._lease.hurry()
        if tally.refill_until > now:
            self.standing.note_refill(tally.refill_until - now)
        if not tally.is_idle:
            self.ring(tally)

    def _tell_fenced(self, tally: AccountTally) -> None:
        log.warning(
            "shared counters do not know %s any more: it was not heard for a lease, or they lost it; it runs %d calls "
            "of account %s and tells so before it admits another",
            self._gateway,
            tally.held[f"{tally.account}/account"],
            tally.account,
        )

    def _answer_all_alone(self) -> None:
        for tally in self.tallies.values():
            for take in tally.take_back():
                self._deliver(tally, take, None)

    def _note_away(self, why: str) -> None:
        self.standing.note_away(why)
        self._answer_all_alone()
        self._must_ask = True
        self._bell.set()

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
            mine = self.tallies.get(tally.account)
            if mine is not None:
                self._note_renewal(mine, epoch, renewed)
        self._heard()

    def _note_renewal(self, tally: AccountTally, epoch: int, renewed: Renewed) -> None:
        was = tally.acknowledged
        tally.note_renewal(epoch, renewed)
        if was is not None and tally.acknowledged is None:
            self._tell_fenced(tally)
        if renewed.refill_ms:
            tally.refill_until = max(tally.refill_until, self._clock() + renewed.refill_ms / 1000)
            self.standing.note_refill(renewed.refill_ms / 1000)
        if tally.acknowledged is None:
            self.ring(tally)
        warning = self._words.compare(tally.account, renewed.other, renewed.other_limits)
        if warning:
            log.warning("%s", warning)

    def __repr__(self) -> str:
        return f"<Shard {self.standing!r} {list(self.tallies.values())}>"
