"""The AWS CLI sends every operation to the gateway, and prints what boto3 returns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from botocore import xform_name

from invoke_gateway.control.export import describe_function
from tests.control.test_contract import CALLS, ECHO, MODEL, PROD, Step
from tests.support.aws_cli import make_aws_cli
from tests.support.lambda_backend import ControlGateway, arn_of
from tests.support.processes import bare_environment

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def driver(module_gateway: ControlGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One AWS CLI for all commands: its start takes longer than a command."""
    environment = bare_environment(tmp_path_factory.mktemp("cli")) | {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": module_gateway.url,
        "AWS_MAX_ATTEMPTS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        yield make_aws_cli(patch, environment)


@pytest.fixture
def cli(served: ControlGateway, driver: Any, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `aws lambda …` in this process, and returns its exit status, what it prints, and its errors."""

    def run(*words: str) -> tuple[int, str, str]:
        status = driver.main(["lambda", *words])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def write_words(step: Step) -> list[str]:
    """Returns the words of a call: the command, and a flag for each argument."""
    method, arguments = step
    words = [method.replace("_", "-")]
    for name, value in arguments.items():
        words += [f"--{xform_name(name, '-')}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


def without_times(document: Any) -> Any:
    """Returns a document of the CLI or of boto3 with a word for each time, which differs between two calls."""
    if isinstance(document, dict):
        shown = {name: value for name, value in document.items() if name != "ResponseMetadata"}
        return {name: "a time" if name == "LastModified" else without_times(value) for name, value in shown.items()}
    return [without_times(one) for one in document] if isinstance(document, list) else document


@pytest.mark.parametrize(("call", "before"), CALLS, ids=[call[0] for call, _ in CALLS])
def test_the_cli_prints_what_boto3_returns(
    served: ControlGateway, client: Any, cli: Cli, call: Step, before: list[Step]
) -> None:
    for step in before:
        assert cli(*write_words(step))[0] == 0, step
    status, printed, _ = cli(*write_words(call))
    assert status == 0
    by_cli = served.state
    served.reset(served.functions)
    for method, arguments in before:
        getattr(client, method)(**arguments)
    method, arguments = call
    returned = getattr(client, method)(**arguments)
    document = json.loads(printed) if printed.strip() else {}
    assert without_times(document) == without_times(returned)
    assert describe(by_cli) == describe(served.state)


def describe(state: Any) -> Any:
    """Returns what is set, without the times."""
    return {
        account: {name: describe_function(function) for name, function in functions.items()}
        for account, functions in state.accounts.items()
    }


REFUSED: list[tuple[Step, str, str]] = [
    (
        ("put_function_concurrency", {"FunctionName": "missing", "ReservedConcurrentExecutions": 1}),
        "ResourceNotFoundException",
        f"Function not found: {arn_of('missing')}:$LATEST",
    ),
    (
        ("put_function_concurrency", {**ECHO, "ReservedConcurrentExecutions": 101}),
        "InvalidParameterValueException",
        "below its minimum value of [100].",
    ),
    (("delete_function_concurrency", {"FunctionName": arn_of("echo", "1")}), "InvalidParameterValueException", "ARN."),
    (
        ("get_provisioned_concurrency_config", PROD),
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    ),
    (
        ("put_provisioned_concurrency_config", {**PROD, "ProvisionedConcurrentExecutions": 101}),
        "InvalidParameterValueException",
        "decreases account's UnreservedConcurrentExecution below its minimum value of [100].",
    ),
    (("get_function_event_invoke_config", ECHO), "ResourceNotFoundException", "doesn't have an EventInvokeConfig"),
    (("update_function_event_invoke_config", ECHO), "InvalidParameterValueException", "at least one of"),
    (
        ("put_function_recursion_config", {**ECHO, "RecursiveLoop": "Deny"}),
        "ValidationException",
        "enum value set: [Terminate, Allow]",
    ),
    (
        ("get_function_scaling_config", {"FunctionName": "missing", "Qualifier": "1"}),
        "ResourceNotFoundException",
        "Function not found",
    ),
]


@pytest.mark.parametrize(("call", "code", "text"), REFUSED, ids=[f"{call[0]}: {code}" for call, code, _ in REFUSED])
def test_the_cli_shows_code_and_text_of_a_refusal(cli: Cli, call: Step, code: str, text: str) -> None:
    status, printed, shown = cli(*write_words(call))
    operation = next(name for name in MODEL.operation_names if xform_name(name) == call[0])
    assert (status, printed) == (255, "")
    assert f"An error occurred ({code}) when calling the {operation} operation" in shown
    assert text in shown


def test_dates_are_dates_to_both(client: Any, cli: Cli) -> None:
    client.put_function_event_invoke_config(**ECHO, MaximumRetryAttempts=1)
    modified = client.get_function_event_invoke_config(**ECHO)["LastModified"]
    assert isinstance(modified, datetime)
    printed = json.loads(cli("get-function-event-invoke-config", "--function-name", "echo")[1])
    assert printed["LastModified"] == pytest.approx(modified.timestamp())
