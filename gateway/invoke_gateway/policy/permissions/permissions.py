"""Holds all permissions in force, and decides accesses. A reload replaces the table.

The statements about an access are looked for once for each caller, action and function. Without conditions their
decision is kept, too. Else only the conditions are read again. What is kept is bounded, because callers choose the
names of functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ...invocation import Function
from .actions import INVOKE_ACTION, RequestedAction, name_function
from .condition_keys import RequestFacts
from .decision import AccessDecision, AccessRequest, Candidates, find_candidates
from .document import Statement
from .principal import Principal, parse_principal

_MOST_KEPT = 8192

MakeFacts = Callable[[AccessRequest], RequestFacts]


class CallerIdentity(NamedTuple):
    """Holds a caller and its policies.

    statements: those of its policies; None where it has none, so that it may do everything in its own account
    """

    principal: Principal
    statements: tuple[Statement, ...] | None = None


class _Known(NamedTuple):
    """Holds what is kept of an access.

    decision: None where it depends on conditions
    """

    candidates: Candidates
    decision: AccessDecision | None


class Permissions:
    """Decides accesses.

    callers: by ARN
    access_keys: the ARN of each access key
    functions: the statements of resource-based policies, by account and by name of the function
    default_account: the name of the account that stands for all that are not named
    always_allowed: ARNs of callers with functions of their own account that they may invoke, whatever the conditions
    """

    def __init__(
        self,
        *,
        region: str,
        callers: Mapping[str, CallerIdentity],
        functions: Mapping[str, Mapping[str, tuple[Statement, ...]]],
        default_account: str,
        access_keys: Mapping[str, str] | None = None,
    ) -> None:
        self.region = region
        self._callers = dict(callers)
        self.access_keys: Mapping[str, str] = access_keys or {}
        self._most_callers = len(callers) + _MOST_KEPT
        self._functions = functions
        self._default = functions.get(default_account, {})
        self._known: dict[tuple[str, Function], _Known] = {}
        self.always_allowed: set[tuple[str | None, Function]] = set()

    def find_caller(self, arn: str) -> CallerIdentity | None:
        """Returns the caller of an ARN; None where the ARN names no caller. A caller that no settings name has no
        policies."""
        found = self._callers.get(arn)
        if found is not None:
            return found
        principal = parse_principal(arn)
        if principal is None:
            return None
        made = CallerIdentity(principal)
        if len(self._callers) < self._most_callers:
            self._callers[arn] = made
        return made

    def decide_invoke(
        self, caller: CallerIdentity, function: Function, make_facts: MakeFacts
    ) -> tuple[AccessRequest, AccessDecision]:
        """Decides an invocation.

        make_facts: makes the facts that conditions read; called only where there are conditions
        """
        key = (caller.principal.arn, function)
        known = self._known.get(key)
        if known is None:
            known = self._keep(key, caller, function)
        request = known.candidates.request
        return request, known.decision or known.candidates.decide(make_facts(request))

    def _find_statements(self, account: str, name: str) -> tuple[Statement, ...]:
        return self._functions.get(account, self._default).get(name, ())

    def _keep(self, key: tuple[str, Function], caller: CallerIdentity, function: Function) -> _Known:
        account = function.account or caller.principal.account
        arn = name_function(function, region=self.region, account=account)
        request = AccessRequest(caller.principal, INVOKE_ACTION, arn, account)
        candidates = find_candidates(request, caller.statements, self._find_statements(account, function.name))
        known = _Known(candidates, None if candidates.has_conditions else candidates.decide(None))
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
            self.always_allowed.clear()
        self._known[key] = known
        if known.decision is not None and known.decision.is_allowed and account == caller.principal.account:
            self.always_allowed.add(key)
        return known

    def decide(
        self, caller: CallerIdentity, asked: RequestedAction, make_facts: MakeFacts
    ) -> tuple[AccessRequest, AccessDecision]:
        """Decides an access of any action."""
        account = asked.account or caller.principal.account
        request = AccessRequest(caller.principal, asked.action, asked.resource, account, asked.is_resource_known)
        statements = self._find_statements(account, _find_function_name(asked.resource))
        candidates = find_candidates(request, caller.statements, statements)
        return request, candidates.decide(make_facts(request) if candidates.has_conditions else None)


def _find_function_name(arn: str) -> str:
    parts = arn.split(":")
    return parts[6] if len(parts) > 6 and parts[5] == "function" else ""
