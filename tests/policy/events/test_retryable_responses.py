"""What an answer means for an event: a table with every exception of the model, and a rule for every status."""

from __future__ import annotations

import botocore.session
import pytest

from invoke_gateway.policy.events.retryable_responses import (
    OF_EXCEPTIONS,
    OF_OTHER_ERRORS,
    RunVerdict,
    find_error_code,
    judge_answer,
)

MODEL = botocore.session.get_session().get_service_model("lambda")
INVOKE = {
    shape.name: shape.metadata["error"]["httpStatusCode"] for shape in MODEL.operation_model("Invoke").error_shapes
}

NEVER = {
    "CodeArtifactUserFailedException",
    "DurableExecutionAlreadyStartedException",
    "InvalidParameterValueException",
    "InvalidRequestContentException",
    "ModeNotSupportedException",
    "NoPublishedVersionException",
    "RecursiveInvocationException",
    "RequestTooLargeException",
    "ResourceNotFoundException",
    "RuntimeAliasDeletedException",
    "RuntimeVersionDeletedException",
    "SerializedRequestEntityTooLargeException",
    "UnsupportedMediaTypeException",
}


def test_the_table_has_every_exception_of_the_model_and_each_its_reason() -> None:
    assert set(OF_EXCEPTIONS) == set(INVOKE)
    assert len(INVOKE) >= 45
    for rule in (*OF_EXCEPTIONS.values(), *OF_OTHER_ERRORS.values()):
        assert rule.reason.endswith(".")
    assert not set(OF_EXCEPTIONS) & set(OF_OTHER_ERRORS)


@pytest.mark.parametrize("name", sorted(INVOKE))
def test_each_exception_of_the_model_ends_an_event_or_not(name: str) -> None:
    verdict = judge_answer(INVOKE[name], name).verdict
    if name in NEVER:
        assert verdict is RunVerdict.NEVER
    elif name == "TooManyRequestsException":
        assert verdict is RunVerdict.THROTTLED
    elif name in ("EFSMountFailureException", "S3FilesMountFailureException"):
        assert verdict is RunVerdict.MISCONFIGURED
    else:
        assert verdict is RunVerdict.AGAIN


@pytest.mark.parametrize("name", [name for name, status in INVOKE.items() if status == 429 or status >= 500])
def test_what_aws_tries_again_is_tried_again(name: str) -> None:
    """Developer guide, asynchronous invocation: 429 and 500-series errors return to the queue."""
    assert judge_answer(INVOKE[name], name).verdict in (RunVerdict.AGAIN, RunVerdict.THROTTLED)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((301, 302, 303, 304, 307, 308), RunVerdict.MISCONFIGURED),
        ((401, 403, 405, 407, 421, 426, 505, 511), RunVerdict.MISCONFIGURED),
        ((402, 408, 409, 423, 425), RunVerdict.AGAIN),
        ((500, 502, 503, 504, 507, 520, 599), RunVerdict.AGAIN),
        ((429,), RunVerdict.THROTTLED),
        ((400, 404, 406, 410, 411, 412, 413, 414, 415, 416, 417, 418, 422, 431, 451, 499), RunVerdict.NEVER),
    ],
)
def test_a_name_that_is_not_known_leaves_it_to_the_status(statuses: tuple[int, ...], verdict: RunVerdict) -> None:
    for status in statuses:
        for code in (None, "SomethingNew"):
            assert judge_answer(status, code).verdict is verdict


def test_a_501_is_of_a_server_without_the_path_but_where_it_has_an_errors_name() -> None:
    """SAM's local service answers so what it cannot do."""
    assert judge_answer(501, None).verdict is RunVerdict.MISCONFIGURED
    assert judge_answer(501, "NotImplemented").verdict is RunVerdict.AGAIN


def test_a_known_name_decides_whatever_its_status() -> None:
    assert judge_answer(400, "TooManyRequestsException").verdict is RunVerdict.THROTTLED
    assert judge_answer(400, "DurableExecutionAlreadyStartedException").verdict is RunVerdict.NEVER
    assert judge_answer(500, "DurableExecutionAlreadyStartedException").verdict is RunVerdict.NEVER
    assert judge_answer(400, "ExpiredTokenException").verdict is RunVerdict.MISCONFIGURED
    assert judge_answer(400, "ThrottlingException").verdict is RunVerdict.THROTTLED


def test_what_is_misconfigured_says_what_to_do() -> None:
    assert "async.mode" in judge_answer(401, None).reason
    assert "async.mode" in judge_answer(403, "InvalidSignatureException").reason
    assert "lambda:InvokeFunction" in judge_answer(403, "AccessDeniedException").reason
    assert "https://real/" in judge_answer(301, None, location="https://real/").reason
    assert "backend.url" in judge_answer(405, None).reason
    assert "access point" in judge_answer(403, "EFSMountFailureException").reason


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({b"x-amzn-errortype": b"ServiceException"}, b"{}", "ServiceException"),
        ({b"x-amzn-errortype": b"ServiceException:http://internal.amazon.com/"}, b"", "ServiceException"),
        ({b"x-amzn-errortype": b"com.amazon#ServiceException"}, b'{"code": "Other"}', "ServiceException"),
        ({}, b'{"code": "A"}', "A"),
        ({}, b'{"Code": "A"}', "A"),
        ({}, b'{"__type": "com.amazonaws.lambda#A:x"}', "A"),
        ({}, b'{"code": 5, "__type": "A"}', "A"),
        ({b"x-amzn-errortype": b""}, b'{"__type": "A"}', "A"),
        ({}, b'{"Type": "User", "Message": "no"}', None),
        ({}, b"<html>", None),
        ({}, b"", None),
    ],
)
def test_the_name_of_an_error_is_found_as_sdks_find_it(
    headers: dict[bytes, bytes], body: bytes, code: str | None
) -> None:
    assert find_error_code(headers, body) == code
