"""Opens an exchange for each request, and records its outcome once at the end. This is the outermost stage."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from ..asgi import EXCHANGE, LOST, App, Receive, Scope, Send
from ..exchange import Exchange


class Record:
    """Wraps the chain.

    on_end: called with every finished exchange
    clock: monotonic seconds
    """

    def __init__(
        self, app: App, *, on_end: Callable[[Exchange, Scope], None], clock: Callable[[], float] = monotonic
    ) -> None:
        self.app = app
        self._on_end = on_end
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = scope[EXCHANGE] = Exchange(self._clock())
        try:
            await self.app(scope, receive, send)
        finally:
            exchange.duration_seconds = self._clock() - exchange.received_at
            if LOST in scope:
                exchange.response_is_lost = True
            self._on_end(exchange, scope)
