"""`control.follow_backend` before emulators: CloudFormation's calls are made inside of them, past the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config

from tests.live import servers
from tests.live.clients import Boto3
from tests.support.processes import wait_until

TEMPLATE = {
    "Resources": {
        name.title(): {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": f"cfn-{name}",
                "Runtime": "python3.12",
                "Handler": "index.handle",
                "Role": "arn:aws:iam::000000000000:role/live",
                "Code": {"ZipFile": "def handle(event, context):\n    return event\n"},
                **({} if reserved is None else {"ReservedConcurrentExecutions": reserved}),
            },
        }
        for name, reserved in (("some", 3), ("zero", 0), ("unset", None))
    }
    | {
        "Rules": {
            "Type": "AWS::Lambda::EventInvokeConfig",
            "Properties": {"FunctionName": {"Ref": "Some"}, "Qualifier": "$LATEST", "MaximumRetryAttempts": 1},
        },
        "Version": {
            "Type": "AWS::Lambda::Version",
            "Properties": {
                "FunctionName": {"Ref": "Some"},
                "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
            },
        },
    }
}


class Kept(NamedTuple):
    """Holds what an emulator keeps of the template: reservations by function, retries, provisioned concurrency."""

    reserved: dict[str, int]
    retries: int | None
    provisioned: int = 0


KEPT = {"moto": Kept({"cfn-some": 3, "cfn-zero": 0}, None), "ministack": Kept({}, 1)}


@pytest.fixture(scope="module", params=sorted(KEPT))
def emulator_with_stack(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Returns the name and the URL of an emulator, in which a stack was made."""
    url: str = request.getfixturevalue(request.param)
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "secret"}
    config = Config(proxies={})
    with closing(
        boto3.client("cloudformation", endpoint_url=url, region_name="us-east-1", config=config, **keys)
    ) as client:
        client.create_stack(StackName="limits", TemplateBody=json.dumps(TEMPLATE))

        def is_made() -> bool:
            (stack,) = client.describe_stacks(StackName="limits")["Stacks"]
            assert stack["StackStatus"] in ("CREATE_IN_PROGRESS", "CREATE_COMPLETE"), stack
            return bool(stack["StackStatus"] == "CREATE_COMPLETE")

        wait_until(is_made, "the stack is made")
        yield request.param, url
        client.delete_stack(StackName="limits")


def read_rows(gateway: servers.Gateway) -> dict[str, tuple[int, str]]:
    functions = gateway.account("000000000000")["functions"]
    rows = {row["function"]: (row["ceiling"], row["set_by"]) for row in functions}
    return {name: row for name, row in rows.items() if row[1] != "default"}


def read_retries(client: Any) -> int | None:
    try:
        found = client.get_function_event_invoke_config(FunctionName="cfn-some")
    except client.exceptions.ResourceNotFoundException:
        return None
    return int(found["MaximumRetryAttempts"])


def test_what_the_emulator_keeps_of_a_template_is_followed(emulator_with_stack: tuple[str, str], folder: Path) -> None:
    """What it loses cannot be: docs/guides/control-plane.md has the table."""
    name, url = emulator_with_stack
    kept = KEPT[name]
    control = {"follow_backend": True, "follow_interval_seconds": 0.2}
    accounts = {"default": {"concurrent_executions": 200, "requests_per_second": "off"}}
    with (
        servers.gateway(folder / f"follow-{name}", url, control=control, accounts=accounts) as gateway,
        closing(Boto3(gateway.url)) as client,
        closing(Boto3(url)) as direct,
    ):
        # A value that is set past the gateway by its operation is kept by both, so it shows that all was read.
        direct.sdk.put_function_concurrency(FunctionName="cfn-unset", ReservedConcurrentExecutions=4)
        wait_until(lambda: read_rows(gateway).get("cfn-unset") == (4, "backend"), "the backend is followed")
        expected = {function: (slots, "backend") for function, slots in (kept.reserved | {"cfn-unset": 4}).items()}
        assert read_rows(gateway) == expected
        assert read_retries(client.sdk) == kept.retries
        unreserved = client.sdk.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
        assert unreserved == 200 - 4 - sum(kept.reserved.values()) - kept.provisioned
        client.sdk.put_function_concurrency(FunctionName="cfn-unset", ReservedConcurrentExecutions=5)
        assert read_rows(gateway)["cfn-unset"] == (5, "API")
