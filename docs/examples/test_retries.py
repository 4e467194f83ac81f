"""How code that calls Lambda behaves when Lambda throttles it.

Needs the wheel of the gateway, pytest and boto3, and nothing else: the gateway starts on its embedded demo functions.
"""

from contextlib import closing

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import IncompleteReadError, ResponseStreamingError


def make_client(gateway):
    """boto3's Lambda client as an application would make it: at most three attempts."""
    retries = {"mode": "standard", "total_max_attempts": 3}
    return boto3.client("lambda", **gateway.client_settings, config=Config(retries=retries))


@pytest.fixture
def client(invoke_gateway):
    with closing(make_client(invoke_gateway)) as client:
        yield client


def test_a_call_that_stays_throttled_is_given_up_after_three_attempts(invoke_gateway, client):
    with invoke_gateway.hold_all(), pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke(FunctionName="echo", Payload=b"{}")
    response = caught.value.response
    assert response["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert response["ResponseMetadata"]["RetryAttempts"] == 2


def test_a_busy_reservation_throttles_its_own_function_only(make_invoke_gateway):
    gateway = make_invoke_gateway(concurrent_executions=10, reserve={"echo": 2})
    with closing(make_client(gateway)) as client:
        with gateway.hold("echo", slots=2):
            with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
                client.invoke(FunctionName="echo", Payload=b"1")
            assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
            assert client.invoke(FunctionName="blob", Payload=b'{"bytes": 5}')["Payload"].read() == b'"xxx"'
        assert client.invoke(FunctionName="echo", Payload=b"1")["Payload"].read() == b"1"
    assert gateway.in_flight() == 0


def test_the_third_attempt_succeeds_after_two_throttles(invoke_gateway, client):
    throttled = {"error": "TooManyRequestsException", "reason": "ReservedFunctionInvocationRateLimitExceeded"}
    fault = invoke_gateway.fault("echo", {**throttled, "repeat": 2})
    answer = client.invoke(FunctionName="echo", Payload=b'"hello"')
    assert answer["Payload"].read() == b'"hello"'
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2
    assert fault.is_over


def test_an_error_that_is_the_callers_own_is_not_tried_again(invoke_gateway, client):
    with invoke_gateway.fault("echo", {"error": "ResourceConflictException", "repeat": 2}) as fault:
        with pytest.raises(client.exceptions.ResourceConflictException):
            client.invoke(FunctionName="echo", Payload=b"{}")
        assert fault.calls == 1


def test_a_response_that_is_cut_is_an_error_of_the_reader(invoke_gateway, client):
    invoke_gateway.fault("blob", {"cut_after_bytes": 40_960})
    answer = client.invoke(FunctionName="blob", Payload=b'{"bytes": 100000}')
    with pytest.raises((ResponseStreamingError, IncompleteReadError)):
        answer["Payload"].read()
