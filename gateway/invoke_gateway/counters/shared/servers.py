"""The servers of a store: one, found by its address or through sentinels, or a cluster's nodes."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ...policy.store_url import split_store_url
from ...store.connection import StoreConnection
from ...store.sentinel import find_primary_of
from .cluster import Cluster
from .connecting import SERVER_RULES
from .script import base_key
from .shard import Shard
from .shard_context import AccountTally, Context, Place


class Servers(Protocol):
    """Whose matter it is where an account is counted."""

    async def start(self) -> None:
        """Begin to talk, and return once each server was asked. Does not fail where one is away."""

    async def close(self) -> None:
        """Give everything back, as `Shard.close` says."""

    def place(self, tally: AccountTally) -> None:
        """Find an account its place."""

    def places(self) -> list[Place]:
        """All that count an account, or that wait until they can."""

    def shards(self) -> list[Shard]:
        """The servers that are talked to."""


class OneServer:
    """A server by itself, or whichever is the primary of those that sentinels watch."""

    def __init__(self, context: Context) -> None:
        url = split_store_url(context.terms.url)
        find = find_primary_of(url, context.terms.timeout_seconds / 2)
        self._shard = Shard(
            lambda: StoreConnection(url.connection, SERVER_RULES, where=url.where, find_server=find), context
        )

    async def start(self) -> None:
        await self._shard.start()

    async def close(self) -> None:
        await self._shard.close()

    def place(self, tally: AccountTally) -> None:
        self._shard.adopt(tally)

    def places(self) -> list[Place]:
        return [self._shard]

    def shards(self) -> list[Shard]:
        return [self._shard]

    def __repr__(self) -> str:
        return repr(self._shard)


def make_servers(context: Context) -> Servers:
    is_cluster = split_store_url(context.terms.url).kind == "cluster"
    return Cluster(context) if is_cluster else OneServer(context)


async def read_sums(servers: Servers) -> dict[str, int] | None:
    """The slots over all gateways, by counter; None when no server answers. Of an account whose server does not, those
    of this gateway."""
    own = {tally.account: dict(tally.held) for place in servers.places() for tally in place.tallies.values()}
    answers = await asyncio.gather(*(_ask_sums(shard) for shard in servers.shards()))
    heard = [sums for sums in answers if sums is not None]
    if not heard:
        return None
    accounts = own | {account: sums for sums_of in heard for account, sums in sums_of.items()}
    return {counter: slots for sums in accounts.values() for counter, slots in sums.items()}


async def _ask_sums(shard: Shard) -> dict[str, dict[str, int]] | None:
    """By account."""
    accounts = list(shard.tallies)
    replies = await shard.ask([("HGETALL", f"{base_key(account)}:sums") for account in accounts])
    if replies is None:
        return None
    return {
        account: {counter.decode(): int(slots) for counter, slots in zip(reply[::2], reply[1::2], strict=True)}
        for account, reply in zip(accounts, replies, strict=True)
        if isinstance(reply, list)  # else it is elsewhere
    }
