"""The table of Invoke's exceptions, held against the service model that the SDKs are made from."""

from __future__ import annotations

import json

import botocore.session
import pytest
from botocore.model import OperationModel, StructureShape

from invoke_gateway.policy.invoke_errors import ERROR_NAMES, THROTTLE_REASONS, find_error, takes_reason
from invoke_gateway.refusals import Refusal, render

MODEL = botocore.session.get_session().get_service_model("lambda")


def errors_of(operation: str) -> dict[str, StructureShape]:
    found: OperationModel = MODEL.operation_model(operation)
    return {shape.name: shape for shape in found.error_shapes}


INVOKE = errors_of("Invoke")


def test_the_table_has_every_exception_of_invoke_and_no_other() -> None:
    assert set(ERROR_NAMES) == set(INVOKE)
    assert len(ERROR_NAMES) == len(set(ERROR_NAMES)) >= 45


@pytest.mark.parametrize("operation", ["InvokeAsync", "InvokeWithResponseStream"])
def test_the_other_two_operations_have_no_exception_that_invoke_does_not_have(operation: str) -> None:
    assert set(errors_of(operation)) < set(INVOKE)


@pytest.mark.parametrize("name", INVOKE)
def test_status_fault_and_members_are_the_models(name: str) -> None:
    """The message member to the letter, and no member that the model has in the body is missing."""
    shape = INVOKE[name]
    error = find_error(name, THROTTLE_REASONS[0] if takes_reason(name) else None)
    assert error is not None
    modelled = shape.metadata["error"]
    in_body = {key for key, member in shape.members.items() if member.serialization.get("location") != "header"}
    body = json.loads(render(error, arn="an ARN").body)
    assert (error.status, set(body)) == (modelled["httpStatusCode"], in_body)
    assert body["Type"] == ("User" if modelled.get("senderFault") else "Service")
    assert body[error.member]
    assert dict(render(error, arn="").headers)[b"x-amzn-errortype"].decode() == name


def test_every_reason_of_the_model_can_be_given_and_only_to_a_throttle() -> None:
    assert sorted(THROTTLE_REASONS) == sorted(MODEL.shape_for("ThrottleReason").enum)
    for reason in THROTTLE_REASONS:
        error = find_error("TooManyRequestsException", reason)
        assert error is not None
        assert json.loads(render(error).body)["Reason"] == reason
    assert [name for name in ERROR_NAMES if takes_reason(name)] == ["TooManyRequestsException"]
    assert find_error("TooManyRequestsException") is None
    assert find_error("ServiceException", THROTTLE_REASONS[0]) is None


@pytest.mark.parametrize("refusal", [refusal for refusal in Refusal if refusal.is_throttle])
def test_a_throttle_that_is_injected_looks_like_a_real_one_and_counts_as_none(refusal: Refusal) -> None:
    error = find_error(refusal.code, refusal.reason)
    assert error is not None
    assert render(error) == render(refusal)
    assert (error.is_throttle, error.is_retryable, error.is_injected) == (False, True, True)


@pytest.mark.parametrize("name", ERROR_NAMES)
def test_a_pause_is_suggested_where_trying_again_may_help(name: str) -> None:
    error = find_error(name, THROTTLE_REASONS[0] if takes_reason(name) else None)
    assert error is not None
    assert error.is_retryable == (error.status == 429 or error.status >= 500)
