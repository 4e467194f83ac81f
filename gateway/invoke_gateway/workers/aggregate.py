"""What all workers of a gateway are and have done together: their sums, asked of them about once a second, and when
somebody wants to know."""

from __future__ import annotations

import asyncio
import itertools
import logging
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..admin.limits import describe_limits
from ..admin.live.document import LiveView
from ..admin.live.sparklines import Sparklines
from ..admin.live.stream import LiveStream
from ..app.limits import make_limits
from ..settings import Settings
from ..store.store_name import name_store
from ..telemetry.event_metrics import Events
from ..telemetry.event_totals import EventTotals
from ..telemetry.exposition import Family
from ..telemetry.last_refusals import KEPT
from ..telemetry.log import count_dropped_lines
from ..telemetry.metrics import Facts, GatewayCollector
from ..telemetry.store_metrics import Counters
from ..telemetry.totals import Totals
from ..upstream.health import BackendState
from .channel import WorkerGone
from .queue import WorkersQueue
from .snapshots import (
    Levels,
    add_counts,
    add_throttles,
    describe_process,
    encode_totals,
    read_event_totals,
    read_totals,
    sum_processes,
)

if TYPE_CHECKING:
    from .supervisor import Supervisor, Worker

log = logging.getLogger("invoke_gateway")

_PAUSE_SECONDS = 1.0
_PAUSES_BETWEEN_TOTALS = 5  # what a worker has counted since is lost when it is killed
# A worker that is stopped must not keep those who look; what it said last is taken.
_ANSWER_SECONDS = 1.0


class Connections:
    """To the backend."""

    busy = idle = 0


class Buffered:
    """Bytes of payload, and how many there may be."""

    in_use = ceiling = 0


class StoreSums:
    """What the store was asked by all workers, those that have ended included; and how many gateways share it."""

    def __init__(self) -> None:
        self.gateways = 1
        self.clear()

    @property
    def totals(self) -> StoreSums:
        return self

    def clear(self) -> None:
        self.batches = self.operations = self.failures = 0
        self.seconds = 0.0
        self.alone: dict[str, int] = {"refused": 0, "admitted": 0}

    def add(self, said: Mapping[str, Any]) -> None:
        self.batches += said["batches"]
        self.operations += said["operations"]
        self.failures += said["failures"]
        self.seconds += said["seconds"]
        for answer, calls in said["alone"].items():
            self.alone[answer] += calls


