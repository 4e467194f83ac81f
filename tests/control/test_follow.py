"""`control.follow_backend`: the backend's settings hold where neither the file nor an operation names a value."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.control.conftest import ACCOUNT, read_refusal
from tests.support.lambda_backend import ControlGateway, FollowedBackend, arn_of, control_gateway
from tests.support.processes import wait_until
from tests.support.sockets import invoke

NAMED = "111122223333"
RESERVED = "reserved_concurrent_executions"


@contextmanager
def following(backend: FollowedBackend, interval: float | None = 0.05, **settings: Any) -> Iterator[ControlGateway]:
    control = {"follow_backend": True, **({"follow_interval_seconds": interval} if interval else {})}
    accounts = settings.pop("accounts", {"default": ACCOUNT})
    with control_gateway(backend, accounts=accounts, control=control, **settings) as gateway:
        wait_until(lambda: backend.readings > 1 or (interval is None and backend.readings == 1), "a reading")
        yield gateway


def rows(gateway: ControlGateway) -> dict[str, tuple[int, str]]:
    document = gateway.fetch("/limits").json
    return {row["function"]: (row["ceiling"], row["set_by"]) for row in document["accounts"][0]["functions"]}


def is_degraded(gateway: ControlGateway) -> float:
    return gateway.metrics()['degraded{cause="backend_not_followed"}']


def test_the_backends_values_are_taken_on_every_page_and_followed() -> None:
    backend = FollowedBackend("a", "b", "c", "hold")
    backend.reserved = {"a": 3, "c": 0, "hold": 1}
    with following(backend) as gateway:
        wait_until(lambda: rows(gateway).get("hold") == (1, "backend"), "the reservations are taken")
        assert rows(gateway) | {"b": ()} == {"a": (3, "backend"), "b": (), "c": (0, "backend"), "hold": (1, "backend")}
        assert gateway.send(invoke("c")).status == 429
        backend.reserved = {"a": 4}
        wait_until(lambda: rows(gateway).get("a") == (4, "backend"), "a change is followed")
        assert gateway.send(invoke("c")).status == 200
        assert is_degraded(gateway) == 0
        assert gateway.state.accounts == {}  # nothing of it is kept


def test_without_an_interval_it_is_read_once() -> None:
    backend = FollowedBackend("a")
    backend.reserved = {"a": 3}
    with following(backend, interval=None) as gateway:
        wait_until(lambda: rows(gateway).get("a") == (3, "backend"), "the reservation is taken")
        assert backend.readings == 1


def test_the_settings_and_the_operations_win_value_by_value() -> None:
    backend = FollowedBackend("echo", "other", "third")
    backend.functions["echo"] = ["1"]
    backend.reserved = {"echo": 3, "other": 4, "third": 5}
    backend.rules = {
        "echo": [{"FunctionArn": arn_of("echo"), "MaximumRetryAttempts": 0, "LastModified": 1.5}],
        "other": [{"FunctionArn": arn_of("other", "1"), "MaximumEventAgeInSeconds": 60}],
    }
    in_file = {**ACCOUNT, "functions": {"other": {RESERVED: 9}}}
    with following(backend, accounts={"default": in_file}) as gateway, closing(gateway.boto3()) as client:
        wait_until(lambda: rows(gateway).get("echo") == (3, "backend"), "the reservations are taken")
        client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=7)
        assert rows(gateway) == {"echo": (7, "API"), "other": (9, "file"), "third": (5, "backend")}
        assert client.get_function(FunctionName="third")["Concurrency"] == {"ReservedConcurrentExecutions": 5}
        settings = client.get_account_settings()["AccountLimit"]
        assert settings["UnreservedConcurrentExecutions"] == 200 - 7 - 9 - 5
        rules = client.get_function_event_invoke_config(FunctionName="echo")
        assert (rules["MaximumRetryAttempts"], "MaximumEventAgeInSeconds" in rules) == (0, False)
        updated = client.update_function_event_invoke_config(FunctionName="echo", MaximumEventAgeInSeconds=90)
        assert (updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]) == (0, 90)
        client.delete_function_concurrency(FunctionName="echo")
        assert rows(gateway)["echo"] == (3, "backend")


def test_a_value_of_the_backend_alone_cannot_be_deleted_here() -> None:
    """Otherwise the operation would succeed and mean nothing."""
    backend = FollowedBackend("echo")
    backend.functions["echo"] = ["1"]
    backend.reserved = {"echo": 3}
    backend.provisioned = {
        "echo": [{"FunctionArn": arn_of("echo", "1"), "RequestedProvisionedConcurrentExecutions": 2}]
    }
    backend.rules = {"echo": [{"FunctionArn": arn_of("echo"), "MaximumRetryAttempts": 0}]}
    echo = {"FunctionName": "echo"}
    with following(backend) as gateway, closing(gateway.boto3()) as client:
        wait_until(lambda: rows(gateway).get("echo") == (3, "backend"), "the reservation is taken")
        for call, arguments, key in (
            (client.delete_function_concurrency, echo, RESERVED),
            (
                client.delete_provisioned_concurrency_config,
                {**echo, "Qualifier": "1"},
                "provisioned_concurrent_executions",
            ),
            (client.delete_function_event_invoke_config, echo, "event_invoke_config"),
        ):
            status, code, members = read_refusal(call, **arguments)
            assert (status, code) == (409, "ResourceConflictException")
            assert members["message"] == f"{key} of echo is set in the backend. Change it there."


def test_provisioned_concurrency_of_a_version_and_an_alias_is_counted() -> None:
    backend = FollowedBackend("echo")
    backend.functions["echo"] = ["1", "2"]
    backend.aliases["echo", "prod"] = ("2", {})
    backend.provisioned = {
        "echo": [
            {
                "FunctionArn": arn_of("echo", qualifier),
                "RequestedProvisionedConcurrentExecutions": slots,
                "LastModified": "2026-01-01T00:00:00+0000",
            }
            for qualifier, slots in (("1", 5), ("prod", 7))
        ]
    }
    with following(backend) as gateway, closing(gateway.boto3()) as client:
        wait_until(
            lambda: client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 200 - 12,
            "the provisioned concurrency is taken",
        )
        listed = client.list_provisioned_concurrency_configs(FunctionName="echo")["ProvisionedConcurrencyConfigs"]
        assert [row["AllocatedProvisionedConcurrentExecutions"] for row in listed] == [5, 7]
        table = gateway.server.gateway.tables.limits.default
        assert [version.version for version in table.provisioned_versions["echo"]] == ["1", "2"]


def test_slots_that_do_not_fit_are_not_taken_and_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    backend = FollowedBackend("big", "small")
    backend.reserved = {"big": 101, "small": 3}
    with caplog.at_level(logging.INFO, logger="invoke_gateway"), following(backend) as gateway:
        wait_until(lambda: rows(gateway).get("small") == (3, "backend"), "the other one is taken")
        assert "big" not in rows(gateway)
        assert is_degraded(gateway) == 1
        readings = backend.readings
        wait_until(lambda: backend.readings > readings + 2, "more readings")
        said = [record.getMessage() for record in caplog.records if "big" in record.getMessage()]
        assert len(said) == 1
        assert "below its minimum value of [100]" in said[0]
        backend.reserved = {"small": 3}
        wait_until(lambda: is_degraded(gateway) == 0, "the gateway recovers")
        assert "the backend's concurrency settings are followed again" in caplog.text


@pytest.mark.parametrize("status", [403, 500])
def test_a_backend_that_does_not_answer_is_logged_once_and_its_last_values_stay(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FollowedBackend("echo")
    backend.reserved = {"echo": 3}
    with caplog.at_level(logging.WARNING, logger="invoke_gateway"), following(backend) as gateway:
        wait_until(lambda: rows(gateway).get("echo") == (3, "backend"), "the reservation is taken")
        backend.status = status
        wait_until(lambda: is_degraded(gateway) == 1, "the failure is seen")
        assert rows(gateway)["echo"] == (3, "backend")
        (said,) = [record.getMessage() for record in caplog.records if "not followed" in record.getMessage()]
        cause = rf"it answered List\w+ with status {status}"  # the operation that came first behind the change
        text = rf"The backend's concurrency settings are not followed: {cause}\. Values that were read before"
        assert re.fullmatch(rf"{text} stay in force\.", said)
        assert "backend_not_followed" in str(gateway.fetch("/status").json)


def test_what_a_backend_has_no_operation_for_is_not_taken() -> None:
    backend = FollowedBackend("echo")
    backend.lists_provisioned = False
    backend.reserved = {"echo": 3}
    with following(backend) as gateway:
        wait_until(lambda: rows(gateway).get("echo") == (3, "backend"), "the reservation is taken")
        assert is_degraded(gateway) == 0


def test_functions_of_a_backend_with_one_account_are_taken_for_the_default_account_only() -> None:
    backend = FollowedBackend("echo")
    backend.reserved = {"echo": 3}
    with following(backend, accounts={"default": ACCOUNT, NAMED: ACCOUNT}) as gateway:
        wait_until(lambda: rows(gateway).get("echo") == (3, "backend"), "the reservation is taken")
        accounts = gateway.fetch("/limits").json["accounts"]
        assert [len(account["functions"]) for account in accounts] == [1, 0]


def test_a_deleted_function_leaves_no_value_behind() -> None:
    backend = FollowedBackend("echo")
    backend.reserved = {"echo": 0}
    with following(backend, interval=None) as gateway, closing(gateway.boto3()) as client:
        wait_until(lambda: rows(gateway).get("echo") == (0, "backend"), "the reservation is taken")
        client.delete_function(FunctionName="echo")
        assert "echo" not in rows(gateway)
