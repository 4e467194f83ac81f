"""Opens what a store of the settings holds: the shared counters and the events."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import TYPE_CHECKING

from ..background import BackgroundTasks
from ..policy.limits import Limits
from ..policy.os_text import printable
from ..queue.base import Store
from ..queue.clock import Clock
from ..queue.location import find_file
from ..queue.sqlite.store import SqliteStore
from ..settings import Settings
from ..store.store_name import name_store
from ..telemetry.store_metrics import CounterStore

if TYPE_CHECKING:
    from ..counters.shared.counters import SharedCounters


def make_shared_counters(
    settings: Settings, name: str | None, limits: Callable[[], Limits], tasks: BackgroundTasks
) -> SharedCounters | None:
    """Makes the counters on a store; None if `counters` is `memory`, and then redis-py is not imported."""
    if settings.counters == "memory":
        return None
    from ..counters.shared.counters import SharedCounters
    from ..counters.shared.shared_config import SharedConfig

    shared = settings.shared
    terms = SharedConfig(
        settings.counters,
        shared.lease_seconds,
        shared.store_timeout_seconds,
        shared.on_store_failure,
        settings.backend.timeout_seconds if shared.reclaim_after == "timeout" else 0.0,
        name,
        shared.expected_gateways,
        settings.workers,
    )
    return SharedCounters(terms, limits=limits, degraded=tasks.degraded, tasks=tasks)


def describe_counters(settings: Settings, shared: SharedCounters | None) -> CounterStore:
    """Describes the counters for metrics. Counters in memory are a store with a name that no other gateway has."""
    if shared is None:
        gateway = f"g-{token_hex(4)}"
        return CounterStore(lambda: [gateway], store=gateway)
    return CounterStore(lambda: [shared.gateway], name_store(settings.counters), shared, settings.shared.lease_seconds)


def make_event_store(settings: Settings, gateway: str, tasks: BackgroundTasks, clock: Clock) -> tuple[Store, str]:
    """Returns the store of events, and its location: a URL without credentials, or the path of a file."""
    url = settings.event_store
    events = settings.async_
    if url is not None and not url.startswith("sqlite:"):
        from ..queue.redis.store import StreamStore  # and redis-py with it

        lease = settings.shared.lease_seconds
        most = events.maximum_events
        shared = StreamStore(url, gateway=gateway, lease_seconds=lease, maximum_events=most, tasks=tasks)
        return shared, name_store(url)
    path, is_temporary = find_file(url, settings.listen.port, is_demo=settings.backend.url == "demo")
    most = events.maximum_events
    return SqliteStore(path, maximum_events=most, is_temporary=is_temporary, clock=clock), printable(str(path))
