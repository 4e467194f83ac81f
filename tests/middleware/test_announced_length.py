"""A body that announces itself as too large is refused before a byte of it is read."""

from __future__ import annotations

import pytest

from invoke_gateway.middleware.announced_length import CheckLength
from invoke_gateway.policy.payloads.payload import PayloadQuotas
from invoke_gateway.refusals import Refusal
from tests.middleware.stages import ECHO, Inside, drive, make_exchange
from tests.support.sockets import Wire, gateway, invoke, refusal_of

ASYNC = "/2014-11-13/functions/echo/invoke-async"
STREAM = "/2021-11-15/functions/echo/response-streaming-invocations"
EVENT = (("x-amz-invocation-type", "Event"),)


@pytest.mark.parametrize(
    ("path", "headers", "limit", "refusal"),
    [
        (ECHO, (), 6_291_456, Refusal.REQUEST_TOO_LARGE),
        (STREAM, (), 6_291_456, Refusal.REQUEST_TOO_LARGE),
        (ECHO, EVENT, 1_048_576, Refusal.EVENT_TOO_LARGE),
        (ASYNC, (), 262_144, Refusal.EVENT_TOO_LARGE),
    ],
)
async def test_the_quota_passes_and_one_byte_more_does_not(
    path: str, headers: tuple[tuple[str, str], ...], limit: int, refusal: Refusal
) -> None:
    """By the way of invoking. The body is not asked for."""
    for size, refused in ((limit, None), (limit + 1, refusal)):
        inside = Inside()
        exchange = make_exchange(path, (*headers, ("content-length", str(size))))
        driven = await drive(CheckLength(inside, quotas=lambda: PayloadQuotas(6_291_456, 1_048_576)), exchange)
        assert driven.exchange.refusal is refused
        assert len(inside.exchanges) == (refused is None)
        assert driven.reads == 0


async def test_what_is_passed_through_has_no_quota() -> None:
    """CreateFunction carries its code."""
    inside = Inside()
    exchange = make_exchange("/2015-03-31/functions", (("content-length", "70000000"),))
    await drive(CheckLength(inside, quotas=lambda: PayloadQuotas(1, 1)), exchange)
    assert len(inside.exchanges) == 1


TEXTS = {
    "Invoke": (
        invoke("echo", b"", "Content-Length: 6291457", length=False),
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    ),
    "Event": (
        invoke("echo", b"", "Content-Length: 1048577", "X-Amz-Invocation-Type: Event", length=False),
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
    ),
    "InvokeAsync": (
        invoke("echo", b"", "Content-Length: 262145", path=ASYNC, length=False),
        "262145 byte payload is too large for the Event invocation type (limit 262144 bytes)",
    ),
}


@pytest.mark.parametrize("payload_error", ["modelled", "as_observed"])
def test_a_client_that_has_sent_only_its_head_has_the_whole_answer(payload_error: str) -> None:
    """With AWS's text, under the code that the settings choose. Nothing is buffered for it."""
    code = {"modelled": "RequestTooLargeException", "as_observed": "RequestEntityTooLargeException"}[payload_error]
    with gateway(payload_error=payload_error) as served:
        for head, text in TEXTS.values():
            with Wire(served.port) as wire:
                assert refusal_of(wire.send(head).answer()) == (413, code, text)
                assert served.buffered() == 0
        assert served.forwarded() == []
