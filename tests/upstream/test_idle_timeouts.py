"""A backend that does not finish is taken to have ended at `backend.timeout_seconds`, and not before; one that falls
silent, at the limit of that silence, where one is set."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.backends import OK, BackendCall, BackendConnection, ScriptedBackend, says
from tests.support.clients import Client, call, check_is_service_exception, invoke, request, stream_path
from tests.support.gateways import GatewayUnderTest, eventually, serving
from tests.support.lateness import check_lasted, judge

from .backend_errors import RESET, TIMEOUT, check_is_fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECONDS = 0.6
LARGE = 48_000_000  # bytes: more than sockets hold on their way
SETTINGS = {"backend": {"timeout_seconds": SECONDS}, "quotas": {"request": LARGE}}

LATE = 0.3  # seconds that a machine may add which is judged


def now() -> float:
    return time.monotonic()


def patient(backend: ScriptedBackend, **seconds: float) -> dict[str, object]:
    """Returns settings with a time-out that ends no call of these tests, however slow the machine is."""
    return {"backend": {"url": backend.url, "timeout_seconds": 120, **seconds}, "quotas": {"request": LARGE}}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="before the first byte"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="after an informational response"),
        pytest.param(OK + b"Content-Le", id="in the head"),
        pytest.param(OK + b"Content-Length: 10\r\n\r\n12345", id="in the body"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n12345", id="in a huge chunk"),
        pytest.param(OK + b"\r\n12345", id="in a body without a length"),
    ],
)
async def test_a_backend_that_hangs_is_a_time_out(
    gateway: GatewayUnderTest, backend: ScriptedBackend, sent: bytes
) -> None:
    await check_is_fault(gateway, backend, says(sent), "timeout", TIMEOUT)


@pytest.mark.lateness
async def test_the_slot_comes_back_exactly_at_the_time_out(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    backend.script = says(b"")
    async with Client(gateway.listen) as client:
        sent_at = now()
        await client.send(request("/2015-03-31/functions/checkout/invocations"))
        await backend.request(0)
        arrived_at = now()
        assert gateway.in_flight == 1
        await eventually(lambda: gateway.in_flight == 0, "the slot comes back")
        check_lasted(sent_at, SECONDS)
        judge(arrived_at, SECONDS + LATE)
        check_is_service_exception(await client.read_response(), TIMEOUT)


@pytest.mark.lateness
async def test_each_call_has_its_own_time_out(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    """The first to start is the first to end, and does not take the others with it."""
    backend.script = says(b"")
    first = asyncio.create_task(invoke(gateway.listen))
    await backend.request(0)
    await asyncio.sleep(SECONDS / 2)
    started_at = now()
    second = asyncio.create_task(invoke(gateway.listen))
    await backend.request(1)
    check_is_service_exception(await first, TIMEOUT)
    if now() - started_at < SECONDS:  # else the machine was too slow to see it
        assert gateway.in_flight == 1
    check_is_service_exception(await second, TIMEOUT)
    check_lasted(started_at, SECONDS)
    judge(started_at, SECONDS + LATE)


async def test_dripping_bytes_does_not_put_the_time_out_off(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    async def script(call: BackendCall) -> None:
        call.write(OK + b"Content-Length: 1000\r\n\r\n")
        while not call.connection.writer.is_closing():  # a reset leaves at_eof() false for ever
            await call.send(b"x")
            await asyncio.sleep(0.02)

    await check_is_fault(gateway, backend, script, "timeout", TIMEOUT)


async def test_a_slow_drip_that_ends_in_time_is_a_response() -> None:
    async def script(call: BackendCall) -> None:
        for byte in OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
            await call.send(bytes([byte]))
            await asyncio.sleep(0.001)

    async with ScriptedBackend() as backend:
        backend.script = script
        async with serving(backend.url, **patient(backend)) as gateway:
            answer = await invoke(gateway.listen)
            assert (answer.status, answer.body) == (200, b"abc")


async def test_a_stream_that_hangs_is_cut_at_the_time_out(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    backend.script = says(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    answer = await call(gateway.listen, stream_path("checkout"))
    assert (answer.status, answer.body, answer.is_whole) == (200, b"hello", False)


async def test_a_backend_that_stops_sending_has_failed_at_once() -> None:
    """It can answer no more, also where the rest of a large request still waits to be sent."""

    async def script(call: BackendCall) -> None:
        call.connection.writer.write_eof()
        await call.stay()

    async with ScriptedBackend() as backend:
        backend.on_head = script
        async with serving(backend.url, **patient(backend)) as gateway:
            answer = await invoke(gateway.listen, body=b'"' + b"x" * (LARGE - 2) + b'"')
            check_is_service_exception(answer, RESET)


async def test_a_refused_connection_is_unreachable_and_takes_nothing() -> None:
    async with ScriptedBackend() as closed:
        pass
    async with serving(closed.url) as gateway:
        answer = await invoke(gateway.listen)
        check_is_service_exception(answer, "The backend refused the connection.")
        assert gateway.what_is_held() == {}
        assert await gateway.metric("upstream_errors_total", kind="refused") == 1


async def test_a_connection_that_is_not_opened_in_time_is_a_connect_time_out() -> None:
    """A backend that accepts and then says nothing has not opened a TLS connection."""

    async def never_shakes_hands(connection: BackendConnection) -> None:
        await connection.reader.read()

    async with ScriptedBackend() as backend:
        backend.on_connection = never_shakes_hands
        url = backend.url.replace("http:", "https:")
        async with serving(url, backend={"url": url, "connect_timeout_seconds": 0.2}) as gateway:
            answering = asyncio.create_task(invoke(gateway.listen))
            await eventually(lambda: gateway.in_flight == 1, "the slot is taken before forwarding")
            check_is_service_exception(await answering, "The backend did not accept a connection in time.")
            assert gateway.what_is_held() == {}
            assert await gateway.metric("upstream_errors_total", kind="connect_timeout") == 1


# ---- silence --------------------------------------------------------------------------------------------------

FIRST_BYTE = "The backend sent nothing within backend.first_byte_timeout_seconds."
IDLE = "The backend stopped within its response for backend.idle_timeout_seconds."


@pytest.mark.parametrize(
    ("sent", "kind", "text"),
    [
        pytest.param(b"", "first_byte_timeout", FIRST_BYTE, id="before the first byte"),
        pytest.param(OK + b"Content-Le", "idle_timeout", IDLE, id="in the head"),
        pytest.param(OK + b"Content-Length: 10\r\n\r\n12345", "idle_timeout", IDLE, id="in the body"),
    ],
)
@pytest.mark.lateness
async def test_a_backend_that_falls_silent_is_cut_long_before_the_time_out(sent: bytes, kind: str, text: str) -> None:
    """And not before its time."""
    async with ScriptedBackend() as backend:
        settings = patient(backend, first_byte_timeout_seconds=SECONDS, idle_timeout_seconds=SECONDS)
        async with serving(backend.url, **settings) as gateway:
            started_at = now()
            await check_is_fault(gateway, backend, says(sent), kind, text)
            check_lasted(started_at, SECONDS)
            judge(started_at, 2 * SECONDS + LATE)
            backend.script = says(b"")
            check_is_service_exception(await invoke(gateway.listen), FIRST_BYTE)  # also after a pause without calls


async def test_each_silence_has_its_own_limit() -> None:
    """A function that takes long before it answers is not cut for a pause that it does not make."""

    async def script(call: BackendCall) -> None:
        await asyncio.sleep(2 * SECONDS)
        call.answer()

    async with ScriptedBackend() as backend:
        backend.script = script
        async with serving(backend.url, **patient(backend, idle_timeout_seconds=SECONDS / 2)) as gateway:
            assert (await invoke(gateway.listen)).status == 200

    async def stutter(call: BackendCall) -> None:
        await call.send(OK + b"Content-Length: 2\r\n\r\n1")
        await asyncio.sleep(2 * SECONDS)
        await call.send(b"2")

    async with ScriptedBackend() as backend:
        backend.script = stutter
        async with serving(backend.url, **patient(backend, first_byte_timeout_seconds=SECONDS / 2)) as gateway:
            assert (await invoke(gateway.listen)).body == b"12"


async def test_a_drip_is_no_silence() -> None:
    async def script(call: BackendCall) -> None:
        await call.send(OK + b"Content-Length: 20\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(SECONDS / 4)
            await call.send(b"x")

    async with ScriptedBackend() as backend:
        backend.script = script
        # As long as most of them together, so that a machine that stands still for a moment makes no silence.
        async with serving(backend.url, **patient(backend, idle_timeout_seconds=4 * SECONDS)) as gateway:
            assert (await invoke(gateway.listen)).body == b"x" * 20


async def test_a_backend_that_waits_for_us_is_not_silent() -> None:
    """It has begun to read a large request late, and we have not sent all of it before."""

    async def script(call: BackendCall) -> None:
        await asyncio.sleep(3 * SECONDS)
        async for _ in call.body_pieces():
            pass
        call.answer()

    async with ScriptedBackend() as backend:
        backend.on_head = script
        settings = patient(backend, first_byte_timeout_seconds=SECONDS, idle_timeout_seconds=SECONDS)
        async with serving(backend.url, **settings) as gateway:
            body = b'"' + b"x" * (LARGE - 2) + b'"'
            assert (await call(gateway.listen, "/2015-03-31/functions/checkout/invocations", body)).status == 200


async def test_a_stream_that_waits_for_its_client_is_not_silent() -> None:
    """The backend is not read from then, so that it cannot get on."""
    size = 8_000_000

    async def script(call: BackendCall) -> None:
        await call.send(OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)

    async with ScriptedBackend() as backend:
        backend.script = script
        settings = patient(backend, idle_timeout_seconds=SECONDS) | {"quotas": {"response": 100_000}}
        async with serving(backend.url, **settings) as gateway, Client(gateway.listen, receive_buffer=4096) as client:
            await client.send(request(stream_path("checkout")))
            assert (await client.read_head()).status == 200
            await asyncio.sleep(3 * SECONDS)
            assert len(await client.reader.readexactly(size)) == size
