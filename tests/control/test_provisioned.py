"""Provisioned concurrency by Lambda's operations: states, answers and AWS's order of checks.

Texts of errors are AWS's, as LocalStack recorded them (tests/aws/services/lambda_, November 2025). The text about an
alias with weights was posted by a user (hashicorp/terraform-provider-aws 24957).
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest

from tests.control.conftest import ACCOUNT, read_refusal
from tests.support.lambda_backend import ControlGateway, LambdaBackend, arn_of, control_gateway
from tests.support.sockets import invoke

INVALID = "InvalidParameterValueException"
ECHO = {"FunctionName": "echo"}


def put(client: Any, qualifier: str, slots: int, name: str = "echo") -> Any:
    return client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=slots
    )


def put_refused(client: Any, qualifier: str, slots: int, name: str = "echo") -> tuple[int, str, dict[str, Any]]:
    return read_refusal(
        client.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier=qualifier,
        ProvisionedConcurrentExecutions=slots,
    )


def test_the_first_answer_is_in_progress_and_the_next_one_ready(served: ControlGateway, client: Any) -> None:
    first = put(client, "prod", 5)
    assert first["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert {name: value for name, value in first.items() if name not in ("ResponseMetadata", "LastModified")} == {
        "RequestedProvisionedConcurrentExecutions": 5,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "AvailableProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", first["LastModified"])
    found = client.get_provisioned_concurrency_config(**ECHO, Qualifier="prod")
    assert (found["Status"], found["AllocatedProvisionedConcurrentExecutions"]) == ("READY", 5)
    assert found["LastModified"] == first["LastModified"]
    client.delete_provisioned_concurrency_config(**ECHO, Qualifier="prod")
    _, code, members = read_refusal(client.get_provisioned_concurrency_config, **ECHO, Qualifier="prod")
    assert code == "ProvisionedConcurrencyConfigNotFoundException"
    assert members == {"Type": "User", "message": "No Provisioned Concurrency Config found for this function"}
    again = client.delete_provisioned_concurrency_config(**ECHO, Qualifier="prod")
    assert again["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_an_allocation_takes_as_long_as_the_settings_have_it() -> None:
    backend = LambdaBackend("echo")
    backend.functions["echo"] = ["1"]
    settings = {"accounts": {"default": ACCOUNT}, "provisioned": {"allocation_seconds": 3600}}
    with control_gateway(backend, **settings) as served, closing(served.boto3()) as client:
        put(client, "1", 5)
        assert client.get_provisioned_concurrency_config(**ECHO, Qualifier="1")["Status"] == "IN_PROGRESS"


def test_what_the_settings_provision_wins_and_the_refusals_name_key_and_source() -> None:
    backend = LambdaBackend("echo", "other")
    backend.functions["echo"] = ["1", "2"]
    backend.aliases["echo", "prod"] = ("2", {})
    functions = {"echo": {"provisioned_concurrent_executions": {"1": 3, "prod": {"version": "2", "slots": 20}}}}
    accounts = {"default": {**ACCOUNT, "functions": functions}}
    with control_gateway(backend, accounts=accounts) as served, closing(served.boto3()) as client:
        for call, more in (
            (client.put_provisioned_concurrency_config, {"ProvisionedConcurrentExecutions": 1}),
            (client.delete_provisioned_concurrency_config, {}),
        ):
            for qualifier in ("1", "2", "prod"):
                status, code, members = read_refusal(call, **ECHO, Qualifier=qualifier, **more)
                assert (status, code, members["Type"]) == (409, "ResourceConflictException", "User")
                text = "provisioned_concurrent_executions of echo is set in the settings. Change it there."
                assert members["message"] == text
        assert client.get_provisioned_concurrency_config(**ECHO, Qualifier="prod")["Status"] == "READY"
        rows = client.list_provisioned_concurrency_configs(**ECHO)["ProvisionedConcurrencyConfigs"]
        assert [row["AllocatedProvisionedConcurrentExecutions"] for row in rows] == [3, 20]
        (account,) = served.fetch("/limits").json["accounts"]
        (row,) = [row for row in account["functions"] if row["function"] == "echo"]
        shown = [(one["version"], one["aliases"], one["ceiling"], one["set_by"]) for one in row["provisioned"]]
        assert shown == [("1", [], 3, "file"), ("2", ["prod"], 20, "file")]
        limits = client.get_account_settings()["AccountLimit"]
        unreserved = ACCOUNT["concurrent_executions"] - 23
        assert limits["UnreservedConcurrentExecutions"] == unreserved == account["unreserved"]["ceiling"]
        # A reservation contains it, is bounded by it, and does not count it twice.
        put_concurrency = client.put_function_concurrency
        _, _, members = read_refusal(put_concurrency, **ECHO, ReservedConcurrentExecutions=22)
        assert "23" in members["message"]
        put_concurrency(**ECHO, ReservedConcurrentExecutions=30)
        limits = client.get_account_settings()["AccountLimit"]
        assert limits["UnreservedConcurrentExecutions"] == ACCOUNT["concurrent_executions"] - 30
        assert served.fetch("/limits").json["accounts"][0]["unreserved"]["ceiling"] == unreserved - 7


def test_a_list_has_every_qualifier_and_comes_in_pages(served: ControlGateway, client: Any) -> None:
    assert client.list_provisioned_concurrency_configs(**ECHO)["ProvisionedConcurrencyConfigs"] == []
    for qualifier in ("2", "prod", "3"):
        put(client, qualifier, 1)
    rows = client.list_provisioned_concurrency_configs(**ECHO)["ProvisionedConcurrencyConfigs"]
    assert [row["FunctionArn"] for row in rows] == [arn_of("echo", name) for name in ("2", "3", "prod")]
    pages = client.get_paginator("list_provisioned_concurrency_configs").paginate(
        **ECHO, PaginationConfig={"PageSize": 2}
    )
    assert [len(page["ProvisionedConcurrencyConfigs"]) for page in pages] == [2, 1]
    _, _, members = read_refusal(client.list_provisioned_concurrency_configs, FunctionName="missing")
    assert members["Message"] == f"Function not found: {arn_of('missing')}"


def test_a_value_is_checked_before_everything_else(served: ControlGateway) -> None:
    path = "/2019-09-30/functions/missing/provisioned-concurrency?Qualifier=$LATEST"
    answer = served.send(invoke(path=path, body=b'{"ProvisionedConcurrentExecutions": 0}', method="PUT"))
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "ValidationException")
    assert answer.json == {
        "message": "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy "
        "constraint: Member must have value greater than or equal to 1"
    }


def test_latest_cannot_be_provisioned(served: ControlGateway, client: Any) -> None:
    assert put_refused(client, "$LATEST", 1, "missing") == (
        400,
        INVALID,
        {
            "Type": "User",
            "message": "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        },
    )
    for call in (client.get_provisioned_concurrency_config, client.delete_provisioned_concurrency_config):
        assert read_refusal(call, **ECHO, Qualifier="$LATEST") == (
            400,
            INVALID,
            {"Type": "User", "message": "The function resource provided must be an alias or a published version."},
        )


@pytest.mark.parametrize("name", ["echo", "missing"])
def test_an_unknown_alias_and_an_unknown_version_have_texts_of_their_own(
    served: ControlGateway, client: Any, name: str
) -> None:
    """Also of an unknown function: the alias is looked up first."""
    for qualifier, text in (("nope", "Cannot find alias arn"), ("99", "Function not found")):
        expected = (
            404,
            "ResourceNotFoundException",
            {"Type": "User", "Message": f"{text}: {arn_of(name, qualifier)}"},
        )
        assert put_refused(client, qualifier, 1, name) == expected
        get = client.get_provisioned_concurrency_config
        assert read_refusal(get, FunctionName=name, Qualifier=qualifier) == expected


def test_with_a_reservation_it_is_the_bound_of_all_provisioned_together(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(**ECHO, ReservedConcurrentExecutions=10)
    put(client, "2", 6)
    assert put_refused(client, "3", 5) == (
        400,
        INVALID,
        {
            "Type": "User",
            "message": "Requested Provisioned Concurrency should not be greater than the "
            "reservedConcurrentExecution for function",
        },
    )
    put(client, "3", 4)
    put(client, "2", 6)  # its own is given back first
    status, code, members = read_refusal(client.put_function_concurrency, **ECHO, ReservedConcurrentExecutions=9)
    assert (status, code) == (400, INVALID)
    assert members == {  # its blanks are AWS's, and there is no Type
        "message": " ReservedConcurrentExecutions  9 should not be lower than function's total provisioned "
        "concurrency [10]."
    }
    client.put_function_concurrency(**ECHO, ReservedConcurrentExecutions=10)


def test_without_a_reservation_the_unreserved_slots_are_the_bound(served: ControlGateway, client: Any) -> None:
    client.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=50)
    assert put_refused(client, "2", 151) == (
        400,
        INVALID,
        {
            "message": "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
            "[150]."
        },
    )
    assert put_refused(client, "2", 51) == (
        400,
        INVALID,
        {
            "message": "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            "below its minimum value of [100]."
        },
    )
    put(client, "2", 50)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    client.put_function_concurrency(**ECHO, ReservedConcurrentExecutions=50)  # now the same slots, counted once
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100


def test_an_alias_and_its_version_cannot_both_be_provisioned(served: ControlGateway, client: Any) -> None:
    put(client, "1", 1)
    text = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    conflict = "ResourceConflictException"
    assert put_refused(client, "prod", 1) == (409, conflict, {"Type": "User", "message": text})
    client.delete_provisioned_concurrency_config(**ECHO, Qualifier="1")
    put(client, "prod", 1)
    text = "Version is pointed by a Provisioned Concurrency alias"
    assert put_refused(client, "1", 1) == (409, conflict, {"Type": "User", "message": text})
    client.update_alias(**ECHO, Name="prod", FunctionVersion="2")  # then it is the other version
    put(client, "1", 1)
    assert put_refused(client, "2", 1)[1] == conflict


def test_an_alias_with_weights_cannot_be_provisioned(served: ControlGateway, client: Any) -> None:
    text = "Alias with weights can not be used with Provisioned Concurrency"
    assert put_refused(client, "weighted", 1) == (400, INVALID, {"Type": "User", "message": text})


def test_a_deleted_alias_or_version_loses_its_provisioned_concurrency(served: ControlGateway, client: Any) -> None:
    put(client, "prod", 1)
    put(client, "3", 1)
    client.delete_alias(**ECHO, Name="prod")
    get = client.get_provisioned_concurrency_config
    _, _, members = read_refusal(get, **ECHO, Qualifier="prod")
    assert members["Message"] == f"Cannot find alias arn: {arn_of('echo', 'prod')}"
    client.delete_function(**ECHO, Qualifier="3")
    assert served.state.accounts == {}


def test_the_qualifier_may_stand_in_the_name_and_must_agree(served: ControlGateway, client: Any) -> None:
    put(client, "prod", 1, arn_of("echo", "prod"))
    assert list(served.state.function("000000000000", "echo").provisioned) == ["prod"]
    _, code, members = put_refused(client, "2", 1, arn_of("echo", "prod"))
    assert (code, members["message"]) == (
        INVALID,
        "The derived qualifier from the function name does not match the specified qualifier.",
    )


def test_admission_is_given_what_is_provisioned(served: ControlGateway, client: Any) -> None:
    put(client, "prod", 3)
    limits = served.server.gateway.tables.limits.default
    assert {name: config.requested for name, config in limits.provisioned["echo"].items()} == {"prod": 3}
    assert limits.provisioned["echo"]["prod"].version == "1"
    client.update_alias(**ECHO, Name="prod", FunctionVersion="3")  # its calls run on the other version from now on
    assert served.server.gateway.tables.limits.default.provisioned["echo"]["prod"].version == "3"
    client.update_alias(**ECHO, Name="weighted", FunctionVersion="3")  # which is not provisioned
    assert list(served.state.function("000000000000", "echo").provisioned) == ["prod"]
