"""The conversation with one server of the store: which accounts it counts, batches one after the other, the heartbeat,
and whether it is there. Servers know nothing of each other: what happens to one is no matter to another's accounts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from ...background import BackgroundTask
from ...store.connection import Command, StoreConnection
from ...store.errors import StoreUnavailable, describe_failure
from .connecting import Redirect, run_of
from .deadline import Bound
from .lease_events import Heartbeat, tell_fenced
from .messages import encode_forget
from .script import FORGET, base_key
from .shard_context import AccountTally, Context, Guide

log = logging.getLogger("invoke_gateway")


class Shard:
    """`make_link` makes connections to the server. A node of a cluster has a `guide`."""

    def __init__(
        self,
        make_link: Callable[[], StoreConnection],
        context: Context,
        *,
        guide: Guide | None = None,
    ) -> None:
        self.tallies: dict[str, AccountTally] = {}
        self.make_link = make_link
        self._link = make_link()
        self.availability = context.make_availability(self._link.where)
        self._terms = context.terms
        self._context = context
        self._guide = guide
        self._totals = context.totals
        self._deliver = context.deliver
        self._clock = context.clock
        self._dirty: dict[AccountTally, None] = {}
        self._bell = asyncio.Event()
        self._is_free = asyncio.Lock()
        self._bound = Bound()
        self._heartbeat = Heartbeat(
            make_link(),
            context,
            self.tallies,
            self.availability,
            guide,
            ring=self.ring,
            look=self._look,
            leave=self._reopen,
        )
        self._must_ask = True
        self._must_reopen = False
        self._task: BackgroundTask | None = None

    # Its life.

    @property
    def is_started(self) -> bool:
        return self._task is not None

    async def start(self) -> None:
        """Begin to talk, and return after the first exchange. Does not fail where the server is away: `availability`
        tells, and it is tried again."""
        await self._talk()
        self._heartbeat.start()
        self._task = self._context.tasks.start(self._keep_talking, "shared counters")

    async def close(self) -> None:
        """Give everything back, so that nobody waits for the lease to end; unless slots are to be kept for calls that
        still run in the backend."""
        if self._task is not None:
            async with self._is_free:  # what is under way is heard to its end
                self._task.cancel()
            await self._task.close()
            await self._heartbeat.close()
        self._answer_all_alone()
        if self.availability.unavailable_reason is None and self.tallies:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                await self._leave()
        await self._link.close(self._terms.timeout_seconds)
        self._bound.close()

    async def _leave(self) -> None:
        if self._terms.keep_seconds and any(tally.held for tally in self.tallies.values()):
            await self._exchange()
            return
        async with asyncio.timeout(self._terms.timeout_seconds):
            if not self._link.is_open:
                await self._link.open()
            argument = encode_forget(self._context.gateway)
            await self._link.call(("EVALSHA", FORGET.sha, 1, base_key(account), argument) for account in self.tallies)

    # What is said.

    def adopt(self, tally: AccountTally) -> None:
        tally.shard = self
        self.tallies[tally.account] = tally
        self.ring(tally)
        self._heartbeat.hurry()

    async def release(self, tally: AccountTally) -> None:
        """Count an account here no longer. What is under way is heard to its end."""
        async with self._is_free:
            self._drop(tally)

    def _drop(self, tally: AccountTally) -> None:
        self.tallies.pop(tally.account, None)
        self._dirty.pop(tally, None)

    def ring(self, tally: AccountTally) -> None:
        self._dirty[tally] = None
        self._bell.set()

    async def ask(self, commands: list[Command]) -> list[Any] | None:
        """The replies to commands that change nothing; None when there are none within the time bound."""
        try:
            async with asyncio.timeout(self._terms.timeout_seconds), self._is_free:
                return await self._link.call(commands)
        except (StoreUnavailable, TimeoutError):
            return None

    async def _keep_talking(self) -> None:
        self._dirty = dict.fromkeys(self.tallies.values())  # what was taken out to be said, and was not
        self._bell.set()
        pause = least = min(0.02, self._terms.lease_seconds / 100)
        while True:
            await self._bell.wait()
            if await self._talk():
                pause = least
                # Under load: what else this turn of the event loop brings goes with the next exchange, which is dearer
                # than what it carries. Who comes alone finds nobody talking, and waits for nothing.
                if self._bell.is_set():
                    await asyncio.sleep(0)
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._terms.lease_seconds / 16)

    async def _talk(self) -> bool:
        """Say what there is to say. Whether the server answered."""
        self._bell.clear()
        try:
            await self._exchange()
        except (StoreUnavailable, TimeoutError) as error:
            self._note_away(describe_failure(error, self._terms.timeout_seconds))
            return False
        except Exception:  # a mistake of ours: nobody may wait for ever
            log.exception("talking to the shared counters failed")
            await self._link.close()
            for tally in self.tallies.values():
                tally.lose()
            self._note_away("a mistake in the gateway; its log has the details")
            return False
        self.availability.record_success()
        return True

    async def _exchange(self) -> None:
        """One round trip, and a second where the connection turns out to have been closed meanwhile."""
        bound = self._terms.timeout_seconds
        if self.availability.unavailable_reason is not None:  # nobody waits: a connection may take its time
            bound = max(bound, self._terms.lease_seconds / 8)
        async with self._is_free:
            with self._bound.within(bound):
                await self._exchange_now()

    async def _exchange_now(self) -> None:
        try:
            if self._link.is_open and not self._must_reopen:
                await self._exchange_once()
                return
        except StoreUnavailable:
            pass  # an idle connection may end without a sign; what was sent on it goes again as it was
        await self._link.close()
        await self._link.open()
        self._must_reopen = False
        self.availability.warn(self._link.warning)
        self._dirty = dict.fromkeys(self.tallies.values())
        await self._exchange_once()

    async def _exchange_once(self) -> None:
        dirty, self._dirty = self._dirty, {}
        now = self._clock()
        asked = []
        commands: list[Command] = []
        for tally in dirty:
            request = tally.next_request(run_of(self._link), now)
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
            if isinstance(reply, Redirect):
                self._send_elsewhere(tally, reply)
            else:
                self._receive(tally, reply, heard_at)

    # What is heard.

    def _receive(self, tally: AccountTally, reply: bytes, now: float) -> None:
        was = tally.acknowledged
        answers = tally.receive(reply, now)
        self._totals.operations += len(answers)
        for take, answer in answers:
            self._deliver(tally, take, answer)
        if tally.acknowledged is None and was is not None:
            tell_fenced(self._context.gateway, tally)
        elif was is None and tally.acknowledged is not None:
            self._heartbeat.hurry()
        if tally.refill_until > now:
            self.availability.record_recovery(tally.refill_until - now)
        if not tally.is_idle:
            self.ring(tally)

    def _send_elsewhere(self, tally: AccountTally, reply: Redirect) -> None:
        tally.lose()
        self._drop(tally)
        assert self._guide is not None, "only a node of a cluster says so"
        self._guide.take_in(tally, reply)

    def _answer_all_alone(self) -> None:
        for tally in self.tallies.values():
            self._context.answer_alone(tally)

    def _note_away(self, why: str) -> None:
        self.availability.record_failure(why)
        self._answer_all_alone()
        self._must_ask = True
        self._bell.set()

    # What the heartbeat tells.

    def _look(self) -> None:
        """It was not answered: look whether it is the same for the calls."""
        self._must_ask = True
        self._bell.set()

    def _reopen(self) -> None:
        """Another server has taken over, though this one still answers: go there before it admits by itself."""
        self._must_reopen = True
        self._look()

    def __repr__(self) -> str:
        return f"<Shard {self.availability!r} {list(self.tallies.values())}>"
