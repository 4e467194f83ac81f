"""What the stage keeps of valid requests holds only while keys, limits and policies are the same objects."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, NamedTuple, cast

from invoke_gateway.asgi import DONE, EXCHANGE, MESSAGE, Receive, Scope, Send
from invoke_gateway.buffers import Buffers
from invoke_gateway.exchange import Exchange
from invoke_gateway.invocation import Invocation
from invoke_gateway.middleware.authorize import PermissionCheck
from invoke_gateway.middleware.verify_signature import VerifySignature
from invoke_gateway.policy.identity.access_keys import AccessKeys
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from invoke_gateway.policy.permissions.document import PolicyKind, parse_policy
from invoke_gateway.policy.permissions.permissions import CallerIdentity, Permissions
from invoke_gateway.policy.permissions.principal import parse_principal
from invoke_gateway.policy.requests.request_target import parse_target
from invoke_gateway.refusals import Refusal
from tests.support.signing import ARN, KEY_ID, KEYS, NOW, PATH, REGION, Signing, read_parts, sign


class FakeRing:
    """Holds access keys."""

    def __init__(self) -> None:
        self.keys: AccessKeys = KEYS


class FakeTables(NamedTuple):
    limits: Limits
    permissions: Permissions | None = None


class DrivenStage:
    """Sends requests to a stage, and records what the stage behind it gets.

    tenancies: the tenancy of functions
    """

    def __init__(self, **tenancies: Literal["per_tenant", "none"]) -> None:
        functions = {name: FunctionLimits(tenancy=tenancy) for name, tenancy in tenancies.items()}
        self.ring = FakeRing()
        self.tables = FakeTables(Limits(AccountLimits("000000000000", 10, functions)))
        self.causes: list[str] = []
        self.passed: list[Exchange] = []
        self.stage = VerifySignature(
            self.record,
            ring=self.ring,
            tables=lambda: self.tables,
            region=REGION,
            buffers=Buffers(1_000_000),
            on_refused=self.causes.append,
            authorize=PermissionCheck(lambda: self.tables.permissions, clock=lambda: NOW.timestamp()),
            clock=lambda: NOW.timestamp(),
        )

    def record(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        self.passed.append(scope[EXCHANGE])
        return DONE

    def send(self, signing: Signing) -> Refusal | None:
        """Sends a request whose body came with its head. Returns the refusal."""
        raw = signing.to_bytes()
        parts, body = read_parts(raw)
        exchange = Exchange(0.0)
        exchange.headers = dict(parts.headers)
        exchange.content_length = len(body)
        target = parse_target(parts.path, parts.query, parts.headers, REGION)
        assert isinstance(target, Invocation)
        exchange.invocation = target
        scope = {
            EXCHANGE: exchange,
            MESSAGE: raw,
            "method": parts.method,
            "raw_path": parts.path,
            "query_string": parts.query,
            "headers": parts.lines,
        }
        before = len(self.passed)
        assert self.stage(scope, cast("Receive", None), cast("Send", None)) is DONE
        assert (len(self.passed) == before) == (exchange.refusal is not None)
        if exchange.refusal is None:
            assert exchange.plan is not None
            assert exchange.plan.table is self.tables.limits.default
            assert exchange.caller.arn == ARN
        return cast("Refusal | None", exchange.refusal)


def test_a_known_request_gets_the_same_caller_and_plan_and_a_wrong_one_its_refusal() -> None:
    driven = DrivenStage()
    for _ in range(3):
        assert driven.send(sign(body=b"[1]")) is None
        assert driven.send(sign(body=b"[1]", secret="wrong")) is Refusal.SIGNATURE_MISMATCH
        assert driven.send(sign(body=b"[1]", key_id="AKIAUNKNOWN")) is Refusal.UNKNOWN_ACCESS_KEY
        assert driven.send(sign(body=b"[1]", at=NOW - timedelta(minutes=6))) is Refusal.INVALID_SIGNATURE
    assert driven.causes == ["mismatch", "unknown_key", "expired"] * 3
    assert driven.passed[1].plan is driven.passed[2].plan


def test_a_secret_that_is_replaced_is_no_longer_accepted_at_once() -> None:
    driven = DrivenStage()
    assert driven.send(sign()) is None
    driven.ring.keys = {KEY_ID: replace(KEYS[KEY_ID], secret="new")}
    assert driven.send(sign()) is Refusal.SIGNATURE_MISMATCH
    assert driven.send(sign(secret="new")) is None
    driven.ring.keys = {}
    assert driven.send(sign(secret="new")) is Refusal.UNKNOWN_ACCESS_KEY


def test_limits_and_policies_that_are_replaced_hold_at_once() -> None:
    driven = DrivenStage()
    assert driven.send(sign()) is None
    driven.tables = FakeTables(Limits(AccountLimits("000000000000", 5)))
    assert driven.send(sign()) is None
    driven.tables = driven.tables._replace(permissions=permissions_of("Deny"))
    assert driven.send(sign()) is Refusal.ACCESS_DENIED
    driven.tables = driven.tables._replace(permissions=permissions_of("Allow"))
    assert driven.send(sign()) is None
    assert driven.send(sign()) is None


def test_a_decision_with_conditions_is_made_for_each_request() -> None:
    driven = DrivenStage()
    condition = {"StringEquals": {"lambda:InvocationType": "DryRun"}}
    driven.tables = driven.tables._replace(permissions=permissions_of("Allow", condition))
    for _ in range(2):
        assert driven.send(sign(headers={"X-Amz-Invocation-Type": "DryRun"})) is None
        assert driven.send(sign(headers={"X-Amz-Invocation-Type": "Event"})) is Refusal.ACCESS_DENIED


def test_the_tenant_of_each_request_counts() -> None:
    driven = DrivenStage(checkout="none", other="per_tenant")
    other = PATH.replace("checkout", "other")
    for _ in range(2):
        assert driven.send(sign()) is None
        assert driven.send(sign(headers={"X-Amz-Tenant-Id": "t"})) is Refusal.TENANT_UNEXPECTED
        assert driven.send(sign(path=other, headers={"X-Amz-Tenant-Id": "t"})) is None
        assert driven.send(sign(path=other)) is Refusal.TENANT_MISSING


def permissions_of(effect: str, condition: dict[str, Any] | None = None) -> Permissions:
    statement = {"Effect": effect, "Action": "lambda:InvokeFunction", "Resource": "*"}
    if condition is not None:
        statement["Condition"] = condition
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    principal = parse_principal(ARN)
    assert principal is not None
    statements = parse_policy(document, "alice.json", PolicyKind.IDENTITY)
    callers = {ARN: CallerIdentity(principal, statements)}
    return Permissions(region=REGION, callers=callers, functions={}, default_account="000000000000")
