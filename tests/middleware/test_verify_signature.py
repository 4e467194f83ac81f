"""Signatures at the wire: who gets through, what is refused in the client's shape, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.signing import ARN, KEY_ID, PATH, SECRET, Signing, sign
from tests.support.sockets import Answer, Gateway, Wire, chunked, gateway, refusal_of

OTHER_ARN = "arn:aws:iam::444455556666:role/batch"
CALLERS = {
    KEY_ID: {"secret": "env:ALICE_SECRET", "arn": ARN, "concurrent_executions": 20},
    "AKIABATCH": {"secret": "env:BATCH_SECRET", "arn": OTHER_ARN},
}
ACCOUNTS = {
    "default": {"requests_per_second": "off"},
    "111122223333": {"requests_per_second": "off", "concurrent_executions": 2, "unreserved_floor": 0},
}
FUNCTIONS = "/2015-03-31/functions"


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALICE_SECRET", SECRET)
        patch.setenv("BATCH_SECRET", "another secret")
        settings = {"signatures": "verify", "callers": CALLERS, "accounts": ACCOUNTS}
        with gateway(
            **settings, control={"check_existence": False}, cors={"allow_origins": ["http://page"]}
        ) as started:
            yield started


@pytest.fixture
def verified(shared: Gateway) -> Iterator[Gateway]:
    shared.forget()
    yield shared
    shared.until_idle()


def signed(*arguments: str, **values: Any) -> Signing:
    return sign(*arguments, **{"at": datetime.now(UTC), **values})


def send(to: Gateway, data: bytes) -> Answer:
    with Wire(to.port) as wire:
        return wire.send(data).answer()


def client_of(to: Gateway, **values: Any) -> Any:
    keys = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET}
    config = Config(retries={"max_attempts": 0})
    usual = {**keys, "config": config, "region_name": "us-east-1"}
    return boto3.client("lambda", endpoint_url=to.url, **{**usual, **values})


def error_of(to: Gateway, **values: Any) -> str:
    with contextlib.closing(client_of(to, **values)) as client, pytest.raises(ClientError) as raised:
        client.invoke(FunctionName="checkout", Payload=b"{}")
    return str(raised.value.response["Error"]["Code"])


# ---- who gets through ------------------------------------------------------------------------------------------


def test_boto3_invokes_with_the_right_secret(verified: Gateway) -> None:
    arn = "arn:aws:lambda:us-east-1:111122223333:function:checkout:prod"
    with contextlib.closing(client_of(verified)) as client:
        for values in (
            {"FunctionName": "checkout", "Payload": b'{"order": 7}'},
            {"FunctionName": "checkout"},
            {"FunctionName": "checkout", "Qualifier": "$LATEST", "LogType": "Tail", "Payload": b"{}"},
            {"FunctionName": arn, "Payload": b'"' + b"x" * 5_000_000 + b'"'},
        ):
            answer = client.invoke(**values)
            assert answer["StatusCode"] == 200
            assert answer["Payload"].read() == values.get("Payload", b"")
        assert client.invoke(FunctionName="checkout", InvocationType="Event", Payload=b"{}")["StatusCode"] == 202


@pytest.mark.parametrize("size", [0, 2, 70_000, 3_000_000])
@pytest.mark.parametrize("is_declared", [False, True])
@pytest.mark.parametrize("form", ["header", "query"])
def test_the_body_is_verified_however_it_arrives(verified: Gateway, size: int, is_declared: bool, form: str) -> None:
    body = b'"' + b"x" * (size - 2) + b'"' if size else b""
    headers = {"X-Amz-Content-Sha256": sha256(body).hexdigest()} if is_declared else {}
    signing = signed(body=body, headers=headers, expires=60 if form == "query" else None)
    assert send(verified, signing.to_bytes()).status == 200
    with Wire(verified.port) as wire:  # head and body apart
        head, _, body = signing.to_bytes().partition(b"\r\n\r\n")
        wire.send(head + b"\r\n\r\n")
        assert wire.send(body).answer().body == body
    if not body:
        return
    changed = signing.to_bytes()[:-2] + b"y" + signing.to_bytes()[-1:]
    verified.until_idle()
    verified.forget()
    status, code, _ = refusal_of(send(verified, changed))
    assert (status, code) == (403, "InvalidSignatureException")
    assert verified.forwarded() == []


def test_a_chunked_body_is_verified(verified: Gateway) -> None:
    head, _, body = signed(body=b'{"a": 1}').to_bytes().partition(b"\r\n\r\n")
    head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head) + b"\r\n\r\n"
    assert send(verified, head + chunked(body[:3], body[3:])).body == body
    assert refusal_of(send(verified, head + chunked(body[:3], b"x", body[3:])))[1] == "InvalidSignatureException"


def test_a_wrong_signature_is_refused_before_the_body_is_judged(verified: Gateway) -> None:
    raw = signed(body=b"this is no JSON", secret="wrong").to_bytes()
    assert refusal_of(send(verified, raw))[1] == "InvalidSignatureException"


def test_all_but_the_hash_is_checked_before_the_body_is_read(verified: Gateway) -> None:
    raw = signed(body=b"x" * 5_000_000, key_id="AKIAUNKNOWN", headers={"Expect": "100-continue"}).to_bytes()
    with Wire(verified.port) as wire:
        answer = wire.send(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").answer()
    assert refusal_of(answer)[:2] == (403, "UnrecognizedClientException")


def test_a_preflight_needs_no_signature(verified: Gateway) -> None:
    lines = [f"OPTIONS {PATH} HTTP/1.1", "Host: gateway", "Origin: http://page", "Access-Control-Request-Method: POST"]
    assert send(verified, "\r\n".join([*lines, "", ""]).encode()).status == 204


def test_without_origins_in_the_settings_a_preflight_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALICE_SECRET", SECRET)
    lines = [f"OPTIONS {PATH} HTTP/1.1", "Host: gateway", "Origin: http://page", "Access-Control-Request-Method: POST"]
    with gateway(signatures="verify", callers={KEY_ID: CALLERS[KEY_ID]}) as started:
        answer = send(started, "\r\n".join([*lines, "", ""]).encode())
    assert refusal_of(answer)[:2] == (403, "MissingAuthenticationTokenException")


# ---- accounts --------------------------------------------------------------------------------------------------


def test_the_callers_account_is_that_of_its_arn(verified: Gateway) -> None:
    held = [Wire(verified.port).send(signed(path=f"{FUNCTIONS}/hold/invocations").to_bytes()) for _ in range(2)]
    verified.until_running(2)
    assert refusal_of(send(verified, signed().to_bytes()))[1] == "TooManyRequestsException"
    batch = signed(key_id="AKIABATCH", secret="another secret")
    assert send(verified, batch.to_bytes()).status == 200, "it has another account"
    assert refusal_of(send(verified, signed(secret="wrong").to_bytes()))[1] == "InvalidSignatureException"
    verified.release()
    for wire in held:
        assert wire.answer().status == 200
        wire.close()


@pytest.mark.parametrize("is_apart", [False, True])
def test_only_a_verified_caller_is_throttled(verified: Gateway, is_apart: bool) -> None:
    """A throttle would tell anybody that the account is busy, so a wrong signature is answered first."""
    held = [Wire(verified.port).send(signed(path=f"{FUNCTIONS}/hold/invocations").to_bytes()) for _ in range(2)]
    verified.until_running(2)
    head, _, body = signed(secret="wrong").to_bytes().partition(b"\r\n\r\n")
    with Wire(verified.port) as wire:
        if is_apart:
            wire.send(head + b"\r\n\r\n")
            assert wire.is_open(0.05)
            answer = wire.send(body).answer()
        else:
            answer = wire.send(head + b"\r\n\r\n" + body).answer()
    assert refusal_of(answer)[1] == "InvalidSignatureException"
    verified.release()
    for wire in held:
        assert wire.answer().status == 200
        wire.close()


def test_an_account_for_an_access_key_is_refused(verified: Gateway) -> None:
    assert error_of(verified, aws_access_key_id="111122223333") == "UnrecognizedClientException"


# ---- typed errors ----------------------------------------------------------------------------------------------


def test_boto3_raises_the_error_of_each_cause(verified: Gateway) -> None:
    assert error_of(verified, aws_secret_access_key="wrong") == "InvalidSignatureException"
    assert error_of(verified, aws_access_key_id="AKIAUNKNOWN") == "UnrecognizedClientException"
    assert error_of(verified, aws_session_token="unknown") == "UnrecognizedClientException"
    assert error_of(verified, config=Config(signature_version=UNSIGNED)) == "MissingAuthenticationTokenException"
    assert error_of(verified, region_name="eu-west-1") == "InvalidSignatureException"
    assert verified.forwarded() == []


def test_the_body_of_a_mismatch_is_that_of_aws_byte_for_byte(verified: Gateway) -> None:
    answer = send(verified, signed(secret="wrong").to_bytes())
    assert answer.header("content-length") == "192"
    assert answer.body == (
        b'{"message":"The request signature we calculated does not match the signature you provided. Check your AWS '
        b'Secret Access Key and signing method. Consult the service documentation for details."}'
    )


# ---- requests that are no invocation ---------------------------------------------------------------------------


def test_control_operations_and_all_others_are_verified_before_they_do_anything(verified: Gateway) -> None:
    put = {"path": "/2017-10-31/functions/f/concurrency", "body": b'{"ReservedConcurrentExecutions": 1}'}
    assert refusal_of(send(verified, signed("PUT", **put, secret="wrong").to_bytes()))[1] == "InvalidSignatureException"
    assert send(verified, signed("PUT", **put).to_bytes()).json == {"ReservedConcurrentExecutions": 1}
    delete = signed("DELETE", "/2017-10-31/functions/f/concurrency", body=b"")
    assert send(verified, delete.to_bytes()).status == 204
    verified.forget()
    create = {"path": FUNCTIONS, "body": b"x" * 300_000}
    raw = signed(**create).to_bytes()
    assert refusal_of(send(verified, raw[:-1] + b"y"))[1] == "InvalidSignatureException"
    assert verified.forwarded() == []
    assert send(verified, raw).body == create["body"]
    (call,) = verified.forwarded()
    assert call.body == create["body"]
