"""The Invoke listener against raw bytes: whatever comes, a well-formed answer or a closed connection, nothing left."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from invoke_gateway.listener import protocol
from tests.support.backends import BackendCall
from tests.support.lateness import Pace, try_in_time
from tests.support.sockets import (
    PATIENCE,
    Answer,
    Closed,
    Gateway,
    Stream,
    Wire,
    chunked,
    gateway,
    invoke,
    refusal_of,
    wait_seconds,
)

READ_TIMEOUT = 1.0  # seconds
HEAD = "POST /2015-03-31/functions/{}/invocations HTTP/1.1\r\nHost: gateway\r\n"
CHUNKED = "Transfer-Encoding: chunked"
PASSED = "/2015-03-31/functions"  # CreateFunction: no invocation, handed on as it comes
SMUGGLED = invoke("smuggled")
LARGEST_EVENT = b'"' + b"x" * (6_291_456 - 2) + b'"'


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    limits = {"requests_per_second": "off", "functions": {"closed": {"reserved_concurrent_executions": 0}}}
    with gateway(read_timeout_seconds=READ_TIMEOUT, accounts={"default": limits}) as started:
        yield started


@pytest.fixture
def served(shared: Gateway) -> Iterator[Gateway]:
    """A gateway that after the test holds nothing, and serves the next client."""
    shared.forget()
    yield shared
    shared.release()
    shared.until_idle()
    assert shared.send(invoke(body=b'"still there"')).body == b'"still there"'


def head(*lines: str, function: str = "echo") -> bytes:
    return "\r\n".join([HEAD.format(function) + lines[0], *lines[1:], "", ""]).encode("latin-1")


def assert_rejected(served: Gateway, data: bytes, status: int = 400) -> str:
    """`data` gets one refusal in Lambda's shape, the connection is closed, nothing is forwarded. Returns the text."""
    with Wire(served.port) as wire:
        (answer,) = wire.send(data).answers()
    assert answer.header("connection") == "close"
    refused, code, text = refusal_of(answer)
    assert (refused, code) == (status, "InvalidRequestContentException")
    assert served.forwarded() == []
    return text


# ---- where one request ends and the next begins ---------------------------------------------------------------

