"""Finds Lambda's control operations by method and path, and parses the function that they name.

The gateway serves some operations itself. Of a few others it watches or edits the backend's answer. Paths, lengths and
patterns are the service model's (2015-03-31). The date in a path may be any, so that no request for a limit passes to
a backend unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from ...invocation import Function
from ...refusals import Refusal
from ..arn import find_partition
from ..requests.validation import check_given, check_text
from .errors import ControlRefusal


class ControlOperation(StrEnum):
    """Lists the operations that the gateway serves, edits or watches, by their names in the service model."""

    PUT_FUNCTION_CONCURRENCY = "PutFunctionConcurrency"
    GET_FUNCTION_CONCURRENCY = "GetFunctionConcurrency"
    DELETE_FUNCTION_CONCURRENCY = "DeleteFunctionConcurrency"
    GET_ACCOUNT_SETTINGS = "GetAccountSettings"
    PUT_PROVISIONED = "PutProvisionedConcurrencyConfig"
    GET_PROVISIONED = "GetProvisionedConcurrencyConfig"
    LIST_PROVISIONED = "ListProvisionedConcurrencyConfigs"
    DELETE_PROVISIONED = "DeleteProvisionedConcurrencyConfig"
    PUT_EVENT_INVOKE = "PutFunctionEventInvokeConfig"
    UPDATE_EVENT_INVOKE = "UpdateFunctionEventInvokeConfig"
    GET_EVENT_INVOKE = "GetFunctionEventInvokeConfig"
    LIST_EVENT_INVOKE = "ListFunctionEventInvokeConfigs"
    DELETE_EVENT_INVOKE = "DeleteFunctionEventInvokeConfig"
    PUT_RECURSION = "PutFunctionRecursionConfig"
    GET_RECURSION = "GetFunctionRecursionConfig"
    PUT_SCALING = "PutFunctionScalingConfig"
    GET_SCALING = "GetFunctionScalingConfig"
    GET_FUNCTION = "GetFunction"
    CREATE_FUNCTION = "CreateFunction"
    DELETE_FUNCTION = "DeleteFunction"
    CREATE_ALIAS = "CreateAlias"
    UPDATE_ALIAS = "UpdateAlias"
    DELETE_ALIAS = "DeleteAlias"
    ADD_PERMISSION = "AddPermission"
    REMOVE_PERMISSION = "RemovePermission"
    GET_POLICY = "GetPolicy"
    PUT_RESOURCE_POLICY = "PutResourcePolicy"
    GET_RESOURCE_POLICY = "GetResourcePolicy"
    DELETE_RESOURCE_POLICY = "DeleteResourcePolicy"


WATCHED = frozenset(
    {
        ControlOperation.GET_FUNCTION,
        ControlOperation.CREATE_FUNCTION,
        ControlOperation.DELETE_FUNCTION,
        ControlOperation.CREATE_ALIAS,
        ControlOperation.UPDATE_ALIAS,
        ControlOperation.DELETE_ALIAS,
    }
)
"""Lists the operations that the backend answers, and whose answer the gateway reads."""


_ON_STATEMENTS = frozenset(
    {ControlOperation.ADD_PERMISSION, ControlOperation.REMOVE_PERMISSION, ControlOperation.GET_POLICY}
)
ON_POLICIES = _ON_STATEMENTS | {
    ControlOperation.PUT_RESOURCE_POLICY,
    ControlOperation.GET_RESOURCE_POLICY,
    ControlOperation.DELETE_RESOURCE_POLICY,
}
"""Lists the operations that the gateway serves where it verifies signatures. Else the backend serves them."""


class ControlTarget(NamedTuple):
    """Names an operation and the texts in its path and query, decoded and not yet checked.

    name: the name or ARN of the function; empty where the operation has none
    alias: the name of the alias, of an operation on one
    statement: the id of the statement, of an operation on one
    """

    operation: ControlOperation
    name: str
    query: Mapping[str, str]
    alias: str = ""
    statement: str = ""


_ON_ARNS = {
    "PUT": ControlOperation.PUT_RESOURCE_POLICY,
    "GET": ControlOperation.GET_RESOURCE_POLICY,
    "DELETE": ControlOperation.DELETE_RESOURCE_POLICY,
}
_SUFFIXES: dict[tuple[str, str], ControlOperation] = {
    ("PUT", "concurrency"): ControlOperation.PUT_FUNCTION_CONCURRENCY,
    ("GET", "concurrency"): ControlOperation.GET_FUNCTION_CONCURRENCY,
    ("DELETE", "concurrency"): ControlOperation.DELETE_FUNCTION_CONCURRENCY,
    ("PUT", "provisioned-concurrency"): ControlOperation.PUT_PROVISIONED,
    ("GET", "provisioned-concurrency"): ControlOperation.GET_PROVISIONED,
    ("DELETE", "provisioned-concurrency"): ControlOperation.DELETE_PROVISIONED,
    ("PUT", "event-invoke-config"): ControlOperation.PUT_EVENT_INVOKE,
    ("POST", "event-invoke-config"): ControlOperation.UPDATE_EVENT_INVOKE,
    ("GET", "event-invoke-config"): ControlOperation.GET_EVENT_INVOKE,
    ("DELETE", "event-invoke-config"): ControlOperation.DELETE_EVENT_INVOKE,
    ("PUT", "recursion-config"): ControlOperation.PUT_RECURSION,
    ("GET", "recursion-config"): ControlOperation.GET_RECURSION,
    ("PUT", "function-scaling-config"): ControlOperation.PUT_SCALING,
    ("GET", "function-scaling-config"): ControlOperation.GET_SCALING,
    ("POST", "policy"): ControlOperation.ADD_PERMISSION,
    ("GET", "policy"): ControlOperation.GET_POLICY,
}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def find_control(method: str, raw_path: bytes, query: bytes) -> ControlTarget | None:
    """Returns the operation of a request; None for requests that only the backend sees."""
    segments = raw_path.decode("latin-1").rstrip("/").split("/")
    if len(segments) < 3 or segments[0] or not _DATE.fullmatch(segments[1]):
        return None
    found = _find(method, segments[2:])
    if found is None:
        return None
    operation, name, below = found
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    if operation is ControlOperation.GET_PROVISIONED and "List" in parameters:
        operation = ControlOperation.LIST_PROVISIONED
    if operation is ControlOperation.REMOVE_PERMISSION:
        return ControlTarget(operation, unquote(name), parameters, statement=unquote(below))
    return ControlTarget(operation, unquote(name), parameters, unquote(below))


def _find(method: str, segments: list[str]) -> tuple[ControlOperation, str, str] | None:
    match (method, *segments):
        case ("GET", "account-settings"):
            return ControlOperation.GET_ACCOUNT_SETTINGS, "", ""
        case ("POST", "functions"):
            return ControlOperation.CREATE_FUNCTION, "", ""
        case ("GET", "functions", name):
            return ControlOperation.GET_FUNCTION, name, ""
        case ("DELETE", "functions", name):
            return ControlOperation.DELETE_FUNCTION, name, ""
        case (_, "resource-policy", arn) if method in _ON_ARNS and ":function:" in unquote(
            arn
        ):  # runtimes have some, too
            return _ON_ARNS[method], arn, ""
        case (_, "functions", name, suffix) if (method, suffix) in _SUFFIXES:
            return _SUFFIXES[method, suffix], name, ""
        case ("GET", "functions", name, "event-invoke-config", "list"):
            return ControlOperation.LIST_EVENT_INVOKE, name, ""
        case ("POST", "functions", name, "aliases"):
            return ControlOperation.CREATE_ALIAS, name, ""
        case ("PUT", "functions", name, "aliases", alias):
            return ControlOperation.UPDATE_ALIAS, name, alias
        case ("DELETE", "functions", name, "aliases", alias):
            return ControlOperation.DELETE_ALIAS, name, alias
        case ("DELETE", "functions", name, "policy", statement):
            return ControlOperation.REMOVE_PERMISSION, name, statement
    return None


class _NameRule(NamedTuple):
    """Describes the names that an operation takes."""

    longest: int
    pattern: str


_ARN = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
_FUNCTION_NAME = _NameRule(140, _ARN + r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?")
_NAMESPACED = _NameRule(256, _ARN + r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?")
_UNQUALIFIED = _NameRule(140, _ARN + r"([a-zA-Z0-9-_]+)")

_O = ControlOperation
_ON_EVENTS = (_O.PUT_EVENT_INVOKE, _O.UPDATE_EVENT_INVOKE, _O.GET_EVENT_INVOKE, _O.DELETE_EVENT_INVOKE)
_NAME_RULES = {
    **dict.fromkeys((*_ON_EVENTS, _O.LIST_EVENT_INVOKE), _NAMESPACED),
    **dict.fromkeys((_O.GET_FUNCTION, _O.DELETE_FUNCTION, *ON_POLICIES), _NAMESPACED),
    **dict.fromkeys((_O.PUT_RECURSION, _O.GET_RECURSION, _O.PUT_SCALING, _O.GET_SCALING), _UNQUALIFIED),
}

_ANY = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_.]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?",
    re.ASCII,
)

# Qualifiers by operation: is it required, its pattern.
_PROVISIONED_QUALIFIER = (True, r"(|[a-zA-Z0-9$_-]+)")
_EVENT_QUALIFIER = (False, r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+")
_SCALING_QUALIFIER = (True, r"(\$LATEST\.PUBLISHED|[0-9]+)")
_QUALIFIERS = {
    **dict.fromkeys((_O.PUT_PROVISIONED, _O.GET_PROVISIONED, _O.DELETE_PROVISIONED), _PROVISIONED_QUALIFIER),
    **dict.fromkeys(_ON_EVENTS, _EVENT_QUALIFIER),
    **dict.fromkeys((_O.GET_FUNCTION, _O.DELETE_FUNCTION, *_ON_STATEMENTS), _EVENT_QUALIFIER),
    **dict.fromkeys((_O.PUT_SCALING, _O.GET_SCALING), _SCALING_QUALIFIER),
}
_LONGEST_QUALIFIER = 128


def find_name_problems(target: ControlTarget) -> list[str]:
    """Returns the constraints that the function's name and the qualifier fail."""
    rule = _NAME_RULES.get(target.operation, _FUNCTION_NAME)
    problems = check_text("functionName", target.name, rule.longest, rule.pattern)
    if target.operation in _QUALIFIERS:
        is_required, pattern = _QUALIFIERS[target.operation]
        qualifier = target.query.get("Qualifier")
        if qualifier is not None:
            problems += check_text("qualifier", qualifier, _LONGEST_QUALIFIER, pattern)
        elif is_required and parse_name(target.name).qualifier is None:
            problems += check_given("qualifier", None)
    return problems


def parse_name(text: str) -> Function:
    """Returns the function of a name or an ARN. A text that is neither is taken whole."""
    found = _ANY.fullmatch(text)
    if found is None:
        return Function(text)
    parts = found.groupdict()
    return Function(parts["name"], parts["qualifier"], parts["account"], parts["region"], parts["partition"] or None)


def find_function(target: ControlTarget, region: str) -> Function | ControlRefusal:
    """Returns the function that a target with a valid name is for, with its qualifier.

    region: the Region that the gateway serves
    """
    function = parse_name(target.name)
    qualifier = target.query.get("Qualifier") if target.operation in _QUALIFIERS else None
    if qualifier and function.qualifier is not None and qualifier != function.qualifier:
        return ControlRefusal(Refusal.QUALIFIER_CONFLICT)
    if function.region is not None and function.region != region:
        return ControlRefusal(Refusal.WRONG_REGION, region=function.region, here=region)
    partition = None if function.partition == find_partition(region) else function.partition
    return function._replace(qualifier=function.qualifier or qualifier or None, partition=partition)
