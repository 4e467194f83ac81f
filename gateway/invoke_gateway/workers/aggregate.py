"""Sums what all workers of a gateway are and have done. The sums are refreshed about once a second, and on request."""

from __future__ import annotations

import asyncio
import itertools
import logging
import platform
from collections import Counter
from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..admin.limits import describe_limits
from ..admin.live.document import LiveView
from ..admin.live.episodes import Episodes
from ..admin.live.gateway_state import GatewayState
from ..admin.live.last_minute import SummedActivity, decode_activity
from ..admin.live.queue_watch import QueueWatch
from ..admin.live.sampling import Samples
from ..admin.live.sparklines import Sparklines
from ..admin.live.stream import LiveReader, LiveStream
from ..policy.limits import Limits
from ..store.store_name import name_store
from ..telemetry.event_metrics import Events
from ..telemetry.event_totals import EventTotals
from ..telemetry.exposition import Family
from ..telemetry.last_refusals import KEPT
from ..telemetry.logs.log import count_dropped_lines
from ..telemetry.metrics import Facts, GatewayMetrics
from ..telemetry.store_metrics import CounterStore
from ..telemetry.totals import Totals
from ..upstream.health import BackendState
from .channel import WorkerGone
from .handle import WorkerHandle, Workers
from .limits_in_force import LimitsInForce
from .queue import WorkersQueue
from .snapshots import (
    add_counts,
    add_throttles,
    describe_process,
    encode_totals,
    read_event_totals,
    read_totals,
    replace_totals,
    sum_processes,
)
from .sums import BufferSums, ConnectionSums, LevelSums, StoreSums, WorstCredentials, sum_pairs

log = logging.getLogger("invoke_gateway")

_PAUSE_SECONDS = 1.0
_PAUSES_BETWEEN_TOTALS = 5  # what a killed worker counted after its last report is lost
_REPLY_SECONDS = 1.0


