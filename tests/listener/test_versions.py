"""HTTP/1.0, later versions, and what is no HTTP/1, on both listeners."""

from __future__ import annotations

import pytest

from tests.support.backends import BackendCall
from tests.support.clients import stream_path
from tests.support.sockets import (
    Gateway,
    Wire,
    chunked,
    invoke,
    refusal_of,
)

from .heads import CHUNKED, HOLD, PASSED, PATH, VERSIONS, answer_in_chunks, everything, get, lines, names_of, refused
from .heads import SETTINGS as SETTINGS

# ---- HTTP/1.0 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [stream_path("f"), PASSED], ids=["streamed", "passed through"])
@pytest.mark.parametrize("keep_alive", [(), ("Connection: keep-alive",)], ids=["", "keep-alive"])
def test_a_body_without_a_length_ends_with_the_connection_in_http_1_0(
    served: Gateway, path: str, keep_alive: tuple[str, ...]
) -> None:
    """RFC 9112, 6.1: no chunked coding to HTTP/1.0; RFC 9112, 9.3: a proxy keeps no connection of such clients."""
    served.backend.on_head = answer_in_chunks
    request = lines(f"POST {path} HTTP/1.0", "Host: g", "Content-Length: 2", *keep_alive, body=b"{}")
    head, body = everything(served.port, request)
    assert head.startswith(b"http/1.1 200 ")
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    assert b"\r\nconnection: close" in head
    assert body == b"first,second"


@pytest.mark.parametrize("target", ["/metrics", "/healthz", "/limits", "/"])
def test_the_admin_listener_sends_no_chunks_to_http_1_0(served: Gateway, target: str) -> None:
    head, body = everything(served.server.admin.port, get(version="HTTP/1.0", target=target))
    assert head.startswith(b"http/1.1 200 ")
    assert b"transfer-encoding" not in head
    assert b"\r\nconnection: close" in head
    expected = {"/metrics": b"# HELP ", "/healthz": b"ok\n", "/limits": b"{", "/": b"<!doctype html>"}[target]
    assert body[: len(expected)].lower() == expected.lower()
    assert not body.endswith(b"0\r\n\r\n")


def test_the_live_stream_is_no_chunks_to_http_1_0(served: Gateway) -> None:
    with Wire(served.server.admin.port) as wire:
        data = wire.send(get(version="HTTP/1.0", target="/live")).take(600)
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body.startswith((b"data:", b"event:", b"id:", b"retry:", b":"))


def test_a_response_that_is_cut_does_not_look_whole_to_http_1_0(served: Gateway) -> None:
    """Without a length the orderly end of the connection is the end of the body, so the connection is reset."""

    async def break_off(call: BackendCall) -> None:
        await call.read_body()
        call.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await served.released.wait()
        call.connection.writer.transport.abort()

    served.backend.on_head = break_off
    with Wire(served.port) as wire:
        wire.send(lines(f"POST {stream_path('f')} HTTP/1.0", "Content-Length: 2", body=b"{}"))
        taken = b""
        while not taken.endswith(b"\r\n\r\nhello"):
            taken += wire.take(1)
        served.release()
        with pytest.raises(ConnectionResetError):
            wire._socket.recv(1)


def test_http_1_0_gets_no_100_continue(served: Gateway) -> None:
    """RFC 9110, 10.1.1: the expectation is ignored; and its body, which comes unasked, is read."""
    request = lines(f"POST {PATH.format('echo')} HTTP/1.0", "Expect: 100-continue", "Content-Length: 2")
    with Wire(served.port) as wire:
        wire.send(request)
        assert wire.is_open(0.2)
        (answer,) = wire.send(b"{}").answers()
    assert (answer.status, answer.body) == (200, b"{}")
    assert b"expect" not in names_of(served.forwarded()[0])


def test_a_refused_upload_of_http_1_0_is_read_to_its_end(served: Gateway) -> None:
    """Its client never waits for a 100, so an early end would be a broken pipe to it."""
    request = lines(f"POST {PATH.format('no%20name')} HTTP/1.0", "Expect: 100-continue", "Content-Length: 200000")
    with Wire(served.port) as wire:
        wire.send(request)
        status, code, _ = refusal_of(wire.answer())
        assert (status, code) == (400, "ValidationException")
        assert wire.is_open(0.1)
        assert wire.send(b"x" * 200_000).has_ended()


def test_http_1_0_has_no_chunked_requests(port: int, served: Gateway) -> None:
    """RFC 9112, 6.1: the framing of such a message is faulty."""
    request = lines("POST /holds HTTP/1.0", "Host: g", CHUNKED, body=chunked(HOLD))
    assert refused(port, request) == (
        400,
        "The request is not valid HTTP/1.1: HTTP/1.0 has no Transfer-Encoding",
    )
    assert served.forwarded() == []


# ---- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["HTTP/1.2", "HTTP/1.9"])
def test_a_later_version_of_http_1_is_served_as_1_1(served: Gateway, version: str) -> None:
    """RFC 9110, 2.5. It goes on as HTTP/1.1, and the connection stays open."""
    with Wire(served.port) as wire:
        for body in (b"1", b"2"):
            assert wire.send(invoke(body=body).replace(b"HTTP/1.1", version.encode())).answer().body == body
    assert [call.version for call in served.forwarded()] == [b"HTTP/1.1"] * 2


@pytest.mark.parametrize(("data", "version"), VERSIONS.values(), ids=VERSIONS)
def test_another_version_is_refused_with_505(served: Gateway, port: int, data: bytes, version: str) -> None:
    text = f"The request's version is {version}; the gateway serves HTTP/1.1 and HTTP/1.0."
    assert refused(port, data) == (505, text)
    assert served.forwarded() == []


def test_connect_is_not_implemented(port: int, served: Gateway) -> None:
    data = lines("CONNECT backend:80 HTTP/1.1", "Host: backend:80") + invoke("smuggled")
    assert refused(port, data) == (501, "The gateway does not implement CONNECT.")
    assert served.forwarded() == []
