"""Describes the caller of a decision, and matches callers against the element `Principal` of a resource policy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from .mistakes import PolicyMistakes, advise

_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-zA-Z-]*):(?:iam|sts)::(?P<account>\d{12}):"
    r"(?:(?P<root>root)|(?P<kind>user|role|assumed-role|federated-user)/(?P<name>[^*?\s]+))",
    re.ASCII,
)
_ELEMENTS = ("AWS", "Service", "Federated", "CanonicalUser")
_CONDITION_CURE = 'Write "*", and a Condition of ArnLike with aws:PrincipalArn.'


class Principal(NamedTuple):
    """Names a caller whose signature was verified.

    arn: the ARN that refusals show
    kind: the value of `aws:PrincipalType`
    principal_arn: the value of `aws:PrincipalArn`: of a session, the ARN of its role
    user_name: the name of an IAM user, without its path
    role: the name of a role, without its path
    """

    arn: str
    account: str
    kind: str
    principal_arn: str
    user_name: str | None = None
    role: str | None = None


class Grant(IntEnum):
    """Lists how the element `Principal` of a statement names a caller. An account's name delegates to its identity
    policies; it grants nothing to a caller of the function's own account."""

    NONE = 0
    ACCOUNT = 1
    CALLER = 2


def parse_principal(arn: str) -> Principal | None:
    """Returns the caller of an ARN of IAM or STS; None where the ARN names no caller."""
    found = _ARN.fullmatch(arn)
    if found is None:
        return None
    account = found["account"]
    if found["root"]:
        return Principal(arn, account, "Account", arn)
    kind, name = found["kind"], found["name"]
    if kind == "user":
        return Principal(arn, account, "User", arn, user_name=name.rpartition("/")[2])
    if kind == "federated-user":
        return Principal(arn, account, "FederatedUser", arn)
    if kind == "role":
        return Principal(arn, account, "AssumedRole", arn, role=name.rpartition("/")[2])
    role = name.partition("/")[0]
    role_arn = f"arn:{found['partition']}:iam::{account}:role/{role}"
    return Principal(arn, account, "AssumedRole", role_arn, role=role)


class PrincipalSet(NamedTuple):
    """Holds the callers that a statement names.

    roles: account and name of each role; a session's ARN has no path, so the path of a role is left out
    """

    is_anyone: bool = False
    accounts: frozenset[str] = frozenset()
    arns: frozenset[str] = frozenset()
    roles: frozenset[tuple[str, str]] = frozenset()

    def find_grant(self, principal: Principal) -> Grant:
        if (
            self.is_anyone
            or principal.arn in self.arns
            or (principal.role is not None and (principal.account, principal.role) in self.roles)
        ):
            return Grant.CALLER
        if principal.account in self.accounts:
            return Grant.CALLER if principal.kind == "Account" else Grant.ACCOUNT
        return Grant.NONE


_ANYONE = PrincipalSet(is_anyone=True)


def read_principals(element: object, where: str, mistakes: PolicyMistakes) -> PrincipalSet:
    """Reads the element `Principal`. Services never sign a request to the gateway, so they match no caller."""
    if element == "*":
        return _ANYONE
    if not isinstance(element, Mapping) or not element:
        cure = 'Write {"AWS": "<account id or ARN>"}, {"Service": "<name>.amazonaws.com"} or "*".'
        mistakes.note(where, "is no principal", cure)
        return _ANYONE
    names: list[str] = []
    for kind, value in element.items():
        place = f"{where}.{kind}"
        if kind not in _ELEMENTS:
            cure = advise(kind, _ELEMENTS, "Write AWS or Service.")
            mistakes.note(place, "is no kind of principal", cure)
        elif kind in ("Federated", "CanonicalUser"):
            mistakes.note(place, "is not supported: no such caller can sign a request", "Write AWS.")
        elif not _are_texts(value):
            mistakes.note(place, "is no text and no list of texts", "Write a text.")
        elif kind == "AWS":
            names += [value] if isinstance(value, str) else value
    return _sort_names(names, f"{where}.AWS", mistakes)


def _are_texts(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)
    )


def _sort_names(names: list[str], where: str, mistakes: PolicyMistakes) -> PrincipalSet:
    accounts, arns, roles = set(), set(), set()
    for name in names:
        if name == "*":
            return _ANYONE
        if _ACCOUNT.fullmatch(name):
            accounts.add(name)
            continue
        principal = parse_principal(name)
        if principal is None:
            what = "has a wildcard" if "*" in name or "?" in name else "is no account id and no ARN of IAM or STS"
            mistakes.note(where, f"{name!r} {what}", _CONDITION_CURE)
        elif principal.kind == "Account":
            accounts.add(principal.account)
        elif principal.role is not None and principal.arn == principal.principal_arn:
            roles.add((principal.account, principal.role))
        else:
            arns.add(name)
    return PrincipalSet(False, frozenset(accounts), frozenset(arns), frozenset(roles))
