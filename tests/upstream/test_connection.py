"""A connection and its parser on their own: bytes go in, however they are cut, and one ending comes out."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invoke_gateway.backend_errors import BackendError, BackendGarbage, BackendReset
from invoke_gateway.buffers import Buffers
from invoke_gateway.upstream.call import UpstreamCall
from invoke_gateway.upstream.connection import BackendConnection
from invoke_gateway.upstream.pool import Pool
from invoke_gateway.upstream.response_parser import MAX_HEAD_BYTES

LIMIT = 1000


class Transport:
    """Closing takes effect at the next turn of the loop, which `Wire.turn` is."""

    def __init__(self) -> None:
        self.is_closed = False
        self.is_reading = True

    def write(self, data: bytes) -> None:
        assert not self.is_closed

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.is_closed = True

    close = abort

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True


class Wire:
    """One call on one connection, to which bytes come as the test cuts them. `async with` sends the request first."""

    def __init__(self, pool: Pool | None = None) -> None:
        self.pool = pool or Pool("127.0.0.1", 9, buffers=Buffers(1 << 30))
        self.pool.loop = asyncio.get_running_loop()
        self.transport = Transport()
        self.connection = BackendConnection(self.pool)
        self.connection.connection_made(self.transport)
        self.endings = 0
        self.call = UpstreamCall(limit=LIMIT, on_end=self._count)
        self.connection.start(self.call, b"POST / HTTP/1.1\r\n\r\n")

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0)  # small requests leave together at the end of a turn of the loop
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()

    def _count(self) -> None:
        self.endings += 1

    def bring(self, data: bytes) -> None:
        if data and not self.transport.is_closed:
            self.connection.data_received(data)

    def end(self, *, is_reset: bool) -> None:
        if not self.transport.is_closed and not is_reset:
            self.connection.eof_received()
        self.connection.connection_lost(ConnectionResetError() if is_reset else None)

    def result(self) -> tuple[Any, ...]:
        """How the call ended; what was buffered is given back, as the request's task would."""
        call = self.call
        # Of what is above the limit, how much was kept depends on the cuts; nobody gets to see it.
        body = b"" if call.is_over_limit else b"".join(call.pieces)
        self.pool.buffers.release(call.abandon())
        assert self.pool.buffers.in_use == 0
        assert (self.pool.busy, self.pool.idle) == (0, 0)
        assert self.endings == call.has_ended
        fault: type[BackendError] | None = type(call.error) if call.error else None
        return fault, call.status, sorted(call.headers) if call.has_head else [], body, call.is_over_limit


