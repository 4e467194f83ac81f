"""HTTP/1.1 and 1.0 as their standards have them (RFC 9110, RFC 9112), on both listeners."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.backends import BackendCall
from tests.support.clients import stream_path
from tests.support.sockets import (
    Answer,
    Closed,
    Gateway,
    Wire,
    calls_under_way,
    chunked,
    gateway,
    invoke,
    refusal_of,
)
from tests.support.tools import CURL, NODE

PATH = "/2015-03-31/functions/{}/invocations"
PASSED = "/2015-03-31/functions"
CHUNKED = "Transfer-Encoding: chunked"
HOLD = json.dumps({"function": "held", "slots": 1, "seconds": 0.01}).encode()
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
WEBSOCKET = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with gateway(keep_alive_seconds=5) as started:
        yield started


@pytest.fixture
def served(shared: Gateway) -> Iterator[Gateway]:
    """A gateway that after the test holds nothing, and serves the next client."""
    shared.forget()
    yield shared
    shared.backend.on_head = None
    shared.release()
    shared.until_idle()
    assert shared.send(invoke(body=b'"still there"')).body == b'"still there"'


@pytest.fixture(params=["invoke", "admin"])
def port(served: Gateway, request: pytest.FixtureRequest) -> int:
    return served.port if request.param == "invoke" else served.server.admin.port


def lines(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(*headers: str, version: str = "HTTP/1.1", target: str = "/healthz") -> bytes:
    return lines(f"GET {target} {version}", *headers)


def everything(port: int, data: bytes) -> tuple[bytes, bytes]:
    """Head and body of all that comes until the connection ends."""
    with Wire(port) as wire:
        head, _, body = wire.send(data).rest().partition(b"\r\n\r\n")
    return head.lower(), body


def refused(port: int, data: bytes) -> tuple[int, str]:
    """Status and text of the one answer, behind which the connection ends."""
    with Wire(port) as wire:
        (answer,) = wire.send(data).answers()
    assert answer.header("connection") == "close"
    assert answer.header("date")
    if "error" in answer.json:
        return answer.status, answer.json["error"]
    status, code, text = refusal_of(answer)
    assert code == "InvalidRequestContentException"
    return status, text


def names_of(call: BackendCall) -> set[bytes]:
    return {name.lower() for name, _ in call.headers}


# ---- HTTP/1.0 -------------------------------------------------------------------------------------------------


async def answer_in_chunks(call: BackendCall) -> None:
    await call.read_body()
    call.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"first,", b"second"))
    call.end()


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


# ---- versions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["HTTP/1.2", "HTTP/1.9"])
def test_a_later_version_of_http_1_is_served_as_1_1(served: Gateway, version: str) -> None:
    """RFC 9110, 2.5. It goes on as HTTP/1.1, and the connection stays open."""
    with Wire(served.port) as wire:
        for body in (b"1", b"2"):
            assert wire.send(invoke(body=body).replace(b"HTTP/1.1", version.encode())).answer().body == body
    assert [call.version for call in served.forwarded()] == [b"HTTP/1.1"] * 2


VERSIONS = {
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2.0"),
    "HTTP/2.0": (get("Host: g", version="HTTP/2.0"), "HTTP/2.0"),
    "HTTP/3.0": (get("Host: g", version="HTTP/3.0"), "HTTP/3.0"),
    "HTTP/0.9": (get("Host: g", version="HTTP/0.9"), "HTTP/0.9"),
    "a request of HTTP/0.9": (b"GET /healthz\r\n\r\n", "HTTP/0.9"),
    "an invocation of HTTP/0.9": (b"POST /2015-03-31/functions/echo/invocations\r\n\r\n", "HTTP/0.9"),
}


@pytest.mark.parametrize(("data", "version"), VERSIONS.values(), ids=VERSIONS)
def test_another_version_is_refused_with_505(served: Gateway, port: int, data: bytes, version: str) -> None:
    text = f"The request's version is {version}; the gateway serves HTTP/1.1 and HTTP/1.0."
    assert refused(port, data) == (505, text)
    assert served.forwarded() == []


def test_connect_is_not_implemented(port: int, served: Gateway) -> None:
    data = lines("CONNECT backend:80 HTTP/1.1", "Host: backend:80") + invoke("smuggled")
    assert refused(port, data) == (501, "The gateway does not implement CONNECT.")
    assert served.forwarded() == []


# ---- Host -----------------------------------------------------------------------------------------------------

BAD_HOSTS = {
    "none": ((), "it has no Host"),
    "two": (("Host: a", "Host: b"), "it has more than one Host"),
    "the same twice": (("Host: a", "host: a"), "it has more than one Host"),
    "a space in it": (("Host: a b",), "its Host is no host with or without a port"),
    "two in a list": (("Host: a, b",), "its Host is no host with or without a port"),
    "a path": (("Host: a/b",), "its Host is no host with or without a port"),
    "a query": (("Host: a?b",), "its Host is no host with or without a port"),
    "a fragment": (("Host: a#b",), "its Host is no host with or without a port"),
    "a backslash": (("Host: a\\b",), "its Host is no host with or without a port"),
    "a user": (("Host: me@a",), "its Host is no host with or without a port"),
    "a URL": (("Host: http://a",), "its Host is no host with or without a port"),
    "no number as its port": (("Host: a:b",), "its Host is no host with or without a port"),
    "two ports": (("Host: a:1:2",), "its Host is no host with or without a port"),
    "a signed port": (("Host: a:+1",), "its Host is no host with or without a port"),
    "IPv6 without brackets": (("Host: ::1",), "its Host is no host with or without a port"),
    "half a bracket": (("Host: [::1",), "its Host is no host with or without a port"),
    "brackets around no address": (("Host: [::1::2]",), "its Host is no host with or without a port"),
    "brackets around a name": (("Host: [abc]",), "its Host is no host with or without a port"),
    "half an escape": (("Host: a%2",), "its Host is no host with or without a port"),
    "angle brackets": (("Host: <a>",), "its Host is no host with or without a port"),
    "a letter beyond ASCII": (("Host: \xe9",), "its Host is no host with or without a port"),
    "a tab inside": (("Host: a\tb",), "its Host is no host with or without a port"),
}


@pytest.mark.parametrize(("headers", "problem"), BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_a_request_without_one_valid_host_is_refused(
    served: Gateway, port: int, headers: tuple[str, ...], problem: str
) -> None:
    """RFC 9112, 3.2. Nothing of it is forwarded, nor what stands behind it."""
    for name, data in (
        ("POST", lines(f"POST {PATH.format('echo')} HTTP/1.1", *headers, "Content-Length: 2", body=b"{}")),
        ("GET", get(*headers)),
    ):
        assert refused(port, data + invoke("smuggled")) == (400, f"The request is not valid HTTP/1.1: {problem}"), name
    assert served.forwarded() == []


@pytest.mark.parametrize("headers", [("Host: a b",), ("Host: a", "Host: a")])
def test_a_bad_host_is_refused_in_http_1_0_too(port: int, headers: tuple[str, ...]) -> None:
    assert refused(port, get(*headers, version="HTTP/1.0"))[0] == 400


def test_a_bad_host_is_refused_behind_a_good_one(served: Gateway, port: int) -> None:
    """Each request of a connection names its host; and the response before it comes whole."""
    with Wire(port) as wire:
        assert wire.send(get("Host: localhost")).answer().status == 200
        answers = wire.send(get("Host: localhost") + get()).answers()
        assert answers[0].status == 200
    with Wire(port) as wire:
        assert wire.send(get("Host: localhost")).answer().status == 200
        (answer,) = wire.send(get("Host: local host")).answers()
        assert answer.status == 400


GOOD_HOSTS = [
    "a",
    "a:",
    "a:80",
    "127.0.0.1:9000",
    "[::1]",
    "[::ffff:127.0.0.1]:80",
    "a_b.example.",
    "%41",
    "a~b!$&'*+;=",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_a_valid_host_arrives_as_it_was_sent(served: Gateway, host: str) -> None:
    assert served.send(lines(f"GET {PASSED} HTTP/1.1", f"Host: {host}")).status == 200
    assert served.forwarded()[0].header(b"host") == host.encode()


@pytest.mark.parametrize(
    "head",
    [("HTTP/1.0",), ("HTTP/1.0", "Host:"), ("HTTP/1.1", "Host:"), ("HTTP/1.1", "Host: \t ")],
    ids=["HTTP/1.0 without one", "HTTP/1.0 with an empty one", "an empty one", "a blank one"],
)
@pytest.mark.parametrize("path", [PATH.format("echo"), stream_path("echo"), PASSED])
def test_the_backends_own_host_is_added_where_a_request_names_none(
    served: Gateway, head: tuple[str, ...], path: str
) -> None:
    """Backends in Go and Node answer 400 without it."""
    version, *headers = head
    assert served.send(lines(f"POST {path} {version}", *headers, "Content-Length: 2", body=b"{}")).status == 200
    (call,) = served.forwarded()
    assert call.header(b"host") == f"127.0.0.1:{served.backend.port}".encode()


def test_an_event_from_a_client_without_a_host_is_run_with_the_backends(served: Gateway) -> None:
    headers = ("X-Amz-Invocation-Type: Event", "Content-Length: 2")
    assert served.send(lines(f"POST {PATH.format('echo')} HTTP/1.0", *headers, body=b"{}")).status == 202
    served.until(lambda: served.backend.requests, "the event is run")
    served.until_no_events()
    assert served.forwarded()[0].header(b"host") == f"127.0.0.1:{served.backend.port}".encode()


# ---- targets --------------------------------------------------------------------------------------------------


def test_the_authority_of_an_absolute_target_takes_precedence_over_host(served: Gateway) -> None:
    """RFC 9112, 3.2.2."""
    for scheme in ("http", "HTTP", "https"):
        target = f"{scheme}://elsewhere:81{PATH.format('echo')}?Qualifier=live"
        assert served.send(invoke(path=target)).status == 200
    for call in served.forwarded():
        assert call.target.decode() == PATH.format("echo") + "?Qualifier=live"
        assert call.header(b"host") == b"elsewhere:81"


def test_an_absolute_target_needs_no_host_in_http_1_0(served: Gateway) -> None:
    assert served.send(get(version="HTTP/1.0", target=f"http://elsewhere{PASSED}")).status == 200
    assert served.forwarded()[0].header(b"host") == b"elsewhere"


def test_an_absolute_target_does_not_excuse_a_missing_host(port: int) -> None:
    assert refused(port, get(target="http://localhost/healthz"))[0] == 400


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [("http://b", "/"), ("http://b?x=1", "/?x=1"), ("http://b/?x=/#".rstrip("#"), "/?x=/"), ("http://b//c", "//c")],
)
def test_an_absolute_target_is_forwarded_in_origin_form(served: Gateway, target: str, forwarded: str) -> None:
    assert served.send(get("Host: g", target=target)).status == 200
    assert served.forwarded()[0].target.decode() == forwarded


@pytest.mark.parametrize("target", ["*", "http://g"])
def test_options_of_the_server_are_forwarded_as_such(served: Gateway, target: str) -> None:
    assert served.send(lines(f"OPTIONS {target} HTTP/1.1", "Host: g")).status == 200
    assert [(call.method, call.target) for call in served.forwarded()] == [(b"OPTIONS", b"*")]


@pytest.mark.parametrize(
    "target",
    [
        "http:///x",
        "http://u:p@g/x",
        "http://a b/x",
        "http://a:b/x",
        "http://[::1/x",
        "ftp://g/x",
        "http:/x",
        "*",
        "*/x",
    ],
)
def test_a_target_in_no_form_is_refused(served: Gateway, port: int, target: str) -> None:
    assert refused(port, get("Host: g", target=target))[0] == 400
    assert served.forwarded() == []


def test_no_site_reaches_the_admin_listener_by_an_absolute_target(served: Gateway) -> None:
    """It is the target that says by which name the listener is reached, whatever Host says."""
    with Wire(served.server.admin.port) as wire:
        answer = wire.send(get("Host: localhost", target="http://evil.example/limits")).answer()
    assert answer.status == 421


# ---- what goes on as the bytes that came ----------------------------------------------------------------------

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


# ---- Upgrade --------------------------------------------------------------------------------------------------

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


# ---- lists in several lines -----------------------------------------------------------------------------------


def test_several_connection_lines_are_one_list(served: Gateway) -> None:
    """RFC 9110, 5.3: what any of them names goes no further, and none is mistaken for a second answer."""
    headers = ("Connection: X-One", "X-One: 1", "Connection: keep-alive, X-Two", "X-Two: 2", "X-Three: 3")
    for path in (PATH.format("echo"), stream_path("echo"), PASSED):
        with Wire(served.port) as wire:
            request = lines(f"POST {path} HTTP/1.1", "Host: g", *headers, "Content-Length: 2", body=b"{}")
            assert [wire.send(request).answer().status for _ in range(2)] == [200, 200]
    assert len(served.forwarded()) == 6
    for call in served.forwarded():
        assert not names_of(call) & {b"connection", b"x-one", b"x-two"}
        assert call.header(b"x-three") == b"3"


@pytest.mark.parametrize(
    "headers", [("Connection: X-One", "Connection: close"), ("Connection: close", "Connection: x")]
)
def test_close_in_any_connection_line_closes(port: int, headers: tuple[str, ...]) -> None:
    with Wire(port) as wire:
        (answer,) = wire.send(get("Host: localhost", *headers) + get("Host: localhost")).answers()
    assert (answer.status, answer.header("connection")) == (200, "close")


def test_connection_lines_cannot_take_away_what_was_acted_on(served: Gateway) -> None:
    headers = ("Connection: x", "Connection: X-Amz-Invocation-Type, Host", "X-Amz-Invocation-Type: DryRun")
    served.send(lines(f"POST {PATH.format('echo')} HTTP/1.1", "Host: g", *headers, "Content-Length: 0"))
    assert served.forwarded()[0].header(b"x-amz-invocation-type") == b"DryRun"


def test_two_transfer_codings_in_two_lines_are_refused(served: Gateway) -> None:
    for second in ("chunked", "identity"):
        headers = (CHUNKED, f"Transfer-Encoding: {second}")
        data = lines(f"POST {PATH.format('echo')} HTTP/1.1", "Host: g", *headers, body=chunked(b"{}"))
        assert refused(served.port, data + invoke("smuggled"))[0] == 400
    assert served.forwarded() == []


def test_te_trailer_and_keep_alive_in_several_lines_stay_behind(served: Gateway) -> None:
    twice = ("TE: trailers", "TE: gzip", "Trailer: X-A", "Trailer: X-B", "Keep-Alive: timeout=1", "Keep-Alive: max=2")
    assert served.send(lines(f"GET {PASSED} HTTP/1.1", "Host: g", *twice, "Connection: TE")).status == 200
    assert names_of(served.forwarded()[0]) == {b"host"}


# ---- Expect ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [("Expect: the-worst",), ("Expect: 100-continue, x",), ("Expect: 100-continue", "Expect: y")]
)
@pytest.mark.parametrize("length", [0, 2])
def test_an_unknown_expectation_is_refused_with_417(
    served: Gateway, port: int, headers: tuple[str, ...], length: int
) -> None:
    data = lines(f"POST {PATH.format('echo')} HTTP/1.1", "Host: g", *headers, f"Content-Length: {length}")
    text = "The Expect header has a value other than 100-continue. Send the request without that value."
    assert refused(port, data + b"{}"[:length]) == (417, text)
    assert served.forwarded() == []


@pytest.mark.parametrize(
    "headers", [("Expect: 100-Continue",), ("Expect: 100-continue", "Expect: 100-continue"), ("Expect: ,100-continue",)]
)
def test_a_known_expectation_is_met_once(served: Gateway, headers: tuple[str, ...]) -> None:
    with Wire(served.port) as wire:
        wire.send(lines(f"POST {PATH.format('echo')} HTTP/1.1", "Host: g", *headers, "Content-Length: 2"))
        assert wire.answer() == Answer(100, [], b"")
        assert wire.send(b"{}").answer().body == b"{}"
        assert wire.send(invoke()).answer().status == 200


@pytest.mark.parametrize("headers", [("Content-Length: 0",), (), ("Content-Length: 000",)])
def test_nothing_is_to_be_continued_without_a_body(served: Gateway, headers: tuple[str, ...]) -> None:
    """Neither is 100 sent nor the connection closed behind a refusal."""
    with Wire(served.port) as wire:
        for function, status in (("echo", 200), ("no%20name", 400), ("echo", 200)):
            data = lines(f"POST {PATH.format(function)} HTTP/1.1", "Host: g", "Expect: 100-continue", *headers)
            assert wire.send(data).answer().status == status


def test_the_body_of_a_hold_gets_a_100(served: Gateway) -> None:
    head = lines(
        "POST /holds HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Expect: 100-continue",
        f"Content-Length: {len(HOLD)}",
    )
    with Wire(served.server.admin.port) as wire:
        assert wire.send(head).answer().status == 100
        assert wire.send(HOLD).answer().status in (200, 201)


def test_a_body_behind_a_wish_to_upgrade_may_wait_for_a_100(served: Gateway) -> None:
    with Wire(served.port) as wire:
        head = ("Host: g", *H2C, "Expect: 100-continue", "Content-Length: 2")
        wire.send(lines(f"POST {PATH.format('echo')} HTTP/1.1", *head))
        assert wire.answer() == Answer(100, [], b"")
        assert wire.send(b"{}").answer().body == b"{}"
        assert wire.send(invoke()).answer().status == 200


# ---- nothing is half taken ------------------------------------------------------------------------------------


def test_what_is_refused_here_takes_nothing() -> None:
    """After all of it no call is in flight, and the account's slots can be taken whole."""
    whole = {"concurrent_executions": 3, "unreserved_floor": 0, "requests_per_second": "off"}
    refusals = [
        *(data for data, _ in VERSIONS.values()),
        *(
            lines(f"POST {PATH.format('f')} HTTP/1.1", *headers, "Content-Length: 0")
            for headers, _ in BAD_HOSTS.values()
        ),
        *(invoke("f", path=target) for target in ("/x#y", "ftp://g/x", "http:///x", "*")),
        invoke("f", b"{}", "Expect: x"),
        lines("CONNECT g:80 HTTP/1.1", "Host: g"),
        lines(f"POST {PATH.format('f')} HTTP/1.0", CHUNKED, body=chunked(b"{}")),
    ]
    with gateway(accounts={"default": whole}) as served:
        for data in refusals:
            with Wire(served.port) as wire:
                (answer,) = wire.send(data).answers()
            assert answer.status in (400, 417, 501, 505), data
        assert served.held() == {}
        assert served.forwarded() == []
        with calls_under_way(served, "hold-1", "hold-2", "hold-3"):
            assert served.held()["000000000000/account"] == 3
        served.until_idle()


