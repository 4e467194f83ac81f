"""Rules of asynchronous invocations by Lambda's operations, and that the queue follows them.

Texts of errors are AWS's, as LocalStack recorded them (eventinvokeconfig_lifecycle, eventinvokeconfig_exceptions).
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest

from tests.control.conftest import ACCOUNT, read_refusal
from tests.support.lambda_backend import ControlGateway, LambdaBackend, arn_of, control_gateway
from tests.support.sockets import invoke

ECHO = {"FunctionName": "echo"}
INVALID = "InvalidParameterValueException"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:letters"


def without_metadata(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("ResponseMetadata", "LastModified")}


def test_put_replaces_everything_update_merges_and_unset_members_are_absent(
    served: ControlGateway, client: Any
) -> None:
    put = client.put_function_event_invoke_config(**ECHO, MaximumRetryAttempts=0)
    nothing: dict[str, Any] = {"OnSuccess": {}, "OnFailure": {}}
    assert without_metadata(put) == {
        "FunctionArn": arn_of("echo", "$LATEST"),
        "MaximumRetryAttempts": 0,
        "DestinationConfig": nothing,
    }
    assert put["LastModified"].year > 2000
    destination = {"OnFailure": {"Destination": arn_of("other")}}
    updated = client.update_function_event_invoke_config(
        **ECHO, MaximumEventAgeInSeconds=60, DestinationConfig=destination
    )
    assert without_metadata(updated) == {
        "FunctionArn": arn_of("echo", "$LATEST"),
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnSuccess": {}, **destination},
    }
    assert without_metadata(client.get_function_event_invoke_config(**ECHO)) == without_metadata(updated)
    removed = client.update_function_event_invoke_config(**ECHO, DestinationConfig={"OnFailure": {"Destination": ""}})
    assert removed["DestinationConfig"] == nothing
    replaced = client.put_function_event_invoke_config(**ECHO, MaximumEventAgeInSeconds=90)
    assert "MaximumRetryAttempts" not in replaced


def test_each_qualifier_has_rules_of_its_own(served: ControlGateway, client: Any) -> None:
    client.put_function_event_invoke_config(**ECHO, MaximumRetryAttempts=0)
    client.put_function_event_invoke_config(FunctionName=arn_of("echo", "prod"), MaximumRetryAttempts=1)
    client.put_function_event_invoke_config(**ECHO, Qualifier="2", MaximumEventAgeInSeconds=60)
    rows = client.list_function_event_invoke_configs(**ECHO)["FunctionEventInvokeConfigs"]
    assert [row["FunctionArn"] for row in rows] == [arn_of("echo", name) for name in ("$LATEST", "2", "prod")]
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(
        **ECHO, PaginationConfig={"PageSize": 1}
    )
    assert [len(page["FunctionEventInvokeConfigs"]) for page in pages] == [1, 1, 1]
    rules = served.server.gateway.tables.event_rules
    attempts = {name: rules.of("000000000000", "echo", name) for name in ("$LATEST", "prod", "2", "3")}
    assert {name: each.maximum_retry_attempts for name, each in attempts.items()} == {
        "$LATEST": 0,
        "prod": 1,
        "2": 2,
        "3": 2,
    }
    assert attempts["2"].maximum_event_age_seconds == 60
    client.delete_function_event_invoke_config(**ECHO, Qualifier="prod")
    text = f"The function {arn_of('echo', 'prod')} doesn't have an EventInvokeConfig"
    for call in (client.get_function_event_invoke_config, client.delete_function_event_invoke_config):
        assert read_refusal(call, **ECHO, Qualifier="prod") == (
            404,
            "ResourceNotFoundException",
            {"Type": "User", "Message": text},
        )


def test_what_is_missing_has_aws_texts(served: ControlGateway, client: Any) -> None:
    missing = {"FunctionName": "missing"}
    code = "ResourceNotFoundException"
    text = f"The function {arn_of('missing', '$LATEST')} doesn't have an EventInvokeConfig"
    never = {"Type": "User", "Message": text}
    assert read_refusal(client.get_function_event_invoke_config, **missing) == (404, code, never)
    gone = {"Type": "User", "Message": "The function doesn't exist."}
    put = client.put_function_event_invoke_config
    for named in (missing, {**ECHO, "Qualifier": "nope"}, {**ECHO, "Qualifier": "99"}):
        assert read_refusal(put, **named, MaximumRetryAttempts=1) == (404, code, gone)
    assert read_refusal(client.list_function_event_invoke_configs, **missing) == (404, code, gone)
    update = client.update_function_event_invoke_config
    text = f"The function {arn_of('echo', '$LATEST')} doesn't have an EventInvokeConfig"
    assert read_refusal(update, **ECHO, MaximumRetryAttempts=1)[2]["Message"] == text


def test_at_least_one_member_must_be_given_also_for_a_missing_function(served: ControlGateway, client: Any) -> None:
    text = "You must specify at least one of error handling or destination setting."
    for call in (client.put_function_event_invoke_config, client.update_function_event_invoke_config):
        assert read_refusal(call, FunctionName="missing") == (400, INVALID, {"Type": "User", "message": text})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"MaximumRetryAttempts": 3}', "Value '3' at 'maximumRetryAttempts' .*less than or equal to 2"),
        (b'{"MaximumRetryAttempts": -1}', "Value '-1' at 'maximumRetryAttempts' .*greater than or equal to 0"),
        (b'{"MaximumEventAgeInSeconds": 59}', "Value '59' at 'maximumEventAgeInSeconds' .*greater than or equal to 60"),
        (b'{"MaximumEventAgeInSeconds": 21601}', "Value '21601' at .* less than or equal to 21600"),
    ],
)
def test_numbers_have_bounds(served: ControlGateway, body: bytes, text: str) -> None:
    path = "/2019-09-25/functions/echo/event-invoke-config"
    answer = served.send(invoke(path=path, body=body, method="PUT"))
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "ValidationException")
    assert re.search(f"^1 validation error detected: {text}$", answer.json["message"])


@pytest.mark.parametrize(
    ("destination", "code", "text"),
    [
        (arn_of("echo"), INVALID, "You can't specify the function as a destination for itself."),
        (arn_of("echo", "2"), INVALID, "You can't specify the function as a destination for itself."),
        (arn_of("gone"), INVALID, f"The destination ARN {arn_of('gone')} is invalid."),
        ("not-an-arn", "ValidationException", "'destinationConfig.onFailure.destination' failed to satisfy"),
        (QUEUE, INVALID, f"The gateway cannot deliver to the destination {QUEUE}: .* control.sqs_endpoint"),
        ("arn:aws:sns:us-east-1:000000000000:topic", INVALID, "functions and SQS queues, and not to 'sns'"),
        ("arn:aws:events:us-east-1:000000000000:event-bus/b", INVALID, "and not to 'events'"),
        ("kafka://topic", INVALID, "and not to 'kafka'"),
    ],
)
def test_a_destination_that_is_none_or_cannot_be_reached_is_refused(
    served: ControlGateway, client: Any, destination: str, code: str, text: str
) -> None:
    config = {"OnFailure": {"Destination": destination}}
    _, found, members = read_refusal(client.put_function_event_invoke_config, **ECHO, DestinationConfig=config)
    assert found == code
    assert re.search(text.replace("(", r"\(").replace("$", r"\$"), members["message"]), members
    assert served.state.accounts == {}


def test_the_settings_win_and_a_queue_is_reached_at_their_endpoint() -> None:
    function = {"maximum_retry_attempts": 1, "dead_letter_queue": "function:hold"}
    accounts = {"default": {**ACCOUNT, "functions": {"echo": function}}}
    control = {"sqs_endpoint": "http://127.0.0.1:4566/"}
    backend = LambdaBackend("echo", "other")
    with (
        control_gateway(backend, accounts=accounts, control=control) as served,
        closing(served.boto3()) as client,
    ):
        assert client.get_function_event_invoke_config(**ECHO)["MaximumRetryAttempts"] == 1
        put = client.put_function_event_invoke_config
        status, code, members = read_refusal(put, **ECHO, MaximumRetryAttempts=0)
        assert (status, code) == (409, "ResourceConflictException")
        assert members["message"] == "maximum_retry_attempts of echo is set in the settings. Change it there."
        delete = client.delete_function_event_invoke_config
        assert read_refusal(delete, **ECHO)[0] == 409
        answer = put(**ECHO, DestinationConfig={"OnSuccess": {"Destination": QUEUE}})
        assert answer["MaximumRetryAttempts"] == 1  # of the settings
        rules = served.server.gateway.tables.event_rules.of("000000000000", "echo", "$LATEST")
        assert rules.maximum_retry_attempts == 1
        assert rules.targets.dead_letter_queue == "function:hold"
        assert rules.targets.on_success == "sqs+http://127.0.0.1:4566/000000000000/letters"


def test_the_queue_follows_the_rules_of_the_invoked_qualifier(served: ControlGateway, client: Any) -> None:
    """A destination that an operation has set receives the record of an event."""
    destination = {"OnSuccess": {"Destination": arn_of("other")}}
    client.put_function_event_invoke_config(**ECHO, Qualifier="prod", DestinationConfig=destination)
    served.forget()
    client.invoke(**ECHO, InvocationType="Event", Payload=b'{"by": "latest"}')
    client.invoke(**ECHO, Qualifier="prod", InvocationType="Event", Payload=b'{"by": "prod"}')
    served.until_no_events()
    bodies = {
        call.target.split(b"/")[3].split(b"%3A")[-1]: call.body
        for call in served.forwarded()
        if b"/invocations" in call.target and b"other" in call.target
    }
    assert list(bodies) == [b"other"]
    assert b'"requestPayload":{"by": "prod"}' in bodies[b"other"].replace(b'": {', b'":{')
