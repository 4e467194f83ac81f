"""Operators at their bounds: absent keys, several values, addresses of both families, times."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.policy.permissions.condition_keys import RequestFacts
from invoke_gateway.policy.permissions.conditions import ConditionRules, read_conditions
from invoke_gateway.policy.permissions.mistakes import PolicyMistakes
from invoke_gateway.policy.permissions.principal import parse_principal
from tests.policy.permissions.cases import ALICE, CHECKOUT

PRINCIPAL = parse_principal(ALICE)
NOON = 1_790_000_000.0  # 2026-09-21T14:13:20Z


def is_met(condition: dict[str, Any], **facts: Any) -> bool:
    assert PRINCIPAL is not None
    mistakes = PolicyMistakes()
    conditions = read_conditions(condition, "here", mistakes, ConditionRules("2012-10-17"))
    assert mistakes == []
    request = RequestFacts(PRINCIPAL, CHECKOUT, "111122223333", "us-east-1", **facts)
    return all(one(request) for one in conditions)


@pytest.mark.parametrize(
    ("operator", "when_absent"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringEqualsIfExists", True),
        ("StringNotEqualsIfExists", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAllValues:StringEquals", True),
        ("ForAllValues:StringNotEquals", True),
        ("ForAnyValue:StringEqualsIfExists", True),
    ],
)
def test_a_key_that_the_request_lacks(operator: str, when_absent: bool) -> None:
    assert is_met({operator: {"aws:SourceAccount": "111122223333"}}) is when_absent


@pytest.mark.parametrize(
    ("address", "networks", "is_in"),
    [
        ("192.0.2.255", "192.0.2.0/24", True),
        ("192.0.3.0", "192.0.2.0/24", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.9/24", True),
        ("::ffff:192.0.2.7", "192.0.2.0/24", True),
        ("2001:db8::1", ["192.0.2.0/24", "2001:db8::/32"], True),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("fe80::1%eth0", "fe80::/10", True),
        ("no address", "0.0.0.0/0", False),
    ],
)
def test_addresses(address: str, networks: Any, is_in: bool) -> None:
    assert is_met({"IpAddress": {"aws:SourceIp": networks}}, source_ip=address) is is_in
    assert is_met({"NotIpAddress": {"aws:SourceIp": networks}}, source_ip=address) is not is_in


@pytest.mark.parametrize(
    ("operator", "met"),
    [
        ("DateEquals", (False, True, False)),
        ("DateNotEquals", (True, False, True)),
        ("DateLessThan", (True, False, False)),
        ("DateLessThanEquals", (True, True, False)),
        ("DateGreaterThan", (False, False, True)),
        ("DateGreaterThanEquals", (False, True, True)),
        ("NumericLessThan", (True, False, False)),
    ],
)
@pytest.mark.parametrize("time", ["2026-09-21T14:13:20Z", "2026-09-21T16:13:20+02:00", "1790000000", 1790000000])
@pytest.mark.parametrize("key", ["aws:CurrentTime", "aws:EpochTime"])
def test_times(operator: str, met: tuple[bool, ...], time: str | int, key: str) -> None:
    assert tuple(is_met({operator: {key: time}}, now=NOON + later) for later in (-1, 0, 1)) == met


def test_texts_have_letter_case_unless_the_operator_ignores_it() -> None:
    assert not is_met({"StringEquals": {"aws:username": "Alice"}})
    assert is_met({"StringEqualsIgnoreCase": {"aws:username": "ALICE"}})
    assert not is_met({"StringNotEqualsIgnoreCase": {"aws:username": "ALICE"}})
    assert not is_met({"StringEquals": {"aws:username": "al*"}})
    assert is_met({"StringLike": {"aws:username": "al*"}})
    assert is_met({"StringEquals": {"aws:username": "${aws:username}"}})


def test_negated_operators_need_every_value_to_differ() -> None:
    assert not is_met({"StringNotEquals": {"aws:username": ["bob", "alice"]}})
    assert is_met({"StringNotEquals": {"aws:username": ["bob", "carol"]}})


def test_booleans_and_absence() -> None:
    assert is_met({"Bool": {"aws:SecureTransport": True}}, is_secure=True)
    assert is_met({"Bool": {"aws:SecureTransport": "False"}})
    assert is_met({"Bool": {"aws:ViaAWSService": "false"}})
    assert is_met({"Null": {"aws:SourceArn": True, "aws:username": "false"}})
    assert not is_met({"Null": {"aws:username": "true"}})


def test_keys_of_the_request() -> None:
    keys = {
        "LAMBDA:functionarn": CHECKOUT,
        "lambda:InvocationType": "Event",
        "aws:ResourceAccount": "111122223333",
        "aws:RequestedRegion": "us-east-1",
        "aws:PrincipalType": "User",
        "aws:UserAgent": "Boto3/1",
    }
    assert is_met({"StringEquals": keys}, invocation_type="Event", user_agent="Boto3/1")
    assert not is_met({"StringEquals": keys}, user_agent="Boto3/1")
