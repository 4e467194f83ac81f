"""Operations that the backend answers: the gateway edits GetFunction's answer, and drops the state of what is gone."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.support.lambda_backend import ControlGateway, LambdaBackend, arn_of, control_gateway
from tests.support.sockets import invoke


@pytest.mark.parametrize("slots", [0, 4])
def test_get_function_shows_the_gateways_reservation_also_of_0(served: ControlGateway, client: Any, slots: int) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=slots)
    found = client.get_function(FunctionName="echo")
    assert found["Concurrency"] == {"ReservedConcurrentExecutions": slots}
    assert found["Configuration"]["FunctionName"] == "echo"


def test_without_a_reservation_here_the_backends_is_removed(served: ControlGateway, client: Any) -> None:
    assert "Concurrency" not in client.get_function(FunctionName="echo")


@pytest.mark.parametrize("where", ["query", "name"])
def test_with_a_qualifier_there_is_no_concurrency(served: ControlGateway, client: Any, where: str) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=4)
    named = {"FunctionName": "echo", "Qualifier": "1"} if where == "query" else {"FunctionName": arn_of("echo", "1")}
    assert "Concurrency" not in client.get_function(**named)


def test_every_other_byte_of_the_answer_is_the_backends(served: ControlGateway) -> None:
    served.functions.concurrency = None
    answer = served.send(invoke(path="/2015-03-31/functions/echo", method="GET", length=False))
    assert b'"Odd": 100.0' in answer.body  # as the backend wrote it, with its blank
    assert answer.header("content-length") == str(len(answer.body))


def test_an_error_of_the_backend_passes_as_it_is(served: ControlGateway) -> None:
    answer = served.send(invoke(path="/2015-03-31/functions/gone", method="GET", length=False))
    assert (answer.status, answer.header("x-amzn-errortype")) == (404, "ResourceNotFoundException")


def test_a_deleted_function_loses_its_state_and_a_new_one_starts_clean(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
    client.delete_function(FunctionName="echo")
    assert served.state.accounts == {}
    assert served.send(invoke("echo")).status == 200


def test_a_delete_that_the_backend_refuses_keeps_the_state(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
    del served.functions.functions["echo"]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.delete_function(FunctionName="echo")
    assert served.state.function("000000000000", "echo").reserved_concurrent_executions == 0


def test_a_deleted_version_keeps_the_functions_reservation(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
    client.delete_function(FunctionName="echo", Qualifier="2")
    assert served.state.function("000000000000", "echo").reserved_concurrent_executions == 0


def test_a_created_function_starts_clean_also_where_its_end_was_not_seen(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
    del served.functions.functions["echo"]  # past the gateway
    client.create_function(
        FunctionName="echo", Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": b"x"}, Handler="h", Runtime="r"
    )
    assert served.state.accounts == {}


def test_a_function_is_found_as_soon_as_it_exists_and_missed_as_soon_as_it_is_deleted(
    served: ControlGateway, client: Any
) -> None:
    for _ in range(2):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.put_function_concurrency(FunctionName="late", ReservedConcurrentExecutions=1)
    served.functions.functions["late"] = []
    client.put_function_concurrency(FunctionName="late", ReservedConcurrentExecutions=1)
    client.delete_function(FunctionName="late")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.put_function_concurrency(FunctionName="late", ReservedConcurrentExecutions=1)


def test_without_the_check_any_name_may_be_set() -> None:
    with (
        control_gateway(LambdaBackend(), control={"check_existence": False}) as served,
        closing(served.boto3()) as client,
    ):
        client.put_function_concurrency(FunctionName="any", ReservedConcurrentExecutions=0)
        assert served.functions.asked == []
        assert served.send(invoke("any")).status == 429


def test_a_backend_without_the_operation_is_named_with_the_setting(served: ControlGateway, client: Any) -> None:
    served.functions.answer = _answer_as_emulator  # type: ignore[method-assign]
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_function_concurrency(FunctionName="unasked", ReservedConcurrentExecutions=0)
    text = caught.value.response["Error"]["Message"]
    assert "GetFunction with status 404" in text
    assert "control.check_existence: false" in text


def _answer_as_emulator(call: Any) -> bool:
    """AWS's Runtime Interface Emulator has one path, and its own 404 for all others."""
    call.answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
    return True
