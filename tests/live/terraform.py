"""Replays the calls of Terraform's AWS provider for Lambda's limits, in its order, with boto3.

Terraform cannot be installed everywhere. So each class here makes the calls of one resource of the provider
(hashicorp/aws, internal/service/lambda, 2026): create, read, update and destroy. Pauses are left out. An attribute that
was read and differs from the one that was set is what `terraform plan` would show as a change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from botocore.exceptions import ClientError

from tests.live.clients import ROLE, deployment_package
from tests.support.processes import wait_until

UNSET = -1
"""Is the provider's value of a reservation that is not set."""

Attributes = dict[str, Any]

_MOST_POLLS = 100


class Resource(Protocol):
    """Makes the calls of one resource. `wanted` holds its attributes as the configuration has them."""

    wanted: Attributes

    def create(self) -> None: ...

    def read(self) -> Attributes | None:
        """Returns the attributes; None where the resource is gone."""

    def update(self, **changes: Any) -> None: ...

    def destroy(self) -> None: ...


def find_differences(wanted: Attributes, found: Attributes | None) -> list[str]:
    """Returns what a plan would show."""
    if found is None:
        return ["the resource is gone"]
    names = sorted({*wanted, *found})
    return [
        f"{name}: {wanted.get(name)!r} -> {found.get(name)!r}" for name in names if wanted.get(name) != found.get(name)
    ]


class Function:
    """aws_lambda_function with `publish`."""

    def __init__(self, client: Any, name: str, reserved: int = UNSET, timeout: int = 3) -> None:
        self._client = client
        self._name = {"FunctionName": name}
        self.wanted: Attributes = {
            "function_name": name,
            "reserved_concurrent_executions": reserved,
            "timeout": timeout,
            "version": "1",
        }

    def create(self) -> None:
        self._client.create_function(
            **self._name,
            Runtime="python3.12",
            Handler="handler.handle",
            Role=ROLE,
            Code={"ZipFile": deployment_package()},
            Timeout=self.wanted["timeout"],
            Publish=True,
        )
        self._wait("State", "Active")
        self._put()

    def _wait(self, member: str, value: str) -> None:
        def is_reached() -> bool:
            return bool(self._client.get_function(**self._name)["Configuration"].get(member) == value)

        wait_until(is_reached, f"{member} becomes {value}")

    def _put(self) -> None:
        reserved = self.wanted["reserved_concurrent_executions"]
        if reserved != UNSET:
            self._client.put_function_concurrency(**self._name, ReservedConcurrentExecutions=reserved)

    def read(self) -> Attributes | None:
        found = read_or_none(self._client.get_function, **self._name)
        if found is None:
            return None
        configuration = found["Configuration"]
        assert found["Code"], "an answer without Code is an empty result"
        versions = self._client.list_versions_by_function(**self._name, MaxItems=10000)["Versions"]
        self._client.get_function_code_signing_config(**self._name)  # an error aborts the read
        return {
            "function_name": configuration["FunctionName"],
            "reserved_concurrent_executions": read_reserved(found),
            "timeout": configuration["Timeout"],
            "version": versions[-1]["Version"],
        }

    def update(self, **changes: Any) -> None:
        before, self.wanted = self.wanted, {**self.wanted, **changes}
        if self.wanted["timeout"] != before["timeout"]:
            self._client.update_function_configuration(**self._name, Timeout=self.wanted["timeout"])
            self._wait("LastUpdateStatus", "Successful")
        if self.wanted["reserved_concurrent_executions"] == UNSET:
            self._client.delete_function_concurrency(**self._name)
        else:
            self._put()

    def destroy(self) -> None:
        self._client.delete_function(**self._name)


def read_data_source(client: Any, name: str, qualifier: str | None) -> Attributes:
    """Makes the calls of data.aws_lambda_function: with a qualifier AWS sends no Concurrency, so it is asked for."""
    given = {"Qualifier": qualifier} if qualifier else {}
    found = client.get_function(FunctionName=name, **given)
    if "Concurrency" not in found:
        found = {"Concurrency": client.get_function_concurrency(FunctionName=name)}
    return {"reserved_concurrent_executions": read_reserved(found)}


def read_reserved(found: Attributes) -> int:
    """Returns the reservation; the provider reads a missing member as unset."""
    concurrency: Attributes = found.get("Concurrency") or {}
    reserved: int = concurrency.get("ReservedConcurrentExecutions", UNSET)
    return reserved


