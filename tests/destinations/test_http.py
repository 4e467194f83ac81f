"""An address to POST to as a target: real sockets, and a server that does what a script says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from invoke_gateway.destinations.targets import Destinations
from invoke_gateway.queue.base import DeliveryFailed
from invoke_gateway.queue.outcomes.destination_records import make_record
from tests.support.backends import (
    BackendCall,
    BackendConnection,
    ScriptedBackend,
    response,
    says,
    says_and_closes,
    says_and_resets,
)
from tests.support.certificates import make_certificate
from tests.support.events import ARN, ended
from tests.support.processes import free_port


@pytest.fixture
async def server() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as started:
        yield started


def headers(call: BackendCall) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in call.headers}


async def test_a_destination_is_posted_its_record(targets: Destinations, server: ScriptedBackend) -> None:
    event = ended()
    await targets("on_failure", f"{server.url}/hook?token=t", event)
    (call,) = server.requests
    assert (call.method, call.target, call.body) == (b"POST", b"/hook?token=t", make_record(event))
    assert headers(call) == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "invoke-gateway",
        "content-type": "application/json",
        "content-length": str(len(call.body)),
        "connection": "close",
        "idempotency-key": "0a5c5f5e-0000-4000-8000-000000000001-on_failure-60a2418221090",
        "x-invoke-gateway-kind": "on_failure",
        "x-invoke-gateway-function": ARN,
    }


async def test_a_dead_letter_is_the_event_itself_and_its_attributes_are_headers(
    targets: Destinations, server: ScriptedBackend
) -> None:
    event = ended(body=b'{"id": 7.10}', answer=None, code=429, message="100% für\nalle")
    await targets("dead_letter_queue", server.url, event)
    (call,) = server.requests
    assert call.body == b'{"id": 7.10}'
    told = headers(call)
    assert told["x-invoke-gateway-request-id"] == event.request_id
    assert told["x-invoke-gateway-error-code"] == "429"
    assert told["x-invoke-gateway-error-message"] == "100%25 f%C3%BCr%0Aalle"


async def test_what_is_told_twice_has_the_same_key(targets: Destinations, server: ScriptedBackend) -> None:
    for _ in range(2):
        await targets("on_failure", server.url, ended())
    first, second = (headers(call)["idempotency-key"] for call in server.requests)
    assert first == second


async def test_a_user_name_and_password_are_sent_as_basic_authentication(
    targets: Destinations, server: ScriptedBackend
) -> None:
    await targets("on_failure", f"http://aladdin:open%20sesame@127.0.0.1:{server.port}/", ended())
    assert headers(server.requests[0])["authorization"] == "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert headers(server.requests[0])["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "answer",
    [
        response(204, b""),
        response(202, b"x" * 500_000, chunked=True),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(200),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this comes",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    ],
    ids=["no content", "large and chunked", "after an interim answer", "cut short", "without a length"],
)
async def test_any_status_from_200_to_299_is_a_success_whatever_its_body(
    targets: Destinations, server: ScriptedBackend, answer: bytes
) -> None:
    server.script = says_and_closes(answer)
    await targets("on_failure", server.url, ended())
    assert len(server.requests) == 1


async def test_a_success_whose_body_never_ends_is_a_success(targets: Destinations, server: ScriptedBackend) -> None:
    server.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this comes")
    await targets("on_failure", server.url, ended())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (response(500, b"out of\r\ncheese \x1b[31m"), r"it responded 500 Whatever: out of cheese \?\[31m$"),
        (response(404, b""), r"it responded 404 Whatever$"),
        (response(301, b"", {"Location": "/a"}), "it responded 301 Whatever; redirects are not followed"),
        (response(503, b"x" * 5000, chunked=True), "it responded 503 Whatever: x{200}$"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "it closed the connection without a response"),
        (b"", "it closed the connection without a response"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "its response is not HTTP/1.1"),
    ],
)
async def test_any_other_answer_is_a_failure_that_quotes_it(
    targets: Destinations, server: ScriptedBackend, answer: bytes, message: str
) -> None:
    server.script = says_and_closes(answer)
    with pytest.raises(DeliveryFailed, match=message):
        await targets("on_failure", server.url, ended())


async def test_an_answer_before_the_whole_body_was_read_is_heard(
    targets: Destinations, server: ScriptedBackend
) -> None:
    async def refuse(call: BackendCall) -> None:
        call.write(response(413, b"too large"))
        await call.stay()

    server.on_head = refuse
    with pytest.raises(DeliveryFailed, match="it responded 413 Whatever: too large"):
        await targets("on_failure", server.url, ended(body=b'"' + b"x" * 8_000_000 + b'"'))


async def test_a_server_that_hangs_up_or_is_not_there_is_a_failure(
    targets: Destinations, server: ScriptedBackend
) -> None:
    server.script = says_and_resets(b"")
    with pytest.raises(DeliveryFailed, match=r"check that it runs and is reachable|without a response"):
        await targets("on_failure", server.url, ended())
    with pytest.raises(DeliveryFailed, match="check that it runs and is reachable") as raised:
        await targets("on_failure", f"http://u:hush@127.0.0.1:{free_port()}/a?token=hush", ended())
    assert "hush" not in str(raised.value)


async def test_a_server_that_never_answers_is_given_up_and_its_connection_closed(
    make_targets: Callable[..., Destinations], server: ScriptedBackend
) -> None:
    server.script = says(b"")
    async with asyncio.timeout(60):
        with pytest.raises(DeliveryFailed, match=r"no answer within 0\.2 s"):
            await make_targets(timeout_seconds=0.2)("on_failure", server.url, ended())
    await server.until(lambda backend: backend.connections[0].closed.is_set())


async def test_a_server_that_speaks_no_tls_is_a_failure(targets: Destinations, server: ScriptedBackend) -> None:
    server.on_connection = hang_up_in_plain_text
    with pytest.raises(DeliveryFailed, match="check that it speaks TLS"):
        await targets("on_failure", server.url.replace("http:", "https:"), ended())


async def hang_up_in_plain_text(connection: BackendConnection) -> None:
    await connection.reader.read(1)
    connection.writer.write(response(400, b""))
    connection.writer.close()


async def test_tls_is_checked(
    make_targets: Callable[..., Destinations], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with ScriptedBackend(tls=tls) as server:
        with pytest.raises(DeliveryFailed, match="; have SSL_CERT_FILE name its authority"):
            await make_targets()("on_failure", server.url, ended())
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await make_targets()("on_failure", server.url, ended())
        assert server.requests[0].body == make_record(ended())
