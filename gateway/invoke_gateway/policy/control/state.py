"""Holds what Lambda's control operations have set, as frozen values. A change makes a new state.

A value that no operation has set is None or absent, because Lambda's answers leave such members out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeVar

import msgspec

RecursiveLoop = Literal["Allow", "Terminate"]

_T = TypeVar("_T")


class _Value(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Is the base of all values here."""


class ProvisionedConfig(_Value, frozen=True):
    """Holds the provisioned concurrency of one version or alias.

    requested: slots
    modified_at: the time of the change (seconds since the epoch)
    version: the version that an alias points to; None where the backend has not named one
    aliases: further aliases of that version
    """

    requested: int
    modified_at: float
    version: str | None = None
    aliases: tuple[str, ...] = ()


class EventInvokeConfig(_Value, frozen=True):
    """Holds the rules of asynchronous invocations of one version or alias, or of `$LATEST`.

    on_success, on_failure: ARNs
    modified_at: the time of the change (seconds since the epoch)
    """

    modified_at: float
    maximum_retry_attempts: int | None = None
    maximum_event_age_seconds: int | None = None
    on_success: str | None = None
    on_failure: str | None = None


class ScalingConfig(_Value, frozen=True):
    """Holds the bounds of the execution environments of a version on managed instances. They are kept and answered
    only: the gateway starts no environments."""

    minimum: int | None = None
    maximum: int | None = None


class FunctionPolicy(_Value, frozen=True):
    """Holds the statements that AddPermission has added for one ARN, as JSON texts.

    revision: changes with each statement
    """

    statements: tuple[str, ...]
    revision: str


class FunctionControl(_Value, frozen=True):
    """Holds everything that the operations have set for one function; mappings are by qualifier.

    policies: by the ARN that the operation named, which has the account of the caller
    """

    reserved_concurrent_executions: int | None = None
    recursive_loop: RecursiveLoop | None = None
    provisioned: Mapping[str, ProvisionedConfig] = {}
    event_invoke: Mapping[str, EventInvokeConfig] = {}
    scaling: Mapping[str, ScalingConfig] = {}
    policies: Mapping[str, FunctionPolicy] = {}

    @property
    def provisioned_concurrent_executions(self) -> int:
        """Returns the provisioned concurrency of all versions and aliases together."""
        return sum(config.requested for config in self.provisioned.values())


NOTHING = FunctionControl()


class ControlDocument(NamedTuple):
    """Holds what a shared store has of an account; both are empty where no operation has set anything.

    revision: `number:writer`; the writer distinguishes two changes that have the same number
    """

    revision: str = ""
    document: str = ""

    @property
    def number(self) -> int:
        """Returns the number of changes since the store was empty."""
        return int(self.revision.partition(":")[0] or 0)


class ControlState(_Value, frozen=True):
    """Holds everything that the operations have set, by account and function.

    version: the number of changes since the store was made
    revisions: where gateways share the state, the revision of each account's part
    """

    version: int = 0
    accounts: Mapping[str, Mapping[str, FunctionControl]] = {}
    revisions: Mapping[str, str] = {}

    def functions(self, account: str) -> Mapping[str, FunctionControl]:
        return self.accounts.get(account, {})

    def function(self, account: str, name: str) -> FunctionControl:
        return self.functions(account).get(name, NOTHING)

    def with_function(self, account: str, name: str, function: FunctionControl) -> ControlState:
        """Returns the next state, in which the function has these values. A function without values is left out."""
        functions = {**self.functions(account), name: function}
        if function == NOTHING:
            del functions[name]
        accounts = {**self.accounts, account: functions}
        if not functions:
            del accounts[account]
        return ControlState(self.version + 1, accounts, self.revisions)


def overlay(own: ControlState, below: ControlState) -> ControlState:
    """Returns a state in which each value that `own` has not comes from `below`. Its version is that of `own`."""
    accounts = dict(own.accounts)
    for account, functions in below.accounts.items():
        joined = dict(own.functions(account))
        for name, function in functions.items():
            over = joined.get(name, NOTHING)
            joined[name] = FunctionControl(
                _first(over.reserved_concurrent_executions, function.reserved_concurrent_executions),
                over.recursive_loop or function.recursive_loop,
                {**function.provisioned, **over.provisioned},
                {**function.event_invoke, **over.event_invoke},
                {**function.scaling, **over.scaling},
                over.policies,
            )
        accounts[account] = joined
    return ControlState(own.version, accounts, own.revisions)


def _first(over: int | None, below: int | None) -> int | None:
    return below if over is None else over


def with_targets(config: EventInvokeConfig, find: Callable[[str], str]) -> EventInvokeConfig:
    """Returns the configuration with what `find` returns for each destination."""
    success, failure = (target and find(target) for target in (config.on_success, config.on_failure))
    return msgspec.structs.replace(config, on_success=success, on_failure=failure)


def with_reserved(function: FunctionControl, slots: int | None) -> FunctionControl:
    return msgspec.structs.replace(function, reserved_concurrent_executions=slots)


def with_recursive_loop(function: FunctionControl, loop: RecursiveLoop | None) -> FunctionControl:
    return msgspec.structs.replace(function, recursive_loop=loop)


def with_provisioned(function: FunctionControl, qualifier: str, config: ProvisionedConfig | None) -> FunctionControl:
    return msgspec.structs.replace(function, provisioned=_with(function.provisioned, qualifier, config))


def with_alias(
    function: FunctionControl, alias: str, version: str | None, *, has_weights: bool = False
) -> FunctionControl:
    """Returns the values after an alias was pointed to a version; None: it was deleted. An alias with provisioned
    concurrency of its own takes that along; another one, without weights, has that of the version."""

    def follow(qualifier: str, config: ProvisionedConfig) -> ProvisionedConfig:
        if qualifier == alias:
            return config if version is None else msgspec.structs.replace(config, version=version, aliases=())
        others = tuple(name for name in config.aliases if name != alias)
        is_served = version is not None and version == config.version and not has_weights
        return msgspec.structs.replace(config, aliases=(*others, alias) if is_served else others)

    provisioned = {qualifier: follow(qualifier, config) for qualifier, config in function.provisioned.items()}
    return msgspec.structs.replace(function, provisioned=provisioned)


def with_event_invoke(function: FunctionControl, qualifier: str, config: EventInvokeConfig | None) -> FunctionControl:
    return msgspec.structs.replace(function, event_invoke=_with(function.event_invoke, qualifier, config))


def with_scaling(function: FunctionControl, qualifier: str, config: ScalingConfig | None) -> FunctionControl:
    return msgspec.structs.replace(function, scaling=_with(function.scaling, qualifier, config))


def with_policy(function: FunctionControl, arn: str, policy: FunctionPolicy | None) -> FunctionControl:
    return msgspec.structs.replace(function, policies=_with(function.policies, arn, policy))


def without_policies(function: FunctionControl, qualifier: str) -> FunctionControl:
    """Returns the values without the policies of one version or alias."""
    kept = {arn: policy for arn, policy in function.policies.items() if not arn.endswith(f":{qualifier}")}
    return msgspec.structs.replace(function, policies=kept)


def without_qualifier(function: FunctionControl, qualifier: str) -> FunctionControl:
    """Returns the values without those of one version, for a version that was deleted."""
    return with_scaling(
        with_event_invoke(with_provisioned(without_policies(function, qualifier), qualifier, None), qualifier, None),
        qualifier,
        None,
    )


def _with(values: Mapping[str, _T], key: str, value: _T | None) -> Mapping[str, _T]:
    changed = {name: kept for name, kept in values.items() if name != key}
    return changed if value is None else {**changed, key: value}
