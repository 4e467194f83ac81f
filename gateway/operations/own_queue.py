"""The queue of this process, for `/queue`."""

from __future__ import annotations

from ..queue.control import Act, Control
from ..queue.depths import Depths, QueueLooker, add_depths
from .queue import Question
from .queue_documents import Row, describe_all, in_thread

_PATIENCE_SECONDS = 8.0  # the commands wait ten


class OwnQueue:
    """`store` is where events are kept, without credentials."""

    def __init__(self, looker: QueueLooker, control: Control, *, store: str) -> None:
        self.store = store
        self.control = control
        self._looker = looker

    async def look(self) -> tuple[Depths, str | None]:
        await self._looker.look(at_most_every=0, patience=_PATIENCE_SECONDS)
        return await in_thread(_sum, self._looker.stored, self._looker.here), self._looker.trouble

    async def read(self, question: Question) -> tuple[list[Row], bool]:
        wanted = question.wanted
        if question.request_id is None:
            seen, has_more = await self.control.oldest(wanted)
        else:
            seen = await self.control.find(question.request_id, wanted.most)
            has_more = len(seen) == wanted.most
        return await in_thread(describe_all, seen, question.payload), has_more

    async def act(self, act: Act, request_id: str) -> tuple[int, int]:
        acted = await self.control.act(act, request_id)
        return len(acted.done), len(acted.running)


def _sum(*parts: Depths) -> Depths:
    depths: Depths = {}
    for part in parts:
        add_depths(depths, part)
    return depths
