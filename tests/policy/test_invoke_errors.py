"""The table of Invoke's exceptions, held against the service model that the SDKs are made from."""

from __future__ import annotations

import json

import botocore.session
import pytest
from botocore.model import OperationModel, StructureShape

from invoke_gateway.policy.invoke_errors import (
    ERROR_NAMES,
    THROTTLE_REASONS,
    choose_error,
    find_error,
    suggest_errors,
    suggest_reasons,
    takes_reason,
)
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
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


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("checkout", "ReservedFunctionConcurrentInvocationLimitExceeded"),
        ("off", "ReservedFunctionConcurrentInvocationLimitExceeded"),
        ("only-rated", "ConcurrentInvocationLimitExceeded"),
        ("not-in-the-settings", "ConcurrentInvocationLimitExceeded"),
    ],
)
def test_a_throttle_without_a_reason_has_that_of_the_functions_own_limit(function: str, reason: str) -> None:
    functions = {
        "checkout": FunctionLimits(2),
        "off": FunctionLimits(0),
        "only-rated": FunctionLimits(requests_per_second=1),
    }
    error = find_error("TooManyRequestsException")
    assert error is not None
    chosen = choose_error(error, AccountLimits("000000000000", 10, functions).plan(function))
    assert (chosen.reason, chosen.is_throttle, chosen.is_injected) == (reason, False, True)
    assert json.loads(render(chosen).body)["message"] == "Rate Exceeded."


@pytest.mark.parametrize("name", [name for name in ERROR_NAMES if not takes_reason(name)])
def test_every_other_error_is_the_same_for_all_functions(name: str) -> None:
    error = find_error(name)
    assert error is not None
    assert choose_error(error, AccountLimits("000000000000", 10, {"f": FunctionLimits(1)}).plan("f")) is error


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("Throttled", "TooManyRequestsException"),
        ("ThrottlingException", "TooManyRequestsException"),
        ("RateExceeded", "TooManyRequestsException"),
        ("429", "TooManyRequestsException"),
        ("TooManyRequestException", "TooManyRequestsException"),
        ("too_many_requests", "TooManyRequestsException"),
        ("serviceexception", "ServiceException"),
        ("ServiceError", "ServiceException"),
        ("EC2Throttled", "EC2ThrottledException"),
        ("ResourceNotFound", "ResourceNotFoundException"),
        ("RequestTooLarge", "RequestTooLargeException"),
        ("KMSDisabledExeption", "KMSDisabledException"),
    ],
)
def test_a_wrong_name_is_met_with_the_one_that_was_meant(name: str, suggested: str) -> None:
    assert suggest_errors(name)[0] == suggested


def test_a_part_of_names_is_met_with_those_that_have_it_and_nonsense_with_nothing() -> None:
    assert len(suggest_errors("KMS")) == 3
    assert all("KMS" in name for name in suggest_errors("KMS"))
    assert suggest_errors("Nonsense") == suggest_errors("") == suggest_errors("x") == []


@pytest.mark.parametrize("name", ERROR_NAMES)
def test_each_name_is_found_without_its_last_word_and_case(name: str) -> None:
    assert suggest_errors(name.removesuffix("Exception").lower())[0] == name


def test_a_wrong_reason_is_met_with_the_one_that_was_meant() -> None:
    assert suggest_reasons("callerRateLimitExceded") == ["CallerRateLimitExceeded"]
    assert suggest_reasons("x") == []
