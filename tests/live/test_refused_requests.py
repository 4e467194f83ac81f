"""Requests that are wrong in themselves, as real clients send them and as they parse the refusal."""

import pytest

from tests.live.clients import Client, Connect, Outcome, event_of
from tests.live.servers import Gateway

REQUEST_QUOTA = 6_291_456  # bytes
EVENT_QUOTA = 1_048_576  # bytes
TOO_LARGE = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


def assert_refused(outcome: Outcome, status: int, error: str, message: str) -> None:
    """The refusal has this code and text; the status is known of clients that show it."""
    assert (outcome.error, outcome.message) == (error, message)
    assert outcome.status in (status, None)


def test_a_body_of_exactly_the_request_quota_passes(client: Client) -> None:
    """All 6,291,456 bytes reach the function."""
    outcome = client.invoke("probe", event_of(REQUEST_QUOTA))

    assert outcome.status == 200, outcome
    assert outcome.json["padding"] == len(event_of(REQUEST_QUOTA)) - len(event_of(0))


def test_one_byte_over_the_request_quota_is_refused(client: Client) -> None:
    """The client has sent its 6 MiB and still reads the refusal, as the class its model has for it."""
    outcome = client.invoke("probe", event_of(REQUEST_QUOTA + 1))

    assert_refused(outcome, 413, "RequestTooLargeException", TOO_LARGE)
    assert outcome.is_modelled is not False


def test_one_byte_over_the_request_quota_can_be_refused_as_aws_was_seen_to(
    connect: Connect, observed_gateway: Gateway
) -> None:
    """With payload_error as_observed the code is the one that no SDK has a class for."""
    outcome = connect(observed_gateway.url).invoke("probe", event_of(REQUEST_QUOTA + 1))

    assert_refused(outcome, 413, "RequestEntityTooLargeException", TOO_LARGE)
    assert outcome.is_modelled is not True


def test_an_event_of_exactly_its_quota_is_accepted(client: Client) -> None:
    """1,048,576 bytes is what an asynchronous call may carry."""
    outcome = client.invoke("probe", event_of(EVENT_QUOTA), invocation_type="Event")

    assert (outcome.status, outcome.error) == (202, None)


def test_an_event_one_byte_over_its_quota_is_refused(client: Client) -> None:
    """The text names the bytes that were sent and the limit."""
    outcome = client.invoke("probe", event_of(EVENT_QUOTA + 1), invocation_type="Event")

    text = "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    assert_refused(outcome, 413, "RequestTooLargeException", text)


def test_a_body_that_is_not_json_is_refused(client: Client) -> None:
    """MiniStack would run it with an empty event; the gateway refuses it as AWS does."""
    outcome = client.invoke("probe", b'{"half":')

    assert outcome.error == "InvalidRequestContentException"
    assert outcome.is_modelled is not False
    assert (outcome.status, outcome.type) == (400, "User")
    assert outcome.message is not None
    assert outcome.message.startswith("Could not parse request body into json: Could not parse payload into json: ")


def test_a_name_outside_the_pattern_is_refused(client: Client) -> None:
    """The text quotes the name and the pattern; the exception is in no SDK's model."""
    outcome = client.invoke("no such name")

    assert outcome.error == "ValidationException"
    assert outcome.is_modelled is not True
    assert (outcome.status, outcome.type) == (400, None)
    assert outcome.message is not None
    assert outcome.message.startswith(
        "1 validation error detected: Value 'no such name' at 'functionName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: "
    )


def test_all_mistakes_of_a_request_are_told_together(client: Client) -> None:
    """A bad name and an overlong qualifier make one message with two parts."""
    outcome = client.invoke("no such name", qualifier="q" * 129)

    assert outcome.error == "ValidationException"
    assert outcome.message is not None
    assert outcome.message.startswith("2 validation errors detected: ")
    assert "at 'qualifier' failed to satisfy constraint: Member must have length less than or equal to 128" in (
        outcome.message
    )


@pytest.mark.parametrize("name", ["probe:1", "arn:aws:lambda:us-east-1:000000000000:function:probe:1"])
def test_a_qualifier_that_contradicts_the_name_is_refused(client: Client, name: str) -> None:
    """The version in the name and the one in the query must agree."""
    outcome = client.invoke(name, qualifier="2")

    text = "The derived qualifier from the function name does not match the specified qualifier."
    assert_refused(outcome, 400, "InvalidParameterValueException", text)
    assert outcome.is_modelled is not False


def test_a_function_of_another_region_is_out_of_reach(client: Client) -> None:
    """One gateway serves one Region."""
    outcome = client.invoke("arn:aws:lambda:eu-west-1:000000000000:function:probe")

    text = "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    assert_refused(outcome, 404, "ResourceNotFoundException", text)
    assert outcome.is_modelled is not False
