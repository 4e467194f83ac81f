"""Finds the action of a request, and the resource that it is for, as AWS's policies name them.

The operations that invoke a function have one action, `lambda:InvokeFunction`. Each other operation has the action of
its own name. The paths are the service model's, with any date, because backends read no date either. A request whose
operation is not found may do anything at a backend that reads paths more freely, so it has the action `lambda:*`. The
same holds for a name that another reading, such as one that decodes twice, would turn into another name.

A qualifier is part of the resource where the operation takes one. Else it is left out, because the operation is for the
whole function.

The body of a request is not read. An operation whose function is named only in its body is one on all functions.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from ...invocation import Function
from ..arn import find_partition, make_prefix
from ..control.paths import parse_name
from .document import ANY_LAMBDA_ACTION
from .routes import INVOKE_OPERATIONS, QUALIFIED, ROUTES, OperationRoute

INVOKE_ACTION = "lambda:InvokeFunction"

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
# Values that every backend reads alike. ARNs and ids of callbacks may have slashes, but no segments of dots.
_PLAIN = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9$_.:@=+-]+", re.ASCII)
_SLASHED = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|\Z))[A-Za-z0-9$_.:@=+/-]+", re.ASCII)
_WITH_SLASHES = frozenset(
    {"code-signing-configs", "durable-executions", "durable-execution-callbacks", "tags", "resource-policy"}
)
_QUALIFIER = re.compile(r"[A-Za-z0-9$_.-]+", re.ASCII)
_OTHER_ACTIONS = {"GetLayerVersionByArn": "GetLayerVersion"}


class RequestedAction(NamedTuple):
    """Names what a request asks for.

    resource: an ARN, or `*`
    account: the account that the ARN names; None where it names none
    is_resource_known: the request names its resource outside of its body
    """

    action: str
    resource: str
    account: str | None = None
    is_resource_known: bool = True


_ANY_FUNCTION = Function("*")
UNKNOWN_OPERATION = RequestedAction(ANY_LAMBDA_ACTION, "*", is_resource_known=False)


def name_action(operation: str) -> str:
    """Returns the action of an operation."""
    if operation in INVOKE_OPERATIONS:
        return INVOKE_ACTION
    return f"lambda:{_OTHER_ACTIONS.get(operation, operation)}"


def name_function(function: Function, *, region: str, account: str) -> str:
    """Returns the ARN of a function as it was called: with a qualifier only where the caller gave one."""
    arn = make_prefix(function, region, account) + function.name
    return f"{arn}:{function.qualifier}" if function.qualifier else arn


def has_ambiguous_qualifier(query: bytes) -> bool:
    """Returns whether backends may read different qualifiers in a query."""
    qualifiers = _list_qualifiers(query)
    return len(qualifiers) > 1 or (bool(qualifiers) and qualifiers[0] != "Qualifier")


def has_qualifier(query: bytes) -> bool:
    return bool(_list_qualifiers(query))


def _list_qualifiers(query: bytes) -> list[str]:
    """Returns the names of parameters that some backend may take for the qualifier."""
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    return [name for name in names if name.strip().lower() == "qualifier"]


def find_action(method: str, raw_path: bytes, query: bytes, *, region: str, account: str) -> RequestedAction:
    """Returns the action of a request that is no invocation.

    region, account: stand in for those that the request does not name
    """
    segments = raw_path.decode("latin-1").removesuffix("/").split("/")
    if len(segments) < 3 or segments[0] or not _DATE.fullmatch(segments[1]) or has_ambiguous_qualifier(query):
        return UNKNOWN_OPERATION
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    for route in ROUTES.get((method, len(segments) - 2), ()):
        variables = _match(route.segments, segments[2:])
        if variables is not None and (not route.parameter or route.parameter in parameters):
            allowed = _SLASHED if route.segments[0] in _WITH_SLASHES else _PLAIN
            if not all(allowed.fullmatch(value) for value in variables):
                return UNKNOWN_OPERATION
            place = _Place(region, account)
            return _find_resource(route, variables, parameters, place)
    return UNKNOWN_OPERATION


def ask_operation(operation: str, function: Function, *, region: str, account: str) -> RequestedAction:
    """Returns what an operation on a function asks for. Operations on no function are for `*`."""
    place = _Place(region, account)
    action = name_action(operation)
    route = next((route for group in ROUTES.values() for route in group if route.operation == operation), None)
    if route is not None and operation == "CreateFunction":
        return RequestedAction(action, place.make_arn("function:*"), is_resource_known=False)
    if route is None or (route.segments[0] == "functions" and len(route.segments) > 1):
        if operation not in QUALIFIED:
            function = function._replace(qualifier=None)
        arn = name_function(function, region=region, account=account)
        return RequestedAction(action, arn, function.account)
    return RequestedAction(action, "*")


def _match(wanted: tuple[str, ...], segments: list[str]) -> list[str] | None:
    """Returns the variable parts of a path, decoded; None where it is another path."""
    variables = []
    for name, segment in zip(wanted, segments, strict=True):
        if not name:
            if not segment:
                return None
            variables.append(unquote(segment))
        elif name != segment:
            return None
    return variables


class _Place(NamedTuple):
    region: str
    account: str

    def make_arn(self, resource: str) -> str:
        return f"arn:{find_partition(self.region)}:lambda:{self.region}:{self.account}:{resource}"


def _find_resource(
    route: OperationRoute, variables: list[str], parameters: dict[str, str], place: _Place
) -> RequestedAction:
    action = name_action(route.operation)
    match route.segments[0]:
        case "functions" if route.operation == "CreateFunction":
            return ask_operation(route.operation, _ANY_FUNCTION, region=place.region, account=place.account)
        case "functions" if variables:
            return _find_function(route.operation, variables[0], parameters.get("Qualifier"), place)
        case "event-source-mappings" if variables:
            return RequestedAction(action, place.make_arn(f"event-source-mapping:{variables[0]}"))
        case "layers" if route.parameter:
            return _take_arn(action, parameters.get("Arn", ""), place)
        case "layers" if variables:
            named = variables[0] if variables[0].startswith("arn:") else place.make_arn(f"layer:{variables[0]}")
            return _take_arn(action, ":".join((named, *variables[1:2])), place)
        case "capacity-providers" if variables and variables[0].startswith("arn:"):
            return _take_arn(action, variables[0], place)
        case "capacity-providers" if variables:
            return RequestedAction(action, place.make_arn(f"capacity-provider:{variables[0]}"))
        case "code-signing-configs" | "durable-executions" | "tags" | "resource-policy" if variables:
            return _take_arn(action, variables[0], place)
    return RequestedAction(action, "*", is_resource_known=not variables)


def _find_function(operation: str, name: str, qualifier: str | None, place: _Place) -> RequestedAction:
    function = parse_name(name)
    if ":" in function.name:  # neither a name nor an ARN
        return UNKNOWN_OPERATION
    if operation not in QUALIFIED:
        function = function._replace(qualifier=None)
    elif qualifier:
        if not _QUALIFIER.fullmatch(qualifier) or (function.qualifier or qualifier) != qualifier:
            return UNKNOWN_OPERATION
        function = function._replace(qualifier=qualifier)
    arn = name_function(function, region=place.region, account=place.account)
    return RequestedAction(name_action(operation), arn, function.account)


def _take_arn(action: str, arn: str, place: _Place) -> RequestedAction:
    """Returns the action on a resource that the request names by its ARN."""
    parts = arn.split(":")
    if len(parts) < 6 or parts[0] != "arn":
        return UNKNOWN_OPERATION
    return RequestedAction(action, arn, parts[4] or place.account)
