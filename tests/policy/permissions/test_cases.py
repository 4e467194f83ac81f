"""Assert that every case of the table is decided as AWS decides it."""

from __future__ import annotations

import pytest

from invoke_gateway.policy.permissions.decision import DecisionCause, describe_denial
from tests.policy.permissions.cases import (
    ALLOWED,
    CASES,
    DENIED_BY_IDENTITY,
    DENIED_BY_RESOURCE,
    NO_IDENTITY,
    NO_RESOURCE,
    Case,
    decide,
    describe,
)

_TEXTS = {
    NO_IDENTITY: "because no identity-based policy allows the {action} action",
    NO_RESOURCE: "because no resource-based policy allows the {action} action",
    DENIED_BY_IDENTITY: "with an explicit deny in an identity-based policy",
    DENIED_BY_RESOURCE: "with an explicit deny in a resource-based policy",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_case_is_decided_as_aws_decides_it(case: Case) -> None:
    request, decision = decide(case)
    assert describe(decision) == case.aws
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
