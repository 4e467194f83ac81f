"""Shows the queue of events of several workers.

One worker reports the events in the store, and every worker those that it has claimed, as plain data (`report_…`). The
supervisor adds them up (`WorkersQueue`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from ..admin.local_queue import LocalQueue
from ..admin.queue import EventQuery, QueueState
from ..admin.queue_documents import Row
from ..queue.adoption import AdoptionResult, AmbiguousOrigin, Decision
from ..queue.base import StoreError
from ..queue.clock import Clock
from ..queue.depths import SCRAPE_SECONDS, Depth, Depths, QueueGauges, add_depths, fold_names
from ..queue.operator_actions import Action, EventFilter
from ..queue.origin import Held
from ..queue.outcomes.history import EndedEvent, HistoryFilter, select_newest
from .channel import NO_WORKER, WorkerGone

if TYPE_CHECKING:
    from ..app.gateway import Gateway
    from .handle import WorkerHandle, Workers

_SCRAPE_PATIENCE = 0.5  # seconds that a worker waits for the store during a scrape
_SCRAPE_REPLY = 1.0
_REPLY_SECONDS = 9.0  # the commands wait ten


async def report_depths(gateway: Gateway, is_scrape: bool, with_stored: bool) -> dict[str, Any]:
    """Counts the events claimed here, and with `with_stored` those in the store; by label for a scrape."""
    looker = gateway.events.monitor
    assert looker is not None, "the supervisor calls this only where there is a queue"
    if with_stored:
        every, patience = (SCRAPE_SECONDS, _SCRAPE_PATIENCE) if is_scrape else (0.0, _REPLY_SECONDS - 1)
        await looker.refresh(at_most_every=every, patience=patience)
    here = await looker.count_claimed()
    if is_scrape:
        here = fold_names(here, gateway.tables.limits)
    stored = looker.labelled_stored if is_scrape else looker.stored
    gateway.degraded |= looker.degraded
    return {
        "here": _encode(here),
        "stored": await asyncio.to_thread(_encode, stored) if with_stored else [],
        "trouble": looker.problem,
        "held": looker.held,
    }


async def report_events(queue: LocalQueue, argument: list[Any]) -> Any:
    request_id, wanted, payload = argument
    return await queue.read(EventQuery(request_id, EventFilter(*wanted), payload))


async def act(queue: LocalQueue, argument: list[Any]) -> Any:
    act, request_id, skip, only_ready = argument
    return await queue.control.apply(act, request_id, skip=skip, only_ready=only_ready)


async def decide(queue: LocalQueue, argument: list[Any]) -> Any:
    """Carries out a decision. Returns its result, or None and the reason against it."""
    try:
        return await queue.decide(*argument), None
    except AmbiguousOrigin as error:
        return None, str(error)


async def report_history(queue: LocalQueue, argument: list[Any]) -> Any:
    rows = await queue.read_history(HistoryFilter(*argument))
    return [msgspec.structs.astuple(row) for row in rows]


QUEUE_CALLS = {"events": report_events, "history": report_history, "act": act, "decide": decide}


def _encode(depths: Depths) -> list[list[Any]]:
    return [[*key, *msgspec.structs.astuple(depth)] for key, depth in depths.items()]


class WorkersQueue:
    """Adds up the queues of all workers.

    store: where events are kept, without credentials
    levels: the depths for Prometheus
    """

    def __init__(self, workers: Workers, *, store: str) -> None:
        self.store = store
        self.now = Clock()  # like the workers' own, which begin at the same time
        self.levels = QueueGauges(store, now=self.now)
        self.degraded = {"event_store": False, "events_held": False}
        self._workers = workers

    async def refresh(self) -> None:
        """Refreshes `levels` and `degraded`; without a reply they stay."""
        try:
            state = await self._add_up(is_scrape=True, seconds=_SCRAPE_REPLY)
        except StoreError:
            return
        self.degraded = {"event_store": state.trouble is not None, "events_held": bool(state.held)}
        self.levels.replace(state.depths)

    async def read_state(self) -> QueueState:
        await self._workers.refresh()  # which also finds the unresponsive workers
        state = await self._add_up(is_scrape=False, seconds=_REPLY_SECONDS)
        return state._replace(trouble=state.trouble or self._workers.find_unresponsive())

    async def decide(self, decision: Decision, origin: str | None) -> AdoptionResult:
        _, (decided, why_not) = await self._call_any("decide", [decision, origin], _REPLY_SECONDS)
        if why_not is not None:
            raise AmbiguousOrigin(why_not)
        return AdoptionResult(*decided)

    async def _add_up(self, *, is_scrape: bool, seconds: float) -> QueueState:
        first, stored = await self._call_any("depths", [is_scrape, True], seconds)
        others = [worker for worker in self._workers.responsive() if worker is not first]
        replies = [stored, *await self._call_all(others, "depths", [is_scrape, False], seconds)]
        depths = await asyncio.to_thread(
            _decode, [row for reply in replies for row in (*reply["here"], *reply["stored"])]
        )
        trouble = next((reply["trouble"] for reply in replies if reply["trouble"]), None)
        return QueueState(depths, trouble, [Held(*held) for held in stored["held"]])

    async def read(self, query: EventQuery) -> tuple[list[Row], bool]:
        """Reads events of all workers. To each worker, events claimed by another run, so all are read."""
        request_id, wanted, payload = query
        # Filtered by `running`, each worker would leave out different events.
        everywhere = wanted._replace(state=None, most=100) if wanted.state == "running" else wanted
        await self._workers.refresh()
        replies = await self._call_all(
            self._workers.responsive(), "events", [request_id, everywhere, payload], _REPLY_SECONDS
        )
        if not replies:
            raise _no_worker()
        found: dict[str, Row] = {}
        for row in (row for rows, _ in replies for row in rows):
            if row["key"] not in found or not row["is_running"]:
                found[row["key"]] = row
        rows = [row for row in found.values() if wanted.state in (None, row["state"])]
        rows.sort(key=lambda row: float(row["received_at"]))
        return rows[: wanted.most], len(rows) > wanted.most or any(has_more for _, has_more in replies)

    async def read_history(self, wanted: HistoryFilter) -> list[EndedEvent]:
        """Returns the events that ended in all workers; those of a worker that has died are lost."""
        replies = await self._call_all(self._workers.responsive(), "history", list(wanted), _REPLY_SECONDS)
        return select_newest((EndedEvent(*row) for rows in replies for row in rows), wanted)

    async def act(self, act: Action, request_id: str) -> tuple[int, int]:
        """Acts on what each worker has ready, then on what no worker has claimed."""
        done: list[str] = []
        await self._workers.refresh()
        for worker in self._workers.responsive():
            for ready, _ in await self._call_all([worker], "act", [act, request_id, done, True], _REPLY_SECONDS):
                done += ready
        _, (more, running) = await self._call_any("act", [act, request_id, done, False], _REPLY_SECONDS)
        return len(done) + len(more), len(running)

    async def _call_any(self, what: str, argument: Any, seconds: float) -> tuple[WorkerHandle, Any]:
        for worker in self._workers.responsive():
            for reply in await self._call_all([worker], what, argument, seconds):
                return worker, reply
        raise _no_worker()

    async def _call_all(self, workers: list[WorkerHandle], what: str, argument: Any, seconds: float) -> list[Any]:
        """Returns the replies of the workers that reply. Raises `StoreError` where a worker's store fails."""
        calls = (worker.call("queue", [what, argument], seconds=seconds) for worker in workers)
        results = await asyncio.gather(*calls, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, WorkerGone):
                raise result
        replies = [result for result in results if not isinstance(result, BaseException)]
        for fault, _ in replies:
            if fault is not None:
                raise StoreError(*fault)
        return [reply for _, reply in replies]


def _no_worker() -> StoreError:
    return StoreError("unavailable", NO_WORKER)


def _decode(rows: list[list[Any]]) -> Depths:
    depths: Depths = {}
    for account, function, *numbers in rows:
        add_depths(depths, {(account, function): Depth(*numbers)})
    return depths