# ---- HEAD, and the admin listener's bounds ---------------------------------------------------------------


def test_the_refusal_of_a_head_request_has_no_body(port: int) -> None:
    head, body = everything(port, lines("HEAD /healthz HTTP/1.1"))
    assert head.startswith(b"http/1.1 400 ")
    assert body == b""


def test_a_head_request_gets_no_body_on_the_admin_listener(served: Gateway) -> None:
    with Wire(served.server.admin.port) as wire:
        for target in ("/healthz", "/metrics", "/live", "/limits"):
            wire.send(lines(f"HEAD {target} HTTP/1.1", "Host: localhost"))
            assert wire.answer(of_head_request=True).status == 200
        assert wire.send(get("Host: localhost")).answer().body == b"ok\n"


ADMIN_REFUSALS = {
    "garbage": (b"\0garbage\r\n\r\n", 400),
    "two lengths": (lines("POST /holds HTTP/1.1", "Host: g", "Content-Length: 2, 2", body=b"{}"), 400),
    "a length and chunks": (lines("POST /holds HTTP/1.1", "Host: g", CHUNKED, "Content-Length: 2", body=b"{}"), 400),
    "another coding": (lines("POST /holds HTTP/1.1", "Host: g", "Transfer-Encoding: gzip, chunked"), 400),
    "bare line feeds": (get("Host: g").replace(b"\r\n", b"\n"), 400),
    "a head without end": (get("Host: g", "X: " + "x" * 70_000), 431),
    "too many headers": (get("Host: g", *["X: y"] * 129), 431),
}


