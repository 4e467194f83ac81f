"""Assert that a policy with anything unknown in it is refused, with the place and the cure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from invoke_gateway.policy.permissions.document import PolicyKind, Statement, parse_policy
from invoke_gateway.policy.permissions.mistakes import BadPolicy

STATEMENT = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}


def parse(document: Any, kind: PolicyKind = PolicyKind.IDENTITY) -> tuple[Statement, ...]:
    text = document if isinstance(document, str) else json.dumps(document)
    return parse_policy(text, "policies/alice.json", kind)


def find_mistakes(document: Any, kind: PolicyKind = PolicyKind.IDENTITY) -> list[str]:
    with pytest.raises(BadPolicy) as caught:
        parse(document, kind)
    assert str(caught.value).startswith("policies/alice.json: ")
    return [str(mistake) for mistake in caught.value.mistakes]


def policy(*statements: dict[str, Any], version: str = "2012-10-17") -> dict[str, Any]:
    return {"Version": version, "Statement": list(statements)}


def on_condition(condition: Any) -> dict[str, Any]:
    return policy({**STATEMENT, "Sid": "Batch", "Condition": condition})


@pytest.mark.parametrize(
    ("condition", "mistake"),
    [
        ({"StringEqual": {"aws:username": "a"}}, "StringEqual: is an unknown operator. Write StringEquals."),
        ({"stringequals": {"aws:username": "a"}}, "stringequals: is an unknown operator. Write StringEquals."),
        ({"BinaryEquals": {"aws:username": "a"}}, "BinaryEquals: is an unknown operator. Known are"),
        ({"NullIfExists": {"aws:username": "true"}}, "NullIfExists is an unknown operator. Write Null."),
        ({"ForAnyvalue:StringLike": {"aws:username": "a"}}, "no prefix of an operator. Write ForAnyValue."),
        ({"StringEquals": {"aws:SourceIP2": "a"}}, "that the gateway cannot read. Write aws:SourceIp."),
        ({"Bool": {"aws:MultiFactorAuthPresent": "true"}}, "does not know how a session began"),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-a"}}, "knows no organizations. Compare aws:PrincipalAccount."),
        ({"StringEquals": {"aws:PrincipalTag/team": "a"}}, "is a key that the gateway cannot read"),
        ({"IpAddress": {"aws:username": "10.0.0.0/8"}}, "is of type text, to which IpAddress does not apply."),
        ({"StringLike": {"aws:CurrentTime": "2026*"}}, "is of type date, to which StringLike does not apply."),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.300"}}, "'10.0.0.300' is no network."),
        ({"DateLessThan": {"aws:CurrentTime": "tomorrow"}}, "'tomorrow' is no time."),
        ({"Bool": {"aws:SecureTransport": "yes"}}, "'yes' is no boolean."),
        ({"Null": {"aws:SourceArn": "maybe"}}, "'maybe' is no boolean."),
        ({"ArnLike": {"aws:PrincipalArn": "alice"}}, "'alice' is no ARN."),
        ({"StringEquals": {"aws:username": []}}, "is no value and no list of values."),
        ({"StringEquals": {"aws:username": {"a": 1}}}, "is no value and no list of values."),
        ({"StringEquals": "alice"}, "is no mapping of keys."),
        ({"StringEquals": {}}, "is no mapping of keys."),
        (["StringEquals"], "is no mapping. Write {operator: {key: value}}."),
        ({"StringEquals": {"aws:username": "${aws:usernam}"}}, "can fill. Write aws:username."),
        ({"StringEquals": {"aws:username": "${aws:SourceIp}"}}, "can fill. Supported are"),
        ({"StringEquals": {"aws:username": "${aws:username"}}, "has a variable that does not end."),
    ],
)  # fmt: skip
def test_a_condition_that_cannot_be_read_is_a_mistake(condition: Any, mistake: str) -> None:
    found = find_mistakes(on_condition(condition))
    assert len(found) == 1
    assert found[0].startswith("statement 1 (Batch), Condition")
    assert mistake in found[0]


@pytest.mark.parametrize(
    ("document", "mistake"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ([STATEMENT], "is no object. Write {Version, Statement}."),
        ({"Version": "2012-10-17"}, "has no Statement."),
        ({"Version": "2012-10-18", "Statement": []}, "Version: '2012-10-18' is unknown. Write \"2012-10-17\"."),
        ({"version": "2012-10-17", "Statement": []}, "version is an unknown element. Write Version."),
        ({"Statement": ["x"]}, "statement 1: is no object."),
        (policy({**STATEMENT, "Effect": "allow"}), "statement 1: 'allow' is no effect. Write"),
        (policy({"Action": "*", "Resource": "*"}), "statement 1: has no Effect."),
        (policy({**STATEMENT, "effect": "Deny"}), "statement 1: effect is an unknown element. Write Effect."),
        (policy({**STATEMENT, "Conditions": {}}), "statement 1: Conditions is an unknown element. Write Condition."),
        (policy({"Effect": "Allow", "Resource": "*"}), "statement 1: has no Action."),
        (policy({**STATEMENT, "NotAction": "*"}), "statement 1: has both Action and NotAction."),
        (policy({"Effect": "Allow", "Action": "*"}), "statement 1: has no Resource."),
        (policy({**STATEMENT, "Action": "InvokeFunction"}), "'InvokeFunction' is no action. Write it as lambda:"),
        (policy({**STATEMENT, "Action": []}), "statement 1, Action: is no text and no list of texts."),
        (policy({**STATEMENT, "Resource": "checkout"}), "'checkout' is no resource. Write the ARN"),
        (policy({**STATEMENT, "Resource": [1]}), "statement 1, Resource: is no text and no list of texts."),
        (policy({**STATEMENT, "Principal": "*"}), "has a Principal, but the policy of a caller has none. Remove it."),
        (policy({**STATEMENT, "Sid": "A"}, {**STATEMENT, "Sid": "A"}), "statement 2 (A): has the Sid of an earlier"),
        (policy({**STATEMENT, "Sid": 7}), "statement 1: has a Sid that is no text."),
        (
            policy({**STATEMENT, "Resource": "arn:aws:lambda:*:*:function:${aws:username}"}, version="2008-10-17"),
            'is no variable in a policy of version 2008-10-17. Set Version to "2012-10-17".',
        ),
        ('{"Statement": [], "Statement": []}', "has Statement twice in one object."),
        ('{"Statement": {"Effect": "Allow", "Effect": "Deny", "Action": "*", "Resource": "*"}}', "has Effect twice"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_read_is_a_mistake(document: Any, mistake: str) -> None:
    assert mistake in "\n".join(find_mistakes(document))


@pytest.mark.parametrize(
    ("principal", "mistake"),
    [
        ({"AWS": "arn:aws:iam::111122223333:user/*"}, "has a wildcard. Write \"*\", and a Condition of ArnLike"),
        ({"AWS": "alice"}, "'alice' is no account id and no ARN of IAM or STS."),
        ({"AWS": []}, "Principal.AWS: is no text"),
        ({"aws": "*"}, "Principal.aws: is no kind of principal. Write AWS."),
        ({"Federated": "accounts.google.com"}, "Principal.Federated: is not supported"),
        ({}, "is no principal."),
        ("111122223333", "is no principal."),
    ],
)  # fmt: skip
def test_a_principal_that_cannot_be_read_is_a_mistake(principal: Any, mistake: str) -> None:
    assert mistake in find_mistakes(policy({**STATEMENT, "Principal": principal}), PolicyKind.RESOURCE)[0]


def test_a_resource_policy_needs_a_principal_and_has_no_negated_one() -> None:
    assert find_mistakes(policy(STATEMENT), PolicyKind.RESOURCE) == [
        'statement 1: has no Principal. Add "Principal": {"AWS": "<account id or ARN>"}.'
    ]
    negated = policy({**STATEMENT, "NotPrincipal": {"AWS": "111122223333"}})
    assert "NotPrincipal is not supported." in find_mistakes(negated, PolicyKind.RESOURCE)[0]


def test_all_mistakes_of_a_document_are_found_at_once() -> None:
    document = policy({**STATEMENT, "Effect": "x"}, {**STATEMENT, "Condition": {"A": {"b": "c"}}})
    assert len(find_mistakes(document)) == 3


def test_one_statement_needs_no_list() -> None:
    [only] = parse({"Id": "mine", "Statement": {**STATEMENT, "Sid": "One"}})
    assert (only.number, only.sid, only.name) == (1, "One", "policies/alice.json, statement 1 (One)")
