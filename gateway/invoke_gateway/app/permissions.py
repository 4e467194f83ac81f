"""Makes the table of permissions, of the settings and of what AddPermission has set."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from ..policy.control.state import ControlState, FunctionControl
from ..policy.limits import DEFAULT_ACCOUNT
from ..policy.permissions.document import PolicyKind, Statement, parse_policy
from ..policy.permissions.grants import compile_grants
from ..policy.permissions.mistakes import PolicyMistakes
from ..policy.permissions.permissions import CallerIdentity, Permissions
from ..policy.permissions.principal import parse_principal
from ..settings import Account, Settings
from ..settings.models.callers import is_arn
from ..settings.models.policies import PolicyText

log = logging.getLogger("invoke_gateway")


def make_permissions(settings: Settings, control: ControlState) -> Permissions | None:
    """Returns the table; None where signatures are not verified, so that no caller is known.

    control: what AddPermission has set; a policy of the settings wins for the function that it names
    """
    if settings.signatures != "verify":
        return None
    functions = {}
    for account, limits in settings.accounts.items():
        name = DEFAULT_ACCOUNT if account == "default" else account
        functions[name] = dict(_list_functions(account, limits, control.functions(name)))
    return Permissions(
        region=settings.region,
        callers=dict(_list_callers(settings)),
        functions=functions,
        default_account=DEFAULT_ACCOUNT,
        access_keys={key: entry.arn for key, entry in settings.callers.items() if entry.arn is not None},
    )


def _list_callers(settings: Settings) -> Iterator[tuple[str, CallerIdentity]]:
    """Yields the callers with policies, by ARN. All entries of one caller have the same ones, or none."""
    policies: dict[str, tuple[Statement, ...]] = {}
    for key, entry in settings.callers.items():
        arn = key if is_arn(key) else entry.arn
        if arn is None or arn in policies or not entry.policies:
            continue
        policies[arn] = tuple(
            statement
            for number, policy in enumerate(entry.policies)
            for statement in _parse(policy, f"callers.{key}.policies[{number}]", PolicyKind.IDENTITY)
        )
    for arn, statements in policies.items():
        principal = parse_principal(arn)
        assert principal is not None  # the type of the value sees to it
        yield arn, CallerIdentity(principal, statements)


def _list_functions(
    account: str, limits: Account, control: Mapping[str, FunctionControl]
) -> Iterator[tuple[str, tuple[Statement, ...]]]:
    for name, set_here in control.items():
        if set_here.policies:
            yield name, _compile(set_here)
    for name, function in limits.functions.items():  # perhaps a million
        if function.resource_policy is not None:
            source = f"accounts.{account}.functions.{name}.resource_policy"
            yield name, _parse(function.resource_policy, source, PolicyKind.RESOURCE)


def _compile(control: FunctionControl) -> tuple[Statement, ...]:
    """Compiles what AddPermission has added. A statement that cannot be read allows nothing."""
    found: list[Statement] = []
    for arn, policy in control.policies.items():
        mistakes = PolicyMistakes()
        statements = compile_grants(policy.statements, f"AddPermission for {arn}", mistakes)
        if mistakes:
            log.error("The policy of %s in the control state is not in force: %s", arn, mistakes[0])
        else:
            found += statements
    return tuple(found)


def _parse(policy: PolicyText, key: str, kind: PolicyKind) -> tuple[Statement, ...]:
    return parse_policy(policy.text, policy.file or key, kind)
