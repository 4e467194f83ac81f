"""Decides an access by AWS's rules: an explicit deny wins; in the caller's own account an identity-based or a
resource-based policy allows; across accounts both must.

A statement of a resource-based policy that names an account delegates to the policies of that account's callers. In the
function's own account such a statement grants nothing by itself. A statement that names the caller or everyone does.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from .condition_keys import RequestFacts
from .document import ANY_LAMBDA_ACTION, PolicyKind, Statement
from .principal import Grant, Principal


class DecisionCause(StrEnum):
    """Lists the causes of decisions, as `invoke-gateway may` prints them."""

    ALLOWED = "allowed by a policy"
    NO_POLICIES = "the caller has no policies, so it may do everything in its own account"
    DENIED = "an explicit deny"
    NO_IDENTITY_POLICY = "no identity-based policy allows the action"
    NO_RESOURCE_POLICY = "no resource-based policy allows the action"


class AccessRequest(NamedTuple):
    """Names an access.

    action: as AWS writes it, such as `lambda:InvokeFunction`
    resource: the ARN as called, or `*`
    account: the account of the resource
    is_resource_known: False where the resource is named in a body that was not read; a deny for any resource holds then
    """

    principal: Principal
    action: str
    resource: str
    account: str
    is_resource_known: bool = True


class AccessDecision(NamedTuple):
    """Holds a decision, and the statements that decided it."""

    is_allowed: bool
    cause: DecisionCause
    statements: tuple[Statement, ...] = ()


class Candidates(NamedTuple):
    """Holds the statements that are about an access, whatever their conditions.

    has_policies: the caller has identity-based policies; without any it may do everything in its own account
    grants: the statements of resource-based policies, and how each names the caller
    """

    request: AccessRequest
    has_policies: bool
    identity: tuple[Statement, ...]
    grants: tuple[tuple[Statement, Grant], ...]

    @property
    def has_conditions(self) -> bool:
        return any(one.conditions for one in self.identity) or any(one.conditions for one, _ in self.grants)

    def decide(self, facts: RequestFacts | None) -> AccessDecision:
        """Decides the access. `facts` may be None where no statement has conditions."""
        identity = [one for one in self.identity if _is_met(one, facts)]
        grants = [(one, grant) for one, grant in self.grants if _is_met(one, facts)]
        for one in (*identity, *(one for one, _ in grants)):
            if not one.is_allow:
                return AccessDecision(False, DecisionCause.DENIED, (one,))
        by_identity = identity[:1]
        is_own = self.request.principal.account == self.request.account
        if not self.has_policies and is_own:
            return AccessDecision(True, DecisionCause.NO_POLICIES)
        needed = Grant.CALLER if is_own else Grant.ACCOUNT
        by_resource = [one for one, grant in grants if grant >= needed][:1]
        if is_own:
            by_one = by_identity or by_resource
            if by_one:
                return AccessDecision(True, DecisionCause.ALLOWED, (by_one[0],))
            return AccessDecision(False, DecisionCause.NO_IDENTITY_POLICY)
        if not by_resource:
            return AccessDecision(False, DecisionCause.NO_RESOURCE_POLICY)
        if self.has_policies and not by_identity:
            return AccessDecision(False, DecisionCause.NO_IDENTITY_POLICY)
        return AccessDecision(True, DecisionCause.ALLOWED, (*by_identity, *by_resource))


def _is_met(statement: Statement, facts: RequestFacts | None) -> bool:
    return all(facts is not None and condition(facts) for condition in statement.conditions)


def find_candidates(
    request: AccessRequest, identity: Iterable[Statement] | None, resource: Iterable[Statement]
) -> Candidates:
    """Returns the statements that are about an access.

    identity: the statements of the caller's policies; None: it has no policies
    resource: the statements of the policies of the function
    """
    principal, action = request.principal, request.action.lower()
    is_unknown = request.action == ANY_LAMBDA_ACTION

    def is_about(one: Statement) -> bool:
        if not one.is_allow:  # an operation or a resource that is not known may be the denied one
            covers_action = one.covers_unknown if is_unknown else one.covers_action(action)
            return covers_action and (not request.is_resource_known or one.covers_resource(request.resource, principal))
        return one.covers_action(action) and one.covers_resource(request.resource, principal)

    found = tuple(one for one in identity or () if is_about(one))
    grants = []
    for one in resource:
        grant = one.principals.find_grant(principal) if one.principals is not None else Grant.NONE
        if grant and is_about(one):
            grants.append((one, grant))
    return Candidates(request, identity is not None, found, tuple(grants))


def describe_denial(request: AccessRequest, decision: AccessDecision) -> str:
    """Returns AWS's text about a denied access."""
    text = (
        f"User: {request.principal.arn} is not authorized to perform: {request.action} on resource: {request.resource}"
    )
    if decision.cause is DecisionCause.DENIED:
        kind = decision.statements[0].kind
        article = "an" if kind is PolicyKind.IDENTITY else "a"
        return f"{text} with an explicit deny in {article} {kind} policy"
    kind = PolicyKind.RESOURCE if decision.cause is DecisionCause.NO_RESOURCE_POLICY else PolicyKind.IDENTITY
    return f"{text} because no {kind} policy allows the {request.action} action"
