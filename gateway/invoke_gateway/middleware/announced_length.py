"""Refuses a body whose announced length is too large, before any byte of it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..asgi import DONE, EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..policy.payloads.payload import PayloadQuotas


class CheckLength:
    def __init__(self, app: App, *, quotas: Callable[[], PayloadQuotas]) -> None:
        self.app = app
        self._quotas = quotas

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        if exchange.invocation is not None:
            size, quotas = exchange.content_length, self._quotas()
            if size is not None and size > quotas.least:
                quota = quotas.of(exchange.invocation)
                if size > quota.limit:
                    exchange.refuse(quota.refusal, size=size, limit=quota.limit)
                    return DONE
        return self.app(scope, receive, send)
