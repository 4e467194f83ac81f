"""Assert that a verified caller does only what policies allow: at the wire, with boto3, in two accounts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.signing import KEY_ID, SECRET, sign
from tests.support.sockets import Gateway, Wire, gateway

ALICE, BOB = "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::444455556666:user/bob"
ROOT_ARN = "arn:aws:iam::111122223333:root"
HERE = "arn:aws:lambda:us-east-1:111122223333:function"
SHOP = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": [f"{HERE}:checkout*", f"{HERE}:report"]}
ALICES = {
    "Version": "2012-10-17",
    "Statement": [
        SHOP,
        {"Sid": "NoRefunds", "Effect": "Deny", "Action": "*", "Resource": f"{HERE}:checkout-refund"},
        {
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": f"{HERE}:dry",
            "Condition": {"StringEquals": {"lambda:InvocationType": "DryRun"}},
        },
        {
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": f"{HERE}:elsewhere",
            "Condition": {"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}},
        },
        {"Effect": "Allow", "Action": "lambda:GetFunction", "Resource": "*"},
    ],
}
BOBS = {"Version": "2012-10-17", "Statement": [{**SHOP, "Resource": "*"}]}
CHECKOUTS = {
    "Version": "2012-10-17",
    "Statement": [
        {**SHOP, "Principal": {"AWS": BOB}, "Resource": f"{HERE}:checkout"},
        {"Effect": "Deny", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": f"{HERE}:checkout:9"},
    ],
}
CALLERS = {
    KEY_ID: {"secret": "env:SECRET_OF_ALL", "arn": ALICE},
    ALICE: {"policies": [ALICES]},
    "AKIABOB": {"secret": "env:SECRET_OF_ALL", "arn": BOB, "policies": [BOBS]},
    "AKIAROOT": {"secret": "env:SECRET_OF_ALL", "arn": ROOT_ARN},
}
ACCOUNTS = {
    "default": {"requests_per_second": "off"},
    "111122223333": {"requests_per_second": "off", "functions": {"checkout": {"resource_policy": CHECKOUTS}}},
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_OF_ALL", SECRET)
        settings = {"signatures": "verify", "callers": CALLERS, "accounts": ACCOUNTS}
        with gateway(**settings, control={"check_existence": False}) as started:
            yield started


@pytest.fixture
def started(shared: Gateway) -> Iterator[Gateway]:
    shared.forget()
    yield shared
    shared.until_idle()


@contextlib.contextmanager
def client_of(to: Gateway, key_id: str = KEY_ID) -> Iterator[Any]:
    client = boto3.client(
        "lambda",
        endpoint_url=to.url,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 0}),
    )
    with contextlib.closing(client):
        yield client


def denial(to: Gateway, key_id: str, operation: str, **values: Any) -> str:
    """Returns the text of a denial, after which the backend has seen nothing."""
    with client_of(to, key_id) as client, pytest.raises(ClientError) as raised:
        getattr(client, operation)(**values)
    answer = raised.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert answer["Error"]["Code"] == "AccessDeniedException"
    assert to.forwarded() == []
    return str(answer["Error"]["Message"])


def start_of(user: str, function: str, action: str = "lambda:InvokeFunction") -> str:
    return f"User: {user} is not authorized to perform: {action} on resource: {HERE}:{function} "


# ---- the caller's own account ----------------------------------------------------------------------------------


def test_a_caller_invokes_what_its_policy_allows(started: Gateway) -> None:
    with client_of(started) as client:
        for name in ("checkout", "checkout:prod", "report", f"{HERE}:checkout-2"):
            assert client.invoke(FunctionName=name, Payload=b"{}")["StatusCode"] == 200
        assert client.invoke(FunctionName="checkout", InvocationType="Event", Payload=b"{}")["StatusCode"] == 202
        streamed = client.invoke_with_response_stream(FunctionName="checkout", Payload=b"{}")
        assert streamed["StatusCode"] == 200
        streamed["EventStream"].close()
        client.invoke_async(FunctionName="checkout", InvokeArgs=b"{}")


@pytest.mark.parametrize("values", [{}, {"InvocationType": "Event"}, {"Payload": b'"' + b"x" * 3_000_000 + b'"'}])
def test_a_call_that_no_policy_allows_gets_awss_text(started: Gateway, values: dict[str, Any]) -> None:
    assert denial(started, KEY_ID, "invoke", FunctionName="other", **values) == (
        start_of(ALICE, "other") + "because no identity-based policy allows the lambda:InvokeFunction action"
    )


def test_the_resource_is_the_function_as_called(started: Gateway) -> None:
    for name in ("report:1", f"{HERE}:report:1"):
        assert denial(started, KEY_ID, "invoke", FunctionName=name).startswith(start_of(ALICE, "report:1"))
    text = denial(started, KEY_ID, "invoke", FunctionName="report", Qualifier="$LATEST")
    assert text.startswith(start_of(ALICE, "report:$LATEST"))


def test_an_explicit_deny_wins(started: Gateway) -> None:
    text = denial(started, KEY_ID, "invoke", FunctionName="checkout-refund")
    assert text == start_of(ALICE, "checkout-refund") + "with an explicit deny in an identity-based policy"
    text = denial(started, KEY_ID, "invoke", FunctionName="checkout", Qualifier="9")
    assert text == start_of(ALICE, "checkout:9") + "with an explicit deny in a resource-based policy"


def test_a_dry_run_is_answered_as_the_call_would_be(started: Gateway) -> None:
    with client_of(started) as client:
        assert client.invoke(FunctionName="dry", InvocationType="DryRun")["ResponseMetadata"]["HTTPStatusCode"] != 403
    started.until_idle()
    started.forget()
    denial(started, KEY_ID, "invoke", FunctionName="dry")
    denial(started, KEY_ID, "invoke", FunctionName="other", InvocationType="DryRun")


def test_conditions_read_the_address_of_the_client(started: Gateway) -> None:
    denial(started, KEY_ID, "invoke", FunctionName="elsewhere")


def test_a_caller_without_policies_does_everything_in_its_own_account(started: Gateway) -> None:
    with client_of(started, "AKIAROOT") as client:
        assert client.invoke(FunctionName="other", Payload=b"{}")["StatusCode"] == 200
        assert client.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=1)
    text = denial_after(started, "AKIAROOT", FunctionName=f"{HERE.replace('1111', '9999')}:f")
    assert "because no resource-based policy allows" in text


def denial_after(to: Gateway, key_id: str, **values: Any) -> str:
    to.until_idle()
    to.forget()
    return denial(to, key_id, "invoke", **values)


# ---- two accounts ----------------------------------------------------------------------------------------------


def test_across_accounts_both_policies_must_allow(started: Gateway) -> None:
    with client_of(started, "AKIABOB") as client:
        assert client.invoke(FunctionName=f"{HERE}:checkout", Payload=b"{}")["StatusCode"] == 200
        assert client.invoke(FunctionName="own", Payload=b"{}")["StatusCode"] == 200
    for function in ("checkout:prod", "report"):
        text = denial_after(started, "AKIABOB", FunctionName=f"{HERE}:{function}")
        end = "because no resource-based policy allows the lambda:InvokeFunction action"
        assert text == start_of(BOB, function) + end


def test_logs_of_another_account_are_refused(started: Gateway) -> None:
    text = denial_after(started, "AKIABOB", FunctionName=f"{HERE}:checkout", LogType="Tail")
    assert text == "Cross-account log access is not allowed"
    with client_of(started, "AKIABOB") as client:
        assert client.invoke(FunctionName="own", LogType="Tail", Payload=b"{}")["StatusCode"] == 200


# ---- other operations ------------------------------------------------------------------------------------------


def test_each_other_operation_has_an_action_of_its_own(started: Gateway) -> None:
    text = denial(started, KEY_ID, "put_function_concurrency", FunctionName="checkout", ReservedConcurrentExecutions=1)
    assert text.startswith(start_of(ALICE, "checkout", "lambda:PutFunctionConcurrency"))
    text = denial(started, KEY_ID, "delete_function", FunctionName="checkout", Qualifier="1")
    assert text.startswith(start_of(ALICE, "checkout:1", "lambda:DeleteFunction"))
    text = denial(started, KEY_ID, "list_aliases", FunctionName="checkout:1")
    assert text.startswith(start_of(ALICE, "checkout", "lambda:ListAliases"))
    assert "on resource: * because" in denial(started, KEY_ID, "list_functions")
    with client_of(started) as client, contextlib.suppress(ClientError):
        client.get_function(FunctionName="checkout")
    assert len(started.forwarded()) == 1


@pytest.mark.parametrize("path", ["/", "//2015-03-31/functions/checkout", "/2015-03-31/functions/checkout/x"])
def test_an_operation_that_is_not_known_needs_all_actions(started: Gateway, path: str) -> None:
    request = sign("GET", path, body=b"", at=datetime.now(UTC))
    with Wire(started.port) as wire:
        answer = wire.send(request.to_bytes()).answer()
    assert answer.status == 403
    assert "is not authorized to perform: lambda:* on resource: * " in json.loads(answer.body)["Message"]
    assert started.forwarded() == []


def test_a_qualifier_that_backends_may_read_in_two_ways_is_refused(started: Gateway) -> None:
    """Else a backend could run another version than the one that was allowed."""
    request = sign(query="Qualifier=1&Qualifier=2", at=datetime.now(UTC))
    with Wire(started.port) as wire:
        answer = wire.send(request.to_bytes()).answer()
    assert answer.status == 400
    assert started.forwarded() == []


@pytest.mark.parametrize("query", ["Qualifier=prod", "qualifier=prod"])
def test_invokeasync_with_a_qualifier_is_refused(started: Gateway, query: str) -> None:
    """It has no such parameter, so a backend would run the function of another resource."""
    request = sign(path="/2014-11-13/functions/checkout/invoke-async", query=query, at=datetime.now(UTC))
    with Wire(started.port) as wire:
        answer = wire.send(request.to_bytes()).answer()
    assert answer.status == 400
    assert started.forwarded() == []


def test_nothing_is_decided_before_the_signature_is_verified(started: Gateway) -> None:
    request = sign(path="/2015-03-31/functions/other/invocations", secret="wrong", at=datetime.now(UTC))
    with Wire(started.port) as wire:
        answer = wire.send(request.to_bytes()).answer()
    assert b"AccessDenied" not in answer.body
    assert answer.status == 403
