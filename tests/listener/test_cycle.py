"""Requests in a row, clients that leave, and bodies that wait for a 100."""

from __future__ import annotations

import pytest

from tests.support.sockets import (
    Answer,
    Gateway,
    Wire,
    chunked,
    invoke,
    refusal_of,
)

from .framing import CHUNKED, ENDLESS, EXPECT, LARGEST_EVENT, NOT_HTTP, PASSED, READ_TIMEOUT, SMUGGLING, head
from .framing import SETTINGS as SETTINGS

# ---- pipelining ----------------------------------------------------------------------------------------------------


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


# ---- clients that leave --------------------------------------------------------------------------------------------

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


# ---- Expect: 100-continue ------------------------------------------------------------------------------------------


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
