"""Turns what went wrong inside into an error in Lambda's shape."""

from __future__ import annotations

import logging

from ..asgi import EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..faults import BackendFault
from ..refusals import Refusal

log = logging.getLogger("gateway")


class Faults:
    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        try:
            await self.app(scope, receive, send)
        except BackendFault as fault:
            exchange.fault = fault.kind
            if not exchange.status:  # otherwise the response is under way and can only be cut
                exchange.refuse(Refusal.BACKEND_FAULT, text=str(fault))
        except Exception:
            exchange.fault = "internal"
            log.exception("request %s failed inside the gateway", exchange.request_id)
            if not exchange.status:
                exchange.refuse(Refusal.INTERNAL)