@pytest.mark.parametrize(("data", "status"), ADMIN_REFUSALS.values(), ids=ADMIN_REFUSALS)
def test_the_admin_listener_refuses_in_its_own_shape(served: Gateway, data: bytes, status: int) -> None:
    with Wire(served.server.admin.port) as wire:
        (answer,) = wire.send(data).answers()
    assert (answer.status, set(answer.json)) == (status, {"error"})
    assert answer.header("content-type") == "application/json"


def test_slow_heads_are_cut_on_the_admin_listener() -> None:
    with gateway(read_timeout_seconds=0.2) as served, Wire(served.server.admin.port) as wire:
        answer = wire.send(b"GET /healthz HTTP/1.1\r\nX").answer()
        assert answer.status == 408
        assert wire.has_ended()


# ---- real clients ---------------------------------------------------------------------------------------------


def curl(*arguments: str) -> str:
    done = subprocess.run(
        [CURL.require(), "-sS", "--noproxy", "*", "-m", "20", *arguments], capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
def test_curl_is_served_whatever_version_it_begins_with(served: Gateway, version: str) -> None:
    """Body and all, also with a wish to go on in HTTP/2; on both listeners, and when it streams."""
    served.backend.on_head = None
    body = '{"a": "%s"}' % ("x" * 2000)
    assert curl(version, "-d", body, served.url + PATH.format("echo")) == body
    assert curl(version, "-d", body, served.url + PATH.format("echo"), served.url + PASSED) == body * 2
    admin = f"http://{served.server.admin}"
    assert "# HELP" in curl(version, admin + "/metrics")
    answer = curl(version, "-H", "Content-Type: application/json", "-d", HOLD.decode(), admin + "/holds")
    assert "error" not in json.loads(answer)
    served.backend.on_head = answer_in_chunks
    assert curl(version, "-d", "{}", served.url + stream_path("f")) == "first,second"


def test_curl_with_http_2_from_the_first_byte_gets_an_answer_it_can_show(served: Gateway, port: int) -> None:
    """It sends the preface unasked and is refused; nothing hangs."""
    done = subprocess.run(
        [
            CURL.require(),
            "-sS",
            "--noproxy",
            "*",
            "-m",
            "20",
            "--http2-prior-knowledge",
            f"http://127.0.0.1:{port}/healthz",
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode not in (0, 28)  # neither served nor timed out


NODE_BACKEND = """
const server = require("http").createServer((request, response) => {
  request.on("data", () => {}).on("end", () => response.end(JSON.stringify(request.headers.host)));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


def test_a_node_backend_serves_http_1_0_clients() -> None:
    """Node answers 400 to a request of HTTP/1.1 without a Host."""
    node = subprocess.Popen([NODE.require(), "-e", NODE_BACKEND], stdout=subprocess.PIPE)
    try:
        assert node.stdout is not None
        url = f"http://127.0.0.1:{int(node.stdout.readline())}"
        with gateway(backend={"url": url}) as served:
            head, body = everything(served.port, lines(f"POST {PATH.format('f')} HTTP/1.0", "Content-Length: 0"))
        assert head.startswith(b"http/1.1 200 ")
        assert json.loads(body) == url.removeprefix("http://")
    finally:
        node.kill()
        node.wait()
        node.stdout.close()


NODE_UPGRADE = """
const [url, body] = process.argv.slice(1);
const headers = { Connection: "Upgrade, HTTP2-Settings", Upgrade: "h2c", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA" };
const request = require("http").request(url, { method: "POST", headers }, (response) => {
  let text = "";
  response.on("data", (data) => (text += data)).on("end", () => console.log(response.statusCode, text));
});
request.on("upgrade", () => console.log("upgraded")).on("error", console.error);
request.end(body);
"""


def test_node_with_a_wish_for_http_2_is_served(served: Gateway) -> None:
    arguments = [NODE.require(), "-e", NODE_UPGRADE, served.url + PATH.format("echo"), '{"a":1}']
    done = subprocess.run(arguments, capture_output=True, check=True, timeout=60)
    assert done.stdout.decode() == '200 {"a":1}\n'


def test_a_closed_connection_is_no_answer(served: Gateway) -> None:
    """The client of these tests distinguishes the two."""
    with Wire(served.port) as wire, pytest.raises(Closed):
        wire.finish_sending().answer()
