"""Those who watch the gateway live, by server-sent events.

While somebody watches, each question is answered a few times a second, once for all who ask it. A watcher who reads
slowly is not written to until he has read, and then gets the latest answer: nothing piles up. While nobody watches,
nothing runs. Counters that gateways share are meanwhile asked once a second for the calls of all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from time import monotonic

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ...background import BackgroundTask, BackgroundTasks
from ..documents import encode
from .document import Configured, LiveView, Question, find_configured

log = logging.getLogger("invoke_gateway")

MOST_WATCHERS = 50
TICK_SECONDS = 0.5
SUMS_SECONDS = 1.0
# An answer that has not changed is sent so often all the same: the page takes a longer silence for a lost connection.
BEAT_SECONDS = 3.0
RETRY_MILLISECONDS = 1000


class Board:
    """The latest answer to one question, as the bytes of an event, and how many read it."""

    __slots__ = ("configured", "document", "event", "made_at", "question", "version", "watchers")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.watchers = 0
        self.configured: Configured | None = None
        self.document = b""
        self.event = b""
        self.version = 0
        self.made_at = 0.0

    def put(self, document: bytes, now: float) -> None:
        if document != self.document or now - self.made_at >= BEAT_SECONDS:
            self.document = document
            self.event = b"data: " + document + b"\n\n"
            self.version += 1
            self.made_at = now


class Watchers:
    """All watchers of one gateway. `read_sums` asks a store that gateways share what all of them hold."""

    def __init__(
        self,
        view: LiveView,
        *,
        tick_seconds: float = TICK_SECONDS,
        most: int = MOST_WATCHERS,
        tasks: BackgroundTasks | None = None,
        read_sums: Callable[[], Awaitable[None]] | None = None,
        sums_seconds: float = SUMS_SECONDS,
    ) -> None:
        self._view = view
        self._tasks = tasks or BackgroundTasks()
        self._read_sums = read_sums
        self._sums_seconds = sums_seconds
        self._reader: BackgroundTask | None = None
        self._tick_seconds = tick_seconds
        self._most = most
        self._boards: dict[Question, Board] = {}
        self._ticked = asyncio.Event()
        self._ticker: BackgroundTask | None = None
        self._is_closed = False

    @property
    def count(self) -> int:
        return sum(board.watchers for board in self._boards.values())

    def why_not(self) -> str | None:
        """Why no further watcher is let in now."""
        if self._is_closed:
            return "The gateway is stopping. Watch the one that takes its place."
        if self.count >= self._most:
            return f"{self._most} watchers are connected, and no more are let in. Close a page that nobody looks at."
        return None

    def join(self, question: Question) -> Board:
        """A place among the watchers; give it back with `leave`."""
        board = self._boards.get(question)
        if board is None:
            board = self._boards[question] = Board(question)
        board.watchers += 1
        if self._ticker is None:
            self._ticker = self._tasks.start(self._keep_ticking, "live updates")
        if self._read_sums is not None and (self._reader is None or self._reader.is_over):
            reading = partial(self._keep_reading, self._read_sums)
            self._reader = self._tasks.start(reading, "sums of all gateways", may_end=True)
        return board

    def leave(self, board: Board) -> None:
        board.watchers -= 1
        if not board.watchers:
            del self._boards[board.question]
        if not self._boards and self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def close(self) -> None:
        """End all streams, for good."""
        self._is_closed = True
        if self._reader is not None:
            self._reader.cancel()
        self._wake()

    async def events(self, board: Board) -> AsyncIterator[bytes]:
        """The events of a board: at once what is known, then whatever is new. At the end one named `end`."""
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        if not board.version:
            await self._answer(board)
        seen = 0
        while not self._is_closed:
            if seen != board.version:
                seen = board.version
                yield board.event
            else:
                await self._ticked.wait()
        yield b"event: end\ndata: {}\n\n"

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            try:
                await self.tick()
            except Exception:  # a mistake of ours must not end the page for all who watch
                log.exception("the live page could not be brought up to date")

    async def _keep_reading(self, read_sums: Callable[[], Awaitable[None]]) -> None:
        """Ends by itself once nobody watches: cancelling a read would close the connection that calls wait for."""
        while self._boards and not self._is_closed:
            try:
                await read_sums()
            except Exception:  # as above
                log.exception("what all gateways run could not be read for the live page")
            await asyncio.sleep(self._sums_seconds)

    async def tick(self) -> None:
        """Answer every question anew. Requests are served in between."""
        moment = self._view.look()
        await asyncio.sleep(0)
        for board in list(self._boards.values()):
            configured = board.configured
            if configured is None or configured.limits is not moment.limits:
                configured = board.configured = await find_configured(moment.limits, board.question)
            board.put(encode(self._view.describe(board.question, moment, configured)), monotonic())
            await asyncio.sleep(0)
        self._wake()

    async def _answer(self, board: Board) -> None:
        """Answer one question, so that a new watcher need not wait for the next tick."""
        moment = self._view.look()
        board.configured = await find_configured(moment.limits, board.question)
        board.put(encode(self._view.describe(board.question, moment, board.configured)), monotonic())

    def _wake(self) -> None:
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()

    def __repr__(self) -> str:
        return f"<Watchers {self.count} with {len(self._boards)} questions>"


class EventStream(StreamingResponse):
    """The response to one watcher, who has his place for exactly as long as it lasts."""

    def __init__(self, watchers: Watchers, question: Question, headers: dict[str, str]) -> None:
        self._watchers = watchers
        self._board = watchers.join(question)
        super().__init__(watchers.events(self._board), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._watchers.leave(self._board)