SMUGGLING = {
    "length, then chunked": head("Content-Length: 2", CHUNKED) + b"0\r\n\r\n",
    "chunked, then length": head(CHUNKED, "Content-Length: 5") + b"0\r\n\r\n",
    "two lengths that differ": head("Content-Length: 2", "Content-Length: 0") + b"{}",
    "the same length twice": head("Content-Length: 2", "Content-Length: 2") + b"{}",
    "a list of lengths": head("Content-Length: 2, 2") + b"{}",
    "a list of lengths that differ": head("Content-Length: 2, 0") + b"{}",
    "a signed length": head("Content-Length: +2") + b"{}",
    "a negative length": head("Content-Length: -1") + b"{}",
    "a hexadecimal length": head("Content-Length: 0x2") + b"{}",
    "a length with a space inside": head("Content-Length: 1 0") + b"{}        ",
    "an empty length": head("Content-Length:") + b"{}",
    "a length beyond 64 bits": head("Content-Length: 18446744073709551616") + b"{}",
    "bare line feeds": head("Content-Length: 2").replace(b"\r\n", b"\n") + b"{}",
    "a bare line feed after one header": head("X: y\nContent-Length: 2") + b"{}",
    "a bare carriage return in a value": head("X: a\rContent-Length: 0", "Content-Length: 2") + b"{}",
    "a bare carriage return at a line's end": head("X: a\rY: b", "Content-Length: 2") + b"{}",
    "a folded header": head("X: a", " b", "Content-Length: 2") + b"{}",
    "a folded length": head("Content-Length:", " 2") + b"{}",
    "a space before the colon": head("Content-Length : 2") + b"{}",
    "a space before the first header": head(" Content-Length: 2") + b"{}",
    "a header without a colon": head("Content-Length") + b"{}",
    "a header without a name": head(": chunked", "Content-Length: 2") + b"{}",
    "another coding": head("Transfer-Encoding: gzip") + b"0\r\n\r\n",
    "another coding under chunked": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "identity after chunked": head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "identity with a length": head("Transfer-Encoding: identity", "Content-Length: 2") + b"{}",
    "something like chunked": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunked with something before it": head("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "chunked in quotes": head('Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "chunked in two headers": head(CHUNKED, CHUNKED) + b"0\r\n\r\n",
    "chunked twice in one header": head("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunked beside another header of codings": head(CHUNKED, "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "a chunk of more than 64 bits": head(CHUNKED) + b"1" + b"0" * 16 + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk whose size is a line of zeros and more": head(CHUNKED) + b"0" * 200 + b"x\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with a prefix": head(CHUNKED) + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": head(CHUNKED) + b"-2\r\n{}\r\n0\r\n\r\n",
    "a signed chunk": head(CHUNKED) + b"+2\r\n{}\r\n0\r\n\r\n",
    "a chunk with a space before its size": head(CHUNKED) + b" 2\r\n{}\r\n0\r\n\r\n",
    "a chunk with a bare line feed after its size": head(CHUNKED) + b"2\n{}\r\n0\r\n\r\n",
    "a chunk with a bare line feed after its data": head(CHUNKED) + b"2\r\n{}\n0\r\n\r\n",
    "a chunk that is longer than it says": head(CHUNKED) + b"1\r\n{}\r\n0\r\n\r\n",
    "a chunk extension with a bare line feed": head(CHUNKED) + b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "a length in a trailer": head(CHUNKED) + chunked(b"{}", last=b"0\r\nContent-Length: 5\r\n\r\n"),
    "a coding in a trailer": head(CHUNKED) + chunked(b"{}", last=b"0\r\nTransfer-Encoding: gzip\r\n\r\n"),
    "no chunk size at all": head(CHUNKED) + b"\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING)
def test_a_request_whose_end_is_in_doubt_is_refused_and_the_connection_closed(served: Gateway, data: bytes) -> None:
    """Nothing of it reaches the backend, nor what stands behind it."""
    assert_rejected(served, data + SMUGGLED)


NOT_HTTP = {
    "NUL in a value": head("X: a\0b", "Content-Length: 2") + b"{}",
    "a control byte in a value": head("X: a\x01b", "Content-Length: 2") + b"{}",
    "DEL in a value": head("X: a\x7fb", "Content-Length: 2") + b"{}",
    "NUL in a name": head("X\0Y: a", "Content-Length: 2") + b"{}",
    "NUL in the path": invoke(path="/2015-03-31/functions/echo\0/invocations"),
    "a byte above ASCII in the path": invoke(path="/2015-03-31/functions/\xe9/invocations"),
    "a space in the path": invoke(path="/2015-03-31/functions/e cho/invocations"),
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "a lower-case method": invoke(method="post"),
    "an unknown method": invoke(method="FORGET"),
    "a fragment in the target": invoke(path="/2015-03-31/functions/echo/invocations#x"),
    "a fragment in the query": invoke(path="/2015-03-31/functions/echo/invocations?a#x"),
    "a target that is another server's": invoke(path="ftp://backend/2015-03-31/functions/echo/invocations"),
    "an asterisk that is no target of its method": invoke(path="*"),
    "an asterisk and more": invoke(path="*/2015-03-31/functions/echo/invocations"),
    "an authority alone": b"GET backend:80 HTTP/1.1\r\nHost: backend\r\n\r\n",
    "a tab before the target": invoke(method="POST\t"),
    "a tab before the version": invoke().replace(b" HTTP/1.1", b"\tHTTP/1.1"),
    "a space behind the version": invoke().replace(b" HTTP/1.1", b" HTTP/1.1 "),
    "a version in lower case": invoke().replace(b"HTTP/1.1", b"http/1.1"),
    "no method": invoke(method=""),
    "nothing but spaces": b" " * 100,
    "random bytes": random.Random(1).randbytes(300),
}


@pytest.mark.parametrize("data", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_1_1_is_refused_in_lambdas_shape(served: Gateway, data: bytes) -> None:
    """The client is told that its request is not valid, and what is wrong with it."""
    text = assert_rejected(served, data + SMUGGLED)
    assert re.fullmatch(r"The request is not valid HTTP/1\.1: .{5,}", text)
    assert "callback" not in text


def test_a_target_in_absolute_form_is_the_invocation_that_its_path_says(served: Gateway) -> None:
    """It is counted like any other, and forwarded in origin form."""
    path = "/2015-03-31/functions/hold/invocations?Qualifier=live"
    with Wire(served.port) as wire:
        wire.send(invoke(path=f"http://elsewhere{path}"))
        served.until_running(1)
        assert served.held()["000000000000/function/hold"] == 1
        served.release()
        assert wire.answer().status == 200
    assert [call.target.decode() for call in served.forwarded()] == [path]


def test_a_trailer_is_no_header(served: Gateway) -> None:
    """A trailer that names another invocation type or caller changes nothing and goes no further."""
    trailers = b"0\r\nX-Amz-Invocation-Type: Event\r\nAuthorization: x\r\nX-Trailer: y\r\n\r\n"
    with Wire(served.port) as wire:
        wire.send(head(CHUNKED, function="hold") + chunked(b"{", b"}", last=trailers))
        served.until_running(1)
        assert served.held()["000000000000/function/hold"] == 1
        served.release()
        assert wire.answer().body == b"{}"
    (call,) = served.forwarded()
    assert [name for name, _ in call.headers] == [b"x-amzn-trace-id", b"host", b"content-length"]


def test_many_zeros_before_a_length_are_only_zeros(served: Gateway) -> None:
    """A length of five thousand digits is still two bytes, and more than the quota is still refused."""
    assert served.send(head(f"Content-Length: {'0' * 5000}2") + b"{}").body == b"{}"
    assert served.send(head(f"Content-Length: {'0' * 5000}6291457")).status == 413


def test_a_request_of_http_1_0_is_served_and_its_connection_closed(served: Gateway) -> None:
    with Wire(served.port) as wire:
        (answer,) = wire.send(invoke().replace(b"HTTP/1.1", b"HTTP/1.0")).answers()
    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize(("path", "body"), [(PASSED, b"no json"), (None, b'{"is": "json"}')])
def test_any_other_method_is_passed_on_with_its_body(
    served: Gateway, method: str, path: str | None, body: bytes
) -> None:
    """Also on the path of an invocation, where it takes a slot as a POST does."""
    assert served.send(invoke(method=method, body=body, path=path)).status == 200
    assert [(call.method.decode(), call.body) for call in served.forwarded()] == [(method, body)]


def test_the_answer_to_a_head_request_has_no_body_whatever_length_it_names(served: Gateway) -> None:
    """And the next answer begins where it should."""

    async def name_a_length(call: BackendCall) -> None:
        call.end()
        call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")

    served.backend.on_head = name_a_length
    try:
        with Wire(served.port) as wire:
            answer = wire.send(invoke("", b"", path=PASSED, method="HEAD")).answer(of_head_request=True)
            assert (answer.status, answer.header("content-length")) == (200, "500")
            served.backend.on_head = None
            assert wire.send(invoke()).answer().body == b"{}"
    finally:
        served.backend.on_head = None


# ---- heads without end ----------------------------------------------------------------------------------------

ENDLESS = {
    "one header of a megabyte": head("X: " + "x" * 1_000_000, "Content-Length: 2") + b"{}",
    "ten thousand headers": head(*("X-Header: y" for _ in range(10_000)), "Content-Length: 2") + b"{}",
    "a hundred and twenty-nine small headers": head(*["A: b"] * 127, "Content-Length: 2") + b"{}",
    "a head just above the bound": head("X: " + "x" * 65_536, "Content-Length: 2") + b"{}",
    "a URL without end": b"POST /" + b"x" * 1_000_000,
    "a name without end": HEAD.encode() + b"x" * 1_000_000,
    "a method without end": b"POST" * 100_000,
    "trailers without end": head(CHUNKED) + b"2\r\n{}\r\n0\r\n" + b"X-Trailer: y\r\n" * 100_000,
    "a chunk extension without end": head(CHUNKED) + b"2;" + b"x" * 1_000_000,
}


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
def test_a_head_without_end_is_cut_at_its_bound(served: Gateway, data: bytes) -> None:
    """The client is told so if it still listens; an endless sender may find its connection reset."""
    with Wire(served.port) as wire:
        answers = wire.send(data).answers()
    assert len(answers) <= 1
    for answer in answers:
        status, code, _ = refusal_of(answer)
        assert status in (400, 431)
        assert code == "InvalidRequestContentException"
    assert served.forwarded() == []


@pytest.mark.parametrize(
    ("data", "bound"),
    [
        (head("X: " + "x" * 65_536, "Content-Length: 2"), "65536 bytes"),
        (head(*["A: b"] * 127, "Content-Length: 2"), "128 headers"),
    ],
)
def test_a_head_above_its_bound_is_refused_with_431_that_names_the_bound(
    served: Gateway, data: bytes, bound: str
) -> None:
    text = assert_rejected(served, data, status=431)
    assert text == f"The request's header section is above {bound} (max_header_bytes, max_headers)."


def test_a_head_at_its_bounds_is_served(served: Gateway) -> None:
    """128 headers, and a head of nearly 64 KiB that comes together with a large body."""
    assert served.send(head(*["A: b"] * 126, "Content-Length: 2") + b"{}").status == 200
    large = head("X: " + "x" * 65_000, f"Content-Length: {len(LARGEST_EVENT)}") + LARGEST_EVENT
    assert served.send(large).status == 200


# ---- clients that take their time -----------------------------------------------------------------------------


def dribble(wire: Wire, piece: bytes, pause: float = 0.05) -> Answer:
    """Send `piece` again and again until the gateway answers."""
    for _ in range(int(PATIENCE / pause)):
        wire.send(piece)
        if not wire.is_open(pause):
            return wire.answer()
    raise AssertionError("it goes on for ever")


def assert_timed_out(answer: Answer) -> None:
    assert refusal_of(answer) == (
        408,
        "RequestTimeoutException",
        "The request did not arrive within the gateway's read_timeout_seconds (1). Send it again.",
    )
    assert answer.header("connection") == "close"


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"\r\n"),
        (b"POST /", b"x"),
        (HEAD.encode(), b"X"),
        (HEAD.encode(), b"X: y\r\n"),
        (HEAD.encode() + b"X:", b" "),
    ],
    ids=["in empty lines", "in the URL", "in a name", "in headers", "in a value"],
)
def test_a_dribbled_head_is_cut(served: Gateway, start: bytes, piece: bytes) -> None:
    """However steadily its bytes come: slowloris."""
    with Wire(served.port) as wire:
        assert_timed_out(dribble(wire.send(start), piece))
        assert wire.has_ended()
    assert served.forwarded() == []


def test_the_dribbled_head_of_a_second_request_is_cut(served: Gateway) -> None:
    """Also on a connection that has served one already."""
    with Wire(served.port) as wire:
        assert wire.send(invoke()).answer().status == 200
        assert_timed_out(dribble(wire.send(HEAD.encode()), b"X: y\r\n"))
        assert wire.has_ended()
    assert len(served.forwarded()) == 1


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (head("Content-Length: 6000000") + b'"', b"x" * 100),
        (head(CHUNKED) + chunked(b'"', last=b""), chunked(b"x", last=b"")),
        (head(CHUNKED) + b"7fffffff\r\n", b" "),
        (head(CHUNKED) + chunked(b'"', last=b"0\r\n"), b"X: y\r\n"),
    ],
    ids=["with a length", "in chunks", "one great chunk", "in trailers"],
)
def test_a_dribbled_body_is_cut(served: Gateway, start: bytes, piece: bytes) -> None:
    """It is answered 408, was never forwarded, and its share of the buffers is free again."""
    with Wire(served.port) as wire:
        assert_timed_out(dribble(wire.send(start), piece))
        assert wire.has_ended()
    assert served.forwarded() == []


