"""A statement of AddPermission is made, and the grant is found in it again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.permissions.grants import (
    AddedGrant,
    compile_grants,
    encode_policy,
    encode_statement,
    find_grant,
    make_statement,
)
from invoke_gateway.policy.permissions.mistakes import PolicyMistakes
from tests.policy.permissions.cases import ALICE, CHECKOUT, DEPLOY, INVOKE

ORGANIZATION = "o-a1b2c3d4e5"
GRANTS = st.builds(
    AddedGrant,
    st.text("abc-_9", min_size=1, max_size=8),
    st.sampled_from([INVOKE, "lambda:*", "*"]),
    st.sampled_from(["*", "s3.amazonaws.com", "logs.cn-north-1.amazonaws.com.cn", ALICE, DEPLOY]),
    st.none() | st.just("arn:aws:s3:::bucket"),
    st.none() | st.just("111122223333"),
    st.none() | st.just("token"),
    st.none() | st.sampled_from(["NONE", "AWS_IAM"]),
    st.none() | st.booleans(),
    st.none() | st.just(ORGANIZATION),
)


@given(GRANTS)
def test_the_grant_of_a_statement_is_found_again(grant: AddedGrant) -> None:
    statement = make_statement(grant, CHECKOUT, "us-east-1")
    assert statement is not None
    assert find_grant(json.loads(encode_statement(statement))) == grant


@given(st.lists(GRANTS, max_size=3, unique_by=lambda grant: grant.statement_id))
def test_every_statement_that_is_made_can_be_compiled(grants: list[AddedGrant]) -> None:
    mistakes = PolicyMistakes()
    made = [make_statement(grant, CHECKOUT, "us-east-1") for grant in grants]
    compiled = compile_grants([encode_statement(one) for one in made if one is not None], "x", mistakes)
    assert mistakes == []
    assert [one.sid for one in compiled] == [grant.statement_id for grant in grants]


def test_an_account_becomes_its_root_in_the_partition_of_the_region() -> None:
    for region, partition in (("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")):
        arn = f"arn:{partition}:lambda:{region}:111122223333:function:checkout"
        statement = make_statement(AddedGrant("a", INVOKE, "444455556666"), arn, region)
        assert statement is not None
        assert statement["Principal"] == {"AWS": f"arn:{partition}:iam::444455556666:root"}
        assert find_grant(statement) == AddedGrant("a", INVOKE, f"arn:{partition}:iam::444455556666:root")


@pytest.mark.parametrize(
    "principal", ["alice", "12345", "arn:aws:s3:::bucket", "arn:aws:iam::1:user/a", "example.com", "*.amazonaws.com"]
)
def test_what_is_no_principal_makes_no_statement(principal: str) -> None:
    assert make_statement(AddedGrant("a", INVOKE, principal), CHECKOUT, "us-east-1") is None


@pytest.mark.parametrize(
    "change",
    [
        {"Effect": "Deny"},
        {"Action": [INVOKE]},
        {"Principal": {"AWS": [ALICE]}},
        {"Principal": {"AWS": ALICE, "Service": "s3.amazonaws.com"}},
        {"Condition": {"StringEquals": {"aws:username": "a"}}},
        {"Condition": ["a"]},
        {"Condition": {"StringEquals": {"AWS:SourceAccount": ["1"]}}},
        {"NotAction": "*"},
        {"Sid": 7},
    ],
)
def test_a_statement_of_another_form_is_of_no_grant(change: dict[str, object]) -> None:
    statement = make_statement(AddedGrant("a", INVOKE, ALICE), CHECKOUT, "us-east-1")
    assert statement is not None
    assert find_grant({**statement, **change}) is None
    assert find_grant([statement]) is None


def test_a_policy_is_one_json_object() -> None:
    assert json.loads(encode_policy([])) == {"Version": "2012-10-17", "Id": "default", "Statement": []}