class Aggregate:
    """Keeps the sums in place, so that every reader holds one object for good."""

    def __init__(self, workers: Workers) -> None:
        settings = workers.settings
        self._workers = workers
        self._retired: list[bytes] = []  # totals of workers that have ended: a counter never goes down
        self._retired_usage: dict[str, Any] = {}
        self._retired_store = StoreSums()
        self._refusals: list[dict[str, Any]] = []
        self._shared: dict[str, Any] = {"gateways": settings.workers, "sums_age_seconds": None}
        self.trouble: str | None = None
        self.why_not_ready: str | None = None
        self.event_trouble: str | None = None
        self._limits = LimitsInForce(settings)
        self.adopt = self._limits.adopt
        self.sums: Mapping[str, int] = {}
        self.holds: list[dict[str, Any]] = []
        self.held: Counter[str] = Counter()
        self.levels = LevelSums()
        self.totals = Totals()
        self.event_totals = EventTotals()
        self.queue = _make_queue(workers)
        self.throttles = Totals()
        self.connections = ConnectionSums()
        self.buffered = BufferSums()
        self.backend = BackendState(settings.backend.url)
        self.store = StoreSums()
        self.credentials = None if settings.signing is None else WorstCredentials()
        self.degraded: dict[str, bool] = {}
        self.samples = Samples(Sparklines(self.levels), Episodes(self.throttles), None)
        self.activity = SummedActivity()
        queue = None if self.queue is None else QueueWatch(self.queue)
        state = GatewayState(
            version=__version__,
            backend_url=settings.backend.url,
            backend=self.backend,
            degraded=self.degraded,
            name=workers.name,
            describe_holds=lambda: self.holds,
            fault_scripts=None,  # the settings refuse them with several workers
            queue=queue,
            describe_workers=workers.describe,
        )
        self.live_view = LiveView(
            limits=lambda: self.limits,
            levels=self.levels,
            totals=self.throttles,
            sparklines=self.samples.sparklines,
            episodes=self.samples.episodes,
            activity=self.activity,
            holds=lambda: self.held,
            refusals=self,
            is_draining=lambda: workers.is_draining,
            settings_error=lambda: workers.reload_state.error,
            describe_gateway=state.describe,
            shared=self,
        )
        self.live_stream = LiveStream(
            self.live_view,
            tasks=workers.tasks,
            readers=[
                LiveReader("sums of all gateways", self.read_sums),
                LiveReader("last minute of the workers", self.read_activity),
                *([LiveReader("queue of the live page", queue.read)] if queue else []),
            ],
        )
        self.metrics = GatewayMetrics(
            self.totals,
            limits=lambda: self.limits,
            levels=self.levels,
            holds=lambda: self.held,
            buffers=self.buffered,
            upstream=self.connections,
            backend=self.backend,
            degraded=self.degraded,
            counters=CounterStore(
                lambda: [worker.name for worker in workers.serving()],
                name_store(settings.counters),
                self.store,
                settings.shared.lease_seconds,
            ),
            workers=lambda: (len(workers.serving()), workers.replaced),
            events=None if self.queue is None else Events(self.event_totals, self.queue.levels),
            credentials=self.credentials,
            reloads=workers.reload_state,
            facts=Facts(__version__, platform.python_version(), settings.backend.timeout_seconds),
        )

    @property
    def limits(self) -> Limits:
        """Returns the limits in force."""
        return self._limits.table

    async def keep_refreshing(self) -> None:
        """Polls the workers until cancelled."""
        for number in itertools.count(1):
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self._workers.poll()
                if number % _PAUSES_BETWEEN_TOTALS == 0:
                    await self._workers.refresh_totals()
            except Exception:  # a defect must not end the polling
                log.exception("the workers' state could not be read")

    async def refresh(self) -> None:
        """Refreshes everything but `totals`."""
        serving = self._workers.serving()
        await self._workers.refresh()
        self._add_up([worker for worker in serving if worker.snapshot])
        await self._limits.refresh(self._workers.responsive(), _REPLY_SECONDS)

    async def read_totals(self) -> list[Family]:
        """Refreshes everything, and returns the sums of the processes' own metrics."""
        await self.refresh()
        await self._workers.refresh_totals()
        serving = self._workers.serving()
        encoded = [self._retired, *(worker.totals for worker in serving)]
        replace_totals(self.totals, read_totals(*encoded))
        self.totals.log_lines_dropped += count_dropped_lines()
        add_counts(self.totals.background_task_failures, self._workers.tasks.failures)
        if self.queue is not None:
            vars(self.event_totals).update(vars(read_event_totals(*encoded)))
            await self.queue.refresh()
            self.degraded |= self.queue.degraded
        usage = [self._retired_usage, *(worker.usage for worker in serving)]
        return sum_processes(await describe_process(), usage)

    async def read_sums(self) -> None:
        """Refreshes everything but `totals` and reads the slots of all gateways from the store."""
        await self.refresh()
        for worker in self._workers.responsive():
            try:
                self.sums, self._shared = await worker.call("sums", seconds=_REPLY_SECONDS)
                return
            except WorkerGone as error:
                log.debug("%s: %s", worker, error)

    async def read_activity(self) -> None:
        """Reads the last minute of all workers, for the live page."""
        calls = (worker.call("activity", seconds=_REPLY_SECONDS) for worker in self._workers.responsive())
        replies = await asyncio.gather(*calls, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, WorkerGone):
                raise reply
        self.activity.replace(
            (seconds, decode_activity(rows))
            for seconds, rows in (reply for reply in replies if not isinstance(reply, BaseException))
        )

    def _add_up(self, workers: list[WorkerHandle]) -> None:
        snapshots = [worker.snapshot for worker in workers]
        self.levels.replace(snapshot["levels"] for snapshot in snapshots)
        self.held.clear()
        for snapshot in snapshots:
            self.held.update(snapshot["held"])
        self.holds = [hold for snapshot in snapshots for hold in snapshot["holds"]]
        throttles = read_totals(self._retired)
        add_throttles(throttles, (row for snapshot in snapshots for row in snapshot["throttles"]))
        for snapshot in snapshots:
            add_counts(throttles.refusals, snapshot["refused"])
        replace_totals(self.throttles, throttles)
        refusals = [
            refusal | {"id": f"{worker.name}-{refusal['id']}"}
            for worker in workers
            for refusal in worker.snapshot["refusals"]
        ]
        self._refusals = sorted(refusals, key=lambda refusal: -refusal["at"])[:KEPT]
        self.buffered.in_use, self.buffered.ceiling = sum_pairs(snapshot["buffered"] for snapshot in snapshots)
        self.connections.busy, self.connections.idle = sum_pairs(snapshot["connections"] for snapshot in snapshots)
        self.event_trouble = next((one["event_trouble"] for one in snapshots if one["event_trouble"]), None)
        self._note_backend([snapshot["backend"] for snapshot in snapshots])
        self.store.clear()
        for store in (vars(self._retired_store), *(snapshot["store"] for snapshot in snapshots)):
            self.store.add(store)
        self.store.gateways = max((snapshot["gateways"] for snapshot in snapshots), default=1)
        if self.credentials is not None:
            self.credentials.replace(snapshot["credentials"] for snapshot in snapshots)
        reports = [self._workers.degraded, *(snapshot["degraded"] for snapshot in snapshots)]
        for cause in {cause for report in reports for cause in report}:
            self.degraded[cause] = any(report.get(cause, False) for report in reports)
        self.trouble = self._find_trouble(snapshots)
        why_not = [worker.snapshot["why_not_ready"] for worker in workers if not worker.is_unresponsive]
        self.why_not_ready = None if None in why_not else next(iter(why_not), self.trouble)

    def _find_trouble(self, snapshots: list[dict[str, Any]]) -> str | None:
        """Returns the first problem: of a worker's store, then missing workers, then unresponsive ones."""
        trouble = next((snapshot["trouble"] for snapshot in snapshots if snapshot["trouble"]), None)
        if trouble is not None:
            return str(trouble)
        workers = self._workers.settings.workers
        missing = workers - len(snapshots)
        if missing and not self._workers.is_draining:
            return f"{missing} of {workers} workers died and are being replaced."
        return self._workers.find_unresponsive()

    def _note_backend(self, states: list[tuple[bool | None, str | None]]) -> None:
        """Notes the backend as up where one worker reaches it: another worker's failure is its own."""
        if any(is_up for is_up, _ in states):
            self.backend.record_up()
        elif (why := next((why for is_up, why in states if is_up is False), None)) is not None:
            self.backend.record_down(why)

    def newest_first(self) -> list[dict[str, Any]]:
        """Returns the last refusals."""
        return self._refusals

    def describe_limits(self, rows: int) -> dict[str, object]:
        """Makes the document of /limits."""
        return {
            "accounts": describe_limits(self.limits, self.levels, self.throttles, rows, self.held, self.sums),
            "draining": self._workers.is_draining,
            "shared": self.describe(),
        }

    def describe(self) -> dict[str, object]:
        """Describes the store, and this gateway as one of those that share it."""
        own = {"gateway": self._workers.name, "workers": len(self._workers.serving()), "trouble": self.trouble}
        return {**self._shared, **own}

    def retire(self, worker: WorkerHandle) -> None:
        """Keeps the totals of an ended worker: a counter never goes down."""
        encoded = (self._retired, worker.totals)
        self._retired = list(encode_totals(read_totals(*encoded), read_event_totals(*encoded)))
        for name, (kind, help, value) in worker.usage.items():
            if kind == "counter":
                before = self._retired_usage.get(name, (kind, help, 0.0))[2]
                self._retired_usage[name] = (kind, help, before + value)
        if worker.snapshot:
            self._retired_store.add(worker.snapshot["store"])


def _make_queue(workers: Workers) -> WorkersQueue | None:
    """Makes the queue's view; None where events go to the backend. Workers always share a store."""
    store = workers.settings.event_store
    if store is None or workers.settings.async_.mode == "forward":
        return None
    return WorkersQueue(workers, store=name_store(store))
