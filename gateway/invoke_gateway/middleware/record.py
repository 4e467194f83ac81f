"""Opens an exchange for each request, and records its outcome once at the end. This is the outermost stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

from ..asgi import DONE, EXCHANGE, LOST, App, Receive, Scope, Send
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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        exchange = scope[EXCHANGE] = Exchange(self._clock())
        try:
            rest = self.app(scope, receive, send)
        except BaseException:
            self._record(exchange, scope)
            raise
        if rest is DONE:
            self._record(exchange, scope)
            return DONE
        return self._record_after(rest, exchange, scope)

    async def _record_after(self, rest: Awaitable[None], exchange: Exchange, scope: Scope) -> None:
        try:
            await rest
        finally:
            self._record(exchange, scope)

    def _record(self, exchange: Exchange, scope: Scope) -> None:
        exchange.duration_seconds = self._clock() - exchange.received_at
        if LOST in scope:
            exchange.response_is_lost = True
        self._on_end(exchange, scope)
