"""Lists the condition keys, with their types and the facts of a request that they read.

A key that is not listed is a mistake: a condition on a fact that the gateway cannot read would decide by chance. Keys
that only AWS's services set are listed, and absent from every request, as they are absent from a client's request to
AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

from .principal import Principal


class KeyType(StrEnum):
    """Lists the types of keys, by which an operator applies to them."""

    TEXT = "text"
    ARN = "ARN"
    ADDRESS = "IP address"
    DATE = "date"
    BOOL = "boolean"


class RequestFacts(NamedTuple):
    """Holds what the conditions of policies read.

    resource: the ARN as invoked
    resource_account: the account of the function
    now: seconds since the epoch
    source_ip: the address of the client's connection
    invocation_type: None for requests that are no invocation
    """

    principal: Principal
    resource: str
    resource_account: str
    region: str
    now: float = 0.0
    source_ip: str | None = None
    is_secure: bool = False
    invocation_type: str | None = None
    user_agent: str | None = None


class ConditionKey(NamedTuple):
    """Describes one key.

    read: returns the value; None where the request has none
    """

    name: str
    type: KeyType
    read: Callable[[RequestFacts], str | None]


def _read_nothing(_: RequestFacts) -> None:
    return None


def _bool(value: bool) -> str:
    return "true" if value else "false"


_KEYS = (
    ConditionKey("aws:SourceIp", KeyType.ADDRESS, lambda facts: facts.source_ip),
    ConditionKey("aws:CurrentTime", KeyType.DATE, lambda facts: repr(facts.now)),
    ConditionKey("aws:EpochTime", KeyType.DATE, lambda facts: repr(facts.now)),
    ConditionKey("aws:SecureTransport", KeyType.BOOL, lambda facts: _bool(facts.is_secure)),
    ConditionKey("aws:UserAgent", KeyType.TEXT, lambda facts: facts.user_agent),
    ConditionKey("aws:RequestedRegion", KeyType.TEXT, lambda facts: facts.region),
    ConditionKey("aws:ResourceAccount", KeyType.TEXT, lambda facts: facts.resource_account),
    ConditionKey("aws:PrincipalArn", KeyType.ARN, lambda facts: facts.principal.principal_arn),
    ConditionKey("aws:PrincipalAccount", KeyType.TEXT, lambda facts: facts.principal.account),
    ConditionKey("aws:PrincipalType", KeyType.TEXT, lambda facts: facts.principal.kind),
    ConditionKey("aws:PrincipalIsAWSService", KeyType.BOOL, lambda _: "false"),
    ConditionKey("aws:ViaAWSService", KeyType.BOOL, lambda _: "false"),
    ConditionKey("aws:username", KeyType.TEXT, lambda facts: facts.principal.user_name),
    ConditionKey(
        "lambda:FunctionArn", KeyType.ARN, lambda facts: facts.resource if ":function:" in facts.resource else None
    ),
    ConditionKey("lambda:InvocationType", KeyType.TEXT, lambda facts: facts.invocation_type),
    ConditionKey("aws:SourceArn", KeyType.ARN, _read_nothing),
    ConditionKey("aws:SourceAccount", KeyType.TEXT, _read_nothing),
    ConditionKey("lambda:EventSourceToken", KeyType.TEXT, _read_nothing),
    ConditionKey("lambda:FunctionUrlAuthType", KeyType.TEXT, _read_nothing),
    ConditionKey("lambda:InvokedViaFunctionUrl", KeyType.BOOL, _read_nothing),
)
KEYS: Mapping[str, ConditionKey] = {key.name.lower(): key for key in _KEYS}
"""Return a key of its name in lower case. AWS compares the names of keys without letter case."""

ORGANIZATION = ConditionKey("aws:PrincipalOrgID", KeyType.TEXT, _read_nothing)
"""Describes the key that AddPermission sets for an organization. The gateway knows no organizations, so such a grant
matches no caller. In other policies it is a mistake: a Deny with it would deny nothing."""

UNKNOWN_FACTS: Mapping[str, str] = {
    "aws:principalorgid": "The gateway knows no organizations. Compare aws:PrincipalAccount.",
    "aws:principalorgpaths": "The gateway knows no organizations. Compare aws:PrincipalAccount.",
    "aws:resourceorgid": "The gateway knows no organizations. Compare aws:ResourceAccount.",
    "aws:multifactorauthpresent": "The gateway does not know how a session began. Compare aws:PrincipalArn.",
    "aws:multifactorauthage": "The gateway does not know how a session began. Compare aws:PrincipalArn.",
    "aws:tokenissuetime": "The gateway does not know how a session began. Compare aws:CurrentTime.",
    "aws:userid": "The gateway does not know unique ids. Compare aws:PrincipalArn.",
    "aws:sourcevpc": "The gateway knows no VPC. Compare aws:SourceIp.",
    "aws:sourcevpce": "The gateway knows no VPC. Compare aws:SourceIp.",
    "aws:vpcsourceip": "The gateway knows no VPC. Compare aws:SourceIp.",
}
"""Lists the cures for keys of AWS that the gateway cannot read, by their names in lower case."""
