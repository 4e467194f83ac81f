"""Exchanges batches with one server of the store: its accounts, its heartbeat and its availability.

Servers are independent: the failure of one does not affect another's accounts. While a server replies, its exchanges
need no task (direct_exchange.py). A task opens connections, checks the server, and waits after a failure.

This file is longer than 300 lines: exchanges with a task and without one change the same state.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from ...background import BackgroundTask
from ...store.connection import StoreConnection
from ...store.errors import StoreUnavailable, describe_failure
from ...store.resp import Command, encode_commands
from .connecting import Redirect, run_of
from .direct_exchange import Asked, DirectExchange
from .lease_events import LeaseEvents, log_fenced
from .messages import Take, encode_forget
from .script import FORGET, base_key, encode_call
from .shard_context import AccountOwner, AccountTally, ShardContext, SlotMap

log = logging.getLogger("invoke_gateway")

_PING = encode_commands([("PING",)])


class Shard(AccountOwner):
    """Serves the accounts of one server. `make_link` returns a new connection. A node of a cluster has a `slot_map`."""

    def __init__(
        self,
        make_link: Callable[[], StoreConnection],
        context: ShardContext,
        *,
        slot_map: SlotMap | None = None,
    ) -> None:
        self.tallies: dict[str, AccountTally] = {}
        self._make_link = make_link
        self._link = make_link()
        self.availability = context.make_availability(self._link.where)
        self._config = context.config
        self._context = context
        self._slot_map = slot_map
        self._totals = context.totals
        self._deliver = context.deliver
        self._clock = context.clock
        self._dirty: dict[AccountTally, None] = {}
        self._waiting = 0  # takes since the last exchange began
        self._bell = asyncio.Event()
        self._lease_events = LeaseEvents(
            make_link(),
            context,
            self.tallies,
            self.availability,
            slot_map,
            mark_dirty=self.mark_dirty,
            check_now=self._check_now,
            reconnect=self._reconnect,
        )
        self._must_check = True
        self._must_reopen = False
        self._waits_since: float | None = None
        self._task: BackgroundTask | None = None
        self._direct = DirectExchange(
            self._link,
            timeout_seconds=self._config.timeout_seconds,
            clock=self._clock,
            count_waiting=lambda: self._waiting,
            collect=self._collect,
            apply=self._apply,
            on_failure=self._on_failure,
            on_blocked=self._bell.set,
        )

    # Its life.

    @property
    def is_started(self) -> bool:
        return self._task is not None

    async def start(self) -> None:
        """Starts the exchanges, and returns after the first one. It does not fail where the server is unavailable:
        `availability` has the cause."""
        await self._run_exchange()
        self._lease_events.start()
        self._task = self._context.tasks.start(self._keep_exchanging, "shared counters")

    async def close(self) -> None:
        """Releases everything, so that no gateway waits for the lease to end. Where slots are to be kept for calls that
        still run in the backend, they are reported instead."""
        if self._task is not None:
            with await self._direct.turn():  # the exchange under way is finished
                self._direct.close()
                self._task.cancel()
            await self._task.close()
            await self._lease_events.close()
        self._answer_all_pending()
        if self.availability.unavailable_reason is None and self.tallies:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                await self._unregister()
        await self._link.close(self._config.timeout_seconds)

    async def _unregister(self) -> None:
        if self._config.keep_seconds and any(tally.held for tally in self.tallies.values()):
            await self._exchange()
            return
        async with asyncio.timeout(self._config.timeout_seconds):
            if not self._link.is_open:
                await self._link.open()
            argument = encode_forget(self._context.gateway)
            await self._link.call(("EVALSHA", FORGET.sha, 1, base_key(account), argument) for account in self.tallies)

    # Requests.

    def make_link(self) -> StoreConnection:
        return self._make_link()

    def assign(self, tally: AccountTally) -> None:
        tally.shard = self
        self.tallies[tally.account] = tally
        self.mark_dirty(tally)
        self._lease_events.renew_now()

    async def release(self, tally: AccountTally) -> None:
        """Stops counting an account. The exchange under way is finished first."""
        with await self._direct.turn():
            self._drop(tally)

    def _drop(self, tally: AccountTally) -> None:
        self.tallies.pop(tally.account, None)
        self._dirty.pop(tally, None)

    def enqueue(self, tally: AccountTally, take: Take) -> None:
        """Has a take sent with the next exchange."""
        tally.enqueue(take)
        self._waiting += 1
        self._dirty[tally] = None
        if not self._direct.is_scheduled:
            self._direct.schedule()

    def mark_dirty(self, tally: AccountTally) -> None:
        self._dirty[tally] = None
        if not self._direct.is_scheduled:
            self._direct.schedule()

    async def query(self, commands: list[Command]) -> list[Any] | None:
        """Returns the replies to commands that change nothing; None without a reply within the time bound."""
        try:
            return await self.ask(lambda run: commands)
        except StoreUnavailable:
            return None

    async def ask(self, make_commands: Callable[[str], list[Command]]) -> list[Any]:
        """Returns the replies to commands, which are made for the server process of the connection. Raises
        `StoreUnavailable` without a reply within the time bound: any number of the commands may have been executed."""
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                with await self._direct.turn():
                    return await self._link.call(make_commands(run_of(self._link)))
        except (StoreUnavailable, TimeoutError) as error:
            self._check_now()
            cause = self.availability.unavailable_reason or describe_failure(error, self._config.timeout_seconds)
            raise StoreUnavailable(cause) from error

    async def _keep_exchanging(self) -> None:
        self._dirty = dict.fromkeys(self.tallies.values())  # what an earlier run took out, and did not send
        self._bell.set()
        pause = least = min(0.02, self._config.lease_seconds / 100)
        while True:
            await self._bell.wait()
            if await self._run_exchange():
                pause = least
                # Under load the next exchange also carries what else this iteration of the event loop brings: an
                # exchange costs more than what it carries. A lone request is sent immediately.
                if self._bell.is_set():
                    await asyncio.sleep(0)
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._config.lease_seconds / 16)

    async def _run_exchange(self) -> bool:
        """Sends what is due. Returns True where the server replied."""
        self._bell.clear()
        try:
            await self._exchange()
        except (StoreUnavailable, TimeoutError) as error:
            self._record_failure(describe_failure(error, self._config.timeout_seconds))
            return False
        except Exception as error:
            self._record_bug(error)
            return False
        self.availability.record_success()
        self._direct.is_on = True
        return True

    async def _exchange(self) -> None:
        """Makes one round trip, and a second where the connection was closed meanwhile."""
        bound = self._config.timeout_seconds
        since, self._waits_since = self._waits_since, None
        if self.availability.unavailable_reason is not None:  # no request waits: connecting may take longer
            bound = max(bound, self._config.lease_seconds / 8)
        elif since is not None:  # requests wait since then
            bound = max(0.0, since + bound - self._clock())
        with await self._direct.turn():
            async with asyncio.timeout(bound):
                await self._exchange_now()

    async def _exchange_now(self) -> None:
        try:
            if self._link.is_open and not self._must_reopen:
                await self._exchange_once()
                return
        except StoreUnavailable:
            pass  # an idle connection may end without notice; its batch is sent again as it was
        await self._link.close()
        await self._link.open()
        self._must_reopen = False
        self.availability.warn(self._link.warning)
        self._dirty = dict.fromkeys(self.tallies.values())
        await self._exchange_once()

    async def _exchange_once(self) -> None:
        now = self._clock()
        asked, data = self._collect(now)
        if not asked and not self._must_check:
            return
        try:
            replies = await self._link.exchange(data or _PING, len(asked) or 1)
        except BaseException:
            self._lose(asked)
            raise
        self._must_check = False
        self._apply(asked, replies, now)

    # What both have in common.

    def _collect(self, now: float) -> tuple[Asked, bytes]:
        """Returns the accounts with something due, and their requests."""
        dirty, self._dirty = self._dirty, {}
        self._waiting = 0
        run = run_of(self._link)
        asked: Asked = []
        data = b""
        for tally in dirty:
            request = tally.next_request(run, now)
            if request is not None:
                asked.append(tally)
                data += encode_call(request[0], tally.account, request[1])
        return asked, data

    def _apply(self, asked: Asked, replies: list[Any], sent_at: float) -> None:
        now = self._clock()
        totals = self._totals
        totals.batches += 1
        totals.seconds += now - sent_at
        for tally, reply in zip(asked, replies, strict=False):  # of a PING there is no tally
            if isinstance(reply, Redirect):
                self._redirect(tally, reply)
            else:
                self._apply_reply(tally, reply, now)

    def _lose(self, asked: Asked) -> None:
        """Records that the requests have no reply. They are sent again as they were."""
        for tally in asked:
            tally.mark_lost()
        self._totals.failures += 1

    # Replies.

    def _apply_reply(self, tally: AccountTally, reply: bytes, now: float) -> None:
        was = tally.acknowledged
        answers = tally.apply_reply(reply, now)
        self._totals.operations += len(answers)
        for take, answer in answers:
            self._deliver(tally, take, answer)
        if tally.acknowledged is None and was is not None:
            log_fenced(self._context.gateway, tally)
        elif was is None and tally.acknowledged is not None:
            self._lease_events.renew_now()
        if tally.recovers_until > now:
            self.availability.record_recovery(tally.recovers_until - now)
        if tally.is_stale:
            self._context.on_stale(tally)
        if not tally.is_idle:
            self.mark_dirty(tally)

    def _redirect(self, tally: AccountTally, reply: Redirect) -> None:
        tally.mark_lost()
        self._drop(tally)
        assert self._slot_map is not None, "only a node of a cluster says so"
        self._slot_map.reassign(tally, reply)

    def _answer_all_pending(self) -> None:
        for tally in self.tallies.values():
            self._context.refuse_pending(tally)

    def _on_failure(self, asked: Asked, error: Exception) -> None:
        """Records the failure of an exchange without a task. The task connects again."""
        self._must_reopen = True
        if isinstance(error, StoreUnavailable):  # an idle connection may end without notice
            self._lose(asked)
            self._waits_since = self._direct.sent_at
            self._direct.is_on = False
            self._bell.set()
        elif isinstance(error, TimeoutError):
            self._lose(asked)
            self._record_failure(describe_failure(error, self._config.timeout_seconds))
        else:
            self._record_bug(error)

    def _record_failure(self, why: str) -> None:
        self.availability.record_failure(why)
        self._answer_all_pending()
        self._check_now()

    def _record_bug(self, error: Exception) -> None:
        """Records an error of the gateway itself: no request may wait for ever."""
        log.error("An exchange with the shared counters failed.", exc_info=error)
        self._must_reopen = True
        for tally in self.tallies.values():
            tally.mark_lost()
        self._record_failure("an error in the gateway; its log has the details")

    # Called by the heartbeat.

    def _check_now(self) -> None:
        """Checks the server for the calls, too: its heartbeat had no reply."""
        self._must_check = True
        self._direct.is_on = False
        self._bell.set()

    def _reconnect(self) -> None:
        """Connects to the server that has taken over, before this one admits calls by itself."""
        self._must_reopen = True
        self._check_now()

    def __repr__(self) -> str:
        return f"<Shard {self.availability!r} {list(self.tallies.values())}>"