def test_a_dribbled_body_that_is_passed_through_is_cut(served: Gateway) -> None:
    """The backend, which has begun to receive it, sees its connection end rather than half a request."""
    with Wire(served.port) as wire:
        wire.send(invoke("", b"x", "Content-Length: 1000", path=PASSED, length=False))
        assert_timed_out(dribble(wire, b"x"))
    served.until(lambda: len(served.backend.broken) == 1, "the backend sees the end")
    assert served.on_loop(lambda: served.backend.requests) == []


def test_a_connection_that_never_sends_a_byte_is_closed_without_a_word(served: Gateway) -> None:
    with Wire(served.port) as wire:
        assert wire.has_ended()


def test_an_idle_connection_is_kept(served: Gateway) -> None:
    """The read time-out is for requests; an idle connection has keep_alive_seconds."""
    with Wire(served.port) as wire:
        wire.send(invoke()).answer()
        assert wire.is_open(2.5 * READ_TIMEOUT)
        assert wire.send(invoke(body=b"[]")).answer().body == b"[]"


def test_an_idle_connection_is_closed_after_keep_alive_seconds() -> None:
    """Without a word, which the client would take for the answer to its next request."""
    with gateway(keep_alive_seconds=0.1) as started, Wire(started.port) as wire:
        wire.send(invoke()).answer()
        assert wire.has_ended()


