"""Measures the floor of stock uvicorn: reads the body, sends 1 KiB."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from loadtests.bench.calls import ANSWER

Message = MutableMapping[str, Any]

BODY = ANSWER.encode()
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
END = {"type": "http.response.body", "body": BODY}


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    while (await receive()).get("more_body"):
        pass
    await send(START)
    await send(END)
