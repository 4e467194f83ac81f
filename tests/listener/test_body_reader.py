"""The rest of a large body is read past the parser, and everything around it goes on as with any other body."""

from __future__ import annotations

import pytest

from invoke_gateway.listener.body_reader import BodyReader
from tests.support.sockets import Gateway, Wire, invoke, refusal_of

from .framing import CHUNKED, head
from .framing import SETTINGS as SETTINGS

LARGE = b'"' + b"x" * 699_998 + b'"'
OTHER = b'"' + b"y" * 499_998 + b'"'


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the bodies' rests that were read past the parser."""
    sizes: list[int] = []
    update = BodyReader.buffer_updated

    def note(reader: BodyReader, nbytes: int) -> None:
        update(reader, nbytes)
        if reader._filled == len(reader._view):
            sizes.append(reader._filled)

    monkeypatch.setattr(BodyReader, "buffer_updated", note)
    return sizes


def in_two(wire: Wire, served: Gateway, data: bytes, at: int) -> None:
    """Sends `data` in two parts. The second follows when the gateway waits for it in memory of the body's size."""
    wire.send(data[:at])
    served.until(lambda: served.server.gateway.buffers.in_use > 0, "the body is awaited")
    wire.send(data[at:])


@pytest.mark.parametrize("at", [200, 1_000, 300_000, 560_000], ids=["head", "first byte", "middle", "end"])
def test_a_large_body_arrives_as_it_was_sent(served: Gateway, filled: list[int], at: int) -> None:
    with Wire(served.port) as wire:
        in_two(wire, served, invoke(body=LARGE), at)
        assert wire.answer().body == LARGE
        assert wire.send(invoke(body=b'"next"')).answer().body == b'"next"'
    assert filled


def test_what_follows_a_large_body_is_the_next_request(served: Gateway, filled: list[int]) -> None:
    with Wire(served.port) as wire:
        in_two(wire, served, invoke(body=LARGE) + invoke(body=b"[1]") + invoke(body=OTHER) + invoke(body=b"[2]"), 1_000)
        assert [wire.answer().body for _ in range(4)] == [LARGE, b"[1]", OTHER, b"[2]"]
    assert filled


def test_garbage_behind_a_large_body_ends_the_connection_after_its_response(served: Gateway, filled: list[int]) -> None:
    with Wire(served.port) as wire:
        in_two(wire, served, invoke(body=LARGE) + b"\0\r\n\r\n", 1_000)
        (answer,) = wire.answers()
    assert (answer.body, answer.header("connection")) == (LARGE, "close")
    assert filled


def test_what_follows_the_last_request_of_a_connection_is_dropped(served: Gateway, filled: list[int]) -> None:
    """The parser knows that nothing may follow, so the body stays with it."""
    with Wire(served.port) as wire:
        in_two(wire, served, invoke("echo", LARGE, "Connection: close") + invoke(body=b"[1]"), 1_000)
        assert [answer.body for answer in wire.answers()] == [LARGE]
    assert len(served.forwarded()) == 1
    assert not filled


def test_a_chunked_body_stays_with_the_parser(served: Gateway, filled: list[int]) -> None:
    with Wire(served.port) as wire:
        wire.send(head(CHUNKED) + b"%x\r\n%b" % (len(LARGE), LARGE[:1_000]))
        wire.send(LARGE[1_000:] + b"\r\n0\r\n\r\n")
        assert wire.answer().body == LARGE
    assert not filled


def test_a_large_body_is_asked_for(served: Gateway, filled: list[int]) -> None:
    with Wire(served.port) as wire:
        request = invoke("echo", LARGE, "Expect: 100-continue")
        wire.send(request[: -len(LARGE)])
        assert wire.answer().status == 100
        assert wire.send(LARGE).answer().body == LARGE


def test_a_large_body_that_is_not_json_is_refused(served: Gateway, filled: list[int]) -> None:
    with Wire(served.port) as wire:
        in_two(wire, served, invoke(body=LARGE[:-1] + b"x"), 1_000)
        assert refusal_of(wire.answer())[1] == "InvalidRequestContentException"
        in_two(wire, served, invoke(body=LARGE[:-2] + b'\xff"'), 1_000)
        assert "UTF-8" in refusal_of(wire.answer())[2]
        assert wire.send(invoke()).answer().status == 200
    assert len(filled) == 2


@pytest.mark.parametrize("leave", [Wire.reset, Wire.close, Wire.finish_sending], ids=["reset", "close", "half-close"])
def test_half_a_large_body_is_forgotten_when_its_client_leaves(served: Gateway, leave: object) -> None:
    with Wire(served.port) as wire:
        in_two(wire, served, invoke(body=LARGE)[:-1_000], 1_000)
        assert callable(leave)
        leave(wire)
        served.until(lambda: not served.connections, "the gateway has noticed")
    served.until(lambda: served.server.gateway.buffers.in_use == 0, "its memory is free")
    assert served.forwarded() == []


def test_a_large_body_that_stops_is_cut(served: Gateway) -> None:
    with Wire(served.port) as wire:
        in_two(wire, served, invoke(body=LARGE)[:-1_000], 1_000)
        (answer,) = wire.answers()
    assert refusal_of(answer)[:2] == (408, "RequestTimeoutException")
    assert served.forwarded() == []
