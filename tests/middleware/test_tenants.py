"""Calls of functions with and without tenant isolation, through a gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sockets import Gateway, gateway, invoke

TENANT = "X-Amz-Tenant-Id: blue"
FUNCTIONS = {
    "isolated": {"tenancy": "per_tenant", "reserved_concurrent_executions": 2},
    "plain": {"tenancy": "none"},
}


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    accounts = {"default": {"concurrent_executions": 10, "functions": FUNCTIONS}, "111122223333": {}}
    with gateway(accounts=accounts) as started:
        yield started


@pytest.mark.parametrize(
    ("function", "headers", "text"),
    [
        ("isolated", (), "The function has tenant isolation. Add a tenant ID (X-Amz-Tenant-Id) to the request."),
        ("isolated:live", (), "The function has tenant isolation. Add a tenant ID (X-Amz-Tenant-Id) to the request."),
        (
            "plain",
            (TENANT,),
            "The function has no tenant isolation. Remove the tenant ID (X-Amz-Tenant-Id) from the request.",
        ),
    ],
)
@pytest.mark.parametrize("invocation_type", ["RequestResponse", "Event", "DryRun"])
def test_a_wrong_tenant_is_refused(
    served: Gateway, function: str, headers: tuple[str, ...], text: str, invocation_type: str
) -> None:
    answer = served.send(invoke(function, b"{}", *headers, f"X-Amz-Invocation-Type: {invocation_type}"))
    assert (answer.status, answer.header("x-amzn-errortype")) == (400, "InvalidParameterValueException")
    assert answer.json == {"Type": "User", "message": text}


@pytest.mark.parametrize(
    ("function", "headers"), [("isolated", (TENANT,)), ("plain", ()), ("free", (TENANT,)), ("free", ())]
)
def test_other_calls_are_served(served: Gateway, function: str, headers: tuple[str, ...]) -> None:
    assert served.send(invoke(function, b"{}", *headers)).status == 200


def test_environments_of_other_tenants_use_up_the_ceiling(served: Gateway) -> None:
    statuses = [served.send(invoke("isolated", b"{}", f"X-Amz-Tenant-Id: t{number}")) for number in range(6)]
    refused = [answer for answer in statuses if answer.status != 200]
    assert {answer.status for answer in refused} == {429}
    assert {answer.json["Reason"] for answer in refused} == {"ReservedFunctionInvocationRateLimitExceeded"}
    assert {answer.json["message"] for answer in refused} == {"Rate exceeded"}
