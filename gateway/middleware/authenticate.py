"""Finds out who calls and whose limits apply. This is where a signature would be verified; none is yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..asgi import EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..policy.access import parse_caller
from ..policy.limits import Limits


class Authenticate:
    """`limits` returns the table in force; the request keeps the one that it finds here."""

    def __init__(self, app: App, *, limits: Callable[[], Limits]) -> None:
        self.app = app
        self._limits = limits

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        invocation = exchange.invocation
        if invocation is not None:
            limits = self._limits()
            name = invocation.function.name
            if limits.is_one_for_all:
                exchange.plan = limits.default.plan(name)
            else:
                caller = exchange.caller = parse_caller(exchange.headers.get(b"authorization"), limits.credentials)
                account = limits.of(invocation.function.account or caller.account)
                exchange.plan = account.plan_for(name, caller.access_key_id if limits.knows(caller) else None)
        return self.app(scope, receive, send)
