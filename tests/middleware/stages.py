"""Drives one stage of the chain with a request that is made up of plain values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from invoke_gateway.asgi import DONE, EXCHANGE, App, Message, Receive, Received, Scope, Send
from invoke_gateway.exchange import Exchange
from invoke_gateway.policy.requests.request_target import parse_target

ECHO = "/2015-03-31/functions/echo/invocations"


class Driven(NamedTuple):
    """What became of the request: what was sent to the client, and how many times the body was asked for."""

    exchange: Exchange
    sent: list[Message]
    reads: int

    @property
    def head(self) -> Message:
        return self.sent[0]

    def header(self, name: bytes) -> bytes | None:
        values = [value for known, value in self.head["headers"] if known == name]
        assert len(values) < 2
        return values[0] if values else None


class Speed:
    """Says what a driven stage has to wait for. conftest.py runs each test that drives a stage in all three ways.

    has_body: the body is there, and responses are taken, at once
    has_rest: the rest of the chain is done at once
    """

    has_body = False
    has_rest = False


class Inside:
    """The rest of the chain: notes that it was reached, and does what the test says."""

    def __init__(self, do: Callable[[Exchange], object] = lambda exchange: None) -> None:
        self.exchanges: list[Exchange] = []
        self._do = do

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not Speed.has_rest:
            return self._run(scope)
        self._note(scope)
        return DONE

    async def _run(self, scope: Scope) -> None:
        self._note(scope)

    def _note(self, scope: Scope) -> None:
        self.exchanges.append(scope[EXCHANGE])
        self._do(scope[EXCHANGE])


def make_exchange(path: str = ECHO, headers: tuple[tuple[str, str], ...] = (), query: str = "") -> Exchange:
    """An exchange as the `identify` stage leaves it."""
    exchange = Exchange(0.0)
    exchange.headers = {name.encode(): value.encode() for name, value in headers}
    length = exchange.headers.get(b"content-length")
    exchange.content_length = None if length is None else int(length)
    exchange.invocation = parse_target(path.encode(), query.encode(), exchange.headers, "us-east-1")
    return exchange


async def drive(
    stage: App,
    exchange: Exchange | None = None,
    *pieces: bytes | None,
    method: str = "POST",
    path: str = ECHO,
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> Driven:
    """Run `stage` on a request whose body comes in `pieces`; a piece `None` is the client that leaves."""
    sent: list[Message] = []
    body = list(pieces) or [b""]
    reads = 0

    def receive() -> Awaitable[Message]:
        nonlocal reads
        reads += 1
        received = Received(body.pop(0), more_body=bool(body))
        return received if Speed.has_body else wait_for(received)

    async def wait_for(received: Received) -> Message:
        return await received

    def send(message: Message) -> Awaitable[None]:
        if not Speed.has_body:
            return send_later(message)
        sent.append(message)
        return DONE

    async def send_later(message: Message) -> None:
        sent.append(message)

    exchange = exchange or Exchange(0.0)
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 1),
        EXCHANGE: exchange,
    }
    await stage(scope, receive, send)
    return Driven(scope[EXCHANGE], sent, reads)
