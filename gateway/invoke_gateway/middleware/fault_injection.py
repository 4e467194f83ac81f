"""Applies fault scripts: makes calls fail or late, or cuts their responses.

`FaultInjection` stands where the caller and the function are known and nothing has been consumed yet. So an injected
error costs neither slot nor token, and the body is handled as for every refusal. `InjectedDelay` stands behind
admission: a late call is a slow function and keeps its slot. The function runs even if its client hangs up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..asgi import DONE, EXCHANGE, INJECTED, App, Message, Receive, Scope, Send
from ..exchange import Exchange
from ..policy.arn import make_arn
from ..policy.concurrency import Plan
from ..policy.fault_script import FaultScripts, Injected
from ..policy.invoke_errors import choose_error

Sleep = Callable[[float], Awaitable[object]]


class ResponseCut(Exception):
    """A fault script has cut this response. The response itself is sound."""


class FaultInjection:
    """Injects the errors and cuts of fault scripts.

    on_injected: called with the plan of the call and the injected fault
    """

    def __init__(
        self,
        app: App,
        *,
        scripts: FaultScripts,
        on_injected: Callable[[Plan, Injected], None],
        region: str,
        decision_header: bool = True,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.app = app
        self._scripts = scripts
        self._on_injected = on_injected
        self._region = region
        self._decision_header = decision_header
        self._sleep = sleep

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        plan = exchange.plan
        if plan is None or exchange.invocation is None:
            return self.app(scope, receive, send)
        injected = self._scripts.take(plan.account, exchange.invocation.function.name)
        if injected is None:
            return self.app(scope, receive, send)
        scope[INJECTED] = injected
        self._on_injected(plan, injected)
        if injected.step.error is None:
            return self._pass_on(injected, scope, receive, send)
        if injected.step.latency_seconds:
            return self._refuse_late(injected, exchange, plan)
        self._refuse(injected, exchange, plan)
        return DONE

    def _refuse(self, injected: Injected, exchange: Exchange, plan: Plan) -> None:
        assert injected.step.error is not None
        assert exchange.invocation is not None
        arn = make_arn(exchange.invocation.function, region=self._region, account=plan.account)
        exchange.refuse(choose_error(injected.step.error, plan), arn=arn)

    async def _refuse_late(self, injected: Injected, exchange: Exchange, plan: Plan) -> None:
        await self._sleep(injected.step.latency_seconds)
        self._refuse(injected, exchange, plan)

    async def _pass_on(self, injected: Injected, scope: Scope, receive: Receive, send: Send) -> None:
        decision = injected.describe().encode() if self._decision_header else None
        changed = _ChangedResponse(send, decision, injected.step.cut_after_bytes)
        try:
            await self.app(scope, receive, changed)
        except ResponseCut:
            return  # with the response unfinished: the server closes the connection


class _ChangedResponse:
    """Marks one response as injected, and cuts its body after `cut_after` bytes."""

    def __init__(self, send: Send, decision: bytes | None, cut_after: int | None) -> None:
        self._send = send
        self._decision = decision
        self._left = cut_after

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            if self._decision is not None:
                message["headers"] = [*message["headers"], (b"x-invoke-gateway-decision", self._decision)]
        elif self._left is not None:
            body: bytes = message.get("body", b"")
            if len(body) > self._left:
                return self._cut(body[: self._left])
            self._left -= len(body)
        return self._send(message)

    async def _cut(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        raise ResponseCut


class DelayedEnqueue:
    """Delays the response to an event, if a script does so."""

    def __init__(self, enqueue: Callable[[Exchange, Scope], Awaitable[None]], *, sleep: Sleep = asyncio.sleep) -> None:
        self._enqueue = enqueue
        self._sleep = sleep

    async def __call__(self, exchange: Exchange, scope: Scope) -> None:
        injected: Injected | None = scope.get(INJECTED)
        if injected is not None and injected.step.latency_seconds:
            await self._sleep(injected.step.latency_seconds)
        await self._enqueue(exchange, scope)


class InjectedDelay:
    """Delays calls before the backend, if a script does so."""

    def __init__(self, app: App, *, sleep: Sleep = asyncio.sleep) -> None:
        self.app = app
        self._sleep = sleep

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        injected: Injected | None = scope.get(INJECTED)
        if injected is None or not injected.step.latency_seconds:
            return self.app(scope, receive, send)
        return self._pass_on_late(injected.step.latency_seconds, scope, receive, send)

    async def _pass_on_late(self, seconds: float, scope: Scope, receive: Receive, send: Send) -> None:
        await self._sleep(seconds)
        try:
            await self.app(scope, receive, send)
        finally:
            exchange: Exchange = scope[EXCHANGE]
            if exchange.backend_seconds is not None:  # a slow function's duration
                exchange.backend_seconds += seconds
