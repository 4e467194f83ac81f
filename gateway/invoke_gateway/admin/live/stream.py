"""Streams the live document to subscribers, by server-sent events.

Each distinct query is answered a few times a second, once for all of its subscribers. A slow subscriber gets only the
latest answer, so nothing piles up. Without a subscriber nothing runs. With one, readers bring what is kept elsewhere:
the slots of all gateways that share counters, the queue, the last minute of other processes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from time import monotonic
from typing import NamedTuple

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ...background import BackgroundTask, BackgroundTasks
from ..json_documents import encode
from .document import Configured, LiveSnapshot, LiveView, find_configured
from .query import LiveQuery

log = logging.getLogger("invoke_gateway")

MOST_SUBSCRIBERS = 50
TICK_SECONDS = 0.5
SUMS_SECONDS = 1.0
# An unchanged answer is sent again after this: the page takes a longer silence for a lost connection.
BEAT_SECONDS = 3.0
RETRY_MILLISECONDS = 1000


class LiveReader(NamedTuple):
    """Reads what is kept elsewhere, while a subscriber is there.

    pause_seconds: between two reads
    """

    name: str
    read: Callable[[], Awaitable[None]]
    pause_seconds: float = SUMS_SECONDS


class Topic:
    """Keeps the latest answer to one query, as the bytes of an event, and counts its subscribers."""

    __slots__ = ("configured", "document", "event", "made_at", "query", "subscribers", "version")

    def __init__(self, query: LiveQuery) -> None:
        self.query = query
        self.subscribers = 0
        self.configured: Configured | None = None
        self.document = b""
        self.event = b""
        self.version = 0
        self.made_at = 0.0

    def publish(self, document: bytes, now: float) -> None:
        """Replaces the answer; an unchanged one counts as new after `BEAT_SECONDS`."""
        if document != self.document or now - self.made_at >= BEAT_SECONDS:
            self.document = document
            self.event = b"data: " + document + b"\n\n"
            self.version += 1
            self.made_at = now


class LiveStream:
    """Serves all subscribers of one gateway."""

    def __init__(
        self,
        view: LiveView,
        *,
        tick_seconds: float = TICK_SECONDS,
        most: int = MOST_SUBSCRIBERS,
        tasks: BackgroundTasks | None = None,
        readers: Iterable[LiveReader] = (),
    ) -> None:
        self._view = view
        self._tasks = tasks or BackgroundTasks()
        self._readers = tuple(readers)
        self._reading: dict[str, BackgroundTask] = {}
        self._tick_seconds = tick_seconds
        self._most = most
        self._topics: dict[LiveQuery, Topic] = {}
        self._ticked = asyncio.Event()
        self._ticker: BackgroundTask | None = None
        self._is_closed = False

    @property
    def count(self) -> int:
        return sum(topic.subscribers for topic in self._topics.values())

    def why_not(self) -> str | None:
        """Returns the reason why a new subscriber is refused; None where one is admitted."""
        if self._is_closed:
            return "The gateway is stopping. Watch the one that takes its place."
        if self.count >= self._most:
            return f"{self._most} viewers are connected, the maximum. Close a live page that is not used."
        return None

    def subscribe(self, query: LiveQuery) -> Topic:
        """Adds a subscriber, until `unsubscribe`."""
        topic = self._topics.get(query)
        if topic is None:
            topic = self._topics[query] = Topic(query)
        topic.subscribers += 1
        if self._ticker is None:
            self._ticker = self._tasks.start(self._keep_ticking, "live updates")
        for reader in self._readers:
            reading = self._reading.get(reader.name)
            if reading is None or reading.is_over:
                work = partial(self._keep_reading, reader)
                self._reading[reader.name] = self._tasks.start(work, reader.name, may_end=True)
        return topic

    def unsubscribe(self, topic: Topic) -> None:
        topic.subscribers -= 1
        if not topic.subscribers:
            del self._topics[topic.query]
        if not self._topics and self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def close(self) -> None:
        """Ends all streams, for good."""
        self._is_closed = True
        for reading in self._reading.values():
            reading.cancel()
        self._wake()

    async def events(self, topic: Topic) -> AsyncIterator[bytes]:
        """Yields the topic's events: the known answer immediately, each new one, and one named `end` at the end."""
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        if not topic.version:
            await self._answer(topic, self._view.take_snapshot())
        sent = 0
        while not self._is_closed:
            if sent != topic.version:
                sent = topic.version
                yield topic.event
            else:
                await self._ticked.wait()
        yield b"event: end\ndata: {}\n\n"

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            try:
                await self.tick()
            except Exception:  # a defect must not end the page of every subscriber
                log.exception("live page: the update failed, and is repeated")

    async def _keep_reading(self, reader: LiveReader) -> None:
        """Ends by itself after the last subscriber: a cancelled read would close the connection that calls wait for."""
        while self._topics and not self._is_closed:
            try:
                await reader.read()
            except Exception:  # as above
                log.exception("live page: %s could not be read", reader.name)
            await asyncio.sleep(reader.pause_seconds)

    async def tick(self) -> None:
        """Answers every query again. Requests are served in between."""
        snapshot = self._view.take_snapshot()
        await asyncio.sleep(0)
        for topic in list(self._topics.values()):
            await self._answer(topic, snapshot)
            await asyncio.sleep(0)
        self._wake()

    async def _answer(self, topic: Topic, snapshot: LiveSnapshot) -> None:
        configured = topic.configured
        if configured is None or configured.limits is not snapshot.limits:
            configured = topic.configured = await find_configured(snapshot.limits, topic.query)
        topic.publish(encode(self._view.describe(topic.query, snapshot, configured)), monotonic())

    def _wake(self) -> None:
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()

    def __repr__(self) -> str:
        return f"<LiveStream {self.count} with {len(self._topics)} queries>"


class LiveResponse(StreamingResponse):
    """Streams to one subscriber, who is subscribed for exactly as long as the response lasts."""

    def __init__(self, stream: LiveStream, query: LiveQuery, headers: dict[str, str]) -> None:
        self._stream = stream
        self._topic = stream.subscribe(query)
        super().__init__(stream.events(self._topic), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.unsubscribe(self._topic)
