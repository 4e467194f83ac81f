"""Reads a document of values, and makes the operations that set them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..policy.control.paths import ControlOperation
from ..policy.permissions.grants import VERSION, AddedGrant, find_grant
from .documents import read_object
from .export import RULES, Document
from .parts import LATEST

_NOTES = frozenset({"store", "version", "settings", "comments"})  # what an export has beside its accounts
_KEYS = (
    "reserved_concurrent_executions",
    "recursive_loop",
    *RULES,
    "event_invoke",
    "provisioned",
    "scaling",
    "policies",
)
_MEMBERS = {"maximum_retry_attempts": "MaximumRetryAttempts", "maximum_event_age_seconds": "MaximumEventAgeInSeconds"}
_DESTINATIONS = {"on_success": "OnSuccess", "on_failure": "OnFailure"}
_BOUNDS = {"minimum": "MinExecutionEnvironments", "maximum": "MaxExecutionEnvironments"}


class Mistake(NamedTuple):
    """Holds why a value is not set. `key` names it in the document."""

    key: str
    text: str


class ImportStep(NamedTuple):
    """Holds one operation, and the key of its values in the document.

    arn: the ARN of the function, of an operation on a policy; else the name is enough
    """

    key: str
    account: str
    name: str
    operation: ControlOperation
    qualifier: str | None
    body: Document
    arn: str | None = None


def read_steps(
    document: Mapping[str, Any], find_account: Callable[[str], str | None], mistakes: list[Mistake]
) -> Iterator[ImportStep]:
    """Returns the operations of a document, and adds what cannot be set by any to `mistakes`."""
    accounts = _read_mapping(document, "accounts", "", mistakes, others=_NOTES)
    for shown, value in accounts.items():
        account = find_account(str(shown))
        where = f"accounts.{shown}"
        if account is None:
            mistakes.append(Mistake(where, "the settings name no such account. Add it to the settings."))
            continue
        for name, values in _read_mapping(value, "functions", where, mistakes).items():
            place = f"{where}.functions.{name}"
            if not isinstance(values, Mapping):
                mistakes.append(Mistake(place, f"is no mapping. Give it some of {', '.join(_KEYS)}."))
            elif ":" in str(name):
                mistakes.append(Mistake(place, "is no plain name. Put qualifiers under provisioned and event_invoke."))
            else:
                yield from _read_function(account, str(name), values, place, mistakes)


def _read_mapping(
    value: object, key: str, where: str, mistakes: list[Mistake], others: frozenset[str] = frozenset()
) -> Mapping[Any, Any]:
    """Returns the mapping under the one key that a mapping may have."""
    if not isinstance(value, Mapping):
        mistakes.append(Mistake(where or "the document", f"is no mapping. Give it the key {key}."))
        return {}
    for other in value:
        if other != key and other not in others:
            text = "is no value of an operation. Keep it in the settings file."
            mistakes.append(Mistake(f"{where}.{other}".lstrip("."), text))
    below = value.get(key, {})
    if isinstance(below, Mapping):
        return below
    mistakes.append(Mistake(f"{where}.{key}".lstrip("."), "is no mapping."))
    return {}


def _read_function(
    account: str, name: str, values: Mapping[Any, Any], where: str, mistakes: list[Mistake]
) -> Iterator[ImportStep]:
    for key, value in values.items():
        place = f"{where}.{key}"
        if key == "reserved_concurrent_executions":
            body = {"ReservedConcurrentExecutions": value}
            yield ImportStep(place, account, name, ControlOperation.PUT_FUNCTION_CONCURRENCY, None, body)
        elif key == "recursive_loop":
            yield ImportStep(place, account, name, ControlOperation.PUT_RECURSION, None, {"RecursiveLoop": value})
        elif key == "provisioned_concurrent_executions":  # as settings have it
            yield from _read_qualified(account, name, "provisioned", value, place, mistakes)
        elif key not in _KEYS:
            mistakes.append(Mistake(place, "is no value of an operation. Keep it in the settings file."))
        elif key == "policies":
            yield from _read_policies(account, name, value, place, mistakes)
        elif key not in RULES:
            yield from _read_qualified(account, name, key, value, place, mistakes)
    rules = {key: value for key, value in values.items() if key in RULES}
    if rules:
        yield _make_rules(account, name, LATEST, rules, where)


def _read_qualified(
    account: str, name: str, key: str, value: object, where: str, mistakes: list[Mistake]
) -> Iterator[ImportStep]:
    """Returns the operations of a mapping by qualifier."""
    if not isinstance(value, Mapping):
        mistakes.append(Mistake(where, "is no mapping by version or alias."))
        return
    for given, wanted in value.items():
        qualifier, place = str(given), f"{where}.{given}"
        if key == "provisioned":
            slots = wanted.get("slots") if isinstance(wanted, Mapping) else wanted
            body = {"ProvisionedConcurrentExecutions": slots}
            yield ImportStep(place, account, name, ControlOperation.PUT_PROVISIONED, qualifier, body)
            continue
        known: Mapping[str, str] = _BOUNDS if key == "scaling" else dict.fromkeys(RULES, "")
        if not isinstance(wanted, Mapping) or not known.keys() >= wanted.keys():
            mistakes.append(Mistake(place, f"has keys other than {', '.join(known)}."))
        elif key == "scaling":
            config = {_BOUNDS[bound]: slots for bound, slots in wanted.items()}
            body = {"FunctionScalingConfig": config}
            yield ImportStep(place, account, name, ControlOperation.PUT_SCALING, qualifier, body)
        else:
            yield _make_rules(account, name, qualifier, wanted, place)


def _make_rules(account: str, name: str, qualifier: str, rules: Mapping[str, Any], where: str) -> ImportStep:
    body: Document = {_MEMBERS[key]: value for key, value in rules.items() if key in _MEMBERS}
    destinations = {_DESTINATIONS[key]: {"Destination": value} for key, value in rules.items() if key in _DESTINATIONS}
    if destinations:
        body["DestinationConfig"] = destinations
    given = None if qualifier == LATEST else qualifier
    return ImportStep(where, account, name, ControlOperation.PUT_EVENT_INVOKE, given, body)


def _read_policies(account: str, name: str, value: object, where: str, mistakes: list[Mistake]) -> Iterator[ImportStep]:
    """Returns the operations of a mapping of statements by ARN."""
    if not isinstance(value, Mapping):
        mistakes.append(Mistake(where, "is no mapping by ARN."))
        return
    for arn, statements in value.items():
        place = f"{where}.{arn}"
        if not isinstance(statements, list) or str(arn).split(":")[5:7] != ["function", name]:
            mistakes.append(Mistake(place, f"is no list of statements for an ARN of {name}."))
            continue
        grants = [find_grant(statement) for statement in statements]
        if any(grant is None or one.get("Resource") != arn for grant, one in zip(grants, statements, strict=True)):
            policy = json.dumps({"Version": VERSION, "Statement": statements})
            body: Document = {"Policy": policy}
            yield ImportStep(place, account, name, ControlOperation.PUT_RESOURCE_POLICY, None, body, str(arn))
            continue
        for number, grant in enumerate(grants):
            if grant is not None:
                body = _make_permission(grant)
                yield ImportStep(
                    f"{place}.{number}", account, name, ControlOperation.ADD_PERMISSION, None, body, str(arn)
                )


_PERMISSION = {
    "statement_id": "StatementId",
    "action": "Action",
    "principal": "Principal",
    "source_arn": "SourceArn",
    "source_account": "SourceAccount",
    "event_source_token": "EventSourceToken",
    "function_url_auth_type": "FunctionUrlAuthType",
    "invoked_via_function_url": "InvokedViaFunctionUrl",
    "principal_org_id": "PrincipalOrgID",
}


def read_grant(statement: str) -> Document | None:
    """Returns the members of AddPermission that made a statement; None where none make it."""
    grant = find_grant(read_object(statement.encode()))
    return None if grant is None else _make_permission(grant)


def _make_permission(grant: AddedGrant) -> Document:
    given = ((member, getattr(grant, member)) for member in grant._fields)
    return {_PERMISSION[member]: value for member, value in given if value is not None}