class ProvisionedConcurrency:
    """aws_lambda_provisioned_concurrency_config."""

    def __init__(self, client: Any, name: str, qualifier: str, slots: int) -> None:
        self._client = client
        self._names = {"FunctionName": name, "Qualifier": qualifier}
        self.wanted: Attributes = {"provisioned_concurrent_executions": slots}

    def create(self) -> None:
        if not self._names["Qualifier"].isdecimal():  # waits until the alias has no weights
            alias = self._client.get_alias(FunctionName=self._names["FunctionName"], Name=self._names["Qualifier"])
            assert not (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights")
        slots = self.wanted["provisioned_concurrent_executions"]
        self._client.put_provisioned_concurrency_config(**self._names, ProvisionedConcurrentExecutions=slots)
        for _ in range(_MOST_POLLS):
            status = self._client.get_provisioned_concurrency_config(**self._names)["Status"]
            if status == "READY":
                return
            assert status == "IN_PROGRESS"
        raise AssertionError("the provisioned concurrency does not become READY")

    def read(self) -> Attributes | None:
        found = read_or_none(self._client.get_provisioned_concurrency_config, **self._names)
        if found is None:
            return None
        return {"provisioned_concurrent_executions": found["AllocatedProvisionedConcurrentExecutions"]}

    def update(self, **changes: Any) -> None:
        self.wanted = {**self.wanted, **changes}
        self.create()

    def destroy(self) -> None:
        self._client.delete_provisioned_concurrency_config(**self._names)


class EventInvokeConfig:
    """aws_lambda_function_event_invoke_config. An age of 0 is one that is not set; attempts are 2 by default."""

    def __init__(
        self, client: Any, name: str, qualifier: str | None = None, *, attempts: int = 2, age: int = 0, failed: str = ""
    ) -> None:
        self._client = client
        self._names = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
        self.wanted: Attributes = {
            "maximum_retry_attempts": attempts,
            "maximum_event_age_in_seconds": age,
            "on_failure": failed,
        }

    def create(self) -> None:
        wanted = self.wanted
        body: Attributes = {"MaximumRetryAttempts": wanted["maximum_retry_attempts"], "DestinationConfig": {}}
        if wanted["maximum_event_age_in_seconds"]:
            body["MaximumEventAgeInSeconds"] = wanted["maximum_event_age_in_seconds"]
        if wanted["on_failure"]:
            body["DestinationConfig"] = {"OnFailure": {"Destination": wanted["on_failure"]}}
        self._client.put_function_event_invoke_config(**self._names, **body)

    def read(self) -> Attributes | None:
        found = read_or_none(self._client.get_function_event_invoke_config, **self._names)
        if found is None:
            return None
        destinations = found.get("DestinationConfig") or {}
        return {
            "maximum_retry_attempts": found.get("MaximumRetryAttempts", 0),
            "maximum_event_age_in_seconds": found.get("MaximumEventAgeInSeconds", 0),
            "on_failure": (destinations.get("OnFailure") or {}).get("Destination", ""),
        }

    def update(self, **changes: Any) -> None:
        self.wanted = {**self.wanted, **changes}
        self.create()

    def destroy(self) -> None:
        self._client.delete_function_event_invoke_config(**self._names)


class RecursionConfig:
    """aws_lambda_function_recursion_config. It is destroyed by setting AWS's default."""

    def __init__(self, client: Any, name: str, loop: str) -> None:
        self._client = client
        self._name = {"FunctionName": name}
        self.wanted: Attributes = {"recursive_loop": loop}

    def create(self) -> None:
        self._client.put_function_recursion_config(**self._name, RecursiveLoop=self.wanted["recursive_loop"])

    def read(self) -> Attributes | None:
        found = read_or_none(self._client.get_function_recursion_config, **self._name)
        return None if found is None else {"recursive_loop": found["RecursiveLoop"]}

    def update(self, **changes: Any) -> None:
        self.wanted = {**self.wanted, **changes}
        self.create()

    def destroy(self) -> None:
        self._client.put_function_recursion_config(**self._name, RecursiveLoop="Terminate")


class ScalingConfig:
    """aws_lambda_function_scaling_config. It is destroyed by a Put without bounds."""

    def __init__(self, client: Any, name: str, qualifier: str, least: int, most: int) -> None:
        self._client = client
        self._names = {"FunctionName": name, "Qualifier": qualifier}
        self.wanted: Attributes = {"min": least, "max": most}

    def create(self) -> None:
        bounds = {"MinExecutionEnvironments": self.wanted["min"], "MaxExecutionEnvironments": self.wanted["max"]}
        self._client.put_function_scaling_config(**self._names, FunctionScalingConfig=bounds)
        for _ in range(_MOST_POLLS):
            found = self._client.get_function_scaling_config(**self._names)
            if "RequestedFunctionScalingConfig" not in found and "AppliedFunctionScalingConfig" in found:
                return
        raise AssertionError("the bounds are not applied")

    def read(self) -> Attributes | None:
        found = read_or_none(self._client.get_function_scaling_config, **self._names) or {}
        bounds = found.get("RequestedFunctionScalingConfig") or found.get("AppliedFunctionScalingConfig")
        if bounds is None:
            return None
        return {"min": bounds["MinExecutionEnvironments"], "max": bounds["MaxExecutionEnvironments"]}

    def update(self, **changes: Any) -> None:
        self.wanted = {**self.wanted, **changes}
        self.create()

    def destroy(self) -> None:
        self._client.put_function_scaling_config(**self._names)


def read_or_none(call: Callable[..., Attributes], **arguments: Any) -> Attributes | None:
    """Calls; None for a 404, which the provider takes for a resource that is gone."""
    try:
        return call(**arguments)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise


class Replay:
    """Applies, plans and destroys a configuration, and counts what differs.

    compared: attributes that were compared
    differences: those that differ, in words
    """

    def __init__(self, resources: dict[str, Resource]) -> None:
        self.resources = resources
        self.compared = 0
        self.differences: list[str] = []

    def apply(self) -> None:
        """Creates every resource, and compares what is read at the end of it."""
        for address, resource in self.resources.items():
            resource.create()
            self._compare(address, resource)

    def plan(self) -> None:
        """Refreshes every resource, as `plan` and `import` do, and compares."""
        for address, resource in self.resources.items():
            self._compare(address, resource)

    def update(self, address: str, **changes: Any) -> None:
        """Updates one resource. All are planned again: a change of one may have changed another."""
        self.resources[address].update(**changes)
        self.plan()

    def destroy(self) -> None:
        for address, resource in reversed(self.resources.items()):
            resource.destroy()
            left = resource.read()
            if left is not None and left != {"recursive_loop": "Terminate"}:
                self.differences.append(f"{address} is not gone: {left}")

    def compare(self, address: str, wanted: Attributes, found: Attributes | None) -> None:
        self.compared += len(wanted)
        self.differences += [f"{address}.{text}" for text in find_differences(wanted, found)]

    def _compare(self, address: str, resource: Resource) -> None:
        self.compare(address, resource.wanted, resource.read())


def make_configuration(client: Any) -> dict[str, Resource]:
    """Returns the resources after the functions, which must exist before them, by their addresses."""
    return dict(_list_resources(client))


def _list_resources(client: Any) -> Iterator[tuple[str, Resource]]:
    yield "aws_lambda_function.some", Function(client, "tf-some", 20)
    yield "aws_lambda_function.zero", Function(client, "tf-zero", 0)
    yield "aws_lambda_function.unset", Function(client, "tf-unset")
    yield "aws_lambda_alias.prod", Alias(client, "tf-some", "prod", "1")
    yield "aws_lambda_provisioned_concurrency_config.alias", ProvisionedConcurrency(client, "tf-some", "prod", 5)
    yield "aws_lambda_provisioned_concurrency_config.version", ProvisionedConcurrency(client, "tf-unset", "1", 3)
    yield "aws_lambda_function_event_invoke_config.defaults", EventInvokeConfig(client, "tf-unset")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:"
    rules = EventInvokeConfig(client, f"{arn}tf-some", "prod", attempts=0, age=60, failed=f"{arn}tf-unset")
    yield "aws_lambda_function_event_invoke_config.all", rules
    yield "aws_lambda_function_recursion_config.allow", RecursionConfig(client, "tf-some", "Allow")
    yield "aws_lambda_function_scaling_config.bounds", ScalingConfig(client, "tf-some", "$LATEST.PUBLISHED", 3, 9)


class Alias:
    """aws_lambda_alias, which the backend answers."""

    def __init__(self, client: Any, name: str, alias: str, version: str) -> None:
        self._client = client
        self._names = {"FunctionName": name, "Name": alias}
        self.wanted: Attributes = {"function_version": version}

    def create(self) -> None:
        self._client.create_alias(**self._names, FunctionVersion=self.wanted["function_version"])

    def read(self) -> Attributes | None:
        found = read_or_none(self._client.get_alias, **self._names)
        return None if found is None else {"function_version": found["FunctionVersion"]}

    def update(self, **changes: Any) -> None:
        self.wanted = {**self.wanted, **changes}
        self._client.update_alias(**self._names, FunctionVersion=self.wanted["function_version"])

    def destroy(self) -> None:
        self._client.delete_alias(**self._names)