HEADS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 404 Not Found\r\nX-Amz-Function-Error: Unhandled\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n",
    b"garbage\r\n",
]
BODIES = [
    b"Content-Length: 5\r\n\r\nhello",
    b"Content-Length: 0\r\n\r\n",
    b"Content-Length: 1001\r\n\r\n" + b"x" * 1001,
    b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZ\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    b"\r\nhello",
]
BEHIND = [b"", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", b"\r\n\r\n"]

cuts = st.lists(st.integers(0, 200), max_size=12)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted({place for place in places if place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.sampled_from(HEADS), st.sampled_from(BODIES), st.sampled_from(BEHIND), st.booleans(), cuts)
@settings(max_examples=300)
async def test_however_a_response_is_cut_it_ends_the_same(
    head: bytes, body: bytes, behind: bytes, is_reset: bool, places: list[int]
) -> None:
    results = []
    for pieces in ([head + body + behind], cut(head + body + behind, places)):
        wire = Wire()
        for piece in pieces:
            wire.bring(piece)
        wire.end(is_reset=is_reset)
        assert wire.call.has_ended
        results.append(wire.result())
    whole, in_pieces = results
    # Garbage is noticed before or after the good bytes in front of it, as the cut has it; that is all.
    if whole[0] is BackendGarbage:
        assert in_pieces[0] is BackendGarbage
    else:
        assert whole == in_pieces


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Something like a response: one that was good once, with bytes replaced, dropped and doubled."""
    data = bytearray(draw(st.sampled_from(HEADS)) + draw(st.sampled_from(BODIES)) + draw(st.sampled_from(BEHIND)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["replace", "drop", "double"]))
        if kind == "replace":
            data[place] = draw(st.sampled_from(b"\0\r\n :;,0159afHT\x80\xff") | st.integers(0, 255))
        elif kind == "drop" and len(data) > 1:
            del data[place]
        else:
            end = place + draw(st.integers(1, 40))
            data[place:place] = data[place:end]
    return bytes(data)


@given(mangled(), cuts, st.booleans())
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZ\r\n", [], False)
@example(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", [], False)
@settings(max_examples=500)
async def test_whatever_comes_the_call_ends_once_and_gives_everything_back(
    data: bytes, places: list[int], is_reset: bool
) -> None:
    async with Wire() as wire:
        for piece in cut(data, places):
            wire.bring(piece)
        wire.end(is_reset=is_reset)
        assert wire.endings == 1
        fault, status, headers, body, is_over_limit = wire.result()
    assert fault in (None, BackendReset, BackendGarbage)
    if fault is None:
        assert 200 <= status <= 599
        assert all(b"\r" not in value and b"\n" not in value and b"\0" not in value for _, value in headers)
    assert len(body) <= LIMIT
    assert not is_over_limit or fault or wire.call.received > LIMIT


WHOLE = b"HTTP/1.1 201 Created\r\nX-Own: 1\r\nContent-Length: 3\r\n\r\nown"
OWN = (None, 201, [(b"x-own", b"1")], b"own", False)


@given(mangled(), cuts, cuts)
@settings(max_examples=500)
async def test_what_comes_on_one_connection_changes_no_response_on_another(
    data: bytes, places: list[int], own_places: list[int]
) -> None:
    """Connections of a pool use one parser in turn."""
    async with Wire() as other, Wire(other.pool) as wire:
        for piece in cut(data, places):
            other.bring(piece)
        for piece in cut(WHOLE, own_places):
            wire.bring(piece)
        assert wire.call.has_ended
        other.end(is_reset=False)
        wire.end(is_reset=False)
        other.pool.buffers.release(other.call.abandon())
        assert wire.result() == OWN


@pytest.mark.parametrize("first", [b"HTTP/1.1 204 No Content\r\n\r\n", WHOLE, b"HTTP/1.1 200 OK\r\n" + BODIES[4]])
async def test_a_parser_that_has_seen_more_than_a_response_is_not_used_again(first: bytes) -> None:
    """Only a line end changes nothing."""
    for number in range(256):
        async with Wire() as wire:
            wire.bring(first + bytes([number]))
            assert len(wire.pool.spare_parsers) == (number in b"\r\n")
            async with Wire(wire.pool) as next_wire:
                next_wire.bring(WHOLE)
                assert len(wire.pool.spare_parsers) == 1
                wire.end(is_reset=False)
                next_wire.end(is_reset=False)
                assert wire.call.has_ended
                wire.pool.buffers.release(wire.call.abandon())
                assert next_wire.result() == OWN


async def test_only_a_response_that_is_being_read_has_a_parser() -> None:
    async with Wire() as one, Wire(one.pool) as other:
        assert not one.pool.spare_parsers
        one.bring(WHOLE[:10])
        other.bring(WHOLE)
        assert len(one.pool.spare_parsers) == 1  # the other's
        one.bring(WHOLE[10:])
        assert len(one.pool.spare_parsers) == 2
        third = Wire(one.pool)
        third.bring(WHOLE[:10])
        assert len(one.pool.spare_parsers) == 1
        third.end(is_reset=True)  # in the middle of a response
        assert len(one.pool.spare_parsers) == 1


@pytest.mark.parametrize(("size", "fault"), [(MAX_HEAD_BYTES - 1000, None), (MAX_HEAD_BYTES, BackendGarbage)])
@pytest.mark.parametrize("body", [b"", b"x" * 500])
async def test_a_head_that_comes_all_at_once_has_the_same_bound(
    size: int, fault: type[BackendError] | None, body: bytes
) -> None:
    async with Wire() as wire:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Large: " % len(body)
        wire.bring(head + b"x" * size + b"\r\n\r\n" + body)
        wire.end(is_reset=False)
        assert wire.result()[0] is fault


class StandingClock:
    """An event loop as far as a pool asks for the time, in which none passes."""

    def time(self) -> float:
        return 1.0

    def call_later(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("seconds", "is_used_again"), [(0, False), (0.001, True)])
def test_a_keep_alive_of_0_seconds_is_over_at_once(seconds: float, is_used_again: bool) -> None:
    """Also where the clock of the event loop has not moved since."""
    pool = Pool("127.0.0.1", 9, buffers=Buffers(1), keep_alive_seconds=seconds)
    pool.loop = StandingClock()
    connection = BackendConnection(pool)
    connection.connection_made(Transport())
    pool.put_back(connection)
    assert (pool.pop_idle() is connection) is is_used_again
