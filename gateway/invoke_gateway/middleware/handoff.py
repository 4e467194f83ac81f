"""Separates invocations that occupy concurrency now from all other requests.

A `DryRun` takes no slot. Neither does an `Event` on arrival: AWS accepts an event at any concurrency, also at a
reservation of 0. An event is stored and then gets its 202. If the backend has a queue of its own, the event goes on
unchanged.

A bare runtime, such as AWS's Runtime Interface Emulator, runs its function for every type. Before a bare runtime this
stage answers a `DryRun` itself, and an `Event` that is not queued here takes a slot like any call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..asgi import EXCHANGE, App, Receive, Scope, Send, respond
from ..exchange import Exchange
from ..invocation import InvocationType, Operation
from ..queue.base import StoreError
from ..refusals import Refusal

Enqueue = Callable[[Exchange, Scope], Awaitable[None]]

_EVENT, _DRY_RUN = InvocationType.EVENT, InvocationType.DRY_RUN
_STATUS = b'{"Status": 202}'  # the body of InvokeAsync; Invoke has none
_ACCEPTED = ((b"x-amzn-remapped-content-length", b"0"),)
_ACCEPTED_WITH_STATUS = ((b"content-type", b"application/json"),)


class Handoff:
    """Sends each invocation to admission, to the queue, or to the backend without a slot.

    app: the rest of the chain for synchronous invocations
    unadmitted: the stage for all other invocations
    others: the stage for requests that are no invocation; None: `unadmitted`
    enqueue: stores an event durably, or raises `StoreError`; None: events are not queued here
    before_runtime: the backend runs every invocation, whatever its type
    """

    def __init__(
        self,
        app: App,
        *,
        unadmitted: App,
        others: App | None = None,
        enqueue: Enqueue | None = None,
        before_runtime: bool = False,
    ) -> None:
        self.app = app
        self._unadmitted = unadmitted
        self._others = others or unadmitted
        self._enqueue = enqueue
        self._before_runtime = before_runtime

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        invocation = exchange.invocation
        if invocation is None:
            return self._others(scope, receive, send)
        if invocation.is_synchronous:
            return self.app(scope, receive, send)
        if self._enqueue is not None and invocation.type is _EVENT:
            return self._accept(self._enqueue, exchange, scope, send)
        if self._before_runtime:
            return (
                self._answer_dry_run(exchange, send) if invocation.type is _DRY_RUN else self.app(scope, receive, send)
            )
        return self._unadmitted(scope, receive, send)

    async def _answer_dry_run(self, exchange: Exchange, send: Send) -> None:
        exchange.status = 204
        headers = [(b"x-amzn-requestid", exchange.request_id.encode())]
        await respond(send, 204, headers, b"")

    async def _accept(self, enqueue: Enqueue, exchange: Exchange, scope: Scope, send: Send) -> None:
        try:
            await enqueue(exchange, scope)
        except StoreError as fault:
            exchange.refuse(Refusal.EVENT_NOT_KEPT, text=str(fault))
            return
        assert exchange.invocation is not None
        is_old = exchange.invocation.operation is Operation.INVOKE_ASYNC
        exchange.status = 202
        headers = [
            *(_ACCEPTED_WITH_STATUS if is_old else _ACCEPTED),
            (b"x-amzn-requestid", exchange.request_id.encode()),
        ]
        await respond(send, 202, headers, _STATUS if is_old else b"")
