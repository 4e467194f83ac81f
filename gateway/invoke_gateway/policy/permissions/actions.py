"""Finds the action of a request, and the resource that it is for, as AWS's policies name them.

The operations that invoke a function have one action, `lambda:InvokeFunction`. Each other operation has the action of
its own name. The paths are the service model's, with any date, because backends read no date either. A request whose
operation is not found may do anything at a backend that reads paths more freely, so it has the action `lambda:*`.

The body of a request is not read. An operation whose function is named only in its body is one on all functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from ...invocation import Function
from ..arn import find_partition, make_prefix
from ..control.paths import parse_name
from .document import ANY_LAMBDA_ACTION

INVOKE_ACTION = "lambda:InvokeFunction"
INVOKE_OPERATIONS = ("Invoke", "InvokeAsync", "InvokeWithResponseStream")

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_OTHER_ACTIONS = {"GetLayerVersionByArn": "GetLayerVersion"}

# Operation, method and path behind the date (botocore's service model 2015-03-31, version 1.44, which a test compares).
_OPERATIONS = """
GetAccountSettings GET account-settings
ListCapacityProviders GET capacity-providers
CreateCapacityProvider POST capacity-providers
DeleteCapacityProvider DELETE capacity-providers/{CapacityProviderName}
GetCapacityProvider GET capacity-providers/{CapacityProviderName}
UpdateCapacityProvider PUT capacity-providers/{CapacityProviderName}
ListFunctionVersionsByCapacityProvider GET capacity-providers/{CapacityProviderName}/function-versions
ListCodeSigningConfigs GET code-signing-configs
CreateCodeSigningConfig POST code-signing-configs
DeleteCodeSigningConfig DELETE code-signing-configs/{CodeSigningConfigArn}
GetCodeSigningConfig GET code-signing-configs/{CodeSigningConfigArn}
UpdateCodeSigningConfig PUT code-signing-configs/{CodeSigningConfigArn}
ListFunctionsByCodeSigningConfig GET code-signing-configs/{CodeSigningConfigArn}/functions
SendDurableExecutionCallbackFailure POST durable-execution-callbacks/{CallbackId}/fail
SendDurableExecutionCallbackHeartbeat POST durable-execution-callbacks/{CallbackId}/heartbeat
SendDurableExecutionCallbackSuccess POST durable-execution-callbacks/{CallbackId}/succeed
DeleteDurableExecution DELETE durable-executions/{DurableExecutionArn}
GetDurableExecution GET durable-executions/{DurableExecutionArn}
CheckpointDurableExecution POST durable-executions/{DurableExecutionArn}/checkpoint
GetDurableExecutionHistory GET durable-executions/{DurableExecutionArn}/history
PauseDurableExecution POST durable-executions/{DurableExecutionArn}/pause
ResumeDurableExecution POST durable-executions/{DurableExecutionArn}/resume
GetDurableExecutionState GET durable-executions/{DurableExecutionArn}/state
StopDurableExecution POST durable-executions/{DurableExecutionArn}/stop
ListEventSourceMappings GET event-source-mappings
CreateEventSourceMapping POST event-source-mappings
DeleteEventSourceMapping DELETE event-source-mappings/{UUID}
GetEventSourceMapping GET event-source-mappings/{UUID}
UpdateEventSourceMapping PUT event-source-mappings/{UUID}
ListFunctions GET functions
CreateFunction POST functions
DeleteFunction DELETE functions/{FunctionName}
GetFunction GET functions/{FunctionName}
ListAliases GET functions/{FunctionName}/aliases
CreateAlias POST functions/{FunctionName}/aliases
DeleteAlias DELETE functions/{FunctionName}/aliases/{Name}
GetAlias GET functions/{FunctionName}/aliases/{Name}
UpdateAlias PUT functions/{FunctionName}/aliases/{Name}
UpdateFunctionCode PUT functions/{FunctionName}/code
DeleteFunctionCodeSigningConfig DELETE functions/{FunctionName}/code-signing-config
GetFunctionCodeSigningConfig GET functions/{FunctionName}/code-signing-config
PutFunctionCodeSigningConfig PUT functions/{FunctionName}/code-signing-config
DeleteFunctionConcurrency DELETE functions/{FunctionName}/concurrency
GetFunctionConcurrency GET functions/{FunctionName}/concurrency
PutFunctionConcurrency PUT functions/{FunctionName}/concurrency
GetFunctionConfiguration GET functions/{FunctionName}/configuration
UpdateFunctionConfiguration PUT functions/{FunctionName}/configuration
ListDurableExecutionsByFunction GET functions/{FunctionName}/durable-executions
DeleteFunctionEventInvokeConfig DELETE functions/{FunctionName}/event-invoke-config
GetFunctionEventInvokeConfig GET functions/{FunctionName}/event-invoke-config
UpdateFunctionEventInvokeConfig POST functions/{FunctionName}/event-invoke-config
PutFunctionEventInvokeConfig PUT functions/{FunctionName}/event-invoke-config
ListFunctionEventInvokeConfigs GET functions/{FunctionName}/event-invoke-config/list
GetFunctionScalingConfig GET functions/{FunctionName}/function-scaling-config
PutFunctionScalingConfig PUT functions/{FunctionName}/function-scaling-config
GetPolicy GET functions/{FunctionName}/policy
AddPermission POST functions/{FunctionName}/policy
RemovePermission DELETE functions/{FunctionName}/policy/{StatementId}
DeleteProvisionedConcurrencyConfig DELETE functions/{FunctionName}/provisioned-concurrency
GetProvisionedConcurrencyConfig GET functions/{FunctionName}/provisioned-concurrency
ListProvisionedConcurrencyConfigs GET functions/{FunctionName}/provisioned-concurrency?List
PutProvisionedConcurrencyConfig PUT functions/{FunctionName}/provisioned-concurrency
GetFunctionRecursionConfig GET functions/{FunctionName}/recursion-config
PutFunctionRecursionConfig PUT functions/{FunctionName}/recursion-config
GetRuntimeManagementConfig GET functions/{FunctionName}/runtime-management-config
PutRuntimeManagementConfig PUT functions/{FunctionName}/runtime-management-config
DeleteFunctionUrlConfig DELETE functions/{FunctionName}/url
GetFunctionUrlConfig GET functions/{FunctionName}/url
CreateFunctionUrlConfig POST functions/{FunctionName}/url
UpdateFunctionUrlConfig PUT functions/{FunctionName}/url
ListFunctionUrlConfigs GET functions/{FunctionName}/urls
ListVersionsByFunction GET functions/{FunctionName}/versions
PublishVersion POST functions/{FunctionName}/versions
ListLayers GET layers
GetLayerVersionByArn GET layers?find
ListLayerVersions GET layers/{LayerName}/versions
PublishLayerVersion POST layers/{LayerName}/versions
DeleteLayerVersion DELETE layers/{LayerName}/versions/{VersionNumber}
GetLayerVersion GET layers/{LayerName}/versions/{VersionNumber}
GetLayerVersionPolicy GET layers/{LayerName}/versions/{VersionNumber}/policy
AddLayerVersionPermission POST layers/{LayerName}/versions/{VersionNumber}/policy
RemoveLayerVersionPermission DELETE layers/{LayerName}/versions/{VersionNumber}/policy/{StatementId}
DeleteResourcePolicy DELETE resource-policy/{ResourceArn}
GetResourcePolicy GET resource-policy/{ResourceArn}
PutResourcePolicy PUT resource-policy/{ResourceArn}
UntagResource DELETE tags/{Resource}
ListTags GET tags/{Resource}
TagResource POST tags/{Resource}
"""


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


class _Route(NamedTuple):
    operation: str
    segments: tuple[str, ...]
    parameter: str


def _read_routes() -> Iterator[tuple[tuple[str, int], _Route]]:
    for line in _OPERATIONS.split("\n"):
        if line:
            operation, method, path = line.split(" ")
            place, _, parameter = path.partition("?")
            segments = tuple("" if segment.startswith("{") else segment for segment in place.split("/"))
            yield (method, len(segments)), _Route(operation, segments, parameter)


def _group_routes() -> dict[tuple[str, int], list[_Route]]:
    groups: dict[tuple[str, int], list[_Route]] = {}
    for key, route in _read_routes():
        groups.setdefault(key, []).append(route)
    for group in groups.values():
        group.sort(key=lambda route: not route.parameter)  # the more special one first
    return groups


_ROUTES = _group_routes()
OPERATIONS = (*INVOKE_OPERATIONS, *sorted({route.operation for group in _ROUTES.values() for route in group}))
"""Lists the operations of Lambda."""


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
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True, separator="&")]
    qualifiers = [name for name in names if name.strip().lower() == "qualifier"]
    return len(qualifiers) > 1 or (bool(qualifiers) and qualifiers[0] != "Qualifier")


def find_action(method: str, raw_path: bytes, query: bytes, *, region: str, account: str) -> RequestedAction:
    """Returns the action of a request that is no invocation.

    region, account: stand in for those that the request does not name
    """
    segments = raw_path.decode("latin-1").removesuffix("/").split("/")
    if len(segments) < 3 or segments[0] or not _DATE.fullmatch(segments[1]) or has_ambiguous_qualifier(query):
        return UNKNOWN_OPERATION
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    for route in _ROUTES.get((method, len(segments) - 2), ()):
        variables = _match(route.segments, segments[2:])
        if variables is not None and (not route.parameter or route.parameter in parameters):
            place = _Place(region, account)
            return _find_resource(route, variables, parameters, place)
    return UNKNOWN_OPERATION


def ask_operation(operation: str, function: Function, *, region: str, account: str) -> RequestedAction:
    """Returns what an operation on a function asks for. Operations on no function are for `*`."""
    place = _Place(region, account)
    action = name_action(operation)
    route = next((route for group in _ROUTES.values() for route in group if route.operation == operation), None)
    if route is not None and operation == "CreateFunction":
        return RequestedAction(action, place.make_arn("function:*"), is_resource_known=False)
    if route is None or (route.segments[0] == "functions" and len(route.segments) > 1):
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


def _find_resource(route: _Route, variables: list[str], parameters: dict[str, str], place: _Place) -> RequestedAction:
    action = name_action(route.operation)
    match route.segments[0]:
        case "functions" if route.operation == "CreateFunction":
            return ask_operation(route.operation, _ANY_FUNCTION, region=place.region, account=place.account)
        case "functions" if variables:
            return _find_function(action, variables[0], parameters.get("Qualifier"), place)
        case "event-source-mappings" if variables:
            return RequestedAction(action, place.make_arn(f"event-source-mapping:{variables[0]}"))
        case "layers" if route.parameter:
            return _take_arn(action, parameters.get("Arn", ""), place)
        case "layers" if variables:
            named = variables[0] if variables[0].startswith("arn:") else place.make_arn(f"layer:{variables[0]}")
            return _take_arn(action, ":".join((named, *variables[1:2])), place)
        case "capacity-providers" if variables:
            return RequestedAction(action, place.make_arn(f"capacity-provider:{variables[0]}"))
        case "code-signing-configs" | "durable-executions" | "tags" | "resource-policy" if variables:
            return _take_arn(action, variables[0], place)
    return RequestedAction(action, "*", is_resource_known=not variables)


def _find_function(action: str, name: str, qualifier: str | None, place: _Place) -> RequestedAction:
    function = parse_name(name)
    if function.qualifier is None and qualifier:
        function = function._replace(qualifier=qualifier)
    arn = name_function(function, region=place.region, account=place.account)
    return RequestedAction(action, arn, function.account)


def _take_arn(action: str, arn: str, place: _Place) -> RequestedAction:
    """Returns the action on a resource that the request names by its ARN."""
    parts = arn.split(":")
    if len(parts) < 6 or parts[0] != "arn":
        return RequestedAction(action, "*", is_resource_known=False)
    return RequestedAction(action, arn, parts[4] or place.account)
