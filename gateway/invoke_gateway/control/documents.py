"""Reads the bodies of control operations, and writes those of their answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from ..policy.control.errors import ControlRefusal
from ..policy.control.state import EventInvokeConfig, ProvisionedConfig, ScalingConfig
from ..policy.payloads.json_text import find_json_error
from ..refusals import Refusal

_T = TypeVar("_T")

_MOST = 2**31 - 1  # an integer of the service model


class _Body(msgspec.Struct, frozen=True, rename="pascal"):
    """Is the base of all bodies. Unknown members are ignored, as by AWS."""


class ConcurrencyBody(_Body, frozen=True):
    reserved_concurrent_executions: int | None = None


class ProvisionedBody(_Body, frozen=True):
    provisioned_concurrent_executions: int | None = None


class _Destination(_Body, frozen=True):
    destination: str | None = None


class _Destinations(_Body, frozen=True):
    on_success: _Destination | None = None
    on_failure: _Destination | None = None


class EventInvokeBody(_Body, frozen=True):
    maximum_retry_attempts: int | None = None
    maximum_event_age_in_seconds: int | None = None
    destination_config: _Destinations | None = None

    @property
    def on_success(self) -> str | None:
        """Returns the ARN; empty where the body removes it, None where the body does not name it."""
        config = self.destination_config
        return None if config is None else _find_destination(config.on_success)

    @property
    def on_failure(self) -> str | None:
        """Returns the ARN; empty where the body removes it, None where the body does not name it."""
        config = self.destination_config
        return None if config is None else _find_destination(config.on_failure)


class RecursionBody(_Body, frozen=True):
    recursive_loop: str | None = None


class PermissionBody(_Body, frozen=True):
    statement_id: str | None = None
    action: str | None = None
    principal: str | None = None
    source_arn: str | None = None
    function_url_auth_type: str | None = None
    invoked_via_function_url: bool | None = None
    source_account: str | None = None
    event_source_token: str | None = None
    revision_id: str | None = None
    principal_org_id: str | None = msgspec.field(name="PrincipalOrgID", default=None)


class ResourcePolicyBody(_Body, frozen=True):
    policy: str | None = None
    revision_id: str | None = None


class _Scaling(_Body, frozen=True):
    min_execution_environments: int | None = None
    max_execution_environments: int | None = None


class ScalingBody(_Body, frozen=True):
    function_scaling_config: _Scaling | None = None


def _find_destination(part: _Destination | None) -> str | None:
    return None if part is None else part.destination or ""


def read_body(body: bytes, kind: type[_T]) -> _T | ControlRefusal:
    """Returns the body of an operation as a value of `kind`."""
    text = body or b"{}"
    try:
        value = msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        return ControlRefusal(Refusal.INVALID_JSON, text=str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return ControlRefusal(Refusal.INVALID_JSON, text=find_json_error(text) or str(error))
    if _has_large_number(value):
        return ControlRefusal(Refusal.INVALID_JSON, text=f"a number in it is not between -{_MOST} and {_MOST}")
    return value


def _has_large_number(value: Any) -> bool:
    if isinstance(value, msgspec.Struct):
        return any(_has_large_number(getattr(value, name)) for name in value.__struct_fields__)
    return isinstance(value, int) and abs(value) > _MOST


def encode(document: object) -> bytes:
    return msgspec.json.encode(document)


def replace_members(body: bytes, changes: dict[str, Any]) -> bytes | None:
    """Returns a JSON object with some members replaced, or removed by None. Every other member keeps its bytes. None:
    the body is no JSON object."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    for name, value in changes.items():
        members.pop(name, None)
        if value is not None:
            members[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(members)


def read_object(body: bytes) -> dict[str, Any]:
    """Returns a JSON object; empty where the body is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def describe_provisioned(config: ProvisionedConfig, *, is_allocated: bool) -> dict[str, object]:
    """Describes provisioned concurrency. None of it is usable until all of it is allocated."""
    allocated = config.requested if is_allocated else 0
    return {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": allocated,
        "AllocatedProvisionedConcurrentExecutions": allocated,
        "Status": "READY" if is_allocated else "IN_PROGRESS",
        "LastModified": datetime.fromtimestamp(config.modified_at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
    }


def describe_event_invoke(config: EventInvokeConfig, arn: str) -> dict[str, object]:
    """Describes the rules of asynchronous invocations. Members that no operation has set are absent."""
    document: dict[str, object] = {"LastModified": round(config.modified_at, 3), "FunctionArn": arn}
    if config.maximum_retry_attempts is not None:
        document["MaximumRetryAttempts"] = config.maximum_retry_attempts
    if config.maximum_event_age_seconds is not None:
        document["MaximumEventAgeInSeconds"] = config.maximum_event_age_seconds
    document["DestinationConfig"] = {
        name: {"Destination": target} if target else {}
        for name, target in (("OnSuccess", config.on_success), ("OnFailure", config.on_failure))
    }
    return document


def describe_scaling(config: ScalingConfig) -> dict[str, object]:
    document: dict[str, object] = {}
    if config.minimum is not None:
        document["MinExecutionEnvironments"] = config.minimum
    if config.maximum is not None:
        document["MaxExecutionEnvironments"] = config.maximum
    return document
