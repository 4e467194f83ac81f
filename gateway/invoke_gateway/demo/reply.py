"""Reads the requests and sends the responses of the demo backend."""

from __future__ import annotations

import re
import uuid

import msgspec

from invoke_gateway.asgi import Receive, Send

JSON = (b"content-type", b"application/json")
_REQUEST_ID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

Headers = tuple[tuple[bytes, bytes], ...]


class DemoReply:
    """Builds one response, with `x-amzn-RequestId`: the caller's own if it is a UUID."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        own = request_id if _REQUEST_ID.fullmatch(request_id) else str(uuid.uuid4()).encode()
        self.request_id = own.decode()
        self._headers: Headers = ((b"x-amzn-requestid", own),)

    def add(self, header: tuple[bytes, bytes]) -> None:
        """Adds a header to the response."""
        self._headers += (header,)

    async def begin(self, status: int, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": [*self._headers, *headers]})

    async def write(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def whole(self, status: int, headers: Headers, body: bytes = b"") -> None:
        await self.begin(status, headers)
        await self.write(body, more=False)

    async def json(self, status: int, value: object, error_type: str | None = None) -> None:
        body = msgspec.json.encode(value)
        headers: Headers = (JSON, (b"content-length", b"%d" % len(body)))
        if error_type:
            headers += ((b"x-amzn-errortype", error_type.encode()),)
        await self.whole(status, headers, body)

    async def not_found(self, text: str) -> None:
        await self.json(404, {"Type": "User", "Message": text}, "ResourceNotFoundException")


async def read_body(receive: Receive) -> bytes | None:
    """Returns the whole body, or None when the client left before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return bytes(message.get("body", b""))
    pieces: list[bytes] = []
    while message["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)
        message = await receive()
    return None
