"""Refuses what no policy allows a verified caller to do.

It is called once the signature of a request is verified, before the request takes a slot, is stored, or reaches the
backend.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time

from ..asgi import Scope
from ..exchange import Exchange
from ..invocation import Invocation, Operation
from ..policy.permissions.actions import find_action, has_ambiguous_qualifier, has_qualifier
from ..policy.permissions.condition_keys import RequestFacts
from ..policy.permissions.decision import AccessDecision, AccessRequest, describe_denial
from ..policy.permissions.permissions import CallerIdentity, Permissions
from ..refusals import Refusal

_ONCE = "Send the parameter Qualifier only once, with this name."
_NO_QUALIFIER = "InvokeAsync takes no Qualifier. Leave it out."
_NO_LOGS = "Cross-account log access is not allowed"


class PermissionCheck:
    """Decides what a verified caller requests.

    permissions: returns the policies in force; None: a verified caller may do everything
    clock: seconds since the epoch
    """

    def __init__(self, permissions: Callable[[], Permissions | None], *, clock: Callable[[], float] = time) -> None:
        self._permissions = permissions
        self._clock = clock

    def __call__(self, exchange: Exchange, scope: Scope) -> bool:
        """Returns whether the caller may do it. Records the refusal on the exchange, if there is one."""
        permissions = self._permissions()
        if permissions is None:
            return True
        invocation, arn = exchange.invocation, exchange.caller.arn
        if invocation is not None:
            query = scope["query_string"]
            problem = _find_qualifier_problem(invocation, query) if query else None
            if problem is not None:
                exchange.refuse(Refusal.AMBIGUOUS_REQUEST, text=problem)
                return False
            if (arn, invocation.function) in permissions.always_allowed:  # nearly always
                return True
        caller = permissions.find_caller(arn or "")
        if caller is None:  # the settings take only ARNs of callers
            exchange.refuse(Refusal.INTERNAL)
            return False
        request, decision = self._decide(permissions, caller, exchange, scope)
        if not decision.is_allowed:
            exchange.refuse(Refusal.ACCESS_DENIED, text=describe_denial(request, decision))
            return False
        if request.account != caller.principal.account and exchange.headers.get(b"x-amz-log-type") == b"Tail":
            exchange.refuse(Refusal.ACCESS_DENIED, text=_NO_LOGS)
            return False
        return True

    def always_allows(self, exchange: Exchange) -> bool:
        """Returns whether an invocation that has been allowed is allowed whatever its values, while the policies stay
        the same."""
        permissions, invocation = self._permissions(), exchange.invocation
        if permissions is None or invocation is None:
            return permissions is None
        return (exchange.caller.arn, invocation.function) in permissions.always_allowed

    def _decide(
        self, permissions: Permissions, caller: CallerIdentity, exchange: Exchange, scope: Scope
    ) -> tuple[AccessRequest, AccessDecision]:
        invocation = exchange.invocation

        def make_facts(request: AccessRequest) -> RequestFacts:
            client = scope.get("client")
            agent = exchange.headers.get(b"user-agent")
            return RequestFacts(
                request.principal,
                request.resource,
                request.account,
                permissions.region,
                now=self._clock(),
                source_ip=client[0] if client else None,
                is_secure=scope.get("scheme") == "https",
                invocation_type=None if invocation is None else invocation.type.value,
                user_agent=None if agent is None else agent.decode("latin-1"),
            )

        if invocation is not None:
            return permissions.decide_invoke(caller, invocation.function, make_facts)
        asked = find_action(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            region=permissions.region,
            account=caller.principal.account,
        )
        return permissions.decide(caller, asked, make_facts)


def _find_qualifier_problem(invocation: Invocation, query: bytes) -> str | None:
    """Returns why a backend might run another version than the one that policies allow; None where it cannot."""
    if has_ambiguous_qualifier(query):
        return _ONCE
    is_old = invocation.operation is Operation.INVOKE_ASYNC
    return _NO_QUALIFIER if is_old and has_qualifier(query) else None