class Group:
    """The sums, kept in place, so that whoever shows them has them once and for all."""

    def __init__(self, supervisor: Supervisor) -> None:
        settings = supervisor.settings
        self._supervisor = supervisor
        self._retired: list[bytes] = []  # totals of workers that have ended: a counter never goes down
        self._retired_usage: dict[str, Any] = {}
        self._retired_store = StoreSums()
        self._refusals: list[dict[str, Any]] = []
        self._shared: dict[str, Any] = {"gateways": settings.workers, "sums_age_seconds": None}
        self.trouble: str | None = None
        self.why_not_ready: str | None = None
        self.event_trouble: str | None = None
        self.silence: str | None = None  # which workers do not answer
        self.limits = make_limits(settings, labelled=settings.metric_functions)
        self.sums: Mapping[str, int] = {}
        self.holds: list[dict[str, Any]] = []
        self.held: Counter[str] = Counter()
        self.levels = Levels()
        self.totals = Totals()
        self.event_totals = EventTotals()
        self.queue = _make_queue(supervisor)
        self.throttles = Totals()
        self.connections = Connections()
        self.buffered = Buffered()
        self.backend = BackendState(settings.backend.url)
        self.store = StoreSums()
        self.degraded: dict[str, bool] = {}
        self.sparklines = Sparklines(self.levels)
        self.live_stream = LiveStream(
            LiveView(
                limits=lambda: self.limits,
                levels=self.levels,
                totals=self.throttles,
                sparklines=self.sparklines,
                holds=lambda: self.held,
                refusals=self,
                is_draining=lambda: supervisor.is_draining,
                shared=self,
            ),
            tasks=supervisor.tasks,
            read_sums=self.read_sums,
        )
        self.collector = GatewayCollector(
            self.totals,
            limits=lambda: self.limits,
            levels=self.levels,
            holds=lambda: self.held,
            buffers=self.buffered,
            upstream=self.connections,
            backend=self.backend,
            degraded=self.degraded,
            counters=Counters(
                lambda: [worker.name for worker in supervisor.serving()],
                name_store(settings.counters),
                self.store,
                settings.shared.lease_seconds,
            ),
            workers=lambda: (len(supervisor.serving()), supervisor.replaced),
            events=None if self.queue is None else Events(self.event_totals, self.queue.levels),
            facts=Facts(__version__, platform.python_version(), settings.backend.timeout_seconds),
        )

    # Asking the workers.

    async def keep_refreshing(self) -> None:
        """Ask again and again, for as long as the server runs."""
        for look in itertools.count(1):
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await asyncio.gather(*(self._ask_now(worker) for worker in self._supervisor.serving()))
                self._supervisor.end_silent()
                if look % _PAUSES_BETWEEN_TOTALS == 0:
                    await self._ask_totals()
            except Exception:  # a mistake of ours must not end the looking
                log.exception("the workers' state could not be read")

    async def refresh(self) -> None:
        """Bring everything but `totals` up to date."""
        workers = self._supervisor.serving()
        # Whoever was silent just now is asked by `keep_refreshing` only: nobody else need wait for that.
        await asyncio.gather(*(self._ask_now(worker) for worker in self.hearing()))
        self._add_up([worker for worker in workers if worker.now])

    async def read_totals(self) -> list[Family]:
        """Bring `totals` and the rest up to date; what the processes use together."""
        await self.refresh()
        await self._ask_totals()
        workers = self._supervisor.serving()
        told = [self._retired, *(worker.totals for worker in workers)]
        vars(self.totals).update(vars(read_totals(*told)))
        self.totals.log_lines_dropped += count_dropped_lines()
        add_counts(self.totals.background_task_failures, self._supervisor.tasks.failures)
        if self.queue is not None:
            vars(self.event_totals).update(vars(read_event_totals(*told)))
            await self.queue.refresh()
            self.degraded |= self.queue.degraded
        used = [self._retired_usage, *(worker.usage for worker in workers)]
        return sum_processes(await describe_process(), used)

    async def read_sums(self) -> None:
        """Bring everything but `totals` up to date, and what the store knows of all gateways."""
        await self.refresh()
        for worker in self.hearing():
            try:
                self.sums, self._shared = await worker.ask("sums", seconds=_ANSWER_SECONDS)
                return
            except WorkerGone as error:
                log.debug("%s: %s", worker, error)

    async def _ask_now(self, worker: Worker) -> None:
        try:
            worker.now = await worker.ask("now", seconds=_ANSWER_SECONDS)
            worker.heard_at, worker.is_silent = monotonic(), False
        except WorkerGone as error:
            worker.is_silent = True
            log.debug("%s: %s", worker, error)

    async def _ask_totals(self) -> None:
        await asyncio.gather(*(self._ask_totals_of(worker) for worker in self.hearing()))

    def hearing(self) -> list[Worker]:
        """Return the workers that answered their last request; no request waits for the others."""
        return [worker for worker in self._supervisor.serving() if not worker.is_silent]

    async def _ask_totals_of(self, worker: Worker) -> None:
        try:
            worker.totals, worker.usage = await worker.ask("totals", seconds=_ANSWER_SECONDS)
        except WorkerGone as error:
            log.debug("%s: %s", worker, error)

    def _add_up(self, workers: list[Worker]) -> None:
        said = [worker.now for worker in workers]
        self.levels.take_in(now["levels"] for now in said)
        self.held.clear()
        for now in said:
            self.held.update(now["held"])
        self.holds = [hold for now in said for hold in now["holds"]]
        throttles = read_totals(self._retired)
        add_throttles(throttles, (row for now in said for row in now["throttles"]))
        vars(self.throttles).update(vars(throttles))
        refusals = [
            refusal | {"id": f"{worker.name}-{refusal['id']}"}
            for worker in workers
            for refusal in worker.now["refusals"]
        ]
        self._refusals = sorted(refusals, key=lambda refusal: -refusal["at"])[:KEPT]
        self.buffered.in_use, self.buffered.ceiling = _sum_pairs(now["buffered"] for now in said)
        self.connections.busy, self.connections.idle = _sum_pairs(now["connections"] for now in said)
        self.event_trouble = next((now["event_trouble"] for now in said if now["event_trouble"]), None)
        self._note_backend([now["backend"] for now in said])
        self.store.clear()
        for store in (vars(self._retired_store), *(now["store"] for now in said)):
            self.store.add(store)
        reports = [self._supervisor.degraded, *(now["degraded"] for now in said)]
        for cause in {cause for report in reports for cause in report}:
            self.degraded[cause] = any(report.get(cause, False) for report in reports)
        self.store.gateways = max((now["gateways"] for now in said), default=1)
        silent = [worker for worker in workers if worker.is_silent]
        missing = self._supervisor.settings.workers - len(workers)
        troubles = [now["trouble"] for now in said if now["trouble"]]
        if missing and not self._supervisor.is_draining:
            troubles.append(f"{missing} of {self._supervisor.settings.workers} workers died and are being replaced.")
        self.silence = _describe_silence(silent) if silent else None
        if self.silence is not None:
            troubles.append(self.silence)
        self.trouble = troubles[0] if troubles else None
        why_not = [worker.now["why_not_ready"] for worker in workers if not worker.is_silent]
        self.why_not_ready = None if None in why_not else next(iter(why_not), self.trouble)

    def _note_backend(self, seen: list[tuple[bool | None, str | None]]) -> None:
        """Note the backend as up where one worker reaches it: a fault of a single worker is its own."""
        if any(is_up for is_up, _ in seen):
            self.backend.record_up()
        elif (why := next((why for is_up, why in seen if is_up is False), None)) is not None:
            self.backend.record_down(why)

    # What the admin listener shows.

    def newest_first(self) -> list[dict[str, Any]]:
        """The last refusals."""
        return self._refusals

    def describe_limits(self, rows: int) -> dict[str, object]:
        """The document of /limits."""
        return {
            "accounts": describe_limits(self.limits, self.levels, self.throttles, rows, self.held, self.sums),
            "draining": self._supervisor.is_draining,
            "shared": self.describe(),
        }

    def describe(self) -> dict[str, object]:
        """Of the store, and of this gateway as one of those that share it."""
        supervisor = self._supervisor
        own = {"gateway": supervisor.name, "workers": len(supervisor.serving()), "trouble": self.trouble}
        return {**self._shared, **own}

    # What the supervisor tells.

    async def adopt(self, settings: Settings) -> None:
        """New limits."""
        self.limits = await asyncio.to_thread(make_limits, settings, labelled=settings.metric_functions)

    def retire(self, worker: Worker) -> None:
        """A worker has ended: what it counted stays."""
        told = (self._retired, worker.totals)
        self._retired = list(encode_totals(read_totals(*told), read_event_totals(*told)))
        for name, (kind, help, value) in worker.usage.items():
            if kind == "counter":
                before = self._retired_usage.get(name, (kind, help, 0.0))[2]
                self._retired_usage[name] = (kind, help, before + value)
        if worker.now:
            self._retired_store.add(worker.now["store"])


def _make_queue(supervisor: Supervisor) -> WorkersQueue | None:
    """None where events are the backend's. Workers always have a store that they share."""
    store = supervisor.settings.event_store
    if store is None or supervisor.settings.async_.mode == "forward":
        return None
    return WorkersQueue(supervisor, store=name_store(store))


def _describe_silence(silent: list[Worker]) -> str:
    """Name the silent workers in a sentence, with the age of the data that is shown of them."""
    numbers = ", ".join(str(worker.number) for worker in silent)
    age = monotonic() - min(worker.heard_at for worker in silent)
    return f"Of worker {numbers} there is no answer; what is shown of it is {age:.0f} s old."


def _sum_pairs(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    first = second = 0
    for one, other in pairs:
        first, second = first + one, second + other
    return first, second
