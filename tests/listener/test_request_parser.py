"""Connections use request parsers in turn, and none notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from invoke_gateway.asgi import DONE, MESSAGE, Receive, Scope, Send
from invoke_gateway.listener.request_parser import SpareParsers, make_spare_parsers

from .test_serving import Connection, respond

REQUEST = b"POST /own HTTP/1.1\r\nHost: gateway\r\nContent-Length: 3\r\n\r\nown"
REQUESTS = [
    REQUEST,
    b"GET /%61?b=c HTTP/1.1\r\nHost: other\r\n\r\n",
    b"POST /chunked HTTP/1.1\r\nHost: other\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"POST /last HTTP/1.1\r\nHost: other\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /wish HTTP/1.1\r\nHost: other\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"CONNECT other:1 HTTP/1.1\r\nHost: other\r\n\r\n",
    b"garbage\r\n\r\n",
]
BEHIND = [b"", b"x", b"\r\n", b"POST /own HTTP/1.1\r\nHost: forged\r\nX-Forged: 1\r\n", b"POST /own"]
cuts = st.lists(st.integers(0, 150), max_size=8)


class Seen:
    """An application that responds to everything, and keeps the requests that it has seen."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, list[tuple[bytes, bytes]], bytes | None]] = []

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        self.requests.append((scope["path"], list(scope["headers"]), scope.get(MESSAGE)))
        respond(send, scope["path"])
        return DONE


class Client(Connection):
    def __init__(self, spare_parsers: SpareParsers) -> None:
        self.seen = Seen()
        super().__init__(self.seen, spare_parsers)

    def bring(self, data: bytes) -> None:
        if data and self.transport.is_open:
            self.protocol.data_received(data)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted({place for place in places if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.sampled_from(REQUESTS), st.sampled_from(REQUESTS), st.sampled_from(BEHIND), cuts, cuts)
@example(REQUESTS[5], REQUEST, b"", [], [])
@settings(max_examples=200)
async def test_what_comes_on_one_connection_changes_no_request_on_another(
    first: bytes, second: bytes, behind: bytes, places: list[int], own_places: list[int]
) -> None:
    spare = make_spare_parsers()
    other, own = Client(spare), Client(spare)
    for piece in cut(first + second + behind, places):
        other.bring(piece)
    for piece in cut(REQUEST, own_places):
        own.bring(piece)
    await asyncio.sleep(0)
    message = REQUEST if cut(REQUEST, own_places) == [REQUEST] else None
    assert own.seen.requests == [("/own", [(b"host", b"gateway"), (b"content-length", b"3")], message)]
    assert own.bodies() == [b"/own"]


async def test_a_parser_that_has_seen_more_than_requests_is_not_used_again() -> None:
    """Only a line end changes nothing."""
    for first in (REQUESTS[0], REQUESTS[1], REQUESTS[2]):
        for number in range(256):
            spare = make_spare_parsers()
            other, own = Client(spare), Client(spare)
            other.bring(first + bytes([number]))
            assert len(spare) == (number in b"\r\n")
            own.bring(REQUEST)
            await asyncio.sleep(0)
            assert own.bodies() == [b"/own"]


async def test_only_a_request_that_is_being_read_has_a_parser() -> None:
    spare = make_spare_parsers()
    one, other = Client(spare), Client(spare)
    one.bring(REQUEST[:10])
    other.bring(REQUEST)
    assert len(spare) == 1  # the other's
    one.bring(REQUEST[10:])
    assert len(spare) == 2
    one.bring(REQUEST[:-1])
    other.bring(b"\r\n")
    assert not spare


async def test_the_parser_of_a_last_request_is_not_used_again() -> None:
    """What follows is dropped by that parser."""
    spare = make_spare_parsers()
    client = Client(spare)
    client.bring(REQUESTS[3])
    client.bring(REQUEST)
    await asyncio.sleep(0)
    assert client.bodies() == [b"/last"]
    assert not spare