def test_a_connection_whose_refused_body_came_late_ends_without_a_word(served: Gateway) -> None:
    """A 408 on an idle connection would be taken for the answer to the next request."""
    with Wire(served.port) as wire:
        wire.send(invoke("no%20name", b"", "Content-Length: 2", length=False))
        assert wire.answer().status == 400
        wire.send(b"{}")
        assert wire.has_ended()


def test_a_slow_upload_that_gets_on_is_served(served: Gateway) -> None:
    """64 KiB within each read time-out are enough, however long the whole takes."""
    pieces = [LARGEST_EVENT[:70_000], *[b"x" * 70_000] * 5, b'"']

    def upload(pace: Pace) -> None:
        with Wire(served.port) as wire:
            wire.send(head(f"Content-Length: {sum(map(len, pieces))}"))
            for piece in pieces:
                wire.send(piece)
                wait_seconds(READ_TIMEOUT / 2)
                pace.step()
            assert wire.answer().body == b"".join(pieces)

    try_in_time(upload, READ_TIMEOUT * 0.75)


def test_a_slow_backend_is_no_slow_client(served: Gateway) -> None:
    """A client that waits for its answer is not cut, nor one that has sent its next request meanwhile."""
    with Wire(served.port) as wire:
        wire.send(invoke("hold") + invoke("hold", b"[]"))
        assert wire.is_open(2.5 * READ_TIMEOUT)
        served.release()
        assert wire.answer().body == b"{}"
        served.until_running(1)
        served.release()
        assert wire.answer().body == b"[]"


