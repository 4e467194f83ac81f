"""Which answers report an error of the function, by the kinds of backends. The bodies of RIE are what it answered."""

from __future__ import annotations

import json

import pytest

from invoke_gateway.policy.events.function_errors import FunctionErrors, Reported

PLAIN = {b"content-type": b"text/plain; charset=utf-8"}  # what Go makes of every answer of RIE
JSON = {b"content-type": b"application/json"}
API = {**JSON, b"x-amz-executed-version": b"$LATEST"}

PYTHON = (
    b'{"errorMessage": "no such report", "errorType": "ValueError", "requestId": "e2e06f79-96a0-4b4d-bd3b",'
    b' "stackTrace": ["  File \\"/var/task/handler.py\\", line 4, in handle\\n"]}'
)
NODE = b'{"errorType":"Error","errorMessage":"failure","trace":["Error: failure","    at Runtime.handler"]}'
GO = b'{"errorMessage":"failure","errorType":"errorString"}'
EXITED = (
    b'{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 1 Error: Runtime exited with error: exit status 3"}'
)
TIMED_OUT = b"Task timed out after 3.00 seconds"
LIKE_AN_ERROR = b'{"errorMessage": "none", "errorType": "none", "reports": 7}'


def find(
    reported: Reported, status: int, headers: dict[bytes, bytes], body: bytes, *, path: bool = False
) -> str | None:
    error = FunctionErrors(reported, has_function_path=path).find(status, headers, body)
    return None if error is None else error.name


@pytest.mark.parametrize("reported", ["header", "body", "auto"])
@pytest.mark.parametrize(("value", "name"), [(b"Unhandled", "Unhandled"), (b"Handled", "Handled"), (b"", "Unhandled")])
def test_the_header_decides_in_every_mode_and_without_a_value_the_error_has_the_name_that_aws_writes(
    reported: Reported, value: bytes, name: str
) -> None:
    assert find(reported, 200, {**API, b"x-amz-function-error": value}, b"null") == name
    assert find(reported, 502, {b"x-amz-function-error": value}, b"") == name


@pytest.mark.parametrize("body", [PYTHON, NODE, GO])
def test_rie_reports_a_function_that_raised_by_its_body(body: bytes) -> None:
    assert find("auto", 200, PLAIN, body) == "Unhandled"
    assert find("auto", 200, {}, body) == "Unhandled"
    assert find("auto", 200, JSON, body, path=True) == "Unhandled"
    assert find("body", 200, JSON, body) == "Unhandled"
    assert find("header", 200, PLAIN, body) is None


@pytest.mark.parametrize("reported", ["body", "auto"])
def test_rie_reports_a_function_that_took_too_long_by_a_text_and_the_error_has_it_as_its_message(
    reported: Reported,
) -> None:
    error = FunctionErrors(reported).find(200, PLAIN, TIMED_OUT)
    assert error is not None
    assert json.loads(error.payload) == {"errorType": "Sandbox.Timedout", "errorMessage": TIMED_OUT.decode()}
    assert find("header", 200, PLAIN, TIMED_OUT) is None
    assert find(reported, 200, PLAIN, b'"Task timed out after 3.00 seconds"') is None
    assert find(reported, 200, PLAIN, b"The Task timed out after 3.00 seconds, said the report") is None


def test_rie_reports_a_function_that_has_exited_by_a_502() -> None:
    assert find("auto", 502, PLAIN, EXITED) == "Unhandled"
    assert find("body", 502, PLAIN, EXITED) == "Unhandled"
    assert find("header", 502, PLAIN, EXITED) is None
    assert find("auto", 502, {}, b"", path=True) == "Unhandled"
    assert find("auto", 502, {}, b"") is None  # any proxy may answer so
    assert find("auto", 504, {}, b"", path=True) is None
    assert find("auto", 502, {b"content-type": b"text/html"}, b"<h1>Bad Gateway</h1>", path=True) is None


@pytest.mark.parametrize("body", [PYTHON, NODE, GO, LIKE_AN_ERROR, TIMED_OUT])
def test_auto_takes_no_result_for_an_error_where_the_answer_has_the_headers_of_the_api(body: bytes) -> None:
    assert find("auto", 200, API, body) is None
    assert find("auto", 200, API, body, path=True) is None
    assert find("auto", 200, JSON, body) is None


def test_auto_takes_no_result_for_an_error_that_has_members_which_no_runtime_writes() -> None:
    assert find("auto", 200, PLAIN, LIKE_AN_ERROR) is None
    assert find("auto", 200, PLAIN, LIKE_AN_ERROR, path=True) is None
    assert find("body", 200, PLAIN, LIKE_AN_ERROR) == "Unhandled"


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"7", b'"errorType"', b'["errorType", "errorMessage"]', b'{"errorType": 1, "errorMessage": "x"}',
     b'{"result": {"errorType": "E", "errorMessage": "x"}}', b'{"errorType": "E"}', b'{"errorMessage": "x"}',
     b'{"errorType": "E", "errorMessage": 5}', b'{"errorType"'],
)  # fmt: skip
@pytest.mark.parametrize("reported", ["body", "auto"])
def test_other_results_are_results(reported: Reported, body: bytes) -> None:
    assert find(reported, 200, PLAIN, body) is None


@pytest.mark.parametrize(
    "body",
    [rb'{"errorMessage": "\ud800", "errorType": "E"}', b'{"errorMessage": "caf\xe9", "errorType": "E"}',
     b'{"errorType": "E", "stackTrace": %b, "errorMessage": "x"}' % (b"[" * 5_000 + b"]" * 5_000),
     b'{"errorType": "java.lang.RuntimeException", "errorMessage": null, "stackTrace": []}',
     b'{"errorType": "System.Exception", "stackTrace": []}'],
    ids=["lone surrogate", "latin-1", "deep", "null message", "no message"],
)  # fmt: skip
def test_a_damaged_error_is_an_error_still(body: bytes) -> None:
    assert find("auto", 200, PLAIN, body) == "Unhandled"


@pytest.mark.parametrize("reported", ["header", "body", "auto"])
def test_errors_of_the_api_are_none_of_the_function(reported: Reported) -> None:
    headers = {**JSON, b"x-amzn-errortype": b"ServiceException"}
    assert find(reported, 500, headers, b'{"Message": "no", "Type": "Service"}') is None
    assert find(reported, 500, headers, EXITED) is None
    for status in (302, 400, 404, 429):
        assert find(reported, status, {**PLAIN, b"x-amz-function-error": b"Unhandled"}, PYTHON) is None
