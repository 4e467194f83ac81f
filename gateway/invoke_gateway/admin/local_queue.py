"""Reads and changes the queue of this process, for `/queue`."""

from __future__ import annotations

from collections.abc import Callable

from ..queue.adoption import Adoption, AdoptionResult, Decision
from ..queue.depths import Depths, QueueMonitor, add_depths
from ..queue.operator_actions import Action, OperatorActions
from ..queue.outcomes.history import EndedEvent, EndedEvents, HistoryFilter
from .queue import EventQuery, QueueState
from .queue_documents import Row, describe_all, in_thread

_PATIENCE_SECONDS = 8.0  # the commands wait ten
_DECISION_SECONDS = 5.0


class LocalQueue:
    """Implements `QueueView` for one process.

    store: where events are kept, without credentials
    now: returns seconds since the epoch, like the times of events
    """

    def __init__(
        self,
        looker: QueueMonitor,
        control: OperatorActions,
        adoption: Adoption,
        history: EndedEvents,
        *,
        now: Callable[[], float],
        store: str,
    ) -> None:
        self.store = store
        self.now = now
        self.control = control
        self._adoption = adoption
        self._history = history
        self._looker = looker

    async def read_state(self) -> QueueState:
        looker = self._looker
        await looker.refresh(at_most_every=0, patience=_PATIENCE_SECONDS)
        return QueueState(await in_thread(_sum, looker.stored, looker.here), looker.problem, looker.held)

    async def read_history(self, wanted: HistoryFilter) -> list[EndedEvent]:
        return self._history.newest_first(wanted)

    async def decide(self, decision: Decision, origin: str | None) -> AdoptionResult:
        return await self._adoption.decide(decision, origin, patience=_DECISION_SECONDS)

    async def read(self, query: EventQuery) -> tuple[list[Row], bool]:
        wanted = query.wanted
        if query.request_id is None:
            seen, has_more = await self.control.oldest(wanted)
        else:
            seen = await self.control.find(query.request_id, wanted.most)
            has_more = len(seen) == wanted.most
        return await in_thread(describe_all, seen, query.payload, self.now()), has_more

    async def act(self, act: Action, request_id: str) -> tuple[int, int]:
        acted = await self.control.apply(act, request_id)
        return len(acted.done), len(acted.running)


def _sum(*parts: Depths) -> Depths:
    depths: Depths = {}
    for part in parts:
        add_depths(depths, part)
    return depths