def test_a_client_that_must_wait_for_the_backend_is_no_slow_client(served: Gateway) -> None:
    """What is passed through is taken at the backend's speed: little of it stays in memory, and nobody is cut."""
    size = 50_000_000

    async def read_later(call: BackendCall) -> None:
        await served.released.wait()
        read = 0
        async for piece in call.body_pieces():
            read += len(piece)
        call.answer(200, b"%d" % read)

    served.backend.on_head = read_later
    try:
        with Wire(served.port) as wire:
            rest = wire.send_until_stuck(invoke("", b"x" * size, path=PASSED), seconds=2.5 * READ_TIMEOUT)
            assert len(rest) > size / 2
            served.release()
            wire.send(rest)
            assert wire.answer().body == b"%d" % size
    finally:
        served.backend.on_head = None


def test_a_client_that_takes_nothing_of_its_response_is_cut(served: Gateway) -> None:
    """Its six megabytes do not stay in memory."""
    with Wire(served.port, receive_buffer=4096) as wire:
        wire.send(invoke(body=LARGEST_EVENT))
        served.until(lambda: served.backend.running.total() == 0 and served.backend.requests, "the backend is done")
        assert served.buffered() == len(LARGEST_EVENT)
        served.until_idle()
        assert len(wire.rest()) < len(LARGEST_EVENT)


def test_a_client_that_takes_its_response_slowly_gets_all_of_it(served: Gateway) -> None:
    """Each read time-out sees some of it go."""

    def download(pace: Pace) -> None:
        with Wire(served.port, receive_buffer=4096) as wire:
            wire.send(invoke(body=LARGEST_EVENT))
            for _ in range(4):
                pace.step()
                wait_seconds(READ_TIMEOUT * 0.6)
                wire.take(1_000_000)
            assert wire.answer().body == LARGEST_EVENT

    try_in_time(download, READ_TIMEOUT * 0.85)


# ---- pipelining -----------------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(served: Gateway) -> None:
    """The second waits for the first, though it could be answered at once."""
    with Wire(served.port) as wire:
        wire.send(invoke("hold", b"1") + invoke("echo", b"2") + invoke("echo", b"bad") + invoke("echo", b"4"))
        served.until_running(1)
        assert wire.is_open(0.05)
        served.release()
        answers = [wire.answer() for _ in range(4)]
    assert [(answer.status, answer.body) for answer in answers if answer.status == 200] == [
        (200, b"1"),
        (200, b"2"),
        (200, b"4"),
    ]
    assert refusal_of(answers[2])[1] == "InvalidRequestContentException"
    assert [call.body for call in served.forwarded()] == [b"1", b"2", b"4"]


def test_many_requests_may_wait_in_line(served: Gateway) -> None:
    """Each gets its own answer."""
    bodies = [b"%d" % number for number in range(64)]
    with Wire(served.port) as wire:
        wire.send(b"".join([invoke("hold"), *(invoke("echo", body) for body in bodies)]))
        served.until_running(1)
        served.release()
        assert [wire.answer().body for _ in range(65)] == [b"{}", *bodies]


def test_a_flood_of_requests_in_line_is_not_kept(served: Gateway) -> None:
    """One read can bring ten thousand of them. The first is answered, and that is the end."""
    with Wire(served.port) as wire:
        wire.send(invoke("hold") + b"GET /x HTTP/1.1\r\nHost: g\r\n\r\n" * 10_000)
        served.until_running(1)
        assert wire.is_open(0.05)
        served.release()
        assert [answer.body for answer in wire.answers()] == [b"{}"]
    assert len(served.forwarded()) == 1


