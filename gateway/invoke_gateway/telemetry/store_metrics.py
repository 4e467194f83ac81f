"""Lists the metrics of the counters: their store, the gateways that share it, the exchanges with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from .exposition import Family, counter, gauge


class StoreExchanges(Protocol):
    """Reads the exchanges with a store since the start."""

    batches: int
    seconds: float
    operations: int
    failures: int
    fallback: dict[str, int]


class SharedCounts(Protocol):
    """Reads counters that gateways share."""

    @property
    def totals(self) -> StoreExchanges: ...

    @property
    def gateways(self) -> int:
        """Returns how many gateways shared the counters at the last exchange with the store."""


class CounterStore(NamedTuple):
    """Describes the store of counters.

    gateways: lists the ids of the processes of this gateway
    store: a name that exactly the gateways which count together have in common
    shared, lease_seconds: None where counters are in memory
    """

    gateways: Callable[[], Iterable[str]]
    store: str
    shared: SharedCounts | None = None
    lease_seconds: float | None = None


def list_counters(counters: CounterStore) -> Iterator[Family]:
    """Lists the metrics; those of a store have no rows where counters are in memory."""
    shared = counters.shared
    yield gauge(
        "counters_info",
        "1, with this gateway's id and the store of its counters as labels: the store's URL without credentials, or"
        " with counters in memory the gateway's id. Gateways of one store hold its limits together.",
        ("gateway", "store"),
        [((gateway, counters.store), 1) for gateway in counters.gateways()],
    )
    yield gauge(
        "gateways",
        "Gateways that share the counters, this one included, by the last exchange with the store; 1 in memory.",
        (),
        [((), shared.gateways if shared is not None else 1)],
    )
    yield gauge(
        "lease_seconds",
        "Seconds without a heartbeat after which the store releases a gateway's slots (shared.lease_seconds).",
        (),
        [] if counters.lease_seconds is None else [((), counters.lease_seconds)],
    )
    yield from _list_totals([] if shared is None else [shared.totals])


def _list_totals(totals: list[StoreExchanges]) -> Iterator[Family]:
    yield counter(
        "store_batches",
        "Round trips to the store of the shared counters; each carries all pending requests.",
        (),
        [((), store.batches) for store in totals],
    )
    yield counter(
        "store_seconds",
        "Seconds that round trips to the store took.",
        (),
        [((), store.seconds) for store in totals],
    )
    yield counter(
        "store_acquires",
        "Calls for which slots and tokens were requested of the store; divided by batches, the calls in a batch.",
        (),
        [((), store.operations) for store in totals],
    )
    yield counter(
        "store_failures",
        "Round trips to the store that failed or took longer than shared.store_timeout_seconds.",
        (),
        [((), store.failures) for store in totals],
    )
    yield counter(
        "store_fallback",
        "Calls decided locally while the store was unavailable, by decision (shared.on_store_failure).",
        ("decision",),
        [((decision,), count) for store in totals for decision, count in store.fallback.items()],
    )
