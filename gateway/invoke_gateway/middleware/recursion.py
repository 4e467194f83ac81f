"""Stops loops: an invocation whose chain of calls has been through its function too often is not run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..asgi import DONE, EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..invocation import InvocationType
from ..policy.concurrency import Plan
from ..policy.limits import Limits
from ..policy.recursion import TRACE_HEADER, hash_function, is_loop, may_have_lineage
from ..refusals import Refusal


class Recursion:
    """Stops invocations that close a loop of functions.

    AWS accepts such an event and later sends it to its dead-letter queue. So the gateway only marks the event if it
    queues events itself. If the backend queues them, the event is refused.

    on_recursive: called with the plan of each stopped invocation
    queues_events: the gateway queues events itself
    """

    def __init__(
        self,
        app: App,
        *,
        region: str,
        limits: Callable[[], Limits],
        on_recursive: Callable[[Plan], None],
        queues_events: bool,
    ) -> None:
        self.app = app
        self._region = region
        self._limits = limits
        self._on_recursive = on_recursive
        self._queues_events = queues_events

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        trace = exchange.headers.get(TRACE_HEADER)
        if trace is not None and not may_have_lineage(trace):
            exchange.may_have_lineage = False
        elif trace is not None and self._is_to_be_stopped(exchange):
            assert exchange.plan is not None  # _is_to_be_stopped has looked
            assert exchange.invocation is not None
            self._on_recursive(exchange.plan)
            if not (self._queues_events and exchange.invocation.type is InvocationType.EVENT):
                exchange.refuse(Refusal.RECURSIVE, function=exchange.invocation.function.name)
                return DONE
            exchange.is_recursive = True
        return self.app(scope, receive, send)

    def _is_to_be_stopped(self, exchange: Exchange) -> bool:
        invocation, plan = exchange.invocation, exchange.plan
        if invocation is None or plan is None or invocation.type is InvocationType.DRY_RUN:  # which runs nothing
            return False
        name = invocation.function.name
        if not is_loop(exchange.headers[TRACE_HEADER], hash_function(self._region, plan.account, name)):
            return False
        return not self._limits().of(plan.account).may_recurse(name)
