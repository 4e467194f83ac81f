"""Lists the operations of Lambda, with the paths of their requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

INVOKE_OPERATIONS = ("Invoke", "InvokeAsync", "InvokeWithResponseStream")

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

_TAKING_QUALIFIERS = """
AddPermission CreateFunctionUrlConfig DeleteFunction DeleteFunctionEventInvokeConfig DeleteFunctionUrlConfig
DeleteProvisionedConcurrencyConfig GetFunction GetFunctionConfiguration GetFunctionEventInvokeConfig
GetFunctionScalingConfig GetFunctionUrlConfig GetPolicy GetProvisionedConcurrencyConfig GetRuntimeManagementConfig
Invoke InvokeWithResponseStream ListDurableExecutionsByFunction PutFunctionEventInvokeConfig PutFunctionScalingConfig
PutProvisionedConcurrencyConfig PutRuntimeManagementConfig RemovePermission UpdateFunctionEventInvokeConfig
UpdateFunctionUrlConfig
"""
QUALIFIED = frozenset(_TAKING_QUALIFIERS.split())
"""Lists the operations that take a qualifier."""


class OperationRoute(NamedTuple):
    """Describes the path of an operation.

    segments: those behind the date; an empty one stands for any value
    parameter: the name of a parameter that the query must have; empty for none
    """

    operation: str
    segments: tuple[str, ...]
    parameter: str


def _read_routes() -> Iterator[tuple[tuple[str, int], OperationRoute]]:
    for line in _OPERATIONS.split("\n"):
        if line:
            operation, method, path = line.split(" ")
            place, _, parameter = path.partition("?")
            segments = tuple("" if segment.startswith("{") else segment for segment in place.split("/"))
            yield (method, len(segments)), OperationRoute(operation, segments, parameter)


def _group_routes() -> dict[tuple[str, int], list[OperationRoute]]:
    groups: dict[tuple[str, int], list[OperationRoute]] = {}
    for key, route in _read_routes():
        groups.setdefault(key, []).append(route)
    for group in groups.values():
        group.sort(key=lambda route: not route.parameter)  # the more special one first
    return groups


ROUTES = _group_routes()
"""Return the operations by method and number of segments."""
OPERATIONS = (*INVOKE_OPERATIONS, *sorted({route.operation for group in ROUTES.values() for route in group}))
"""Lists the operations of Lambda."""
