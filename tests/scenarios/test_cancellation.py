"""A task may be cancelled wherever it waits: no slot is lost, none is given back while the backend works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from invoke_gateway.app.gateway import Gateway
from tests.support.backends import BackendCall, ScriptedBackend, response
from tests.support.clients import invoke_path, stream_path
from tests.support.gateways import eventually, make_settings
from tests.support.stepping import Cancelled, Stepped

BOTH_LOOPS = True

ACCOUNT = ("000000000000", None)
LARGE = 8_000_000  # bytes: more than the sockets take at once, so that sending waits too
MOST_STEPS = 400

CASES = {
    "invocation": ("POST", invoke_path("checkout"), b'{"a": 1}'),
    "large invocation": ("POST", invoke_path("checkout"), b'"' + b"x" * LARGE + b'"'),
    "stream": ("POST", stream_path("checkout"), b"{}"),
    "event": ("POST", invoke_path("event"), b"{}"),
    "upload": ("PUT", "/2015-03-31/functions/checkout/code", b"x" * LARGE),
    "download": ("GET", "/layer.zip", b""),
}


class Client:
    """The server's side of the ASGI interface: every receive and every send waits once."""

    def __init__(self, method: str, target: str, body: bytes) -> None:
        self.scope = {
            "type": "http",
            "method": method,
            "raw_path": target.encode(),
            "query_string": b"",
            "http_version": "1.1",
            "headers": [(b"host", b"here"), (b"content-length", b"%d" % len(body))],
        }
        if "event" in target:
            self.scope["headers"].append((b"x-amz-invocation-type", b"Event"))
        self._pieces = [body[start : start + 2_000_000] for start in range(0, len(body), 2_000_000)] or [b""]
        self.sent: list[MutableMapping[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": self._pieces.pop(0), "more_body": bool(self._pieces)}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await asyncio.sleep(0)
        self.sent.append(message)


class Bench:
    """A gateway without its listeners before a backend that can be told to hold its answers back."""

    def __init__(self, backend: ScriptedBackend, gateway: Gateway) -> None:
        self.backend = backend
        self.gateway = gateway
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        backend.script = self._answer

    async def _answer(self, call: BackendCall) -> None:
        await self.may_answer.wait()
        call.end()
        await call.send(response(200, b"x" * 300_000, chunked=True))

    @property
    def in_flight(self) -> int:
        return self.gateway.counters.counts().get("000000000000/account", 0)

    def what_is_held(self) -> dict[str, object]:
        gateway = self.gateway
        held = {
            "slots": gateway.counters.counts(),
            "buffered": gateway.buffers.in_use,
            "busy connections": gateway.pool.busy,
            "running calls": self.backend.running[ACCOUNT],
        }
        return {name: value for name, value in held.items() if value}

    async def settled(self) -> None:
        """Wait until nothing is held; and at every moment until then, what the backend runs must hold a slot."""

        def has_settled() -> bool:
            assert self.backend.running[ACCOUNT] <= self.in_flight <= 1
            return not self.what_is_held()

        await eventually(has_settled, self.what_is_held)

    async def run(self, case: str, step: int, *, late: bool) -> bool:
        """One request, cancelled at `step`. Returns whether it came so far."""
        client = Client(*CASES[case])
        work = Stepped(self.gateway.invoke(client.scope, client.receive, client.send), step, late=late)
        try:
            await work.end()
        except Cancelled:
            pass
        else:
            if not work.has_cancelled:
                assert client.sent[0]["status"] == 200
                assert client.sent[-1] == {"type": "http.response.body", "body": b""} or client.sent[-1]["body"]
        return work.has_cancelled


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with ScriptedBackend() as backend:
        settings = make_settings(
            backend.url,
            quotas={"request": 2 * LARGE},
            **{"async": {"mode": "forward"}},
            accounts={"default": {"concurrent_executions": 1, "requests_per_second": 1_000_000}},
        )
        gateway = Gateway(settings, backend_url=backend.url)
        yield Bench(backend, gateway)
        await gateway.close()


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "as it goes on"])
@pytest.mark.parametrize("is_connected", [False, True], ids=["new connection", "kept connection"])
@pytest.mark.parametrize("case", CASES)
async def test_cancelled_anywhere_a_request_leaves_nothing_behind(
    bench: Bench, case: str, is_connected: bool, late: bool
) -> None:
    for step in range(MOST_STEPS):
        if is_connected:
            assert not await bench.run("event", MOST_STEPS, late=late)
        else:
            await bench.backend.close_connections()
            await eventually(lambda: not bench.gateway.pool.idle, "no connection is left")
        was_cancelled = await bench.run(case, step, late=late)
        await bench.settled()
        if not was_cancelled:
            break
    assert 2 <= step < MOST_STEPS, "it was cancelled at every place where it waits, and there are some"
    assert not await bench.run(case, MOST_STEPS, late=late), "the only slot can be had again"


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "as it goes on"])
@pytest.mark.parametrize("case", ["invocation", "large invocation", "stream"])
async def test_a_slot_outlives_its_cancelled_task_for_exactly_as_long_as_the_backend_works(
    bench: Bench, case: str, late: bool
) -> None:
    """The backend holds back; so a slot must be held exactly where a connection is busy with the request."""
    dispatched = undispatched = 0
    for step in range(MOST_STEPS):
        bench.may_answer.clear()
        arrived_before = len(bench.backend.requests)
        working = asyncio.create_task(bench.run(case, step, late=late))
        # Steps beyond the one that waits for the backend are not reached before it answers.
        at_backend = asyncio.create_task(
            bench.backend.until(lambda backend: len(backend.requests) > arrived_before)  # noqa: B023  # awaited below
        )
        await asyncio.wait([working, at_backend], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.sleep(0.01)
        is_busy = bench.gateway.pool.busy
        assert bench.in_flight == is_busy
        if is_busy:
            dispatched += 1
            await at_backend
            assert bench.in_flight == bench.backend.running[ACCOUNT] == 1
        else:
            undispatched += 1
            at_backend.cancel()
            await asyncio.gather(at_backend, return_exceptions=True)
            assert len(bench.backend.requests) == arrived_before
        is_last = not working.done()
        bench.may_answer.set()
        await working
        await bench.settled()
        if is_last:
            break
    assert dispatched
    assert undispatched
