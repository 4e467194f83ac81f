"""Describes and starts several gateways that share their counters, each with a proxy before the store."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

from .calls import GatewayInstance, PlannedCall
from .faults.fault_log import LEASE
from .faults.proxy import FaultProxy
from .judging.history import CallHistory
from .node import ProxiedNode
from .quotas import AccountQuota, Unusable, read_accounts
from .store import SPAWN, SharedStore, store_for
from .target import SERVE, fetch_limits, write_settings
from .traffic.clients import CallRoute
from .wire import HostPort

# Short, so that a round is: each fault that is longer than a lease takes two of them.
LEASE_SECONDS = 3.0
# Long calls of the workload outlive a lease, and some the longest stop, which a gateway must count when it is back.
LONG_CALL_BEYOND_LEASE, LONG_CALL_BEYOND_STOP = 2.0, 4.0
FUNCTION_BEYOND_STOP, TIMEOUT_BEYOND_STOP = 4.5, 6.0
STOPPED_LEASES = 3
COUNT_SECONDS = 0.4  # within which a gateway must return what is in flight


@dataclass(frozen=True)
class Sharing:
    """Describes gateways that share a store: their number, the store ("spawn", or its URL), the seconds of a lease,
    when a dead gateway's slots come back ("lease" or "timeout"), and the number of workers of each gateway."""

    gateways: int
    store: str = SPAWN
    lease_seconds: float = LEASE_SECONDS
    reclaim_after: str = LEASE
    workers: int = 1

    @property
    def store_timeout_seconds(self) -> float:
        """As long as a gateway may give the store, for a machine that is busy with all this stands still for more than
        the default 250 ms now and then."""
        return self.lease_seconds / 4

    @property
    def stop_seconds(self) -> float:
        """Returns for how long a gateway is stopped at most."""
        return STOPPED_LEASES * self.lease_seconds

    @property
    def long_call_seconds(self) -> tuple[float, float]:
        """Returns the shortest and the longest time that a long call runs."""
        return self.lease_seconds + LONG_CALL_BEYOND_LEASE, self.stop_seconds + LONG_CALL_BEYOND_STOP

    @property
    def function_seconds(self) -> float:
        return self.stop_seconds + FUNCTION_BEYOND_STOP

    @property
    def timeout_seconds(self) -> float:
        return self.stop_seconds + TIMEOUT_BEYOND_STOP

    @property
    def options(self) -> str:
        """Returns the options that start the same cluster again. A URL may hold a password, and is not repeated."""
        store = SPAWN if self.store == SPAWN else "redis://..."
        heal = f" --reclaim-after {self.reclaim_after}" if self.reclaim_after != LEASE else ""
        workers = f" --workers {self.workers}" if self.workers > 1 else ""
        return f" --gateways {self.gateways}{workers} --redis {store} --lease {self.lease_seconds:g}{heal}"

    def settings(self, url: str) -> dict[str, Any]:
        """Returns the settings of a gateway on this store."""
        shared = {
            "lease_seconds": self.lease_seconds,
            "store_timeout_seconds": self.store_timeout_seconds,
            "reclaim_after": self.reclaim_after,
        }
        return {"counters": url, "shared": shared, "workers": self.workers}


class ClusterRoute(CallRoute):
    """Each call goes to its home, or to the next that is up."""

    def __init__(self, cluster: GatewayCluster, history: CallHistory) -> None:
        super().__init__(cluster.nodes[0].invoke, history)
        self._nodes = cluster.nodes

    def direct(self, call: PlannedCall) -> HostPort:
        home = crc32(call.id.encode()) if call.home is None else call.home
        turns = [self._nodes[(home + step) % len(self._nodes)] for step in range(len(self._nodes))]
        node = next((node for node in turns if node.is_up), turns[0])
        call.through = node.gateway
        return node.invoke


class GatewayCluster:
    """The gateways under test, where there are several."""

    def __init__(self, sharing: Sharing, store: SharedStore, nodes: list[ProxiedNode]) -> None:
        self.sharing = sharing
        self.store = store
        self.nodes = nodes
        self.timeout_seconds = sharing.timeout_seconds

    @property
    def gateways(self) -> list[GatewayInstance]:
        """Lists the gateway of each node."""
        return [node.gateway for node in self.nodes]

    def check(self) -> None:
        for node in self.nodes:
            node.check()

    def route(self, history: CallHistory) -> CallRoute:
        return ClusterRoute(self, history)

    async def fetch_limits(self) -> dict[str, Any]:
        """Returns the accounts of the /limits of all gateways. Raises `Silent`, or `Died`."""
        self.check()
        documents = [await fetch_limits(node.admin) for node in self.nodes]
        return {"accounts": [account for document in documents for account in document["accounts"]]}

    async def count_in_flight(self) -> tuple[int | None, int | None]:
        """Returns the calls in flight by the store's count, and the sum of the gateways' own counts. A count that
        no gateway returns in time is `None`."""
        up = [node for node in self.nodes if node.is_up]
        answers = await asyncio.gather(*(_count_in_flight(node.admin) for node in up))
        sums = [count for count in answers if count is not None]
        held = [here for _, here in sums if here is not None]
        return (sums[0][0] if sums else None), (sum(held) if held else None)

    async def read_accounts(self) -> list[AccountQuota]:
        """Returns the accounts. Raises `Unusable` where the gateways have different limits."""
        answers = [read_accounts(await fetch_limits(node.admin)) for node in self.nodes]
        if any(accounts != answers[0] for accounts in answers):
            raise Unusable(f"the gateways do not have the same limits: {answers}")
        return answers[0]


async def _count_in_flight(admin: HostPort) -> tuple[int, int | None] | None:
    try:
        async with asyncio.timeout(COUNT_SECONDS):
            accounts = (await fetch_limits(admin))["accounts"]
    except (Unusable, TimeoutError):
        return None
    here = [account["in_flight_here"] for account in accounts if "in_flight_here" in account]
    return sum(account["in_flight"] for account in accounts), sum(here) if here else None


@contextlib.asynccontextmanager
async def started_cluster(
    sharing: Sharing, backend_url: str, accounts: list[AccountQuota], rng: Random, serve: Sequence[str] = SERVE
) -> AsyncIterator[GatewayCluster]:
    """Gateways of our own, relays and store for the length of the block. Raises `Died`, or `Unusable`."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_for(sharing.store))
        nodes = []
        for number in range(sharing.gateways):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="invoke-gateway-prove-"))
            proxy = FaultProxy(store.endpoint, rng)
            settings = write_settings(accounts, backend_url, sharing.timeout_seconds)
            settings |= sharing.settings(store.url_through(await proxy.start()))
            stack.push_async_callback(proxy.stop)
            nodes.append(ProxiedNode(number, settings, Path(folder), serve, proxy))
        stack.push_async_callback(_stop, nodes)
        await asyncio.gather(*(node.start() for node in nodes))
        yield GatewayCluster(sharing, store, nodes)


async def _stop(nodes: list[ProxiedNode]) -> None:
    for node in nodes:  # a stalled proxy would delay the end of its gateway
        node.proxy.clear()
    await asyncio.gather(*(asyncio.to_thread(node.stop) for node in nodes))
