"""Defines the entries of `callers`: access keys with their secrets, and the limits and policies of callers."""

import re

from invoke_gateway.settings.models.accounts import Model
from invoke_gateway.settings.models.caller_types import CallerArn, SecretSource
from invoke_gateway.settings.models.policies import IdentityPolicy
from invoke_gateway.settings.models.types import CallerRequestRate, Count

_ACCOUNT_OF_ARN = re.compile(r"arn:[^:]*:[^:]*:[^:]*:(\d{12}):", re.ASCII)


def is_arn(key: str) -> bool:
    """Returns whether a key of `callers` names a caller by its ARN; else it is an access key id."""
    return key.startswith("arn:")


def account_of(arn: str) -> str:
    """Returns the account in a caller's ARN."""
    found = _ACCOUNT_OF_ARN.match(arn)
    assert found is not None  # the type of the value sees to it
    return found[1]


class CallerEntry(Model):
    """An access key, or a caller by its ARN. Several access keys with one `arn` are one caller."""

    secret: SecretSource | None = None
    """Source of the secret access key: env:NAME, file:/path or command:PROGRAM ARGUMENTS. The file may not be readable
    by others. The command prints JSON (docs/guides/signatures.md)."""
    session_token: SecretSource | None = None
    """Source of the session token that each request of this access key must carry. Not set: a request with a session
    token is refused, unless the command of `secret` printed the token."""
    arn: CallerArn | None = None
    """ARN of the caller, such as arn:aws:iam::111122223333:user/alice. The caller's account is the account in it."""
    policies: tuple[IdentityPolicy, ...] = ()
    """Identity-based policies: names of JSON files, or policies as mappings. Empty: the caller may do everything in its
    own account (docs/guides/permissions.md)."""
    concurrent_executions: Count | None = None
    """Slots that the caller's invocations may use at once. Not set: no limit of its own."""
    requests_per_second: CallerRequestRate | None = None
    """Synchronous requests per second of the caller. `off`: no limit. Not set: the account's
    caller_requests_per_second."""
