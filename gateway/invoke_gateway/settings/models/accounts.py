"""Defines the limits of accounts and functions as frozen models."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from invoke_gateway.policy.reservations import default_unreserved_floor
from invoke_gateway.settings.models.policies import ResourcePolicy
from invoke_gateway.settings.models.provisioned import Provisioned, find_provisioned_sums
from invoke_gateway.settings.models.types import (
    CallerRequestRate,
    Count,
    EventAge,
    FunctionName,
    OutsideConcurrency,
    RequestRate,
    RetryAttempts,
    ScalingRate,
    Seconds,
    TargetUrl,
)


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# A slotted dataclass, not a Model: a million configured functions cost a fraction of the memory.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class FunctionSettings:
    """Limits of one function, which all its versions and aliases share."""

    reserved_concurrent_executions: Count | None = None
    """Slots kept for this function, which are also its ceiling; 0 refuses every call. Not set: the function
    shares the account's unreserved slots, unless PutFunctionConcurrency reserves some."""
    provisioned_concurrent_executions: Provisioned | None = None
    """Slots by version and alias, such as {"7": 2, prod: {version: "7", slots: 5}}, which calls of that version take
    first. An alias without `version` serves only calls that name it. Not set: none, unless
    PutProvisionedConcurrencyConfig provisions some."""
    requests_per_second: RequestRate = "auto"
    """Synchronous requests per second. `auto`: 10 x its reservation, or no limit of its own without one.
    `off`: no limit."""
    maximum_retry_attempts: RetryAttempts | None = None
    """Retries of an asynchronous invocation after the function has failed. Not set: 2, unless
    PutFunctionEventInvokeConfig sets another number."""
    maximum_event_age_seconds: EventAge | None = None
    """Seconds that an asynchronous invocation is kept and tried at most. Not set: 21600, unless
    PutFunctionEventInvokeConfig sets another number."""
    dead_letter_queue: TargetUrl | None = None
    """Target of events that could not be run: sqs+http://host:port/account/queue, file:///path,
    redis://host:port/0?stream=name, http://… or function:name. Not set: none."""
    on_success: TargetUrl | None = None
    """Target of the record of an event that was run. Not set: none."""
    on_failure: TargetUrl | None = None
    """Target of the record of an event that could not be run. Not set: none."""

    @property
    def has_targets(self) -> bool:
        """Returns whether the outcome of the function's events is sent anywhere."""
        targets = (self.dead_letter_queue, self.on_success, self.on_failure)
        return targets != (None, None, None)

    recursive_loop: Literal["Terminate", "Allow"] | None = None
    """Decision about a call whose chain of calls has invoked this function about 16 times. `Terminate`:
    RecursiveInvocationException. `Allow`: the call runs. Not set: Terminate, unless PutFunctionRecursionConfig
    allows loops."""
    tenancy: Literal["per_tenant", "none"] | None = None
    """`per_tenant`: each call names a tenant (X-Amz-Tenant-Id), and the environments of all tenants have a ceiling.
    `none`: a call that names one is refused. Not set: the backend decides."""
    scaling_rate: ScalingRate = "off"
    """Slots that the function may gain in ten seconds, at AWS 1000; refilled continuously, and no more are saved.
    Provisioned concurrency is not part of it. `off`: no limit."""
    resource_policy: ResourcePolicy | None = None
    """Resource-based policy: the name of a JSON file, or a policy as a mapping. It decides with `signatures: verify`.
    Not set: none, unless AddPermission adds statements."""


class Account(Model):
    """Limits of one account."""

    concurrent_executions: Count = 1000
    """Slots: invocations of the account that may run at once."""
    unreserved_floor: Count | None = None
    """Slots that reservations must leave to functions without one. Not set: 100, as on AWS, or 0 when
    concurrent_executions is at most 100."""
    requests_per_second: RequestRate = "auto"
    """Synchronous requests per second of the account. `auto`: 10 x concurrent_executions. `off`: no limit."""
    caller_requests_per_second: CallerRequestRate = "off"
    """Requests per second of each caller (access key id). `off`: no limit."""
    outside_concurrency: OutsideConcurrency = 0
    """Slots that callers beside the gateway use, which are no part of the unreserved pool. A number; `cloudwatch`: the
    account's ConcurrentExecutions without the gateway's own (extra `aws`); or `command:` and a command that prints a
    number."""
    outside_interval_seconds: Seconds = 60
    """Seconds after which outside_concurrency is read again from CloudWatch or the command."""
    functions: dict[FunctionName, FunctionSettings] = Field(default_factory=dict)
    """Functions with limits of their own, by plain name. All further functions share the unreserved slots."""

    def _reservations(self) -> Iterable[int]:
        return (function.reserved_concurrent_executions or 0 for function in self.functions.values())

    @property
    def reserved(self) -> int:
        """Returns the slots of all reservations; each call sums over the functions."""
        return sum(self._reservations())

    @property
    def claimed(self) -> int:
        """Returns the slots of all reservations, and of provisioned concurrency without one."""
        return self.reserved + sum(
            slots
            for name, slots in find_provisioned_sums(self.functions)
            if self.functions[name].reserved_concurrent_executions is None
        )

    @property
    def outside_source(self) -> str | None:
        """Returns what gateways with the same counters must have in common: a fixed number, `cloudwatch` or `command`.
        What each of them reads may differ for moments, and their commands may be in different places."""
        setting = self.outside_concurrency
        if isinstance(setting, str):
            return setting.partition(":")[0]
        return str(setting) if setting else None

    @property
    def unreserved(self) -> int:
        """Returns the slots that functions without a reservation share, beside those that callers are said to use past
        the gateway; each call sums over the functions. Negative where more is claimed than there is."""
        outside = self.outside_concurrency if isinstance(self.outside_concurrency, int) else 0
        return self.concurrent_executions - self.claimed - outside

    @property
    def floor(self) -> int:
        """Returns the slots that must stay unreserved, with the default filled in."""
        if self.unreserved_floor is None:
            return default_unreserved_floor(self.concurrent_executions)
        return self.unreserved_floor
