"""Names the ASGI interface, and the keys under which a scope carries what the gateway adds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, MutableMapping
from typing import Any, NamedTuple, cast

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Respond = Callable[[int, Iterable[tuple[bytes, bytes]], bytes, bool], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

WITHOUT_BODY = frozenset({204, 304})
"""Lists the statuses of responses that have no body, and no length."""


class Attempt(NamedTuple):
    """Names the event and the run that a call belongs to. `number` counts the tries that left the queue, from 1."""

    request_id: str
    number: int


class _Done:
    """Completes immediately: an awaitable without work."""

    _exhausted = cast("Generator[None, None, None]", iter(()))

    def __await__(self) -> Generator[None, None, None]:
        return self._exhausted


DONE = _Done()
"""Says that a stage, or a `send`, has no work left. A stage is a plain function: it decides at once, and returns the
awaitable of the next stage, or this one. Only where something must wait does it return a coroutine of its own. So a
request that need not wait makes no coroutine, and the caller that gets `DONE` need not await it."""


def respond(
    send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, closes: bool = False
) -> Awaitable[None]:
    """Sends a whole response, and its length with it: in one step by `send.respond`, which the listener has, else by
    two messages. What wraps `send` need not know of it.

    headers: without `content-length` and `connection`
    closes: no other request is served on the connection
    """
    at_once: Respond | None = getattr(send, "respond", None)
    if at_once is not None:
        return at_once(status, headers, body, closes)
    lines = [*headers]
    if status not in WITHOUT_BODY:
        lines.append((b"content-length", b"%d" % len(body)))
    if closes:
        lines.append((b"connection", b"close"))
    sent = send({"type": "http.response.start", "status": status, "headers": lines})
    message: Message = {"type": "http.response.body", "body": body}
    return send(message) if sent is DONE else _send_after(sent, message, send)


async def _send_after(sent: Awaitable[None], message: Message, send: Send) -> None:
    await sent
    await send(message)


class Received:
    """Completes immediately with the next message: what `receive` returns where nothing must be waited for.

    body: the bytes that have come; None: the client is gone, or has its response
    """

    __slots__ = ("body", "more_body")

    def __init__(self, body: bytes | memoryview | None, *, more_body: bool) -> None:
        self.body = body
        self.more_body = more_body

    def __await__(self) -> Generator[None, None, Message]:
        yield from ()
        if self.body is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.body, "more_body": self.more_body}


ATTEMPT = "invoke_gateway.attempt"
"""Holds the `Attempt` in the scope of an event's run."""

EXCHANGE = "invoke_gateway.exchange"

INJECTED = "invoke_gateway.injected"
"""Names the key of a scope for the fault that a script injects into this call (`policy/fault_script.py`)."""

AWAITED = "invoke_gateway.awaited"
"""Names the key of a scope for what the rest of the chain waits for, and nothing else (`awaited.py`). The admission
sets a store's decision. The last stage sets the call to the backend, where it has sent the request before it
returned."""

HEADERS = "invoke_gateway.headers"
"""Holds a scope's headers by name, where the listener has set them. Of several with one name, the last counts."""

LOST = "invoke_gateway.lost"
"""Names the key of a scope whose client has gone before the response was sent whole."""

READ_INTO = "invoke_gateway.read_into"
"""Holds a `memoryview` of exactly the rest of a body. The application sets it before `receive`, if it wants that rest
in one message. A listener that fills the view takes it from the scope, and returns it as the body of the message."""

MESSAGE = "invoke_gateway.message"
"""Names the key for the whole POST request as the bytes that came, head and body. It is set if they came in one piece,
in origin form and HTTP/1.1, with single spaces in the first line, and no other bytes came with them."""
