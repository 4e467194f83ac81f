"""A whole response is the same bytes, whether it is sent in one step or by two messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoke_gateway.asgi import DONE, App, Message, Receive, Scope, Send, respond

from .test_serving import Connection

STATUSES = st.sampled_from([200, 202, 204, 304, 400, 404, 413, 429, 500, 599])
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"x-a", b"x-b", b"content-type", b"retry-after"]), st.sampled_from([b"", b"1", b"text"])
    ),
    max_size=4,
)
BODIES = st.sampled_from([b"", b"{}", b"x" * 1024, b"y" * 100_000])
REQUESTS = st.sampled_from(
    [
        b"POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /a HTTP/1.1\r\nHost: g\r\n\r\n",
        b"HEAD /a HTTP/1.1\r\nHost: g\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /a HTTP/1.0\r\nHost: g\r\n\r\n",
    ]
)


def parts_of(sent: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Returns the status line, the headers, and the body."""
    head, _, body = sent.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    return first, sorted(headers), body


async def serve(app: App, request: bytes) -> Connection:
    connection = Connection(app)
    connection.protocol.data_received(request)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return connection


@given(STATUSES, HEADERS, BODIES, st.booleans(), REQUESTS)
@settings(max_examples=300, deadline=None)
def test_one_step_sends_the_bytes_of_two_messages(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes, closes: bool, request: bytes
) -> None:
    if status in (204, 304):
        body = b""

    def in_one_step(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return respond(send, status, headers, body, closes=closes)

    def by_messages(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        def wrapped(message: Message) -> Awaitable[None]:
            return send(message)

        return respond(wrapped, status, headers, body, closes=closes)

    async def compare() -> None:
        one, two = await serve(in_one_step, request), await serve(by_messages, request)
        assert parts_of(one.transport.sent) == parts_of(two.transport.sent)
        assert one.transport.is_closing() == two.transport.is_closing()

    asyncio.run(compare())


async def test_a_wrapped_send_that_has_to_wait_gets_both_messages_in_order() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    await respond(send, 429, [(b"retry-after", b"1")], b"{}", closes=True)
    assert sent == [
        {
            "type": "http.response.start",
            "status": 429,
            "headers": [(b"retry-after", b"1"), (b"content-length", b"2"), (b"connection", b"close")],
        },
        {"type": "http.response.body", "body": b"{}"},
    ]


async def test_a_second_response_is_an_error() -> None:
    errors: list[str] = []

    def twice(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        assert respond(send, 200, [], b"1") is DONE
        with pytest.raises(RuntimeError) as caught:
            respond(send, 200, [], b"2")
        errors.append(str(caught.value))
        return DONE

    connection = await serve(twice, b"GET /a HTTP/1.1\r\nHost: g\r\n\r\n")
    assert errors == ["a response has only one start"]
    assert connection.transport.sent.endswith(b"\r\n\r\n1")


async def test_a_response_waits_until_the_client_has_taken_what_was_sent_before() -> None:
    rests: list[Awaitable[None]] = []

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        connection.protocol.pause_writing()
        rests.append(respond(send, 200, [], b"later"))
        return rests[0]

    connection = Connection(app)
    connection.protocol.data_received(b"GET /a HTTP/1.1\r\nHost: g\r\n\r\n")
    for _ in range(3):
        await asyncio.sleep(0)
    assert rests[0] is not DONE
    assert connection.transport.sent == b""
    connection.protocol.resume_writing()
    for _ in range(5):
        await asyncio.sleep(0)
    assert connection.transport.sent.endswith(b"content-length: 5\r\n\r\nlater")
