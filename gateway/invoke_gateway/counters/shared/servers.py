"""Lists the servers of a store: one, by its address or through sentinels, or the nodes of a cluster."""

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
from .shard_context import AccountOwner, AccountTally, ShardContext


class Servers(Protocol):
    """Assigns each account to the server that counts it."""

    async def start(self) -> None:
        """Starts the exchanges, and returns once each server had one. An unavailable server does not fail it."""

    async def close(self) -> None:
        """Releases everything, as `Shard.close` does."""

    def assign(self, tally: AccountTally) -> None:
        """Finds an owner for the account."""

    def owners(self) -> list[AccountOwner]:
        """Returns all owners of accounts."""

    def shards(self) -> list[Shard]:
        """Returns the servers with which exchanges run."""


class OneServer:
    """Uses one server, or the primary that sentinels watch."""

    def __init__(self, context: ShardContext) -> None:
        url = split_store_url(context.config.url)
        find = find_primary_of(url, context.config.timeout_seconds / 2)
        self._shard = Shard(
            lambda: StoreConnection(url.connection, SERVER_RULES, where=url.where, find_server=find), context
        )

    async def start(self) -> None:
        await self._shard.start()

    async def close(self) -> None:
        await self._shard.close()

    def assign(self, tally: AccountTally) -> None:
        self._shard.assign(tally)

    def owners(self) -> list[AccountOwner]:
        return [self._shard]

    def shards(self) -> list[Shard]:
        return [self._shard]

    def __repr__(self) -> str:
        return repr(self._shard)


def make_servers(context: ShardContext) -> Servers:
    is_cluster = split_store_url(context.config.url).kind == "cluster"
    return Cluster(context) if is_cluster else OneServer(context)


async def read_sums(servers: Servers) -> dict[str, int] | None:
    """Returns the slots of all gateways, by counter; None where no server replies. Accounts of a server without a reply
    have the slots of this gateway."""
    own = {tally.account: dict(tally.held) for owner in servers.owners() for tally in owner.tallies.values()}
    answers = await asyncio.gather(*(_query_sums(shard) for shard in servers.shards()))
    on_renewed = [sums for sums in answers if sums is not None]
    if not on_renewed:
        return None
    accounts = own | {account: sums for sums_of in on_renewed for account, sums in sums_of.items()}
    return {counter: slots for sums in accounts.values() for counter, slots in sums.items()}


async def _query_sums(shard: Shard) -> dict[str, dict[str, int]] | None:
    """Returns the slots by account and counter; None without a reply."""
    accounts = list(shard.tallies)
    replies = await shard.query([("HGETALL", f"{base_key(account)}:sums") for account in accounts])
    if replies is None:
        return None
    return {
        account: {counter.decode(): int(slots) for counter, slots in zip(reply[::2], reply[1::2], strict=True)}
        for account, reply in zip(accounts, replies, strict=True)
        if isinstance(reply, list)  # else another node counts it
    }
