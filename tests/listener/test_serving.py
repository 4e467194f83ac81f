"""How a connection serves its requests: in one step, behind the end of a call, or by its task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uvicorn.server import ServerState

from invoke_gateway.asgi import AWAITED, DONE, LOST, App, Receive, Scope, Send
from invoke_gateway.listener import InvokeProtocol, ListenerLimits, make_spare_parsers
from invoke_gateway.listener.request_parser import SpareParsers
from invoke_gateway.write_batcher import WriteBatcher

REQUEST = b"POST /%b HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}"


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_open = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return not self.is_open

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.is_open = False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Call:
    """A call to the backend, or a decision of a store, that ends when the test says so."""

    def __init__(self) -> None:
        self.has_ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._resume: Callable[[], None] | None = None

    def resume_at_end(self, resume: Callable[[], None] | None) -> None:
        self._resume = resume

    async def wait(self) -> None:
        if not self.has_ended:
            self._waiter = waiter = asyncio.get_running_loop().create_future()
            await waiter

    def end(self) -> None:
        self.has_ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._resume is not None:
            self._resume()


class Connection:
    """One connection to the listener, without a socket."""

    def __init__(self, app: App, spare_parsers: SpareParsers | None = None) -> None:
        self.state = ServerState()
        config = cast("Any", SimpleNamespace(loaded_app=app, timeout_keep_alive=60))
        self.protocol = InvokeProtocol(
            config,
            self.state,
            {},
            limits=ListenerLimits(),
            write_batcher=WriteBatcher(),
            spare_parsers=make_spare_parsers() if spare_parsers is None else spare_parsers,
        )
        self.transport = Transport()
        self.protocol.connection_made(self.transport)

    def bodies(self) -> list[bytes]:
        """Returns the bodies of the responses so far: each ends with a semicolon."""
        return [part.rpartition(b"\r\n\r\n")[2] for part in self.transport.sent.split(b";")[:-1]]


def respond(send: Send, text: str) -> None:
    body = text.encode() + b";"
    headers = [(b"content-length", b"%d" % len(body))]
    assert send({"type": "http.response.start", "status": 200, "headers": headers}) is DONE
    assert send({"type": "http.response.body", "body": body}) is DONE


class Backend:
    """An application that waits for a call on all paths but `/now`, and then does what a test says.

    decisions: of the paths that wait for a decision before their call
    """

    def __init__(self, decided: Iterable[str] = ()) -> None:
        self.calls: dict[str, Call] = {}
        self.decisions = {path: Call() for path in decided}
        self.ended: list[str] = []
        self.lost: list[str] = []
        self.then: Callable[[], Awaitable[None]] | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope["path"]
        if path == "/now":
            respond(send, path)
            return DONE
        if path in self.decisions:
            scope[AWAITED] = self.decisions[path]
            return self._decide(path, scope, send)
        return self._call(path, scope, send)

    async def _decide(self, path: str, scope: Scope, send: Send) -> None:
        try:
            await self.decisions[path].wait()
        except asyncio.CancelledError:
            self.ended.append(f"{path} before its call")
            raise
        await self._call(path, scope, send)

    def _call(self, path: str, scope: Scope, send: Send) -> Awaitable[None]:
        scope[AWAITED] = self.calls[path] = Call()
        return self._wait(path, scope, send)

    async def _wait(self, path: str, scope: Scope, send: Send) -> None:
        try:
            await self.calls[path].wait()
            if self.then is not None:
                await self.then()
            respond(send, path)
        finally:
            self.ended.append(path)
            if LOST in scope:
                self.lost.append(path)


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_request_that_waits_for_nothing_and_one_that_waits_for_its_call_need_no_task() -> None:
    backend = Backend()
    connection = Connection(backend)
    before = asyncio.all_tasks()
    connection.protocol.data_received(REQUEST % b"now")
    await turn()
    assert connection.bodies() == [b"/now"]
    connection.protocol.data_received(REQUEST % b"a")
    await turn()
    assert connection.state.tasks == {connection.protocol}  # a drain waits for it
    assert asyncio.all_tasks() == before
    backend.calls["/a"].end()
    await turn()
    assert connection.bodies() == [b"/now", b"/a"]
    assert connection.state.tasks == set()
    assert asyncio.all_tasks() == before
    assert connection.transport.is_open


async def test_a_request_that_comes_alone_is_served_inside_its_read() -> None:
    connection = Connection(Backend())
    connection.protocol.data_received(REQUEST % b"now")
    assert connection.bodies() == [b"/now"]
    await turn()
    assert connection.bodies() == [b"/now"]


async def test_pipelined_requests_are_served_one_after_the_other() -> None:
    backend = Backend()
    connection = Connection(backend)
    connection.protocol.data_received(REQUEST % b"now" + REQUEST % b"a" + REQUEST % b"now" + REQUEST % b"b")
    await turn()
    assert (connection.bodies(), [*backend.calls]) == ([b"/now"], ["/a"])
    backend.calls["/a"].end()
    await turn()
    assert (connection.bodies(), [*backend.calls]) == ([b"/now", b"/a", b"/now"], ["/a", "/b"])
    backend.calls["/b"].end()
    await turn()
    assert connection.bodies() == [b"/now", b"/a", b"/now", b"/b"]


async def test_what_has_to_wait_behind_its_call_goes_on_in_a_task() -> None:
    backend = Backend()
    connection = Connection(backend)
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()
        async with asyncio.timeout(5):  # which needs a task
            await asyncio.sleep(0)

    backend.then = wait
    connection.protocol.data_received(REQUEST % b"a" + REQUEST % b"now")
    await turn()
    backend.calls["/a"].end()
    await turn()
    assert connection.bodies() == []
    (worker,) = connection.state.tasks
    assert isinstance(worker, asyncio.Task)
    gate.set()
    await turn()
    await turn()
    assert connection.bodies() == [b"/a", b"/now"]
    assert connection.state.tasks == set()
    connection.protocol.connection_lost(None)
    await worker


async def test_a_request_behind_one_of_the_task_waits_for_its_call_as_any_other() -> None:
    backend = Backend()
    connection = Connection(backend)
    backend.then = turn
    connection.protocol.data_received(REQUEST % b"a" + REQUEST % b"b" + REQUEST % b"c")
    await turn()
    for path in ("/a", "/b", "/c"):
        assert [*backend.calls][-1] == path
        assert connection.state.tasks == {connection.protocol}
        backend.calls[path].end()
        for _ in range(4):
            await turn()
    assert connection.bodies() == [b"/a", b"/b", b"/c"]
    assert connection.state.tasks == set()


@pytest.mark.parametrize("has_served", [False, True])
async def test_the_end_of_a_drain_cancels_what_waits_for_its_call(has_served: bool) -> None:
    backend = Backend()
    connection = Connection(backend)
    if has_served:  # so that the connection has a task already
        connection.protocol.data_received(REQUEST % b"before")
        await turn()
        backend.then = turn
        backend.calls["/before"].end()
        await turn()
        await turn()
        backend.ended.clear()
    connection.protocol.data_received(REQUEST % b"a")
    await turn()
    for task in connection.state.tasks:  # as uvicorn does
        task.cancel(msg="too late")
    await turn()
    assert backend.ended == ["/a"]
    assert b"/a" not in connection.bodies()
    assert not connection.transport.is_open
    assert connection.state.tasks == set()
    backend.calls["/a"].end()
    await turn()
    assert backend.ended == ["/a"]


async def test_a_cancellation_between_the_end_of_a_call_and_its_response_is_a_cancellation() -> None:
    backend = Backend()
    connection = Connection(backend)
    connection.protocol.data_received(REQUEST % b"a")
    await turn()
    backend.calls["/a"].end()
    for task in connection.state.tasks:
        task.cancel(msg="too late")
    await turn()
    assert backend.ended == ["/a"]
    assert connection.state.tasks == set()


async def test_a_client_that_leaves_does_not_end_its_request() -> None:
    backend = Backend()
    connection = Connection(backend)
    connection.protocol.data_received(REQUEST % b"a" + REQUEST % b"b")
    await turn()
    connection.transport.is_open = False
    connection.protocol.connection_lost(None)
    await turn()
    assert backend.ended == []
    assert connection.state.tasks == {connection.protocol}
    backend.calls["/a"].end()
    await turn()
    assert (backend.ended, backend.lost) == (["/a"], ["/a"])
    assert [*backend.calls] == ["/a"]  # the request behind it is not served
    assert connection.state.tasks == set()


async def test_a_rest_that_fails_is_logged_and_its_connection_closed(caplog: pytest.LogCaptureFixture) -> None:
    backend = Backend()
    connection = Connection(backend)

    async def fail() -> None:
        raise RuntimeError("broken")

    backend.then = fail
    connection.protocol.data_received(REQUEST % b"a")
    await turn()
    backend.calls["/a"].end()
    await turn()
    assert "the application failed" in caplog.text
    assert not connection.transport.is_open


async def test_a_request_that_waits_for_a_decision_and_then_for_its_call_needs_no_task() -> None:
    backend = Backend(decided=["/a", "/b"])
    connection = Connection(backend)
    before = asyncio.all_tasks()
    connection.protocol.data_received(REQUEST % b"a" + REQUEST % b"b")
    await turn()
    for path in ("/a", "/b"):
        assert path not in backend.calls
        backend.decisions[path].end()
        await turn()
        assert not backend.calls[path].has_ended
        assert connection.state.tasks == {connection.protocol}
        assert asyncio.all_tasks() == before
        backend.calls[path].end()
        await turn()
    assert connection.bodies() == [b"/a", b"/b"]
    assert connection.state.tasks == set()
    assert asyncio.all_tasks() == before


async def test_a_call_that_ends_at_once_behind_its_decision_is_answered() -> None:
    backend = Backend(decided=["/a"])
    connection = Connection(backend)
    call, wait = backend._call, asyncio.Event()

    def call_and_end(path: str, scope: Scope, send: Send) -> Awaitable[None]:
        rest = call(path, scope, send)
        backend.calls[path].end()
        return rest

    backend._call = call_and_end  # type: ignore[method-assign]  # a backend that has answered already
    backend.then = wait.wait  # type: ignore[assignment]  # its result is not used
    connection.protocol.data_received(REQUEST % b"a" + REQUEST % b"now")
    await turn()
    backend.decisions["/a"].end()
    await turn()
    (worker,) = connection.state.tasks
    assert isinstance(worker, asyncio.Task)
    wait.set()
    await turn()
    await turn()
    assert connection.bodies() == [b"/a", b"/now"]
    connection.protocol.connection_lost(None)
    await worker


@pytest.mark.parametrize(
    ("ends", "ended"), [([], ["/a before its call"]), (["decision"], ["/a"])], ids=["decision", "call"]
)
async def test_the_end_of_a_drain_cancels_a_decision_and_the_call_behind_it(ends: list[str], ended: list[str]) -> None:
    backend = Backend(decided=["/a"])
    connection = Connection(backend)
    connection.protocol.data_received(REQUEST % b"a")
    await turn()
    if ends:
        backend.decisions["/a"].end()
        await turn()
        assert not backend.calls["/a"].has_ended
    for task in [*connection.state.tasks]:  # as uvicorn does
        task.cancel(msg="too late")
    await turn()
    assert backend.ended == ended
    assert connection.bodies() == []
    assert not connection.transport.is_open
    assert connection.state.tasks == set()
    backend.decisions["/a"].end()
    await turn()
    assert backend.ended == ended


async def test_a_cancellation_between_the_end_of_a_call_behind_a_decision_and_its_response_is_a_cancellation() -> None:
    backend = Backend(decided=["/a"])
    connection = Connection(backend)
    connection.protocol.data_received(REQUEST % b"a")
    await turn()
    backend.decisions["/a"].end()
    await turn()
    backend.calls["/a"].end()
    for task in [*connection.state.tasks]:
        task.cancel(msg="too late")
    await turn()
    assert backend.ended == ["/a"]
    assert connection.state.tasks == set()
