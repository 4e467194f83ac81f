"""Assigns accounts to the nodes of a cluster. Each node counts the accounts whose slot it has.

All keys of an account have one hash tag, so they are in one slot and on one node. When the slots move, or a replica
takes over, an account's tally moves to another node's shard. There it continues as after any lost connection: what was
in doubt is sent again with its number, and the new node, which is another server process, recovers for a lease. While
no node counts an account (its slot is being moved, its node is not known) the account is `Unassigned`.
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
from .shard_context import AccountOwner, AccountTally, ShardContext, Unassigned

log = logging.getLogger("invoke_gateway")

Slots = list[tuple[int, int, Host]]
"""Lists the first slot, the last slot, and the node that has them."""


class Cluster:
    def __init__(self, context: ShardContext) -> None:
        self._url = split_store_url(context.config.url)
        self._context = context._replace(on_change=self._note_availability)
        self._on_change = context.on_change
        self._config = context.config
        self._unassigned = Unassigned(context, self._url.where)
        self._shards: dict[Host, Shard] = {}
        self._slots: Slots = []
        self._hint: Host | None = None
        self._bell = asyncio.Event()
        self._task: BackgroundTask | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._bell.clear()
        await self._assign_all()
        if not self._is_settled():
            self._bell.set()
        self._task = self._context.tasks.start(self._keep_assigning, "assignment of accounts to cluster nodes")

    async def close(self) -> None:
        if self._task is not None:
            await self._task.close()
        for tally in self._unassigned.tallies.values():
            self._context.refuse_pending(tally)
        await asyncio.gather(*(shard.close() for shard in self._shards.values()), *self._ending)

    def assign(self, tally: AccountTally) -> None:
        shard = self._shard_of(tally.account)
        if shard is None:
            self._unassigned.assign(tally)
        else:
            shard.assign(tally)
        if shard is None or not shard.is_started:
            self._bell.set()

    def owners(self) -> list[AccountOwner]:
        return [*self._shards.values(), self._unassigned]

    def shards(self) -> list[Shard]:
        return list(self._shards.values())

    # Called by shards.

    def reassign(self, tally: AccountTally, reply: Redirect) -> None:
        self._unassigned.reassign(tally, reply.reason)
        self.refresh(reply)

    def refresh(self, reply: Redirect) -> None:
        self._hint = reply.host
        self._bell.set()

    def _note_availability(self) -> None:
        self._on_change()
        shards = self._shards.values()
        if any(
            shard.is_started and shard.availability.unavailable_reason for shard in shards
        ):  # perhaps another took over
            self._bell.set()

    # The assignment of accounts.

    async def _keep_assigning(self) -> None:
        if not self._is_settled():
            self._bell.set()
        pause = least = min(0.02, self._config.lease_seconds / 100)
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self._assign_all()
            except Exception:  # a bug must not end it
                log.exception("Assigning accounts to the nodes of the cluster failed.")
            await asyncio.sleep(pause)
            if self._is_settled():
                pause = least
                continue
            self._bell.set()
            pause = min(pause * 2, self._config.lease_seconds / 16)

    def _is_settled(self) -> bool:
        if self._unassigned.tallies or self._bell.is_set():
            return False
        if self._unassigned.availability.unavailable_reason is not None:
            self._unassigned.availability.record_success()
        return all(shard.availability.unavailable_reason is None for shard in self._shards.values())

    async def _assign_all(self) -> None:
        """Reads which node has which slots, and assigns the accounts."""
        try:
            self._slots = await self._learn()
        except StoreUnavailable as error:
            if not self._slots:
                for tally in list(self._unassigned.tallies.values()):
                    self._unassigned.reassign(tally, str(error))
                return
        for tally in [tally for owner in self.owners() for tally in owner.tallies.values()]:
            await self._move(tally, self._shard_of(tally.account))
        self._retire_idle()
        await asyncio.gather(*(shard.start() for shard in self._shards.values() if not shard.is_started))
        self._on_change()

    async def _move(self, tally: AccountTally, shard: Shard | None) -> None:
        was = tally.shard
        if was is shard:
            return
        if isinstance(was, Shard):
            await was.release(tally)
            if tally.shard is not was:  # it was redirected meanwhile
                return
        else:
            self._unassigned.tallies.pop(tally.account, None)
        if shard is None:
            self._unassigned.reassign(tally, "no node of the cluster has its slot")
        else:
            shard.assign(tally)

    def _shard_of(self, account: str) -> Shard | None:
        """Returns the shard of the node that has the account's slot; None without such a node."""
        slot = key_slot(base_key(account).encode())
        host = next((host for first, last, host in self._slots if first <= slot <= last), None)
        if host is None:
            return None
        shard = self._shards.get(host)
        if shard is None:
            shard = self._shards[host] = Shard(lambda: self._make_link(host), self._context, slot_map=self)
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
        """Queries one node after the other until one replies. Raises `StoreUnavailable`."""
        why = ""
        for host in self._candidates():
            try:
                async with asyncio.timeout(self._config.timeout_seconds):
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
        return f"<Cluster {self.owners()}>"


def _read_range(part: list[Any], asked: Host) -> tuple[int, int, Host]:
    """Reads one range. A node that does not know its own name is the one that was queried."""
    first, last, (name, port, *_), *_ = part
    return first, last, (name.decode() if name else asked[0], port)
