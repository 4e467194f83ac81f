"""Assert that every case of the table is decided as AWS decides it."""

from __future__ import annotations

import json

import pytest

from invoke_gateway.policy.permissions.actions import RequestedAction
from invoke_gateway.policy.permissions.condition_keys import RequestFacts
from invoke_gateway.policy.permissions.decision import (
    AccessDecision,
    AccessRequest,
    DecisionCause,
    describe_denial,
)
from invoke_gateway.policy.permissions.document import PolicyKind, parse_policy
from invoke_gateway.policy.permissions.permissions import CallerIdentity, Permissions
from invoke_gateway.policy.permissions.principal import parse_principal
from tests.policy.permissions.cases import (
    ALLOWED,
    CASES,
    DENIED_BY_IDENTITY,
    DENIED_BY_RESOURCE,
    NO_IDENTITY,
    NO_RESOURCE,
    Case,
)

_TEXTS = {
    NO_IDENTITY: "because no identity-based policy allows the {action} action",
    NO_RESOURCE: "because no resource-based policy allows the {action} action",
    DENIED_BY_IDENTITY: "with an explicit deny in an identity-based policy",
    DENIED_BY_RESOURCE: "with an explicit deny in a resource-based policy",
}


def decide(case: Case) -> tuple[AccessRequest, AccessDecision]:
    def parse(statements: list[dict[str, object]], kind: PolicyKind) -> tuple[object, ...]:
        return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": statements}), f"{kind}.json", kind)

    principal = parse_principal(case.caller)
    assert principal is not None
    identity = None if case.identity is None else parse(case.identity, PolicyKind.IDENTITY)
    resource = parse(case.resource or [], PolicyKind.RESOURCE)
    permissions = Permissions(
        region="us-east-1",
        callers={},
        functions={"111122223333": {"checkout": resource}},  # type: ignore[dict-item]
        default_account="",
    )
    caller = CallerIdentity(case.caller, principal, identity)  # type: ignore[arg-type]
    asked = RequestedAction(case.action, case.resource_arn, "111122223333")
    return permissions.decide(
        caller,
        asked,
        lambda request: RequestFacts(
            request.principal, request.resource, request.account, "us-east-1", **(case.facts or {})
        ),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_case_is_decided_as_aws_decides_it(case: Case) -> None:
    request, decision = decide(case)
    if case.aws == ALLOWED:
        assert (decision.is_allowed, decision.cause) == (True, DecisionCause.ALLOWED)
        assert decision.statements
        return
    assert not decision.is_allowed
    about = f"User: {case.caller} is not authorized to perform: {case.action} on resource: {case.resource_arn} "
    assert describe_denial(request, decision) == about + _TEXTS[case.aws].format(action=case.action)


def test_there_are_at_least_forty_cases_with_two_accounts_and_each_answer() -> None:
    assert len(CASES) >= 40
    assert len({case.caller.split(":")[4] for case in CASES}) == 2
    assert {case.aws for case in CASES} == {ALLOWED, *_TEXTS}
    assert all(case.source for case in CASES)
