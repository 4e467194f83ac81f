"""Lists cases of AWS's rules for permissions: what AWS decides, and the page or report that says so.

Alice is a user of account 111122223333, Bob one of 444455556666; Deploy is a role of Alice's account. The function is
`checkout` of Alice's account, in us-east-1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from invoke_gateway.policy.permissions.actions import RequestedAction
from invoke_gateway.policy.permissions.condition_keys import RequestFacts
from invoke_gateway.policy.permissions.decision import AccessDecision, AccessRequest, DecisionCause
from invoke_gateway.policy.permissions.document import PolicyKind, Statement, parse_policy
from invoke_gateway.policy.permissions.permissions import CallerIdentity, Permissions
from invoke_gateway.policy.permissions.principal import parse_principal

ALICE = "arn:aws:iam::111122223333:user/alice"
BOB = "arn:aws:iam::444455556666:user/bob"
DEPLOY = "arn:aws:sts::111122223333:assumed-role/Deploy/run-7"
CHECKOUT = "arn:aws:lambda:us-east-1:111122223333:function:checkout"
INVOKE = "lambda:InvokeFunction"

LOGIC = "IAM User Guide, Policy evaluation logic"
CROSS = "IAM User Guide, Cross-account policy evaluation logic"
OPERATORS = "IAM User Guide, Condition operators"
MISSING = "IAM User Guide, Condition with multiple keys or values; IfExists"
ELEMENTS = "IAM User Guide, Policy elements reference"
PRINCIPALS = "IAM User Guide, AWS JSON policy elements: Principal"
VARIABLES = "IAM User Guide, Variables and tags"
RESOURCES = "IAM User Guide, Resource; streamalert 289, construct-hub 882"
MODEL = "Lambda's service model: AddPermission, Invoke"
ACTIONS = "Service Authorization Reference, Lambda; aws-sdk-ruby 706"
TEXTS = "IAM User Guide, Troubleshoot access denied errors"

NO_IDENTITY, NO_RESOURCE = "no identity-based policy", "no resource-based policy"
DENIED_BY_IDENTITY, DENIED_BY_RESOURCE = "explicit deny (identity)", "explicit deny (resource)"
ALLOWED = "allowed"


@dataclass(frozen=True)
class Case:
    """Holds one access, the policies, and AWS's decision.

    identity: statements of the caller's policy; None: the caller has no policy
    resource: statements of the function's policy
    """

    what: str
    aws: str
    source: str
    identity: list[dict[str, Any]] | None = None
    resource: list[dict[str, Any]] | None = None
    caller: str = ALICE
    action: str = INVOKE
    resource_arn: str = CHECKOUT
    facts: dict[str, Any] | None = None


def allow(resource: str = CHECKOUT, action: str | list[str] = INVOKE, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(resource: str = CHECKOUT, action: str | list[str] = INVOKE, **more: Any) -> dict[str, Any]:
    return {**allow(resource, action, **more), "Effect": "Deny"}


def when(operator: str, key: str, value: Any) -> list[dict[str, Any]]:
    """Returns one statement with one condition."""
    return [allow(Condition={operator: {key: value}})]


def grant(principal: object, **more: Any) -> dict[str, Any]:
    return allow(Principal=principal, **more)


_ACCOUNT_A, _ACCOUNT_B = {"AWS": "111122223333"}, {"AWS": "arn:aws:iam::444455556666:root"}
_NOON = {"now": 1_790_000_000.0}  # 2026-09-21T14:13:20Z

CASES = [
    # The caller's own account: an identity-based or a resource-based policy.
    Case("The caller's policy allows the function.", ALLOWED, LOGIC, [allow()]),
    Case("The caller's policy allows another function only.", NO_IDENTITY, LOGIC, [allow(CHECKOUT + "-2")]),
    Case("The caller's policy is empty of statements for Lambda.", NO_IDENTITY, LOGIC, [allow("*", "s3:*")]),
    Case("Allow and deny name the same function.", DENIED_BY_IDENTITY, LOGIC, [allow("*", "*"), deny()]),
    Case("A deny names another function.", ALLOWED, LOGIC, [allow("*", "*"), deny(CHECKOUT + "-2")]),
    Case("Only the function's policy names the caller.", ALLOWED, LOGIC, [allow("*", "s3:*")], [grant({"AWS": ALICE})]),
    Case("Only the function's policy names everyone.", ALLOWED, PRINCIPALS, [allow("*", "s3:*")], [grant("*")]),
    Case(
        "Only the function's policy names the caller's own account.", NO_IDENTITY, PRINCIPALS,
        [allow("*", "s3:*")], [grant(_ACCOUNT_A)],
    ),
    Case(
        "The function's policy denies, the caller's allows.", DENIED_BY_RESOURCE, LOGIC,
        [allow("*", "*")], [deny(Principal=_ACCOUNT_A)],
    ),
    Case("The function's policy denies another caller.", ALLOWED, LOGIC, [allow()], [deny(Principal={"AWS": BOB})]),
    Case(
        "The function's policy names the role of the session.", ALLOWED, PRINCIPALS, [allow("*", "s3:*")],
        [grant({"AWS": "arn:aws:iam::111122223333:role/ci/Deploy"})], caller=DEPLOY,
    ),
    Case(
        "The function's policy names another session of the role.", NO_IDENTITY, PRINCIPALS, [allow("*", "s3:*")],
        [grant({"AWS": DEPLOY + "1"})], caller=DEPLOY,
    ),
    Case(
        "The function's policy names a service.", NO_IDENTITY, PRINCIPALS, [allow("*", "s3:*")],
        [grant({"Service": "s3.amazonaws.com"})],
    ),
    # Two accounts: both must allow.
    Case("Both accounts allow; the function's policy names the caller.", ALLOWED, CROSS, [allow()],
         [grant({"AWS": BOB})], caller=BOB),
    Case("Both accounts allow; the function's policy names the account.", ALLOWED, CROSS, [allow()],
         [grant(_ACCOUNT_B)], caller=BOB),
    Case("Only the caller's policy allows.", NO_RESOURCE, CROSS, [allow("*", "*")], [], caller=BOB),
    Case("Only the function's policy allows.", NO_IDENTITY, CROSS, [allow("*", "s3:*")], [grant({"AWS": BOB})],
         caller=BOB),
    Case("Both allow, and the caller's policy denies.", DENIED_BY_IDENTITY, CROSS, [allow(), deny()],
         [grant(_ACCOUNT_B)], caller=BOB),
    Case("Both allow, and the function's policy denies.", DENIED_BY_RESOURCE, CROSS, [allow()],
         [grant(_ACCOUNT_B), deny(Principal={"AWS": BOB})], caller=BOB),
    Case("The function's policy names another user of the account.", NO_RESOURCE, CROSS, [allow()],
         [grant({"AWS": BOB + "by"})], caller=BOB),
    # Resources: matched as invoked.
    Case("The policy names `checkout`, the call is for `checkout:prod`.", NO_IDENTITY, RESOURCES, [allow()],
         resource_arn=CHECKOUT + ":prod"),
    Case("The policy names `checkout:prod`, the call is for `checkout`.", NO_IDENTITY, RESOURCES,
         [allow(CHECKOUT + ":prod")]),
    Case("The policy names `checkout:*`, the call is for `checkout:prod`.", ALLOWED, RESOURCES,
         [allow(CHECKOUT + ":*")], resource_arn=CHECKOUT + ":prod"),
    Case("The policy names `checkout*`, the call is for `checkout:prod`.", ALLOWED, RESOURCES,
         [allow(CHECKOUT + "*")], resource_arn=CHECKOUT + ":prod"),
    Case("The policy names `Checkout`: names of functions have letter case.", NO_IDENTITY, ELEMENTS,
         [allow(CHECKOUT.replace("checkout", "Checkout"))]),
    Case("The function's policy has the qualifier `prod`, the call has none.", NO_RESOURCE, MODEL, [allow("*")],
         [grant(_ACCOUNT_B, resource=CHECKOUT + ":prod")], caller=BOB),
    Case("NotResource names another function.", ALLOWED, ELEMENTS,
         [{"Effect": "Allow", "Action": INVOKE, "NotResource": CHECKOUT + "-2"}]),
    # Actions.
    Case("The action is written `LAMBDA:invokefunction`.", ALLOWED, ELEMENTS, [allow(action="LAMBDA:invokefunction")]),
    Case("The action is `lambda:Invoke*`.", ALLOWED, ELEMENTS, [allow(action="lambda:Invoke*")]),
    Case("The policy allows `lambda:InvokeAsync` alone: that is no action of a call.", NO_IDENTITY, ACTIONS,
         [allow(action="lambda:InvokeAsync")]),
    Case("NotAction leaves out the call.", NO_IDENTITY, ELEMENTS,
         [{"Effect": "Allow", "NotAction": "lambda:Invoke*", "Resource": "*"}]),
    Case("PutFunctionConcurrency with a policy for calls.", NO_IDENTITY, ACTIONS, [allow()],
         action="lambda:PutFunctionConcurrency"),
    # Conditions.
    Case("aws:SourceIp is in the block.", ALLOWED, OPERATORS, when("IpAddress", "aws:SourceIp", "192.0.2.0/24"),
         facts={"source_ip": "192.0.2.7"}),
    Case("aws:SourceIp is outside of both blocks.", NO_IDENTITY, OPERATORS,
         when("IpAddress", "aws:SourceIp", ["192.0.2.0/24", "2001:db8::/32"]), facts={"source_ip": "198.51.100.1"}),
    Case("A deny for all but one block; the caller is in it.", ALLOWED, OPERATORS,
         [allow(), deny(Condition={"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}})],
         facts={"source_ip": "192.0.2.7"}),
    Case("StringEquals with a key that the request lacks.", NO_IDENTITY, MISSING,
         when("StringEquals", "aws:SourceAccount", "111122223333")),
    Case("StringNotEquals with a key that the request lacks.", ALLOWED, MISSING,
         when("StringNotEquals", "aws:SourceAccount", "111122223333")),
    Case("StringEqualsIfExists with a key that the request lacks.", ALLOWED, MISSING,
         when("StringEqualsIfExists", "aws:SourceAccount", "111122223333")),
    Case("Null: true with a key that the request lacks.", ALLOWED, OPERATORS, when("Null", "aws:SourceArn", "true")),
    Case("ArnLike: a wildcard does not cross a colon in front of the last part.", NO_IDENTITY, OPERATORS,
         when("ArnLike", "lambda:FunctionArn", "arn:aws:lambda:*:function:checkout")),
    Case("ArnLike with the role of a session.", ALLOWED, OPERATORS,
         when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/Dep*"), caller=DEPLOY),
    Case("DateLessThan after that time.", NO_IDENTITY, OPERATORS,
         when("DateLessThan", "aws:CurrentTime", "2026-09-21T14:00:00Z"), facts=_NOON),
    Case("DateGreaterThan after that time.", ALLOWED, OPERATORS,
         when("DateGreaterThan", "AWS:currenttime", "2026-09-21T14:00:00Z"), facts=_NOON),
    Case("Bool: aws:SecureTransport is required, and the call has no TLS.", NO_IDENTITY, OPERATORS,
         when("Bool", "aws:SecureTransport", "true")),
    Case("Two keys of one operator: both must be met.", NO_IDENTITY, MISSING,
         [allow(Condition={"StringEquals": {"aws:username": "alice", "aws:PrincipalAccount": "444455556666"}})]),
    Case("Two values of one key: one is enough.", ALLOWED, MISSING,
         when("StringEquals", "aws:username", ["bob", "alice"])),
    Case("A policy variable in the resource.", ALLOWED, VARIABLES,
         [allow(CHECKOUT.replace("checkout", "${aws:username}-*"))],
         resource_arn=CHECKOUT.replace("checkout", "alice-1")),
    Case("A policy variable that the caller has not: a session has no user name.", NO_IDENTITY, VARIABLES,
         [allow(CHECKOUT.replace("checkout", "${aws:username}*"))], caller=DEPLOY),
    # Texts.
    Case("A caller of another account, and no policy allows anything.", NO_RESOURCE, TEXTS, [allow("*", "s3:*")], [],
         caller=BOB),
]  # fmt: skip


def parse_statements(statements: list[dict[str, Any]], kind: PolicyKind) -> tuple[Statement, ...]:
    return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": statements}), f"{kind}.json", kind)


def make_caller(arn: str, statements: list[dict[str, Any]] | None = None) -> CallerIdentity:
    principal = parse_principal(arn)
    assert principal is not None
    parsed = None if statements is None else parse_statements(statements, PolicyKind.IDENTITY)
    return CallerIdentity(principal, parsed)


def decide(case: Case) -> tuple[AccessRequest, AccessDecision]:
    """Decides a case by the gateway's rules."""
    resource = parse_statements(case.resource or [], PolicyKind.RESOURCE)
    permissions = Permissions(
        region="us-east-1",
        callers={},
        functions={"111122223333": {"checkout": resource}},
        default_account="default",
    )
    asked = RequestedAction(case.action, case.resource_arn, "111122223333")
    return permissions.decide(
        make_caller(case.caller, case.identity),
        asked,
        lambda request: RequestFacts(
            request.principal, request.resource, request.account, "us-east-1", **(case.facts or {})
        ),
    )


def describe(decision: AccessDecision) -> str:
    """Returns a decision in the words of the table."""
    if decision.is_allowed:
        return ALLOWED
    if decision.cause is DecisionCause.DENIED:
        is_identity = decision.statements[0].kind is PolicyKind.IDENTITY
        return DENIED_BY_IDENTITY if is_identity else DENIED_BY_RESOURCE
    return NO_IDENTITY if decision.cause is DecisionCause.NO_IDENTITY_POLICY else NO_RESOURCE
