"""Clients that take their time, and what they are cut for."""

from __future__ import annotations

import pytest

from tests.support.backends import BackendCall
from tests.support.lateness import Pace, try_in_time
from tests.support.sockets import (
    PATIENCE,
    Answer,
    Gateway,
    Wire,
    chunked,
    gateway,
    invoke,
    refusal_of,
    wait_seconds,
)

from .framing import CHUNKED, HEAD, LARGEST_EVENT, PASSED, READ_TIMEOUT, head
from .framing import SETTINGS as SETTINGS

ATTEMPTS = 3


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

    def upload() -> None:
        with Wire(served.port) as wire:
            rest = wire.send_until_stuck(invoke("", b"x" * size, path=PASSED), seconds=2.5 * READ_TIMEOUT)
            assert len(rest) > size / 2
            served.release()
            wire.send(rest)
            assert wire.answer().body == b"%d" % size

    served.backend.on_head = read_later
    try:
        for attempt in reversed(range(ATTEMPTS)):  # on a machine that stands still for a time-out, the client is slow
            try:
                upload()
            except OSError:
                if not attempt:
                    raise
            else:
                break
    finally:
        served.backend.on_head = None


def test_a_client_that_takes_nothing_of_its_response_is_cut(served: Gateway) -> None:
    """Its six megabytes do not stay in memory."""
    with Wire(served.port, receive_buffer=4096) as wire:
        wire.send(invoke(body=LARGEST_EVENT))
        served.until(lambda: served.backend.running.total() == 0 and served.backend.requests, "the backend is done")
        assert 0 < served.buffered() <= len(LARGEST_EVENT)
        served.until_idle()
        assert len(wire.rest()) < len(LARGEST_EVENT)


@pytest.mark.parametrize("piece", [1_000_000, 10_000], ids=["a sixth", "less than makes the kernel ask for more"])
def test_a_client_that_takes_its_response_slowly_gets_all_of_it(served: Gateway, piece: int) -> None:
    """Each read time-out sees some of it go."""

    def download(pace: Pace) -> None:
        with Wire(served.port, receive_buffer=4096) as wire:
            wire.send(invoke(body=LARGEST_EVENT))
            for _ in range(4):
                pace.step()
                wait_seconds(READ_TIMEOUT * 0.6)
                wire.take(piece)
            assert wire.answer().body == LARGEST_EVENT

    try_in_time(download, READ_TIMEOUT * 0.85)
