"""The queue of events of several workers: what the store has is asked of any one of them, and what they have claimed,
of all. A worker answers with plain data (`answer_…`); the supervisor adds it up (`WorkersQueue`)."""

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
from ..queue.control import Action, EventFilter
from ..queue.depths import SCRAPE_SECONDS, Depth, Depths, QueueGauges, add_depths, fold_names
from ..queue.origin import Held
from .channel import WorkerGone

if TYPE_CHECKING:
    from ..app.gateway import Gateway
    from .supervisor import Supervisor, Worker

_SCRAPE_PATIENCE = 0.5  # seconds that a worker waits for the store when it is asked for a scrape
_SCRAPE_ANSWER = 1.0
_ANSWER_SECONDS = 9.0  # the commands wait ten


# A worker's side.


async def answer_depths(gateway: Gateway, is_scrape: bool, with_stored: bool) -> dict[str, Any]:
    """How many events this worker has claimed, and with `with_stored` how many the store has; for a scrape by label."""
    looker = gateway.events.monitor
    assert looker is not None, "it is asked where there is one"
    if with_stored:
        every, patience = (SCRAPE_SECONDS, _SCRAPE_PATIENCE) if is_scrape else (0.0, _ANSWER_SECONDS - 1)
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


async def answer_events(queue: LocalQueue, query: list[Any]) -> Any:
    request_id, wanted, payload = query
    return await queue.read(EventQuery(request_id, EventFilter(*wanted), payload))


async def answer_act(queue: LocalQueue, asked: list[Any]) -> Any:
    act, request_id, skip, only_ready = asked
    return await queue.control.apply(act, request_id, skip=skip, only_ready=only_ready)


async def answer_decision(queue: LocalQueue, asked: list[Any]) -> Any:
    """Carry out a decision, and return its result, or None and the reason why it cannot be carried out."""
    try:
        return await queue.decide(*asked), None
    except AmbiguousOrigin as error:
        return None, str(error)


QUEUE_ANSWERS = {"events": answer_events, "act": answer_act, "decide": answer_decision}


def _encode(depths: Depths) -> list[list[Any]]:
    return [[*key, *msgspec.structs.astuple(depth)] for key, depth in depths.items()]


# The supervisor's.


class WorkersQueue:
    """`store` is where events are kept, without credentials; `levels` is what Prometheus is told."""

    def __init__(self, supervisor: Supervisor, *, store: str) -> None:
        self.store = store
        self.now = Clock()  # as the workers' own, which begin at the same time
        self.levels = QueueGauges(store, now=self.now)
        self.degraded = {"event_store": False, "events_held": False}
        self._supervisor = supervisor

    async def refresh(self) -> None:
        """Bring `levels` and `degraded` up to date; where no worker answers they stay."""
        try:
            look = await self._add_up(is_scrape=True, seconds=_SCRAPE_ANSWER)
        except StoreError:
            return
        self.degraded = {"event_store": look.trouble is not None, "events_held": bool(look.held)}
        self.levels.replace(look.depths)

    async def look(self) -> QueueState:
        await self._supervisor.group.refresh()  # and with it who does not answer
        look = await self._add_up(is_scrape=False, seconds=_ANSWER_SECONDS)
        return look._replace(trouble=look.trouble or self._supervisor.group.silence)

    async def decide(self, decision: Decision, origin: str | None) -> AdoptionResult:
        _, (decided, why_not) = await self._ask_any("decide", [decision, origin], _ANSWER_SECONDS)
        if why_not is not None:
            raise AmbiguousOrigin(why_not)
        return AdoptionResult(*decided)

    async def _add_up(self, *, is_scrape: bool, seconds: float) -> QueueState:
        first, stored = await self._ask_any("depths", [is_scrape, True], seconds)
        others = [worker for worker in self._hearing() if worker is not first]
        answers = [stored, *await self._ask_all(others, "depths", [is_scrape, False], seconds)]
        depths = await asyncio.to_thread(_decode, [row for said in answers for row in (*said["here"], *said["stored"])])
        trouble = next((said["trouble"] for said in answers if said["trouble"]), None)
        return QueueState(depths, trouble, [Held(*held) for held in stored["held"]])

    async def read(self, query: EventQuery) -> tuple[list[Row], bool]:
        """To a worker, whatever another has claimed is running. So all are asked: it runs where all say so."""
        request_id, wanted, payload = query
        # Of those that run, each worker would leave out others.
        asked = wanted._replace(state=None, most=100) if wanted.state == "running" else wanted
        await self._supervisor.group.refresh()
        answers = await self._ask_all(self._hearing(), "events", [request_id, asked, payload], _ANSWER_SECONDS)
        if not answers:
            raise _no_worker()
        found: dict[str, Row] = {}
        for row in (row for rows, _ in answers for row in rows):
            if row["key"] not in found or not row["is_running"]:
                found[row["key"]] = row
        rows = [row for row in found.values() if wanted.state in (None, row["state"])]
        rows.sort(key=lambda row: float(row["received_at"]))
        return rows[: wanted.most], len(rows) > wanted.most or any(has_more for _, has_more in answers)

    async def act(self, act: Action, request_id: str) -> tuple[int, int]:
        """First each does it to what it has ready; then one of them to what nobody has claimed."""
        done: list[str] = []
        await self._supervisor.group.refresh()
        for worker in self._hearing():
            for ready, _ in await self._ask_all([worker], "act", [act, request_id, done, True], _ANSWER_SECONDS):
                done += ready
        _, (more, running) = await self._ask_any("act", [act, request_id, done, False], _ANSWER_SECONDS)
        return len(done) + len(more), len(running)

    def _hearing(self) -> list[Worker]:
        return self._supervisor.group.hearing()

    async def _ask_any(self, what: str, argument: Any, seconds: float) -> tuple[Worker, Any]:
        for worker in self._hearing():
            for answer in await self._ask_all([worker], what, argument, seconds):
                return worker, answer
        raise _no_worker()

    async def _ask_all(self, workers: list[Worker], what: str, argument: Any, seconds: float) -> list[Any]:
        """The answers of those that answer. Raises `StoreError` where one's store does not."""
        asked = (worker.ask("queue", [what, argument], seconds=seconds) for worker in workers)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, WorkerGone):
                raise answer
        said = [answer for answer in answers if not isinstance(answer, BaseException)]
        for fault, _ in said:
            if fault is not None:
                raise StoreError(*fault)
        return [answer for _, answer in said]


def _no_worker() -> StoreError:
    return StoreError("away", "No worker answers; those that died are being replaced. Try again in a second.")


def _decode(rows: list[list[Any]]) -> Depths:
    depths: Depths = {}
    for account, function, *numbers in rows:
        add_depths(depths, {(account, function): Depth(*numbers)})
    return depths
