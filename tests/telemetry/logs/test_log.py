"""What is logged of a request, and above all what is not."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.signing import ARN, KEY_ID, SECRET, sign
from tests.support.sockets import Gateway, gateway, invoke

SECRETS = (
    "hunter2",
    "AKIASECRET",
    "f00dfeed",
    "Credential",
    "secret-query",
    "eyJzZWNyZXQiOiJjb250ZXh0In0=",
    "secret-header",
)
REQUEST_ID = "0f0e0d0c-0b0a-4908-8706-050403020100"
HEADERS = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIASECRET/x, Signature=f00dfeed",
    f"X-Amzn-RequestId: {REQUEST_ID}",
    "X-Amz-Client-Context: eyJzZWNyZXQiOiJjb250ZXh0In0=",
    "X-Custom: secret-header",
)
BODY = b'{"password": "hunter2"}'


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "invoke_gateway.access"]


def send_and_read(served: Gateway, caplog: pytest.LogCaptureFixture, data: bytes) -> dict[str, Any]:
    """The access line of one request, without what differs from time to time."""
    caplog.clear()
    served.send(data)
    served.until(lambda: len(lines_of(caplog)) == 1, "the line is written")
    (line,) = lines_of(caplog)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("logger") == "invoke_gateway.access"
    assert line.pop("duration_seconds") > 0
    assert line.pop("client") == "127.0.0.1"
    return line


def test_one_line_tells_who_asked_for_what_and_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing of payload, Authorization, query or any other header."""
    functions = {"closed": {"reserved_concurrent_executions": 0}}
    with gateway(access_log="-", accounts={"default": {"functions": functions}}) as served:
        with caplog.at_level(logging.INFO, "invoke_gateway.access"):
            line = send_and_read(served, caplog, invoke("echo", BODY, *HEADERS))
            assert line.pop("backend_seconds") > 0
            common = {"request_id": REQUEST_ID, "method": "POST", "account": "000000000000"}
            invoked = {"operation": "Invoke", "invocation_type": "RequestResponse"}
            assert line == {**common, **invoked, "function": "echo", "status": 200}

            path = "/2015-03-31/functions/closed/invocations?Qualifier=secret-query"
            line = send_and_read(served, caplog, invoke("", BODY, *HEADERS, path=path))
            assert line == {
                **common,
                **invoked,
                "function": "closed",
                "status": 429,
                "error": "TooManyRequestsException",
                "reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "decision": 'limit="reserved_concurrent_executions", in-use=0, ceiling=0',
            }

            line = send_and_read(served, caplog, invoke("echo", BODY[:-1], *HEADERS))
            assert (line["status"], line["error"]) == (400, "InvalidRequestContentException")

            path = "/2015-03-31/functions?Marker=secret-query"
            line = send_and_read(served, caplog, invoke("", BODY, *HEADERS, path=path))
            assert line["path"] == "/2015-03-31/functions"
            assert "function" not in line
        assert not [secret for secret in SECRETS if secret in caplog.text]


def test_a_function_error_a_fault_and_a_client_that_left_are_marked(caplog: pytest.LogCaptureFixture) -> None:
    with gateway(access_log="-") as served, caplog.at_level(logging.INFO, "invoke_gateway.access"):

        async def script(call: Any) -> None:
            if call.function == "broken":
                call.reset()
            call.answer(200, b"{}", {"X-Amz-Function-Error": "Unhandled"})

        served.backend.script = script
        assert send_and_read(served, caplog, invoke("fails"))["function_error"] is True
        line = send_and_read(served, caplog, invoke("broken"))
        assert (line["status"], line["fault"], line["error"]) == (500, "reset", "ServiceException")


def test_with_verified_signatures_a_line_names_the_caller_or_the_one_that_is_claimed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALICE_SECRET", SECRET)
    settings = {"signatures": "verify", "callers": {KEY_ID: {"secret": "env:ALICE_SECRET", "arn": ARN}}}
    with gateway(access_log="-", **settings) as served, caplog.at_level(logging.INFO, "invoke_gateway.access"):

        def named(data: bytes) -> tuple[int, str | None, str | None]:
            line = send_and_read(served, caplog, data)
            return line["status"], line.get("caller"), line.get("claimed_access_key_id")

        now = datetime.now(UTC)
        assert named(sign(at=now).to_bytes()) == (200, ARN, None)
        assert named(sign(at=now, secret="wrong").to_bytes()) == (403, None, KEY_ID)
        assert named(sign(at=now, key_id="AKIAUNKNOWN").to_bytes()) == (403, None, "AKIAUNKNOWN")
        assert named(sign(at=now, key_id="AKIAUNKNOWN", expires=60).to_bytes()) == (403, None, "AKIAUNKNOWN")
        assert named(invoke("echo")) == (403, None, None)
        for odd in ("A" * 129, 'AKIA"quoted', "AKIA\xe9"):
            header = f"Authorization: AWS4-HMAC-SHA256 Credential={odd}/20260131/us-east-1/lambda/aws4_request"
            assert named(invoke("echo", b"{}", header))[1:] == (None, None)
        two = "AWS4-HMAC-SHA256 Credential=AKIAONE/x, Credential=AKIATWO/x"
        assert named(invoke("echo", b"{}", f"Authorization: {two}"))[1:] == (None, None)


def test_a_line_is_one_line_whatever_the_path_is(caplog: pytest.LogCaptureFixture) -> None:
    with gateway(access_log="-") as served, caplog.at_level(logging.INFO, "invoke_gateway.access"):
        line = send_and_read(served, caplog, invoke("", path="/a%0A%0Db%00%22c"))
        assert line["path"] == '/a\n\rb\0"c'
        assert "\n" not in next(
            record.getMessage() for record in caplog.records if record.name == "invoke_gateway.access"
        )


def test_without_access_log_no_request_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with gateway() as served, caplog.at_level(logging.INFO):
        served.send(invoke())
        served.until_idle()
    assert lines_of(caplog) == []
