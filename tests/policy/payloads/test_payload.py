"""How large a request may be."""

from __future__ import annotations

import pytest

from invoke_gateway.invocation import Function, Invocation, InvocationType, Operation
from invoke_gateway.policy.payloads.payload import PayloadQuotas
from invoke_gateway.refusals import Refusal

SYNCHRONOUS = Invocation(Operation.INVOKE, Function("f"), InvocationType.REQUEST_RESPONSE)
STREAMED = Invocation(Operation.INVOKE_WITH_RESPONSE_STREAM, Function("f"), InvocationType.REQUEST_RESPONSE)
DRY_RUN = Invocation(Operation.INVOKE, Function("f"), InvocationType.DRY_RUN)
EVENT = Invocation(Operation.INVOKE, Function("f"), InvocationType.EVENT)
INVOKE_ASYNC = Invocation(Operation.INVOKE_ASYNC, Function("f"), InvocationType.EVENT)


@pytest.mark.parametrize(
    ("invocation", "limit", "refusal"),
    [
        (SYNCHRONOUS, 6_291_456, Refusal.REQUEST_TOO_LARGE),
        (STREAMED, 6_291_456, Refusal.REQUEST_TOO_LARGE),
        (DRY_RUN, 6_291_456, Refusal.REQUEST_TOO_LARGE),
        (EVENT, 1_048_576, Refusal.EVENT_TOO_LARGE),
        (INVOKE_ASYNC, 262_144, Refusal.EVENT_TOO_LARGE),
    ],
)
def test_each_way_of_invoking_has_the_quota_of_the_contract(
    invocation: Invocation, limit: int, refusal: Refusal
) -> None:
    assert PayloadQuotas(6_291_456, 1_048_576).of(invocation) == (limit, refusal)


def test_the_error_that_aws_has_been_seen_to_send_can_be_had() -> None:
    quotas = PayloadQuotas(6_291_456, 1_048_576, as_observed=True)
    assert quotas.of(SYNCHRONOUS).refusal.value.code == "RequestEntityTooLargeException"
    assert quotas.of(EVENT).refusal.value.code == "RequestEntityTooLargeException"


def test_a_small_event_quota_also_bounds_the_old_operation() -> None:
    assert PayloadQuotas(100, 50).of(INVOKE_ASYNC).limit == 50
