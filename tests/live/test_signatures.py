"""Real clients before a gateway that verifies: the AWS SDK for JavaScript, curl, and URLs that boto3 has presigned."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.live.clients import NodeProcess
from tests.support.signing import ARN, KEY_ID, SECRET
from tests.support.sockets import Gateway, gateway
from tests.support.tools import CURL

TOKEN = "FwoGZXIvYXdzEBYaDtoken+/="
AN_HOUR = 3_600_000  # milliseconds
FUNCTION_ARN = "arn:aws:lambda:us-east-1:111122223333:function:echo:prod"


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    expired = tmp_path_factory.mktemp("secrets") / "expired.json"
    expired.write_text(json.dumps({"ASIAEXPIRED": {"secret": SECRET, "session_token": TOKEN, "expires": 5}}))
    expired.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALICE_SECRET", SECRET)
        patch.setenv("SESSION_TOKEN", TOKEN)
        callers = {
            KEY_ID: {"secret": "env:ALICE_SECRET", "arn": ARN},
            "ASIASESSION": {"secret": "env:ALICE_SECRET", "session_token": "env:SESSION_TOKEN", "arn": ARN},
            "ASIAEXPIRED": {"secret": f"file:{expired}", "arn": ARN},
        }
        with gateway(signatures="verify", callers=callers) as started:
            yield started


def call(node: NodeProcess, to: Gateway, operation: str = "invoke", **values: Any) -> dict[str, Any]:
    usual = {"accessKeyId": KEY_ID, "secretAccessKey": SECRET, "maxAttempts": 1, "input": {"FunctionName": "echo"}}
    payload = base64.b64encode(b'{"order": 7}').decode()
    return node.call(operation=operation, endpoint=to.url, **{**usual, "payload": payload, **values})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"payload": None},
        {"input": {"FunctionName": FUNCTION_ARN}},
        {"input": {"FunctionName": "echo", "Qualifier": "$LATEST", "TenantId": "a b", "ClientContext": "e30="}},
        {"input": {"FunctionName": "echo", "InvocationType": "Event"}},
        {"accessKeyId": "ASIASESSION", "sessionToken": TOKEN},
        {"payload": base64.b64encode(b'"' + b"x" * 1_000_000 + b'"').decode()},
    ],
)
def test_the_javascript_sdk_invokes(node: NodeProcess, verified: Gateway, values: dict[str, Any]) -> None:
    reply = call(node, verified, **values)
    assert reply.get("result", reply)["$metadata"]["httpStatusCode"] in (200, 202), reply


@pytest.mark.parametrize(
    ("values", "name", "text"),
    [
        ({"secretAccessKey": "wrong"}, "InvalidSignatureException", "The request signature we calculated does not"),
        ({"systemClockOffset": -AN_HOUR}, "InvalidSignatureException", "Signature expired: "),
        ({"systemClockOffset": AN_HOUR}, "InvalidSignatureException", "Signature not yet current: "),
        (
            {"accessKeyId": "AKIAUNKNOWN"},
            "UnrecognizedClientException",
            "The security token included in the request is",
        ),
        (
            {"accessKeyId": "ASIASESSION"},
            "UnrecognizedClientException",
            "The security token included in the request is",
        ),
    ],
)
def test_the_javascript_sdk_raises_each_error_by_its_name(
    node: NodeProcess, verified: Gateway, values: dict[str, Any], name: str, text: str
) -> None:
    error = call(node, verified, **values)["error"]
    assert error["name"] == name
    assert error["message"].startswith(text)
    assert error["$metadata"]["httpStatusCode"] == 403


def test_the_javascript_sdk_corrects_its_clock_by_our_date(node: NodeProcess, verified: Gateway) -> None:
    reply = call(node, verified, systemClockOffset=-2 * AN_HOUR, maxAttempts=3)
    assert reply["result"]["StatusCode"] == 200, reply


def curl(to: Gateway, secret: str, path: str, *arguments: str) -> Any:
    command = [CURL.require(), "-s", "--aws-sigv4", "aws:amz:us-east-1:lambda", "--user", f"{KEY_ID}:{secret}"]
    run = subprocess.run([*command, f"{to.url}{path}", *arguments], capture_output=True, check=True, timeout=60)
    return json.loads(run.stdout)


def test_curl_signs(verified: Gateway) -> None:
    path = "/2015-03-31/functions/echo/invocations"
    assert curl(verified, SECRET, path, "-d", '{"order": 7}') == {"order": 7}
    assert curl(verified, SECRET, f"{path}?Qualifier=prod", "-d", "{}") == {}
    assert curl(verified, "wrong", path, "-d", "{}")["message"].startswith("The request signature we calculated")


def test_a_url_that_boto3_has_presigned(verified: Gateway) -> None:
    keys = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET}
    with contextlib.closing(
        boto3.client("lambda", endpoint_url=verified.url, region_name="us-east-1", **keys)
    ) as client:
        url = client.generate_presigned_url(
            "invoke", Params={"FunctionName": "echo", "Qualifier": "prod"}, ExpiresIn=60
        )
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as answer:
        assert answer.status == 200
    other = urllib.request.Request(url.replace("/echo/", "/other/"), method="POST")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(other, timeout=60)
    assert raised.value.code == 403
    raised.value.close()
