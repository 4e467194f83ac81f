"""Answers on connections above the ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..asgi import Receive, Scope, Send, respond
from ..refusals import Refusal, Rendered

_READ_BYTES = 65_536


class Overflow:
    """Refuses the request of each such connection.

    refuse: renders a refusal as the listener's clients read it
    extra_headers: returns further headers, by the headers of the request
    """

    def __init__(
        self,
        max_connections: int,
        refuse: Callable[..., Rendered],
        extra_headers: Callable[[Mapping[bytes, bytes]], list[tuple[bytes, bytes]]] | None = None,
    ) -> None:
        self._limit = max_connections
        self._refuse = refuse
        self._extra_headers = extra_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Closing over unread bytes would reset the connection, and the client would never see why.
        message = await receive()
        dropped = 0
        while message.get("more_body", False) and dropped < _READ_BYTES:
            dropped += len(message["body"])
            message = await receive()
        rendered = self._refuse(Refusal.TOO_MANY_CONNECTIONS, limit=self._limit)
        headers = [*rendered.headers, (b"retry-after", b"1"), (b"x-amz-retry-after", b"1000")]
        if self._extra_headers is not None:
            headers += self._extra_headers(dict(scope["headers"]))
        await respond(send, rendered.status, headers, rendered.body, closes=True)
