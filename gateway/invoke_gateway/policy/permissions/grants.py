"""Makes the statements that AddPermission adds to the policy of a function, in AWS's form.

Such a statement allows one action to one principal. An account id as the principal becomes the ARN of the account.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..arn import find_partition
from .document import PolicyKind, Statement, read_policy
from .mistakes import PolicyMistakes
from .principal import parse_principal

LONGEST_POLICY = 20_480  # bytes (Lambda's quotas, developer guide)
VERSION = "2012-10-17"
ORGANIZATION_MEMBER = "aws:PrincipalOrgID"
"""Names the key of an organization, which the settings do not take."""

_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.amazon(?:aws)?\.com(?:\.cn)?", re.ASCII)
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)

Document = dict[str, Any]


class AddedGrant(NamedTuple):
    """Holds what an operation allows, by the members of AddPermission."""

    statement_id: str
    action: str
    principal: str
    source_arn: str | None = None
    source_account: str | None = None
    event_source_token: str | None = None
    function_url_auth_type: str | None = None
    invoked_via_function_url: bool | None = None
    principal_org_id: str | None = None


_CONDITIONS = (
    ("function_url_auth_type", "StringEquals", "lambda:FunctionUrlAuthType"),
    ("principal_org_id", "StringEquals", ORGANIZATION_MEMBER),
    ("source_account", "StringEquals", "AWS:SourceAccount"),
    ("event_source_token", "StringEquals", "lambda:EventSourceToken"),
    ("invoked_via_function_url", "Bool", "lambda:InvokedViaFunctionUrl"),
    ("source_arn", "ArnLike", "AWS:SourceArn"),
)


def make_statement(grant: AddedGrant, resource: str, region: str) -> Document | None:
    """Returns the statement of a grant; None where its principal is none."""
    principal = _make_principal(grant.principal, region)
    if principal is None:
        return None
    statement: Document = {
        "Sid": grant.statement_id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": grant.action,
        "Resource": resource,
    }
    conditions: dict[str, dict[str, str]] = {}
    for member, operator, key in _CONDITIONS:
        value = getattr(grant, member)
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else value
            conditions.setdefault(operator, {})[key] = text
    if conditions:
        statement["Condition"] = conditions
    return statement


def _make_principal(text: str, region: str) -> str | dict[str, str] | None:
    if text == "*":
        return text
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:{find_partition(region)}:iam::{text}:root"}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    return {"AWS": text} if parse_principal(text) is not None else None


def find_grant(statement: object) -> AddedGrant | None:
    """Returns the grant that makes a statement; None where none makes it."""
    if not isinstance(statement, Mapping):
        return None
    principal = statement.get("Principal")
    if isinstance(principal, Mapping) and len(principal) == 1:
        [principal] = principal.values()
    found: dict[str, Any] = {}
    conditions = statement.get("Condition", {})
    for member, operator, key in _CONDITIONS:
        tests = conditions.get(operator) if isinstance(conditions, Mapping) else None
        if isinstance(tests, Mapping) and key in tests:
            found[member] = tests[key] == "true" if operator == "Bool" else tests[key]
    sid, action = statement.get("Sid"), statement.get("Action")
    if not isinstance(sid, str) or not isinstance(action, str) or not isinstance(principal, str):
        return None
    if not all(isinstance(value, str | bool) for value in found.values()):
        return None
    grant = AddedGrant(sid, action, principal, **found)
    made = make_statement(grant, str(statement.get("Resource")), _find_region(str(statement.get("Resource"))))
    return grant if made == statement else None


def _find_region(arn: str) -> str:
    parts = arn.split(":")
    return parts[3] if len(parts) > 3 else ""


def encode_statement(statement: Document) -> str:
    return json.dumps(statement, separators=(",", ":"))


def encode_policy(statements: Iterable[str]) -> str:
    """Returns the policy of statements, as GetPolicy answers it."""
    return f'{{"Version":"{VERSION}","Id":"default","Statement":[{",".join(statements)}]}}'


def compile_grants(statements: Iterable[str], source: str, mistakes: PolicyMistakes) -> tuple[Statement, ...]:
    """Compiles statements of AddPermission. It may allow an organization, of which no caller is a member here."""
    document = json.loads(encode_policy(statements))
    return read_policy(document, source, PolicyKind.RESOURCE, mistakes, has_organizations=True)
