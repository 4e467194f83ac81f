"""Separates invocations that occupy concurrency from all else.

`Event` and `DryRun` take no slot: AWS accepts an event whatever the concurrency, also at a reservation of 0. A queue
for events would stand here; without one, the backend gets them as they are.
"""

from __future__ import annotations

from collections.abc import Awaitable

from ..asgi import EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange


class Handoff:
    """`app` is the rest of the chain for synchronous invocations, `unadmitted` for everything else."""

    def __init__(self, app: App, *, unadmitted: App) -> None:
        self.app = app
        self._unadmitted = unadmitted

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        invocation = exchange.invocation
        if invocation is not None and invocation.is_synchronous:
            return self.app(scope, receive, send)
        return self._unadmitted(scope, receive, send)
