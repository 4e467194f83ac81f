"""The body of an invocation is read whole, within its quota and the process's, and must be JSON."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from invoke_gateway.buffers import Buffers
from invoke_gateway.exchange import Exchange
from invoke_gateway.middleware.payload import ReadPayload
from invoke_gateway.policy.payloads.json_text import find_json_error
from invoke_gateway.policy.payloads.payload import PayloadQuotas
from invoke_gateway.refusals import Refusal
from tests.middleware.stages import Inside, drive, make_exchange
from tests.support.sockets import Wire, chunked, gateway, invoke, refusal_of

QUOTA = 100
CHUNKED = "Transfer-Encoding: chunked"


class Stage:
    """The payload stage with small quotas, and what came through it."""

    def __init__(
        self, buffer_bytes: int = 1000, do: Callable[[Exchange], object] = lambda exchange: None, quota: int = QUOTA
    ) -> None:
        self.buffers = Buffers(buffer_bytes)
        self.inside = Inside(do)
        self.app = ReadPayload(self.inside, quotas=lambda: PayloadQuotas(quota, 10), buffers=self.buffers)

    @property
    def bodies(self) -> list[bytes | bytearray]:
        return [exchange.body for exchange in self.inside.exchanges]


@pytest.mark.parametrize("pieces", [(b"[1,2]",), (b"[1", b",2", b"]"), (b"", b"[1,2]", b"")])
async def test_the_body_is_put_together_however_it_comes(pieces: tuple[bytes, ...]) -> None:
    stage = Stage()
    driven = await drive(stage.app, make_exchange(), *pieces)
    assert stage.bodies == [b"[1,2]"]
    assert driven.exchange.body_is_read


@pytest.mark.parametrize("sizes", [(1,), (1, 100_000), (150_000, 5, 250_000)])
async def test_a_large_body_is_put_together_in_one_buffer(sizes: tuple[int, ...]) -> None:
    """Also where the server does not fill it, and sends pieces."""
    body = b'"' + bytes(range(97, 123)) * 20_000 + b'"'
    pieces, at = [], 0
    for size in (*sizes, len(body)):
        pieces.append(body[at : at + size])
        at += size
    stage = Stage(buffer_bytes=1_000_000, quota=len(body))
    exchange = make_exchange(headers=(("content-length", str(len(body))),))
    await drive(stage.app, exchange, *pieces)
    assert stage.bodies == [body]
    assert stage.buffers.in_use == 0


async def test_an_empty_body_is_valid() -> None:
    stage = Stage()
    await drive(stage.app, make_exchange(), b"")
    assert stage.bodies == [b""]


async def test_without_a_length_the_bytes_are_counted_as_they_come() -> None:
    """The quota passes; the piece that goes over it is the last that is read."""
    stage = Stage()
    await drive(stage.app, make_exchange(), b'"' + b"x" * 50, b"x" * (QUOTA - 52) + b'"')
    assert len(stage.bodies[0]) == QUOTA
    driven = await drive(stage.app, make_exchange(), b"x" * QUOTA, b"x", b"x" * 1000)
    assert driven.exchange.refusal is Refusal.REQUEST_TOO_LARGE
    assert driven.exchange.refusal_values == {"size": QUOTA + 1, "limit": QUOTA}
    assert driven.reads == 2
    assert len(stage.bodies) == 1


@pytest.mark.parametrize("body", [b"{", b"{]", b'"\xff"', b"{} {}", b" ", b"\0"])
async def test_what_is_not_json_is_refused_with_the_parsers_reason(body: bytes) -> None:
    stage = Stage()
    driven = await drive(stage.app, make_exchange(), body)
    assert driven.exchange.refusal is Refusal.INVALID_JSON
    assert driven.exchange.refusal_values == {"text": find_json_error(body)}
    assert stage.bodies == []


async def test_a_body_counts_against_the_process_from_its_length_on_until_the_rest_of_the_chain_is_done() -> None:
    """What is announced is set aside, so that what was begun can also be ended; also where the rest fails."""
    in_use = []

    def fail(exchange: Exchange) -> None:
        in_use.append(stage.buffers.in_use)
        raise RuntimeError

    stage = Stage(do=fail)
    with pytest.raises(RuntimeError):
        await drive(stage.app, make_exchange(headers=(("content-length", "60"),)), b'"' + b"x" * 58 + b'"')
    assert in_use == [60]
    assert stage.buffers.in_use == 0


async def test_where_the_process_holds_too_much_a_body_is_refused_before_it_is_read() -> None:
    stage = Stage(buffer_bytes=50)
    driven = await drive(stage.app, make_exchange(headers=(("content-length", "51"),)), b"x" * 51)
    assert driven.exchange.refusal is Refusal.BUFFERS_FULL
    assert driven.exchange.refusal_values == {"in_use": 0, "limit": 50}
    assert driven.reads == 0


async def test_a_body_that_outgrows_the_process_is_refused_while_it_is_read() -> None:
    stage = Stage(buffer_bytes=50)
    driven = await drive(stage.app, make_exchange(), b"x" * 50, b"x", b"x")
    assert driven.exchange.refusal is Refusal.BUFFERS_FULL
    assert driven.reads == 2


@pytest.mark.parametrize("pieces", [(b"x" * (QUOTA + 1), b"x"), (b"x" * 40, b"x" * 20, b"x")])
async def test_a_refused_body_holds_nothing_while_its_rest_is_thrown_away(pieces: tuple[bytes, ...]) -> None:
    stage = Stage(buffer_bytes=50 if len(pieces) == 3 else 1000)
    driven = await drive(stage.app, make_exchange(), *pieces)
    assert driven.exchange.refusal is not None
    assert stage.buffers.in_use == 0


async def test_a_client_that_leaves_is_no_refusal() -> None:
    stage = Stage()
    driven = await drive(stage.app, make_exchange(), b"[1", None)
    assert driven.exchange.client_is_gone
    assert driven.exchange.refusal is None
    assert stage.bodies == []
    assert stage.buffers.in_use == 0


async def test_what_is_passed_through_is_not_read() -> None:
    stage = Stage()
    driven = await drive(stage.app, make_exchange("/2015-03-31/functions"), b"no json")
    assert driven.reads == 0
    assert len(stage.inside.exchanges) == 1


def test_a_body_of_exactly_the_quota_reaches_the_backend_and_one_byte_more_does_not() -> None:
    """Announced and in chunks."""
    largest = b'"' + b"x" * (6_291_456 - 2) + b'"'
    with gateway() as served:
        assert served.send(invoke(body=largest)).body == largest
        assert served.send(invoke("echo", b"", CHUNKED, length=False) + chunked(largest)).body == largest
        for data in (
            invoke(body=largest + b" "),
            invoke("echo", b"", CHUNKED, length=False) + chunked(largest, b" "),
        ):
            assert refusal_of(served.send(data)) == (
                413,
                "RequestTooLargeException",
                "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
            )
        assert [len(call.body) for call in served.forwarded()] == [len(largest)] * 2


def test_above_buffer_bytes_new_requests_are_refused_until_there_is_room_again() -> None:
    """503 with both hints when to come back; what is already in memory is served to its end."""
    with gateway(buffer_bytes=1_000_000) as served, Wire(served.port) as uploading:
        uploading.send(invoke("echo", b'"', "Content-Length: 900000", length=False))
        served.until(lambda: served.server.gateway.buffers.in_use == 900_000, "the upload has begun")
        for head in ("Content-Length: 100001", "Content-Length: 900000"):
            answer = served.send(invoke("echo", b"x" * int(head.split()[1]), head, length=False))
            assert refusal_of(answer) == (
                503,
                "ServiceException",
                "The gateway's buffers are full: 900000 of 1000000 bytes. Retry later, or raise buffer_bytes.",
            )
            assert answer.json["Type"] == "Service"
            assert int(answer.header("retry-after") or 0) >= 1
            assert int(answer.header("x-amz-retry-after") or 0) >= 1
        assert served.send(invoke(body=b'"small"')).status == 200
        chunks = [b"x" * 90_000, b"x" * 90_000]
        assert served.send(invoke("echo", b"", CHUNKED, length=False) + chunked(*chunks)).status == 503
        assert uploading.send(b"x" * 899_998 + b'"').answer().status == 200
        served.until_idle()
        assert served.send(invoke(body=b'"' + b"x" * 900_000 + b'"')).status == 200
        served.until_idle()


def test_a_body_that_is_not_json_takes_no_slot() -> None:
    with gateway() as served:
        answer = served.send(invoke(body=b"{bad"))
        status, code, text = refusal_of(answer)
        assert (status, code, answer.json["Type"]) == (400, "InvalidRequestContentException", "User")
        assert text.startswith("Could not parse request body into json: Could not parse payload into json: ")
        assert served.forwarded() == []
        assert served.held() == {}
