"""Makes events for the tests of the queue, and the places where stores keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import redis

from invoke_gateway.queue.base import LaneBacklog
from invoke_gateway.queue.base import Store as EventStore
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.redis.store import StreamStore
from invoke_gateway.queue.sqlite.store import SqliteStore

from .stores import Store

LANE = "a/function/f"
NOW = 1_700_000_000.25


def make_event(request_id: str = "r", lane: str = LANE, due_at: float = NOW, **more: Any) -> Event:
    values: dict[str, Any] = {
        "account": "a",
        "function": "f",
        "arn": "arn:aws:lambda:eu-west-1:000000000000:function:f",
        "path": b"/2015-03-31/functions/f/invocations",
        "query": b"",
        "headers": [(b"x-amzn-trace-id", b"Root=1\xff")],
        "body": b'{"of": "%b"}' % request_id.encode(),
        "received_at": min(due_at, NOW),
    }
    return Event(request_id, lane=lane, due_at=due_at, **{**values, **more})


def hear_nothing(lane: str, events: int, due_at: float) -> None:
    pass


class Heard:
    """Records the calls of a store's `note_enqueued`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, float]] = []

    def __call__(self, lane: str, events: int, due_at: float) -> None:
        self.calls.append((lane, events, due_at))

    def events(self, lane: str = LANE) -> int:
        return sum(events for heard, events, _ in self.calls if heard == lane)


class Place(Protocol):
    """Describes the place of a store's events; gateways come and go."""

    can_share: bool

    def make(self, **more: Any) -> EventStore:
        """Makes a gateway's store on this place, not open yet."""

    async def crash(self, store: EventStore) -> None:
        """Ends a gateway as `kill -9` does."""

    async def bury(self, store: EventStore) -> list[LaneBacklog]:
        """Have what the crashed one had claimed wait again; `store` is open, and lives. What waits now."""

    def check(self) -> None:
        """Look whether all is in its place, where that can be seen from outside."""


class FilePlace:
    """Describes a file. Only its process has the claims, so ending it is a crash, as the next process sees it.

    The effects of a real crash on the file are tested in sqlite/test_store_faults.py.
    """

    can_share = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self, **more: Any) -> SqliteStore:
        return SqliteStore(self._path, **more)

    async def crash(self, store: EventStore) -> None:
        await store.close()

    async def bury(self, store: EventStore) -> list[LaneBacklog]:
        return await store.backlog()

    def check(self) -> None:
        pass


class StreamPlace:
    """Describes a part of a Redis or Valkey without other users."""

    can_share = True

    def __init__(self, server: Store, prefix: str) -> None:
        self.server = server
        self.base = f"{{{prefix}}}"
        self._prefix = prefix

    def make(self, **more: Any) -> StreamStore:
        values = {"gateway": "g 1", "lease_seconds": 30, "timeout_seconds": 5, "prefix": self._prefix}
        return StreamStore(more.pop("url", self.server.url), **{**values, **more})

    async def crash(self, store: EventStore) -> None:
        assert isinstance(store, StreamStore)
        presence = store._membership
        tasks = [task for task in (*presence._tasks, store._work._task, store._enqueuer._task) if task is not None]
        for task in tasks:
            await task.close()
        for line in store._channels:
            await line.close()
        with self.server.client() as client:  # its lease has ended
            assert client.zadd(f"{self.base}:leases", {presence.session: 1}, xx=True, ch=True) == 1

    async def bury(self, store: EventStore) -> list[LaneBacklog]:
        assert isinstance(store, StreamStore)
        await store._membership.renew()
        return await store.backlog()

    def check(self) -> None:
        """Every event is in one place: it waits in one lane or one session has claimed it."""
        with redis.Redis.from_url(
            self.server.url, decode_responses=True, encoding_errors="replace", protocol=2
        ) as client:
            base = self.base
            events = {f"{int(entry.partition('-')[0]):016d}" for entry, _ in client.xrange(f"{base}:events")}
            claims = client.hgetall(f"{base}:claims")
            places = list(claims)
            for key in client.keys(f"{base}:*"):
                kind = key.removeprefix(f"{base}:").partition(":")[0]
                if kind in ("new", "due"):
                    places += client.zrange(key, 0, -1)
                elif kind == "age":
                    assert set(client.zrange(key, 0, -1)) == set(client.zrange(key.replace(":age:", ":due:"), 0, -1))
                elif kind == "retried":
                    assert client.smembers(key) <= set(client.zrange(key.replace(":retried:", ":due:"), 0, -1))
                elif kind == "of":
                    session = key.removeprefix(f"{base}:of:")
                    for event, number in client.hgetall(key).items():
                        assert claims[event].startswith(f"{session}:{number} ")
            assert sorted(places) == sorted(events)
            assert set(client.hkeys(f"{base}:heads")) <= events
            assert sum(client.hlen(key) for key in client.keys(f"{base}:of:*")) == len(claims)
