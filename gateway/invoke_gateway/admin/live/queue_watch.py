"""Reads the queue of events for the live page, while a page is open."""

from __future__ import annotations

import asyncio
from time import monotonic

from ...queue.base import StoreError
from ..queue import QueueView
from ..queue_documents import describe_queue, in_thread

MOST_FUNCTIONS = 10
_PAUSE_SECONDS = 1.0
_SHARE = 10  # a read takes at most so great a part of the time: it counts all functions of the queue


class QueueWatch:
    """Keeps the last description of the queue; None before the first."""

    def __init__(self, queue: QueueView, *, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._queue = queue
        self._pause_seconds = pause_seconds
        self.document: dict[str, object] | None = None

    async def read(self) -> None:
        """Reads the queue, then waits until it may be read again."""
        began = monotonic()
        try:
            state = await self._queue.read_state()
        except StoreError as error:
            self.document = {**(self.document or {}), "store": self._queue.store, "trouble": str(error)}
        else:
            described = await in_thread(describe_queue, state.depths, state.held, MOST_FUNCTIONS, self._queue.now())
            self.document = {**_round(described), "store": self._queue.store, "trouble": state.trouble}
        await asyncio.sleep(max(self._pause_seconds, _SHARE * (monotonic() - began)))


def _round(described: dict[str, object]) -> dict[str, object]:
    """Rounds ages to whole seconds, so that the document changes once a second at most."""
    rows = described["functions"]
    assert isinstance(rows, list)
    return described | {
        "oldest_seconds": _floor(described["oldest_seconds"]),
        "functions": [
            row | {name: _floor(row[name]) for name in ("oldest_seconds", "next_due_seconds")} for row in rows
        ],
    }


def _floor(seconds: object) -> int | None:
    return int(seconds) if isinstance(seconds, float) else None
