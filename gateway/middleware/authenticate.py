"""Finds out who calls and whose limits apply. This is where a signature would be verified; none is yet."""

from __future__ import annotations

from collections.abc import Callable

from ..asgi import EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..policy.access import parse_caller
from ..policy.limits import Limits


class Authenticate:
    """`limits` returns the table in force; the request keeps the one that it finds here."""

    def __init__(self, app: App, *, limits: Callable[[], Limits]) -> None:
        self.app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        invocation = exchange.invocation
        if invocation is not None:
            limits = self._limits()
            caller = exchange.caller = parse_caller(exchange.headers.get(b"authorization"), limits.credentials)
            account = limits.of(invocation.function.account or caller.account)
            plan = account.plan(invocation.function.name)
            known = caller.access_key_id if limits.knows(caller) else None
            rate = account.caller_rate(known)
            exchange.plan = plan if rate is None else plan._replace(rates=(*plan.rates, rate))
        await self.app(scope, receive, send)
