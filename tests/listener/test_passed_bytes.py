"""Requests that go on as the bytes that came, and those with a wish to upgrade."""

from __future__ import annotations

import pytest

from tests.support.clients import stream_path
from tests.support.sockets import (
    Gateway,
    Wire,
    chunked,
    invoke,
)

from .heads import CHUNKED, H2C, HOLD, PASSED, PATH, WEBSOCKET, everything, lines, names_of, refused
from .heads import SETTINGS as SETTINGS

# ---- what goes on as the bytes that came ---------------------------------------------------------------------------

ONE = invoke(body=b'{"a":1}')
REBUILT = {
    "two spaces before the version": ONE.replace(b" HTTP/1.1", b"  HTTP/1.1"),
    "many spaces before the version": ONE.replace(b" HTTP/1.1", b" " * 50 + b"HTTP/1.1"),
    "two spaces before the target": ONE.replace(b"POST ", b"POST  "),
    "another protocol": ONE.replace(b"HTTP/1.1", b"RTSP/1.1"),
    "a later version": ONE.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "line ends before it": b"\r\n\r\n" + ONE,
    "a line feed before it": b"\n" + ONE,
    "a carriage return before it": b"\r" + ONE,
    "line ends behind it": ONE + b"\r\n" * 8,
    "line ends behind a body that ends in some": invoke(body=b'{"a":1}\r\n\r\n') + b"\r\n" * 8,
    "line ends behind no body": invoke(body=b"") + b"\r\n" * 8,
    "zeros before the length": invoke("echo", b'{"a":1}', "Content-Length: 007", length=False),
    "a tab before the length": ONE.replace(b"Content-Length: ", b"Content-Length:\t"),
    "a tab behind the length": ONE.replace(b"Content-Length: 7", b"Content-Length: 7\t "),
    "a tab behind the host": ONE.replace(b"Host: gateway", b"Host: gateway\t"),
    "an empty Host": ONE.replace(b"Host: gateway", b"Host:"),
    "a chunked body": invoke("echo", b"", CHUNKED, length=False) + chunked(b'{"a"', b":1}"),
}


@pytest.mark.parametrize("data", REBUILT.values(), ids=REBUILT)
def test_a_request_that_is_not_in_canonical_form_is_rewritten(served: Gateway, data: bytes) -> None:
    """The backend reads what was counted: one request line with single spaces, one length, one body, nothing else."""
    with Wire(served.port) as wire:
        assert wire.send(data).answer().status == 200
        assert wire.send(invoke("second", b"2")).answer().body == b"2"
    first, second = served.forwarded()
    line, *headers = first.head.split(b"\r\n")
    assert line == f"POST {PATH.format('echo')} HTTP/1.1".encode()
    assert first.header(b"content-length") == b"%d" % len(first.body)
    assert first.header(b"transfer-encoding") is None
    assert b"\t" not in first.head
    assert first.body.rstrip() in (b'{"a":1}', b"")
    assert headers[-2:] == [b"", b""]
    assert (second.function, second.body) == ("second", b"2")


AS_IT_CAME = {
    "a body": ONE,
    "no body": invoke(body=b""),
    "a body that ends in line ends": invoke(body=b'{"a":1}\r\n\r\n'),
    "a query": invoke(path=PATH.format("echo") + "?Qualifier=live"),
    "spaces around values, and any letter case": ONE.replace(b"Host: gateway", b"hOST:  gateway\r\nX-A:b\r\nX-b:  "),
    "bytes beyond ASCII in a value": invoke("echo", b"{}", "X-A: \xe9\xff"),
}


@pytest.mark.parametrize("data", AS_IT_CAME.values(), ids=AS_IT_CAME)
def test_a_request_in_canonical_form_goes_on_as_it_came(served: Gateway, data: bytes) -> None:
    """But for the trace header that is put behind its first line."""
    assert served.send(data).status == 200
    (call,) = served.forwarded()
    line, trace, rest = (call.head + call.body).split(b"\r\n", 2)
    assert trace.startswith(b"X-Amzn-Trace-Id: Root=")
    assert line + b"\r\n" + rest == data


# ---- Upgrade -------------------------------------------------------------------------------------------------------

