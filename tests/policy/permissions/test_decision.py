"""Assert what holds of every decision, whatever the policies are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.invocation import Function
from invoke_gateway.policy.permissions.actions import RequestedAction
from invoke_gateway.policy.permissions.condition_keys import RequestFacts
from invoke_gateway.policy.permissions.decision import AccessRequest, DecisionCause
from invoke_gateway.policy.permissions.document import PolicyKind
from invoke_gateway.policy.permissions.permissions import Permissions
from tests.policy.permissions.cases import (
    ALICE,
    BOB,
    CHECKOUT,
    DEPLOY,
    INVOKE,
    make_caller,
    parse_statements,
    when,
)

Statements = list[dict[str, Any]]

CONDITIONS = st.sampled_from(
    [
        {},
        {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}},
        {"StringNotEquals": {"aws:username": "alice"}},
        {"Null": {"aws:SourceArn": "false"}},
    ]
)
SHARED = {
    "Effect": st.sampled_from(["Allow", "Deny"]),
    "Action": st.sampled_from(["*", "lambda:Invoke*", "lambda:GetFunction"]),
    "Resource": st.sampled_from(["*", CHECKOUT, CHECKOUT + ":*"]),
    "Condition": CONDITIONS,
}
PRINCIPALS = st.sampled_from(
    ["*", {"AWS": "111122223333"}, {"AWS": ALICE}, {"AWS": BOB}, {"AWS": "arn:aws:iam::111122223333:role/Deploy"}]
)
IDENTITY = st.lists(st.fixed_dictionaries(SHARED), max_size=3)
RESOURCE = st.lists(st.fixed_dictionaries({**SHARED, "Principal": PRINCIPALS}), max_size=3)
CALLERS = st.sampled_from([ALICE, BOB, DEPLOY])


def make_facts(request: AccessRequest) -> RequestFacts:
    return RequestFacts(request.principal, request.resource, request.account, "us-east-1", source_ip="192.0.2.7")


def make_permissions(resource: Statements) -> Permissions:
    functions = {"111122223333": {"checkout": parse_statements(resource, PolicyKind.RESOURCE)}}
    return Permissions(region="us-east-1", callers={}, functions=functions, default_account="default")


def is_allowed(caller: str, identity: Statements, resource: Statements) -> bool:
    asked = RequestedAction(INVOKE, CHECKOUT, "111122223333")
    return make_permissions(resource).decide(make_caller(caller, identity), asked, make_facts)[1].is_allowed


@given(
    CALLERS,
    IDENTITY,
    RESOURCE,
    st.fixed_dictionaries(SHARED),
    st.fixed_dictionaries({**SHARED, "Principal": PRINCIPALS}),
)
def test_a_deny_more_allows_nothing_and_an_allow_more_denies_nothing(
    caller: str, identity: Statements, resource: Statements, one: dict[str, Any], other: dict[str, Any]
) -> None:
    before = is_allowed(caller, identity, resource)
    denied = {**one, "Effect": "Deny"}, {**other, "Effect": "Deny"}
    allowed = {**one, "Effect": "Allow"}, {**other, "Effect": "Allow"}
    assert is_allowed(caller, [*identity, denied[0]], [*resource, denied[1]]) <= before
    assert is_allowed(caller, [*identity, allowed[0]], [*resource, allowed[1]]) >= before


@given(CALLERS, IDENTITY, RESOURCE)
def test_the_order_of_statements_makes_no_difference(caller: str, identity: Statements, resource: Statements) -> None:
    assert is_allowed(caller, identity, resource) == is_allowed(caller, identity[::-1], resource[::-1])


@given(CALLERS, IDENTITY, RESOURCE)
def test_a_decision_that_is_kept_is_the_one_that_is_made(
    caller: str, identity: Statements, resource: Statements
) -> None:
    permissions = make_permissions(resource)
    function = Function("checkout", account="111122223333")
    decisions = [
        permissions.decide_invoke(make_caller(caller, identity), function, make_facts)[1].is_allowed for _ in range(2)
    ]
    assert decisions == [is_allowed(caller, identity, resource)] * 2


@given(CALLERS, IDENTITY, RESOURCE)
def test_what_is_allowed_names_statements_that_allow(caller: str, identity: Statements, resource: Statements) -> None:
    asked = RequestedAction(INVOKE, CHECKOUT, "111122223333")
    decision = make_permissions(resource).decide(make_caller(caller, identity), asked, make_facts)[1]
    if decision.is_allowed:
        kinds = {one.kind for one in decision.statements}
        assert all(one.is_allow for one in decision.statements)
        assert kinds == set(PolicyKind) if caller == BOB else len(kinds) == 1
    elif decision.cause is DecisionCause.DENIED:
        assert [one.is_allow for one in decision.statements] == [False]


def test_a_condition_that_is_not_met_takes_its_statement_away() -> None:
    assert is_allowed(ALICE, when("IpAddress", "aws:SourceIp", "192.0.2.7"), [])
    assert not is_allowed(ALICE, when("IpAddress", "aws:SourceIp", "192.0.2.8"), [])
