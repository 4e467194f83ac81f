"""The live stream answers each query once, and is bounded whatever its subscribers do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from invoke_gateway.admin.live.query import LiveQuery
from invoke_gateway.admin.live.stream import BEAT_SECONDS, LiveReader, LiveResponse, LiveStream, Topic
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from tests.admin.live.cases import Case, Shared
from tests.support.gateways import eventually
from tests.support.lateness import judge
from tests.support.sockets import Gateway, Wire, gateway


class Client:
    """The other side of an event stream, which takes what it is sent only when `may_read` is set."""

    def __init__(self, live_stream: LiveStream, query: LiveQuery) -> None:
        self.received: list[bytes] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.has_left = asyncio.Event()
        stream = LiveResponse(live_stream, query, {})
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        self.task = asyncio.create_task(stream(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.may_read.wait()
        self.received.append(message.get("body", b""))

    def documents(self) -> list[Any]:
        return [json.loads(body[6:]) for body in self.received if body.startswith(b"data: ")]

    async def until(self, is_true: Callable[[], object]) -> None:
        await eventually(is_true, lambda: self.received)


def live_stream_of(case: Case, most: int = 50) -> LiveStream:
    """Ticks are the test's to make."""
    return LiveStream(case.view, tick_seconds=3600, most=most)


async def test_subscribers_with_the_same_query_share_one_answer() -> None:
    case = Case()
    live_stream = live_stream_of(case)
    clients = [Client(live_stream, LiveQuery(search="a")) for _ in range(3)]
    for client in clients:
        await client.until(client.documents)
    snapshots = case.snapshots
    await case.run("alpha")
    await live_stream.tick()
    assert case.snapshots == snapshots + 1
    for client in clients:
        await client.until(lambda client=client: len(client.documents()) == 2)
        assert client.documents()[-1]["functions"][0]["in_flight"] == 1
    assert clients[0].received[-1] is clients[1].received[-1]
    for client in clients:
        client.has_left.set()
        await client.task
    assert repr(live_stream) == "<LiveStream 0 with 0 queries>"


async def test_nothing_runs_while_nobody_watches() -> None:
    case = Case()
    live_stream = LiveStream(case.view, tick_seconds=0.001)
    client = Client(live_stream, LiveQuery())
    await client.until(lambda: case.snapshots > 5)
    client.has_left.set()
    await client.task
    await asyncio.sleep(0)  # a turn in which a task that is told to end does so
    assert [task for task in asyncio.all_tasks() if task.get_name() == "live updates" and not task.done()] == []


async def test_the_sums_are_read_while_somebody_watches_and_a_failure_ends_nothing() -> None:
    shared = Shared()
    case = Case(shared=shared)
    reader = LiveReader("sums of all gateways", shared.read_sums, pause_seconds=0.001)
    live_stream = LiveStream(case.view, tick_seconds=3600, readers=[reader])
    await asyncio.sleep(0.01)
    assert shared.reads == 0
    first, second = Client(live_stream, LiveQuery()), Client(live_stream, LiveQuery(search="a"))
    await first.until(lambda: shared.reads > 3)
    readers = [task for task in asyncio.all_tasks() if task.get_name() == "sums of all gateways"]
    assert len(readers) == 1
    for client in (first, second):
        client.has_left.set()
        await client.task
    await asyncio.wait_for(
        readers[0], 5
    )  # it ends by itself: a read that is cut off would cost the calls their connection


async def test_who_does_not_read_is_not_written_to_and_then_gets_the_latest() -> None:
    case = Case()
    live_stream = live_stream_of(case)
    client = Client(live_stream, LiveQuery())
    await client.until(client.documents)
    client.may_read.clear()
    for _ in range(10):
        await case.run("alpha")
        await live_stream.tick()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(client.documents()) == 1
    client.may_read.set()
    await client.until(lambda: client.documents()[-1]["functions"][0]["in_flight"] == 10)
    assert len(client.documents()) <= 3, "what was on its way, and the latest"
    client.has_left.set()
    await client.task


async def test_a_reload_is_seen_at_the_next_tick() -> None:
    case = Case()
    live_stream = live_stream_of(case)
    client = Client(live_stream, LiveQuery(search="new"))
    await client.until(client.documents)
    case.limits = Limits(AccountLimits("000000000000", 20, {"newcomer": FunctionLimits()}))
    await live_stream.tick()
    await client.until(lambda: client.documents()[-1]["functions"])
    assert client.documents()[-1]["functions"][0]["function"] == "newcomer"
    client.has_left.set()
    await client.task


def test_what_has_not_changed_is_sent_again_only_as_a_sign_of_life() -> None:
    topic = Topic(LiveQuery())
    topic.publish(b"{}", now=10.0)
    topic.publish(b"{}", now=10.0 + BEAT_SECONDS / 2)
    assert topic.version == 1
    topic.publish(b"{}", now=10.0 + BEAT_SECONDS)
    assert topic.version == 2


async def test_closing_ends_the_streams_with_a_word() -> None:
    live_stream = live_stream_of(Case())
    client = Client(live_stream, LiveQuery())
    await client.until(client.documents)
    live_stream.close()
    await client.task
    assert client.received[-2:] == [b"event: end\ndata: {}\n\n", b""]
    assert live_stream.why_not() == "The gateway is stopping. Watch the one that takes its place."


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(accounts={"default": {"concurrent_executions": 2}}) as started:
        yield started


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def test_the_stream_is_one_of_server_sent_events_that_no_cache_keeps(served: Gateway) -> None:
    answer = served.fetch("/live", "HEAD")
    assert answer.status == 200
    assert (answer.header("content-type") or "").startswith("text/event-stream")
    assert answer.header("cache-control") == "no-store"
    assert answer.header("access-control-allow-origin") is None


def test_a_question_that_makes_no_sense_gets_a_text(served: Gateway) -> None:
    answer = served.fetch("/live?top=many")
    assert answer.status == 400
    assert answer.json == {"error": "top=many is not a number. Send the number of rows."}


def test_a_watcher_too_many_is_told_so(served: Gateway) -> None:
    served.on_loop(lambda: setattr(served.server.gateway.admin.live_stream, "_most", 1))
    with Wire(served.server.admin.port) as first:
        first.send(request("/live"))
        served.until(lambda: served.server.gateway.admin.live_stream.count == 1, "a watcher")
        answer = served.fetch("/live")
        assert answer.status == 503
        assert answer.json["error"].startswith("1 viewers are connected, the maximum.")
    served.until(lambda: served.server.gateway.admin.live_stream.count == 0, "no watcher")


@pytest.mark.lateness
def test_watchers_do_not_hold_a_stop_up_even_if_they_do_not_read() -> None:
    functions = {f"a-function-with-a-rather-long-name-{number}": {} for number in range(500)}
    started = gateway_with(functions)
    with (
        Wire(started.server.admin.port) as reader,
        Wire(started.server.admin.port, receive_buffer=4096) as deaf,
    ):
        reader.send(request("/live"))
        deaf.send(request("/live?top=200"))
        live_stream = started.server.gateway.admin.live_stream
        started.until(lambda: live_stream.count == 2, "two watchers")
        began = time.monotonic()
        started.stop()
        judge(began, 3)


def gateway_with(functions: dict[str, Any]) -> Gateway:
    return Gateway(accounts={"default": {"functions": functions}}).start()
