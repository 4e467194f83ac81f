"""What Prometheus is told of the counters: where they are, who shares them, and how the store answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from .exposition import Family
from .families import counter, gauge


class StoreTotals(Protocol):
    """What shared counters tell of their store, since the start."""

    batches: int
    seconds: float
    operations: int
    failures: int
    alone: dict[str, int]


class Shared(Protocol):
    """Counters that gateways share."""

    @property
    def totals(self) -> StoreTotals: ...

    @property
    def gateways(self) -> int:
        """How many gateways shared them when the store was last heard."""


class Counters(NamedTuple):
    """Who counts, and where: `gateways` lists the ids of the processes, `store` is the same for all that count
    together, and for nobody else. `shared` and `lease_seconds` are None where counters are in memory."""

    gateways: Callable[[], Iterable[str]]
    store: str
    shared: Shared | None = None
    lease_seconds: float | None = None


def list_counters(counters: Counters) -> Iterator[Family]:
    """Of the store there are no rows where counters are in memory."""
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
        "Gateways that shared the counters when the store was last heard, with this one; 1 with counters in memory.",
        (),
        [((), shared.gateways if shared is not None else 1)],
    )
    yield gauge(
        "lease_seconds",
        "Seconds after which the store gives back the slots of a gateway that it does not hear (shared.lease_seconds).",
        (),
        [] if counters.lease_seconds is None else [((), counters.lease_seconds)],
    )
    yield from _list_totals([] if shared is None else [shared.totals])


def _list_totals(totals: list[StoreTotals]) -> Iterator[Family]:
    yield counter(
        "store_batches",
        "Round trips to the store of the shared counters; each carries what there is to say.",
        (),
        [((), store.batches) for store in totals],
    )
    yield counter(
        "store_seconds", "Seconds that these round trips took.", (), [((), store.seconds) for store in totals]
    )
    yield counter(
        "store_acquires",
        "Calls whose slots and tokens the store was asked for; by batches, how many one carries.",
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
        [((decision,), count) for store in totals for decision, count in store.alone.items()],
    )
