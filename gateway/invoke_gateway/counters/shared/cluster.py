"""A cluster's nodes: each counts the accounts whose slot it has, and is talked to by itself.

All keys of an account have one hash tag, so they are in one slot and on one node. When the slots move, or a replica
takes over, an account's tally is handed to another node's shard and goes on there as after any lost connection: what
was in doubt is sent again with its number, and the new node, which is another server process, refills for a lease.
While nobody counts an account (its slot is being moved, its node is not known) it waits in a place of its own.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

from redis.crc import key_slot

from ...background import BackgroundTask
from ...policy.store_url import Host, split_store_url
from ...store.connection import StoreConnection
from ...store.errors import StoreUnavailable
from .connecting import NODE_RULES, Redirect
from .script import base_key
from .shard import Shard
from .shard_context import AccountTally, Context, Place

log = logging.getLogger("invoke_gateway")

Slots = list[tuple[int, int, Host]]
"""First slot, last slot, the node that has them."""


class _Nowhere:
    """The accounts that no node counts now."""

    def __init__(self, context: Context, where: str) -> None:
        self.availability = context.make_availability(where)
        self.tallies: dict[str, AccountTally] = {}
        self._context = context

    def make_link(self) -> StoreConnection:
        raise StoreUnavailable(self.availability.unavailable_reason or "no node of the cluster counts the account now")

    def adopt(self, tally: AccountTally) -> None:
        """At the start; after that, who comes here is answered."""
        tally.shard = self
        self.tallies[tally.account] = tally
        if self.availability.unavailable_reason is None:
            self.take_in(tally, "the node that has its slot is not known")

    def take_in(self, tally: AccountTally, why: str) -> None:
        tally.shard = self
        self.tallies[tally.account] = tally
        self.availability.record_failure(f"account {tally.account}: {why}")
        self._context.answer_alone(tally)

    def ring(self, tally: AccountTally) -> None:
        """Its next place asks it anyway."""


class Cluster:
    def __init__(self, context: Context) -> None:
        self._url = split_store_url(context.terms.url)
        self._context = context._replace(tell=self._note_availability)
        self._tell = context.tell
        self._terms = context.terms
        self._nowhere = _Nowhere(context, self._url.where)
        self._shards: dict[Host, Shard] = {}
        self._slots: Slots = []
        self._hint: Host | None = None
        self._bell = asyncio.Event()
        self._task: BackgroundTask | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._bell.clear()
        await self._place_all()
        if not self._is_settled():
            self._bell.set()
        self._task = self._context.tasks.start(self._keep_placing, "places in the cluster")

    async def close(self) -> None:
        if self._task is not None:
            await self._task.close()
        for tally in self._nowhere.tallies.values():
            self._context.answer_alone(tally)
        await asyncio.gather(*(shard.close() for shard in self._shards.values()), *self._ending)

    def place(self, tally: AccountTally) -> None:
        shard = self._shard_of(tally.account)
        if shard is None:
            self._nowhere.adopt(tally)
        else:
            shard.adopt(tally)
        if shard is None or not shard.is_started:
            self._bell.set()

    def places(self) -> list[Place]:
        return [*self._shards.values(), self._nowhere]

    def shards(self) -> list[Shard]:
        return list(self._shards.values())

    # What shards tell.

    def take_in(self, tally: AccountTally, reply: Redirect) -> None:
        self._nowhere.take_in(tally, reply.reason)
        self.look(reply)

    def look(self, reply: Redirect) -> None:
        self._hint = reply.host
        self._bell.set()

    def _note_availability(self) -> None:
        self._tell()
        shards = self._shards.values()
        if any(
            shard.is_started and shard.availability.unavailable_reason for shard in shards
        ):  # perhaps another took over
            self._bell.set()

    # Placing.

    async def _keep_placing(self) -> None:
        if not self._is_settled():
            self._bell.set()
        pause = least = min(0.02, self._terms.lease_seconds / 100)
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self._place_all()
            except Exception:  # a mistake of ours must not end it
                log.exception("placing accounts on the nodes of the cluster failed")
            await asyncio.sleep(pause)
            if self._is_settled():
                pause = least
                continue
            self._bell.set()
            pause = min(pause * 2, self._terms.lease_seconds / 16)

    def _is_settled(self) -> bool:
        if self._nowhere.tallies or self._bell.is_set():
            return False
        if self._nowhere.availability.unavailable_reason is not None:
            self._nowhere.availability.record_success()
        return all(shard.availability.unavailable_reason is None for shard in self._shards.values())

    async def _place_all(self) -> None:
        """Learn anew which node has which slots, and hand the accounts over."""
        try:
            self._slots = await self._learn()
        except StoreUnavailable as error:
            if not self._slots:
                for tally in list(self._nowhere.tallies.values()):
                    self._nowhere.take_in(tally, str(error))
                return
        for tally in [tally for place in self.places() for tally in place.tallies.values()]:
            await self._move(tally, self._shard_of(tally.account))
        self._retire_idle()
        await asyncio.gather(*(shard.start() for shard in self._shards.values() if not shard.is_started))
        self._tell()

    async def _move(self, tally: AccountTally, shard: Shard | None) -> None:
        was = tally.shard
        if was is shard:
            return
        if isinstance(was, Shard):
            await was.release(tally)
            if tally.shard is not was:  # it was led astray meanwhile
                return
        else:
            self._nowhere.tallies.pop(tally.account, None)
        if shard is None:
            self._nowhere.take_in(tally, "no node of the cluster has its slot")
        else:
            shard.adopt(tally)

    def _shard_of(self, account: str) -> Shard | None:
        """None where no node is known to have its slot."""
        slot = key_slot(base_key(account).encode())
        host = next((host for first, last, host in self._slots if first <= slot <= last), None)
        if host is None:
            return None
        shard = self._shards.get(host)
        if shard is None:
            shard = self._shards[host] = Shard(lambda: self._make_link(host), self._context, guide=self)
        return shard

    def _make_link(self, host: Host) -> StoreConnection:
        async def find() -> Host:
            return host

        return StoreConnection(self._url.connection, NODE_RULES, where=f"node {host[0]}:{host[1]}", find_server=find)

    def _retire_idle(self) -> None:
        for host, shard in list(self._shards.items()):
            if not shard.tallies:
                del self._shards[host]
                task = self._context.tasks.run_once(shard.close(), "leaving a node")
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    # Slots.

    async def _learn(self) -> Slots:
        """Ask one node after the other until one answers. Raises `StoreUnavailable`."""
        why = ""
        for host in self._candidates():
            try:
                async with asyncio.timeout(self._terms.timeout_seconds):
                    return await self._ask_slots(host)
            except (StoreUnavailable, TimeoutError) as error:
                why = f"{host[0]}:{host[1]}: {str(error) or 'no answer'}"
        raise StoreUnavailable(f"none of its nodes says who has which slots ({why})")

    def _candidates(self) -> list[Host]:
        hint, self._hint = self._hint, None
        known = {host for _, _, host in self._slots} | set(self._url.hosts)
        away = {host for host, shard in self._shards.items() if shard.availability.unavailable_reason}
        mixed = random.sample(sorted(known), len(known))
        return [*([hint] if hint else []), *sorted(mixed, key=away.__contains__)]

    async def _ask_slots(self, host: Host) -> Slots:
        link = self._make_link(host)
        try:
            await link.connect()
            (reply,) = await link.call([("CLUSTER", "SLOTS")])
            return [_read_range(part, host) for part in reply]
        finally:
            await link.close()

    def __repr__(self) -> str:
        return f"<Cluster {self.places()}>"


def _read_range(part: list[Any], asked: Host) -> tuple[int, int, Host]:
    """A node that does not know its own name is the one that was asked."""
    first, last, (name, port, *_), *_ = part
    return first, last, (name.decode() if name else asked[0], port)
