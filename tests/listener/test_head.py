"""Host, targets and lists of a head as the standards have them (RFC 9110, RFC 9112), on both listeners."""

from __future__ import annotations

import pytest

from tests.support.clients import stream_path
from tests.support.sockets import (
    Answer,
    Gateway,
    Wire,
    chunked,
    invoke,
)

from .heads import BAD_HOSTS, CHUNKED, H2C, HOLD, PASSED, PATH, get, lines, names_of, refused
from .heads import SETTINGS as SETTINGS

# ---- Host ----------------------------------------------------------------------------------------------------------


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


# ---- targets -------------------------------------------------------------------------------------------------------


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


# ---- lists in several lines ----------------------------------------------------------------------------------------


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


# ---- Expect --------------------------------------------------------------------------------------------------------


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
