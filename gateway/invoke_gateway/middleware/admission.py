"""Takes the slots and tokens of a synchronous invocation, or refuses it.

Slots and tokens are one step, because a request that is refused for any reason must have consumed nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

from ..asgi import AWAITED, DONE, EXCHANGE, App, Receive, Scope, Send
from ..counters.base import Counters, Environments
from ..counters.pending_slot import PendingSlot
from ..exchange import Exchange, Slot
from ..invocation import TENANT_HEADER
from ..policy.concurrency import LimitReached, renew_plan


class Precheck:
    """Refuses, before the body is read, an invocation that is sure to be refused now. Takes nothing."""

    def __init__(self, app: App, *, counters: Counters) -> None:
        self.app = app
        self._counters = counters

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        invocation = exchange.invocation
        if invocation is not None and invocation.is_synchronous:
            assert exchange.plan is not None  # the authenticate stage sets it for every invocation
            full = self._counters.check(exchange.plan)
            if full is not None:
                _refuse(exchange, full)
                return DONE
        return self.app(scope, receive, send)


class VerifiedPrecheck(Precheck):
    """Checks only callers whose signature is verified already. To others it would reveal that a limit is exhausted."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        if exchange.caller.arn is None:
            return self.app(scope, receive, send)
        return Precheck.__call__(self, scope, receive, send)  # `super` takes three times as long


class Admission:
    """Takes a lane and the tokens of an invocation, and releases the slot if the backend never got the request.

    environments: the environments of functions that isolate tenants; None: they are not counted
    clock: seconds for the histogram of admission
    """

    def __init__(
        self,
        app: App,
        *,
        counters: Counters,
        environments: Environments | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.app = app
        self._counters = counters
        self._environments = environments
        self._clock = clock

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        assert exchange.plan is not None  # the authenticate stage sets it for every invocation
        plan = exchange.plan = renew_plan(exchange.plan)  # limits may have changed, perhaps during a slow upload
        started = self._clock()
        environments = plan.lanes[-1].environments
        if environments is not None and self._environments is not None:
            tenant = exchange.headers.get(TENANT_HEADER, b"")
            acquiring = self._environments.acquire(plan, environments, tenant)
            return self._go_on_after(acquiring, started, exchange, scope, receive, send)
        taken = self._counters.acquire_now(plan)
        if isinstance(taken, PendingSlot):
            scope[AWAITED] = taken
            return self._go_on_after(taken, started, exchange, scope, receive, send)
        exchange.admission_seconds = self._clock() - started
        return self._go_on(taken, exchange, scope, receive, send)

    async def _go_on_after(
        self,
        acquiring: Awaitable[Slot | LimitReached],
        started: float,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        taken = await acquiring
        exchange.admission_seconds = self._clock() - started
        rest = self._go_on(taken, exchange, scope, receive, send)
        if rest is not DONE:
            await rest

    def _go_on(
        self, taken: Slot | LimitReached, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Calls the next stage with the slot, or refuses."""
        if isinstance(taken, LimitReached):
            _refuse(exchange, taken)
            return DONE
        exchange.slot = taken
        taken.holder = exchange
        rest: Awaitable[None] = DONE
        try:
            rest = self.app(scope, receive, send)
        finally:
            # Once the backend may have the request, the end of the backend's work releases the slot, not ours.
            if rest is DONE and not exchange.is_dispatched:
                taken.release()
        return rest if exchange.is_dispatched or rest is DONE else _release_after(rest, exchange, taken)


async def _release_after(rest: Awaitable[None], exchange: Exchange, taken: Slot) -> None:
    try:
        await rest
    finally:
        if not exchange.is_dispatched:
            taken.release()


def _refuse(exchange: Exchange, full: LimitReached) -> None:
    exchange.refusal = full.claim.refusal
    exchange.full = full
