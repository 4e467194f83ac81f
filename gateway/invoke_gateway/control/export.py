"""Describes what the operations have set: whole, and as settings as far as settings can express it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..policy.control.state import (
    ControlState,
    EventInvokeConfig,
    FunctionControl,
    FunctionPolicy,
    ProvisionedConfig,
    ScalingConfig,
    with_targets,
)
from ..policy.permissions.grants import ORGANIZATION_MEMBER, VERSION
from .documents import read_object
from .parts import LATEST

RULES = ("maximum_retry_attempts", "maximum_event_age_seconds", "on_success", "on_failure")
"""Lists the rules of asynchronous invocations by their keys in the settings."""

Document = dict[str, Any]


class Export:
    """Describes a state.

    name_account: returns the name of an account in the settings
    find_target: returns the target of a destination's ARN in the form that settings have; the ARN where it has none
    """

    def __init__(self, *, name_account: Callable[[str], str], find_target: Callable[[str], str]) -> None:
        self.name_account = name_account
        self._find_target = find_target

    def describe(self, state: ControlState) -> Document:
        """Returns `accounts` with all values, `settings` with those that settings can express, and `comments`, one
        sentence for each of the others."""
        settings: Document = {}
        comments: list[str] = []
        accounts: Document = {}
        for account, functions in sorted(state.accounts.items()):
            shown = self.name_account(account)
            whole, rows = {}, {}
            for name, function in sorted(functions.items()):
                whole[name] = describe_function(function)
                values, left_out = self._describe_as_settings(function)
                comments += [f"{name} of account {shown}: {text}" for text in left_out]
                if values:
                    rows[name] = values
            accounts[shown] = {"functions": whole}
            if rows:
                settings[shown] = {"functions": rows}
        return {"accounts": accounts, "settings": {"accounts": settings} if settings else {}, "comments": comments}

    def _describe_as_settings(self, function: FunctionControl) -> tuple[Document, list[str]]:
        """Returns the function's part of the settings, and sentences about its other values."""
        values = _list_own(function)
        comments = []
        if set(function.event_invoke) == {LATEST}:  # settings have one set of rules, for all qualifiers
            rules = describe_rules(with_targets(function.event_invoke[LATEST], self._find_target))
            for key in ("on_success", "on_failure"):
                target = rules.get(key)
                if target is not None and not _is_target(target):
                    comments.append(f"{key} {target} is no target of settings, unless control.sqs_endpoint is set.")
                    del rules[key]
            values |= rules
            comments.append("the operations have set its rules of events for $LATEST alone; settings hold for all.")
        else:
            for qualifier, config in sorted(function.event_invoke.items()):
                listed = ", ".join(f"{key} {value}" for key, value in describe_rules(config).items())
                comments.append(f"rules of events for {qualifier} alone: {listed}.")
        statements = [one for _, policy in sorted(function.policies.items()) for one in _describe_policy(policy)]
        ids = [one["Sid"] for one in statements if one.get("Sid")]
        if len(set(ids)) < len(ids) or ORGANIZATION_MEMBER in str(statements):
            comments.append("its policies have an organization, or one Sid twice, which settings cannot have.")
        elif statements:
            values["resource_policy"] = {"Version": VERSION, "Statement": statements}
        if function.provisioned:
            values["provisioned_concurrent_executions"] = describe_provisioned(function.provisioned)
        for qualifier, provisioned in sorted(function.provisioned.items()):
            if provisioned.aliases:
                others = ", ".join(provisioned.aliases)
                comments.append(f"calls of the aliases {others} take no provisioned slot of {qualifier} by settings.")
        for qualifier, scaling in sorted(function.scaling.items()):
            bounds = ", ".join(f"{key} {value}" for key, value in _describe_scaling(scaling).items()) or "none"
            comments.append(f"bounds of the environments of {qualifier}: {bounds}.")
        return values, comments


def _is_target(text: str) -> bool:
    """Returns whether settings take a text as a target: of ARNs, only those of functions."""
    return not text.startswith("arn:") or text.split(":")[2:3] == ["lambda"]


def describe_function(function: FunctionControl) -> Document:
    """Returns all values of a function, as `ControlImport` reads them."""
    by_qualifier = {
        "event_invoke": {name: describe_rules(config) for name, config in sorted(function.event_invoke.items())},
        "provisioned": {name: config.requested for name, config in sorted(function.provisioned.items())},
        "scaling": {name: _describe_scaling(config) for name, config in sorted(function.scaling.items())},
        "policies": {arn: _describe_policy(policy) for arn, policy in sorted(function.policies.items())},
    }
    return _list_own(function) | {key: value for key, value in by_qualifier.items() if value}


def describe_provisioned(configs: Mapping[str, ProvisionedConfig]) -> Document:
    """Returns provisioned concurrency as settings have it: an alias with its version, where the backend has named
    one."""
    return {
        qualifier: config.requested
        if config.version in (None, qualifier)
        else {"version": config.version, "slots": config.requested}
        for qualifier, config in sorted(configs.items())
    }


def _list_own(function: FunctionControl) -> Document:
    """Returns the values that have no qualifier."""
    return _without_unset(
        reserved_concurrent_executions=function.reserved_concurrent_executions, recursive_loop=function.recursive_loop
    )


def describe_rules(config: EventInvokeConfig) -> Document:
    return _without_unset(**{key: getattr(config, key) for key in RULES})


def _describe_policy(policy: FunctionPolicy) -> list[Document]:
    return [read_object(statement.encode()) for statement in policy.statements]


def _describe_scaling(config: ScalingConfig) -> Document:
    return _without_unset(minimum=config.minimum, maximum=config.maximum)


def _without_unset(**values: object) -> Document:
    return {key: value for key, value in values.items() if value is not None}
