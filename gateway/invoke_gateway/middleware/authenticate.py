"""Finds the caller and the account whose limits apply, without a verification (`signatures: off`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..asgi import DONE, EXCHANGE, App, Receive, Scope, Send
from ..exchange import Exchange
from ..invocation import ANONYMOUS, TENANT_HEADER
from ..policy.limits import Limits
from ..policy.requests.caller import parse_caller
from ..refusals import Refusal


class Authenticate:
    """Gives the request its plan. The request keeps the table of limits that is in force now.

    limits: returns the table in force
    """

    def __init__(self, app: App, *, limits: Callable[[], Limits]) -> None:
        self.app = app
        self._limits = limits

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        invocation = exchange.invocation
        if invocation is not None:
            limits = self._limits()
            function = invocation.function
            query = scope["query_string"]
            if limits.is_one_for_all:
                account = limits.default
                exchange.plan = account.find_plan(function.name, function.qualifier)
                if query:  # shown with the holder of a slot; a caller in a header is found at that time
                    exchange.caller = parse_caller(exchange.headers.get(b"authorization"), {}, query) or ANONYMOUS
            else:
                caller = parse_caller(exchange.headers.get(b"authorization"), limits.credentials, query)
                if caller is None:
                    exchange.refuse(Refusal.TWO_CREDENTIALS)
                    return DONE
                exchange.caller = caller
                account = limits.of(function.account or caller.account)
                access_key_id = caller.access_key_id if limits.knows(caller) else None
                exchange.plan = account.plan_for(function.name, access_key_id, function.qualifier)
            if account.tenancies:
                problem = account.find_tenant_problem(function.name, exchange.headers.get(TENANT_HEADER))
                if problem is not None:
                    exchange.refuse(problem)
                    return DONE
        return self.app(scope, receive, send)
