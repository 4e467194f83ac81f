"""Every refusal on the wire, held against the service model that the SDKs are made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.model import ServiceModel, StructureShape
from botocore.parsers import create_parser

from invoke_gateway.refusals import Refusal, render
from tests.support.sockets import Gateway, Wire, gateway, invoke

# Not in the model. AWS has been seen to send all but RequestTimeoutException, which is HTTP's own word for its status.
UNMODELLED = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "RequestEntityTooLargeException",
    "RequestTimeoutException",
    "UnrecognizedClientException",
    "ValidationException",
}
# The gateway's own conditions, which HTTP has a better status for than the one that the model gives their code.
OWN_STATUS = {
    Refusal.UNKNOWN_ORIGIN: 403,
    Refusal.UNKNOWN_EXPECTATION: 417,
    Refusal.HEAD_TOO_LARGE: 431,
    Refusal.NOT_IMPLEMENTED: 501,
    Refusal.TOO_MANY_CONNECTIONS: 503,
    Refusal.BUFFERS_FULL: 503,
    Refusal.UNKNOWN_VERSION: 505,
}
VALUES = {"text": "why", "limit": 1, "in_use": 2, "size": 3, "seconds": 4, "region": "eu-west-1", "here": "us-east-1"}
VALUES |= {"function": "checkout", "until": "then", "advice": "Wait."}
THROTTLES = [refusal for refusal in Refusal if refusal.is_throttle]


@pytest.fixture(scope="module")
def model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("lambda")


def shape_of(model: ServiceModel, code: str) -> StructureShape:
    shape = model.shape_for(code)
    assert isinstance(shape, StructureShape)
    return shape


@pytest.mark.parametrize("refusal", Refusal)
def test_a_modelled_code_has_the_models_status_fault_and_members(model: ServiceModel, refusal: Refusal) -> None:
    """The message member to the letter: an SDK fills its typed field only by the exact case."""
    if refusal.code in UNMODELLED:
        assert refusal.code not in model.shape_names
        return
    shape = shape_of(model, refusal.code)
    error = shape.metadata["error"]
    assert refusal.status == OWN_STATUS.get(refusal, error["httpStatusCode"])
    assert refusal.type == ("User" if error.get("senderFault") else "Service")
    in_body = {name for name, member in shape.members.items() if member.serialization.get("location") != "header"}
    assert set(json.loads(render(refusal, **VALUES).body)) <= in_body
    assert refusal.member in in_body


@pytest.mark.parametrize("refusal", Refusal)
def test_an_error_is_among_those_that_the_sdks_know_for_invoke(model: ServiceModel, refusal: Refusal) -> None:
    names = {shape.name for shape in model.operation_model("Invoke").error_shapes}
    assert refusal.code in names | UNMODELLED


def test_every_reason_is_one_of_the_models(model: ServiceModel) -> None:
    """And none is given to anything but a throttle. Snapshots (SnapStart) are not taken here."""
    reasons = {refusal.reason for refusal in THROTTLES}
    assert reasons == set(model.shape_for("ThrottleReason").enum) - {"ConcurrentSnapshotCreateLimitExceeded"}
    assert {refusal.reason for refusal in Refusal if not refusal.is_throttle} == {None}


@pytest.mark.parametrize("refusal", Refusal)
def test_what_is_rendered_is_a_whole_json_error(refusal: Refusal) -> None:
    """Type and code in the headers; no placeholder left in the text."""
    rendered = render(refusal, **VALUES)
    headers = dict(rendered.headers)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-amzn-errortype"].decode() == refusal.code
    text = json.loads(rendered.body)[refusal.member]
    assert text
    assert not set("{}") & set(text)


def test_a_throttle_is_what_was_seen_on_the_wire() -> None:
    """Members in this order; concurrency with a capital and a full stop, rates without."""
    assert [list(json.loads(render(refusal).body)) for refusal in THROTTLES] == [["Reason", "Type", "message"]] * 5
    texts = {refusal.name: json.loads(render(refusal).body)["message"] for refusal in THROTTLES}
    assert texts == {
        "CONCURRENCY": "Rate Exceeded.",
        "RESERVED_CONCURRENCY": "Rate Exceeded.",
        "FUNCTION_RATE": "Rate exceeded",
        "RESERVED_FUNCTION_RATE": "Rate exceeded",
        "CALLER_RATE": "Rate exceeded",
    }


def test_a_text_from_outside_cannot_break_the_body() -> None:
    text = 'quotes " and \\ and \n and \udcff and {braces}'
    rendered = render(Refusal.VALIDATION, text=text)
    assert json.loads(rendered.body) == {"message": text}
    assert rendered.body.isascii()


@pytest.mark.parametrize("refusal", Refusal)
def test_botocore_reads_code_message_and_members(model: ServiceModel, refusal: Refusal) -> None:
    rendered = render(refusal, **VALUES)
    headers = {name.decode(): value.decode() for name, value in rendered.headers}
    raw = {"status_code": rendered.status, "headers": headers, "body": rendered.body}
    shape = model.operation_model("Invoke").output_shape
    parsed = create_parser("rest-json").parse(raw, shape)
    assert (parsed["Error"]["Code"], bool(parsed["Error"]["Message"])) == (refusal.code, True)


# ---- each throttle as boto3 raises it -------------------------------------------------------------------------

RATED = {"requests_per_second": 1}
LIMITS = {
    "concurrent_executions": 4,
    "unreserved_floor": 0,
    "requests_per_second": "off",
    "functions": {
        "closed": {"reserved_concurrent_executions": 0, **RATED},
        "reserved": {"reserved_concurrent_executions": 2, **RATED},
        "rated": RATED,
        "hold": {"reserved_concurrent_executions": 1, "requests_per_second": 2},
    },
}
CALLER = "111122223333"


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    """One unreserved slot; a second account lets each caller make one request a second."""
    per_caller = {"caller_requests_per_second": 1, "requests_per_second": "off"}
    with gateway(accounts={"default": LIMITS, CALLER: per_caller}) as started:
        yield started


def throttle(served: Gateway, function: str, access_key_id: str = "AKIAEXAMPLE", calls: int = 1) -> dict[str, Any]:
    """The response of the exception that boto3 raises for the last of `calls`."""
    client = served.boto3(access_key_id)
    try:
        for _ in range(calls - 1):
            client.invoke(FunctionName=function)
        with pytest.raises(client.exceptions.TooManyRequestsException) as raised:
            client.invoke(FunctionName=function)
    finally:
        client.close()
    response: dict[str, Any] = raised.value.response
    return response


def assert_typed(response: dict[str, Any], reason: str, message: str, *, has_pause: bool = True) -> None:
    metadata = response["ResponseMetadata"]
    assert (response["Reason"], response["Type"], response["message"]) == (reason, "User", message)
    assert response["Error"] == {"Code": "TooManyRequestsException", "Message": message}
    assert (int(response.get("retryAfterSeconds", 0)) >= 1) is has_pause
    assert metadata["HTTPStatusCode"] == 429
    assert metadata["RequestId"]
    assert (int(metadata["HTTPHeaders"].get("x-amz-retry-after", 0)) >= 1) is has_pause
    assert metadata["HTTPHeaders"]["x-amzn-errortype"] == "TooManyRequestsException"


@pytest.mark.parametrize(
    ("function", "calls", "reason"),
    [
        ("closed", 1, "ReservedFunctionConcurrentInvocationLimitExceeded"),
        ("reserved", 2, "ReservedFunctionInvocationRateLimitExceeded"),
        ("rated", 2, "FunctionInvocationRateLimitExceeded"),
    ],
)
def test_boto3_raises_each_throttle_of_a_function_with_all_its_fields(
    served: Gateway, function: str, calls: int, reason: str
) -> None:
    message = "Rate Exceeded." if "Concurrent" in reason else "Rate exceeded"
    assert_typed(throttle(served, function, calls=calls), reason, message, has_pause=function != "closed")


def test_boto3_raises_the_throttle_of_the_account_with_all_its_fields(served: Gateway) -> None:
    with Wire(served.port) as wire:
        wire.send(invoke("hold-unreserved"))
        served.until_running(1)
        assert_typed(throttle(served, "echo"), "ConcurrentInvocationLimitExceeded", "Rate Exceeded.")
        served.release()
        assert wire.answer().status == 200


def test_boto3_raises_the_throttle_of_the_caller_with_all_its_fields(served: Gateway) -> None:
    assert_typed(throttle(served, "echo", CALLER, calls=2), "CallerRateLimitExceeded", "Rate exceeded")


def test_boto3_raises_a_fault_of_ours_as_a_service_exception_with_a_hint() -> None:
    """SDKs otherwise retry a 5xx within a tenth of a second."""
    with gateway(backend={"url": "http://127.0.0.1:1"}) as served:
        client = served.boto3()
        try:
            with pytest.raises(client.exceptions.ServiceException) as raised:
                client.invoke(FunctionName="echo")
            response = raised.value.response
            with pytest.raises(ClientError) as unmodelled:
                client.invoke(FunctionName="e" * 257)
        finally:
            client.close()
    assert (response["Type"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("Service", 500)
    assert response["Message"].startswith("The backend refused the connection.")
    assert int(response["ResponseMetadata"]["HTTPHeaders"]["x-amz-retry-after"]) >= 1
    assert int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 1
    assert unmodelled.value.response["Error"]["Code"] == "ValidationException"
    assert "Type" not in unmodelled.value.response


@pytest.mark.parametrize("type_", ["RequestResponse", "Event", "DryRun"])
def test_boto3_raises_a_bad_client_context_before_anything_is_taken(served: Gateway, type_: str) -> None:
    """Events as well, which would otherwise be answered with 202."""
    client = served.boto3()
    served.forget()
    try:
        with pytest.raises(client.exceptions.InvalidRequestContentException) as raised:
            client.invoke(FunctionName="echo", InvocationType=type_, ClientContext="string")
    finally:
        client.close()
    assert raised.value.response["Error"] == {
        "Code": "InvalidRequestContentException",
        "Message": "Client context must be a valid Base64-encoded JSON object.",
    }
    assert "connection" not in raised.value.response["ResponseMetadata"]["HTTPHeaders"], "it stays open"
    assert served.forwarded() == []
    assert served.held() == {}


def test_a_refused_request_has_consumed_nothing(served: Gateway) -> None:
    """Where a slot was missing no token was taken, and where a token was missing no slot."""
    path = "/2015-03-31/functions/hold:{}/invocations"
    with Wire(served.port) as wire:
        wire.send(invoke(path=path.format(1)))
        served.until_running(1)
        for _ in range(10):
            reason = served.send(invoke(path=path.format(2))).json["Reason"]
            assert reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
        served.release()
        assert wire.answer().status == 200
        wire.send(invoke(path=path.format(3)))
        served.until_running(1)
        served.release()
        assert wire.answer().status == 200
    reason = served.send(invoke(path=path.format(4))).json["Reason"]
    assert reason == "ReservedFunctionInvocationRateLimitExceeded"
    assert served.held() == {}