BEHIND = {
    "garbage": b"\0garbage\r\n\r\n",
    "a request with two lengths": SMUGGLING["two lengths that differ"],
    "a request with a bad chunk": head(CHUNKED) + b"zz\r\n",
    "a request with a bad second chunk": head(CHUNKED) + chunked(b"{}", last=b"") + b"zz\r\n",
    "a request and garbage": invoke("echo", b"[]") + b"\0garbage\r\n\r\n",
    "another version": invoke().replace(b"HTTP/1.1", b"HTTP/2.0"),
    "no host": invoke().replace(b"Host: gateway\r\n", b""),
    "an unknown expectation": invoke("echo", b"{}", "Expect: the-worst"),
    "too many headers": ENDLESS["ten thousand headers"],
    "a head without end": ENDLESS["a URL without end"],
    "a bad target": NOT_HTTP["a fragment in the target"],
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("together", [True, False], ids=["in one piece", "later"])
def test_a_whole_request_gets_its_response_whatever_comes_behind_it(
    served: Gateway, behind: bytes, together: bool
) -> None:
    """Nothing comes before that response, and the connection ends after it."""
    with Wire(served.port) as wire:
        wire.send(invoke("hold", b"1") + behind if together else invoke("hold", b"1"))
        served.until_running(1)
        if not together:
            wire.send(behind)
        assert wire.is_open(0.05)
        served.release()
        assert [(answer.status, answer.body) for answer in wire.answers()] == [(200, b"1")]
    assert [call.body for call in served.forwarded()] == [b"1"]


def test_a_pipelined_request_that_dribbles_is_cut_behind_the_first_response(served: Gateway) -> None:
    """Its time-out is no answer to the first request, which is still running."""
    with Wire(served.port) as wire:
        wire.send(invoke("hold", b"1") + head("Content-Length: 100") + b"{")
        assert wire.is_open(2.5 * READ_TIMEOUT)
        served.release()
        first, *others = wire.answers()
    assert (first.status, first.body) == (200, b"1")
    assert {answer.status for answer in others} <= {408}
    assert [call.body for call in served.forwarded()] == [b"1"]


def test_a_client_that_hangs_up_behind_two_requests_is_no_fault(
    served: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that runs goes on to its end, and nothing is logged as an error."""
    with Wire(served.port) as wire:
        wire.send(invoke("hold", b"1") + invoke("echo", b"2"))
        served.until_running(1)
        wire.reset()
    assert served.held()["000000000000/account"] == 1
    served.release()
    served.until_idle()
    served.until(lambda: not served.connections, "the gateway has noticed")
    assert served.forwarded()[0].body == b"1"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert "internal" not in served.server.gateway.totals.upstream_errors


# ---- clients that leave ---------------------------------------------------------------------------------------

UNFINISHED = {
    "before the first byte": b"",
    "inside the request line": b"POST /2015",
    "inside a header": head("X: y")[:-5],
    "after the head": head("Content-Length: 100"),
    "inside the body": head("Content-Length: 100") + b'{"a',
    "inside a large body": head("Content-Length: 6000000") + b'"' + b"x" * 3_000_000,
    "inside a chunk": head(CHUNKED) + b"10\r\n{",
    "before the last chunk": head(CHUNKED) + chunked(b"{}", last=b""),
    "inside the trailers": head(CHUNKED) + chunked(b"{}", last=b"0\r\nX: y\r\n"),
}


@pytest.mark.parametrize("data", UNFINISHED.values(), ids=UNFINISHED)
@pytest.mark.parametrize("leave", [Wire.reset, Wire.close, Wire.finish_sending], ids=["reset", "close", "half-close"])
def test_half_a_request_is_forgotten_when_its_client_leaves(served: Gateway, data: bytes, leave: object) -> None:
    """Nothing of it is forwarded."""
    with Wire(served.port) as wire:
        wire.send(data)
        assert callable(leave)
        leave(wire)
        served.until(lambda: not served.connections, "the gateway has noticed")
    served.until_idle()
    assert served.forwarded() == []


@pytest.mark.parametrize("leave", [Wire.reset, Wire.close, Wire.finish_sending], ids=["reset", "close", "half-close"])
def test_a_call_keeps_its_slot_when_its_client_leaves(served: Gateway, leave: object) -> None:
    """Until the backend has finished: the function runs on."""
    with Wire(served.port) as wire:
        wire.send(invoke("hold"))
        served.until_running(1)
        assert callable(leave)
        leave(wire)
        served.until(lambda: not served.connections, "the gateway has noticed")
        assert served.held()["000000000000/account"] == 1
    served.release()
    served.until_idle()


def test_a_client_that_leaves_inside_its_response_leaves_nothing_behind(served: Gateway) -> None:
    with Wire(served.port, receive_buffer=4096) as wire:
        wire.send(invoke(body=LARGEST_EVENT))
        assert wire.take(1000).startswith(b"HTTP/1.1 200")
        wire.reset()
    served.until_idle()


def test_a_client_that_leaves_inside_a_body_that_is_passed_through_takes_the_backend_connection_along(
    served: Gateway,
) -> None:
    """Half a request must not be taken for a whole one."""
    with Wire(served.port) as wire:
        wire.send(invoke("", b"x" * 50_000, "Content-Length: 100000", path=PASSED, length=False))
        served.until(lambda: served.server.gateway.pool.busy == 1, "it is being passed through")
        wire.reset()
    served.until(lambda: len(served.backend.broken) == 1, "the backend sees the end")
    served.until(lambda: served.server.gateway.pool.busy == 0, "the connection is given up")


# ---- Expect: 100-continue -------------------------------------------------------------------------------------

EXPECT = "Expect: 100-continue"


def test_the_body_is_asked_for_when_the_head_is_good(served: Gateway) -> None:
    with Wire(served.port) as wire:
        wire.send(invoke("echo", b"{}", EXPECT)[:-2])
        assert wire.answer() == Answer(100, [], b"")
        assert wire.send(b"{}").answer().body == b"{}"
        assert wire.send(invoke()).answer().status == 200
    assert b"expect" not in [name for name, _ in served.forwarded()[0].headers]


EXPECTED_REFUSALS = {
    413: invoke("echo", b"", EXPECT, "Content-Length: 6291457", length=False),
    429: invoke("closed", b"", EXPECT, "Content-Length: 2", length=False),
    400: invoke("no%20name", b"", EXPECT, "Content-Length: 2", length=False),
    404: invoke("arn:aws:lambda:eu-west-1:111122223333:function:f", b"", EXPECT, "Content-Length: 2", length=False),
}


@pytest.mark.parametrize(("status", "data"), EXPECTED_REFUSALS.items())
def test_a_body_that_is_sure_to_be_refused_is_not_asked_for(served: Gateway, status: int, data: bytes) -> None:
    """The client gets the refusal at once and no 100, and is not awaited: whether it sends its body is unknown."""
    with Wire(served.port) as wire:
        (answer,) = wire.send(data).answers()
    assert refusal_of(answer)[0] == status
    assert answer.header("connection") == "close"
    assert served.forwarded() == []


def test_a_body_that_was_asked_for_and_grows_too_large_is_read_to_its_end(served: Gateway) -> None:
    """Its client sends on after the 100 and reads the refusal only then."""
    with Wire(served.port) as wire:
        wire.send(head(CHUNKED, EXPECT))
        assert wire.answer().status == 100
        for _ in range(80):
            wire.send(chunked(b"x" * 100_000, last=b""))
        assert refusal_of(wire.send(b"0\r\n\r\n").answer())[1] == "RequestTooLargeException"
        assert wire.send(invoke()).answer().status == 200


def test_a_body_for_the_backend_is_asked_for_when_the_backend_is_there(served: Gateway) -> None:
    with Wire(served.port) as wire:
        wire.send(f"PUT {PASSED} HTTP/1.1\r\nHost: g\r\n{EXPECT}\r\nContent-Length: 3\r\n\r\n".encode())
        assert wire.answer().status == 100
        assert wire.send(b"abc").answer().body == b"abc"


# ---- too many connections -------------------------------------------------------------------------------------


def test_a_connection_above_the_ceiling_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with both hints when to come back; the connections below it go on, and when one ends there is room again."""
    with gateway(max_connections=3) as served, ExitStack() as stack:
        kept = [stack.enter_context(Wire(served.port)) for _ in range(3)]
        assert [wire.send(invoke()).answer().status for wire in kept] == [200, 200, 200]
        for data in (invoke(), invoke(body=b"x" * 100_000), b"GET /x HTTP/1.1\r\nHost: g\r\n\r\n"):
            with Wire(served.port) as wire:
                (answer,) = wire.send(data).answers()
            assert refusal_of(answer) == (
                503,
                "ServiceException",
                "The gateway has 3 open connections, which is max_connections. Retry later, or raise max_connections.",
            )
            assert (answer.header("retry-after"), answer.header("x-amz-retry-after")) == ("1", "1000")
        assert len(served.forwarded()) == 3
        assert kept[0].send(invoke()).answer().status == 200
        kept[0].close()
        served.until(lambda: len(served.connections) == 2, "there is room")
        assert served.send(invoke()).status == 200


def test_a_flood_of_connections_above_the_ceiling_is_only_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telling them all would take as much as serving them."""
    monkeypatch.setattr(protocol, "_ANSWERED_EXCESS", 2)
    with gateway(max_connections=1) as served, ExitStack() as stack:
        wires = [stack.enter_context(Wire(served.port)) for _ in range(10)]
        assert wires[0].send(invoke()).answer().status == 200
        served.until(lambda: len(served.connections) == 3, "the rest is cut")
        assert all(wire.has_ended() for wire in wires[3:])
        assert wires[0].send(invoke()).answer().status == 200


# ---- anything at all ------------------------------------------------------------------------------------------

EXAMPLES = 300
INVOCATION = re.compile(rb"/functions/.+/(invocations|invoke-async)\b")  # read whole before it is forwarded
BASES = (
    invoke("echo", b'{"a": [1, 2, 3]}', "Connection: close", "X-Amz-Log-Type: None"),
    head(CHUNKED, "Connection: close") + chunked(b'{"a": ', b"[1, 2, 3]}"),
    invoke("echo", b"", "Connection: close", EXPECT, "Content-Length: 6291457", length=False),
    invoke("echo", b"{}") + invoke("echo", b"[]", "Connection: close"),
    b"GET /2015-03-31/functions?MaxItems=1 HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
    invoke("echo", b"x" * 2000, "Connection: close", path="/2014-11-13/functions/echo/invoke-async/"),
)
ALPHABET = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b":",
    b" ",
    b"\t",
    b",",
    b";",
    b"0",
    b"-",
    b"\xff",
    b"%",
    b"/",
    b"chunked",
    b"{",
)


def mutate(dice: random.Random) -> bytes:
    """A valid request with one to four places changed, dropped, doubled or cut off."""
    data = bytearray(dice.choice(BASES))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        end = min(len(data), at + dice.choice((1, 1, 2, 5, 20)))
        match dice.randrange(6):
            case 0:
                data[at:end] = dice.randbytes(end - at)
            case 1:
                data[at:at] = dice.choice(ALPHABET) * dice.choice((1, 1, 1, 200))
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * dice.choice((1, 2, 50))
            case 4:
                del data[max(at, 1) :]
            case 5:
                data[at:end] = dice.choice(ALPHABET)
    return bytes(data)


async def exchange(port: int, data: bytes, dice: random.Random) -> bytes | None:
    """Everything that comes back when `data` is sent in one to three pieces; `None` where the connection was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(3)))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        while piece := await asyncio.wait_for(reader.read(1 << 16), PATIENCE):
            received += piece
    except ConnectionError:
        return None  # sent on after the connection had been closed: what had come before is lost
    finally:
        writer.transport.abort()
    return received


