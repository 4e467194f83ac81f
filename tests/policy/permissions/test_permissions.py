"""Assert what the table of permissions keeps, and what callers without policies may do."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.invocation import Function
from invoke_gateway.policy.permissions import permissions as module
from invoke_gateway.policy.permissions.actions import UNKNOWN_OPERATION, RequestedAction
from invoke_gateway.policy.permissions.condition_keys import RequestFacts
from invoke_gateway.policy.permissions.decision import AccessDecision, AccessRequest, DecisionCause
from invoke_gateway.policy.permissions.document import PolicyKind
from invoke_gateway.policy.permissions.permissions import CallerIdentity, Permissions
from tests.policy.permissions.cases import (
    ALICE,
    BOB,
    CHECKOUT,
    DEPLOY,
    allow,
    deny,
    grant,
    make_caller,
    parse_statements,
)


def make_permissions(*resource: dict[str, Any], default: list[dict[str, Any]] | None = None) -> Permissions:
    functions = {
        "111122223333": {"checkout": parse_statements(list(resource), PolicyKind.RESOURCE)},
        "default": {"checkout": parse_statements(default or [], PolicyKind.RESOURCE)},
    }
    return Permissions(region="us-east-1", callers={}, functions=functions, default_account="default")


class Facts:
    """Makes facts with one address, and counts how often."""

    def __init__(self, source_ip: str = "192.0.2.1") -> None:
        self.source_ip = source_ip
        self.made = 0

    def __call__(self, request: AccessRequest) -> RequestFacts:
        self.made += 1
        return RequestFacts(request.principal, request.resource, request.account, "us-east-1", source_ip=self.source_ip)


def invoke(permissions: Permissions, caller: CallerIdentity, function: Function, facts: Facts) -> AccessDecision:
    return permissions.decide_invoke(caller, function, facts)[1]


def test_a_caller_without_policies_may_do_everything_in_its_own_account() -> None:
    permissions, caller, facts = make_permissions(), make_caller(ALICE), Facts()
    decision = invoke(permissions, caller, Function("checkout"), facts)
    assert decision == AccessDecision(True, DecisionCause.NO_POLICIES)
    assert permissions.decide(caller, UNKNOWN_OPERATION, facts)[1].is_allowed


def test_a_caller_without_policies_may_do_elsewhere_what_a_function_allows() -> None:
    caller, facts = make_caller(BOB), Facts()
    function = Function("checkout", account="111122223333")
    decision = invoke(make_permissions(), caller, function, facts)
    assert decision == AccessDecision(False, DecisionCause.NO_RESOURCE_POLICY)
    granted = invoke(make_permissions(grant({"AWS": "444455556666"})), caller, function, facts)
    assert granted.is_allowed
    assert [one.name for one in granted.statements] == ["resource-based.json, statement 1"]


def test_a_function_may_deny_a_caller_without_policies() -> None:
    permissions = make_permissions(deny(Principal={"AWS": ALICE}))
    assert invoke(permissions, make_caller(ALICE), Function("checkout"), Facts()).cause is DecisionCause.DENIED


def test_the_decision_of_a_statement_without_conditions_is_kept() -> None:
    permissions, caller, facts = make_permissions(), make_caller(ALICE, [allow()]), Facts()
    first, second = (permissions.decide_invoke(caller, Function("checkout"), facts) for _ in range(2))
    assert first[1] is second[1]
    assert facts.made == 0


@pytest.mark.parametrize(
    ("statement", "is_expected"),
    [
        (grant({"AWS": ALICE}), True),
        (deny(Principal={"AWS": ALICE}), False),
        (deny(Principal={"AWS": ALICE}, Condition={"IpAddress": {"aws:SourceIp": "192.0.2.7/32"}}), False),
        (grant({"AWS": ALICE}, Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}), False),
    ],
)
def test_only_what_no_condition_can_deny_is_always_allowed(statement: dict[str, Any], *, is_expected: bool) -> None:
    permissions, caller = make_permissions(statement), make_caller(ALICE)
    for _ in range(2):
        invoke(permissions, caller, Function("checkout"), Facts())
        assert permissions.always_allowed == ({(ALICE, Function("checkout"))} if is_expected else set())


def test_a_call_across_accounts_is_never_always_allowed() -> None:
    permissions = make_permissions(grant({"AWS": "444455556666"}))
    assert invoke(permissions, make_caller(BOB), Function("checkout", account="111122223333"), Facts()).is_allowed
    assert not permissions.always_allowed, "its logs are refused, whatever else it may do"


def test_conditions_are_read_for_each_call() -> None:
    caller = make_caller(ALICE, [allow(Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})])
    permissions, inside, outside = make_permissions(), Facts(), Facts("198.51.100.1")
    assert invoke(permissions, caller, Function("checkout"), inside).is_allowed
    assert not invoke(permissions, caller, Function("checkout"), outside).is_allowed
    assert invoke(permissions, caller, Function("checkout"), inside).is_allowed
    assert (inside.made, outside.made) == (2, 1)


def test_qualifiers_and_callers_are_kept_apart() -> None:
    permissions, facts = make_permissions(), Facts()
    alice, other = make_caller(ALICE, [allow()]), make_caller(ALICE + "2", [allow("*")])
    assert invoke(permissions, alice, Function("checkout"), facts).is_allowed
    assert not invoke(permissions, alice, Function("checkout", "prod"), facts).is_allowed
    assert invoke(permissions, other, Function("checkout", "prod"), facts).is_allowed


def test_invented_names_of_functions_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_KEPT", 10)
    permissions, caller = make_permissions(), make_caller(ALICE, [allow("*")])
    for number in range(100):
        invoke(permissions, caller, Function(f"f{number}"), Facts())
    assert 0 < len(permissions.always_allowed) <= len(permissions._known) <= 10


def test_a_policy_of_the_default_account_holds_for_accounts_that_are_not_named() -> None:
    permissions = make_permissions(default=[grant("*", resource="*")])
    bob = make_caller(BOB, [allow("arn:aws:lambda:us-east-1:444455556666:*", "s3:*")])
    assert invoke(permissions, bob, Function("checkout"), Facts()).is_allowed
    assert not invoke(permissions, bob, Function("checkout", account="111122223333"), Facts()).is_allowed


@pytest.mark.parametrize(
    ("statements", "is_allowed"),
    [
        ([allow("*", "lambda:*")], True),
        ([allow("*", "*")], True),
        ([allow("*", "lambda:Get*")], False),
        ([allow("*", "lambda:InvokeFunction")], False),
        ([allow(CHECKOUT, "lambda:*")], False),
        ([allow("*", "lambda:*"), deny(CHECKOUT, "lambda:DeleteFunction")], False),
        ([allow("*", "lambda:*"), deny("*", ["lambda:Delete*", "s3:*"])], False),
        ([allow("*", "lambda:*"), deny("*", "s3:*")], True),
    ],
)
def test_an_operation_that_is_not_known_needs_all_operations(
    statements: list[dict[str, Any]], is_allowed: bool
) -> None:
    """A deny of any operation holds, because a backend may read the request as that one."""
    decision = make_permissions().decide(make_caller(ALICE, statements), UNKNOWN_OPERATION, Facts())[1]
    assert decision.is_allowed is is_allowed


def test_a_deny_for_one_function_holds_for_a_request_that_names_it_in_its_body() -> None:
    arn = CHECKOUT.replace("checkout", "*")
    asked = RequestedAction("lambda:CreateFunction", arn, is_resource_known=False)
    caller = make_caller(ALICE, [allow("*", "lambda:*"), deny(CHECKOUT, "lambda:CreateFunction")])
    assert not make_permissions().decide(caller, asked, Facts())[1].is_allowed
    assert (
        not make_permissions().decide(make_caller(ALICE, [allow(CHECKOUT, "lambda:*")]), asked, Facts())[1].is_allowed
    )
    assert make_permissions().decide(make_caller(ALICE, [allow(arn, "lambda:*")]), asked, Facts())[1].is_allowed


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_all_resources_but_one_that_has_no_name_are_never_allowed(effect: str) -> None:
    """A session has no user name, so the resource that is left out is not known."""
    statement = {"Effect": effect, "Action": "*", "NotResource": CHECKOUT.replace("checkout", "${aws:username}*")}
    session = make_caller(DEPLOY, [statement, *([] if effect == "Allow" else [allow()])])
    assert not invoke(make_permissions(), session, Function("checkout"), Facts()).is_allowed


def test_a_caller_that_no_settings_name_has_no_policies() -> None:
    named = make_caller(ALICE, [allow()])
    permissions = Permissions(region="us-east-1", callers={ALICE: named}, functions={}, default_account="default")
    assert permissions.find_caller(ALICE) is named
    found = permissions.find_caller(BOB)
    assert found is not None
    assert found.statements is None
    assert permissions.find_caller(BOB) is found
    assert permissions.find_caller("arn:aws:s3:::bucket") is None