BODIES = {
    "no body": ((), b"", b""),
    "a body": (("Content-Length: 7",), b'{"a":1}', b'{"a":1}'),
    "a chunked body": ((CHUNKED,), chunked(b'{"a"', b":1}"), b'{"a":1}'),
    "a chunked body with trailers": ((CHUNKED,), chunked(b'{"a":1}', last=b"0\r\nX-T: y\r\n\r\n"), b'{"a":1}'),
}
UPGRADES = {
    "h2c": H2C,
    "websocket": WEBSOCKET,
    "several lines": ("Connection: X-Other", "Connection: upgrade", "Upgrade: h2c", "Upgrade: websocket"),
    "not listed": ("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
    "odd letters": ("cOnNeCtIoN: uPGRADE , hTTP2-sETTINGS", "uPGRADE: H2C", "hTTP2-sETTINGS: AAMAAABk"),
}


@pytest.mark.parametrize(("headers", "sent", "body"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("path", [PATH.format("echo"), stream_path("echo"), PASSED])
def test_a_wish_to_upgrade_is_ignored_and_its_body_kept(
    served: Gateway, upgrade: tuple[str, ...], headers: tuple[str, ...], sent: bytes, body: bytes, path: str
) -> None:
    """RFC 9110, 7.8. The wish goes no further, and requests behind it are served: in one piece, and byte by byte."""
    request = lines(f"POST {path} HTTP/1.1", "Host: g", *upgrade, *headers) + sent
    behind = invoke("second", b"2")
    with Wire(served.port) as wire:
        wire.send(request + behind + request + behind)
        answers = [wire.answer() for _ in range(4)]
        for byte in request:
            wire.send(bytes([byte]))
        answers += [wire.answer(), wire.send(behind).answer()]
    assert [answer.status for answer in answers] == [200] * 6
    assert [answer.body for answer in answers] == [body, b"2"] * 3
    for call in served.forwarded():
        assert not names_of(call) & {b"upgrade", b"http2-settings", b"connection"}


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_a_body_behind_a_wish_to_upgrade_may_come_later(served: Gateway, pieces: int) -> None:
    body = b'"' + b"x" * 300_000 + b'"'
    head = lines(f"POST {PATH.format('echo')} HTTP/1.1", "Host: g", *H2C, f"Content-Length: {len(body)}")
    size = -(-len(body) // pieces)
    with Wire(served.port) as wire:
        wire.send(head)
        for start in range(0, len(body), size):
            assert wire.is_open(0.02)
            wire.send(body[start : start + size])
        assert wire.answer().body == body
        assert wire.send(invoke()).answer().status == 200


def test_a_wish_to_upgrade_is_ignored_in_http_1_0(served: Gateway) -> None:
    request = lines(f"POST {PATH.format('echo')} HTTP/1.0", *H2C, "Content-Length: 7", body=b'{"a":1}')
    head, body = everything(served.port, request + invoke("smuggled"))
    assert head.startswith(b"http/1.1 200 ")
    assert body == b'{"a":1}'
    assert [call.body for call in served.forwarded()] == [b'{"a":1}']


def test_a_wish_to_upgrade_and_to_close_is_closed(served: Gateway) -> None:
    request = lines(f"POST {PATH.format('echo')} HTTP/1.1", "Host: g", "Connection: close, upgrade", "Upgrade: h2c")
    with Wire(served.port) as wire:
        (answer,) = wire.send(request + invoke("smuggled")).answers()
    assert (answer.status, answer.header("connection")) == (200, "close")
    assert len(served.forwarded()) == 1


def test_a_hold_is_taken_with_a_wish_to_upgrade(served: Gateway) -> None:
    """On the admin listener its body was lost."""
    request = lines("POST /holds HTTP/1.1", "Host: localhost", *H2C, "Content-Type: application/json")
    request = request[:-2] + f"Content-Length: {len(HOLD)}\r\n\r\n".encode()
    with Wire(served.server.admin.port) as wire:
        answer = wire.send(request + HOLD).answer()
    assert answer.status in (200, 201), answer


@pytest.mark.parametrize("bad", ["Content-Length: 2, 2", "Content-Length: +2", "Transfer-Encoding: gzip"])
def test_a_wish_to_upgrade_hides_no_bad_framing(served: Gateway, bad: str) -> None:
    request = lines(f"POST {PATH.format('echo')} HTTP/1.1", "Host: g", *H2C, bad, body=b"{}")
    assert refused(served.port, request + invoke("smuggled"))[0] == 400
    assert served.forwarded() == []


def test_a_flood_of_wishes_to_upgrade_is_not_kept(served: Gateway) -> None:
    with Wire(served.port) as wire:
        wire.send(invoke("hold") + lines("GET /x HTTP/1.1", "Host: g", *H2C) * 2000)
        served.until_running(1)
        served.release()
        assert [answer.body for answer in wire.answers()] == [b"{}"]