def read_answers(received: bytes) -> list[Answer]:
    pieces = iter([received, b""])
    stream = Stream(lambda: next(pieces))
    answers = []
    try:
        while True:
            answers.append(stream.answer())
    except Closed:
        return answers


@pytest.mark.parametrize("seed", range(3))
def test_mutated_requests_get_well_formed_answers_or_none(seed: int) -> None:
    """And whatever is forwarded is one well-formed request for each answer that the backend gave."""
    dice = random.Random(seed)
    sent = [mutate(dice) for _ in range(EXAMPLES // 3)]

    async def send_all(port: int) -> list[bytes | None]:
        return await asyncio.gather(*(exchange(port, data, random.Random(data)) for data in sent))

    with gateway(
        read_timeout_seconds=0.3, keep_alive_seconds=0.3, accounts={"default": {"requests_per_second": "off"}}
    ) as served:
        received = asyncio.run(send_all(served.port))
        served.until_idle()
        assert served.send(invoke()).status == 200
        forwarded = len(served.on_loop(lambda: served.backend.requests)) - 1
        assert [call for call in served.on_loop(lambda: served.backend.broken) if INVOCATION.search(call.target)] == []
    from_backend = 0
    for data, answer_bytes in zip(sent, received, strict=True):
        for answer in read_answers(answer_bytes or b""):
            assert answer.status != 500, data
            if answer.status == 200:
                from_backend += 1
            elif answer.status != 100:
                assert answer.status in (400, 404, 408, 413, 417, 431, 501, 505), data
                refusal_of(answer)
    assert 0 <= forwarded - from_backend <= received.count(None)
