"""How code that leaves work to Lambda fares when that work fails, is throttled, or is not taken.

Needs the wheel of the gateway, pytest and boto3, and nothing else: the gateway starts on its embedded demo functions.
"""

import json
from contextlib import closing

import boto3
import pytest
from botocore.config import Config


@pytest.fixture
def told(tmp_path):
    """The file that dead letters and records are written into."""
    return tmp_path / "told.jsonl"


def leave(gateway, function, payload):
    """Hand an event over, as an application would: it does not wait for the function."""
    once = Config(retries={"total_max_attempts": 1})
    with closing(boto3.client("lambda", **gateway.client_settings, config=once)) as client:
        client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(payload))


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_what_fails_three_times_is_a_dead_letter(make_invoke_gateway, told):
    functions = {"fail": {"dead_letter_queue": f"file://{told}", "on_failure": f"file://{told}"}}
    gateway = make_invoke_gateway(accounts={"default": {"functions": functions}})
    leave(gateway, "fail", {"order": 17})
    gateway.settle_events()
    letter, failure = read(told)
    assert json.loads(letter["body"]) == {"order": 17}
    assert letter["attributes"]["ErrorMessage"] == "The function fail fails."
    assert failure["record"]["requestContext"]["condition"] == "RetriesExhausted"
    assert failure["record"]["requestContext"]["approximateInvokeCount"] == 3


def test_what_finds_no_slot_is_run_later_and_loses_no_attempt(make_invoke_gateway, told):
    functions = {"echo": {"on_success": f"file://{told}"}}
    gateway = make_invoke_gateway(reserve={"echo": 1}, accounts={"default": {"functions": functions}})
    with gateway.hold_all("echo"):
        leave(gateway, "echo", {"order": 18})
    gateway.settle_events()
    (success,) = read(told)
    assert success["record"]["responsePayload"] == {"order": 18}
    assert success["record"]["requestContext"]["approximateInvokeCount"] == 1


def test_a_retry_that_would_come_too_late_is_none(make_invoke_gateway, told):
    functions = {"fail": {"maximum_event_age_seconds": 60, "on_failure": f"file://{told}"}}
    gateway = make_invoke_gateway(
        accounts={"default": {"functions": functions}}, async_={"function_error_delays_seconds": [60, 120]}
    )
    leave(gateway, "fail", {"order": 19})
    gateway.settle_events()
    (failure,) = read(told)
    assert failure["record"]["requestContext"]["condition"] == "EventAgeExceeded"


def test_what_is_not_taken_stays_with_the_caller(invoke_gateway):
    with (
        invoke_gateway.fault("echo", {"error": "ServiceException"}),
        pytest.raises(Exception, match="ServiceException"),
    ):
        leave(invoke_gateway, "echo", {"order": 20})
