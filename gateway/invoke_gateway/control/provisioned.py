"""Serves PutProvisionedConcurrencyConfig and its companions.

The gateway starts no environments. So an allocation is finished after `allocation_seconds`, and the first answer says
IN_PROGRESS, as AWS's does.
"""

from __future__ import annotations

from ..policy.control import errors
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, find_name_problems
from ..policy.control.rules import check_alias, check_provisioned, check_version, is_version
from ..policy.control.state import ControlState, FunctionControl, ProvisionedConfig, with_provisioned
from ..policy.requests.validation import check_given, check_range
from .documents import ProvisionedBody, describe_provisioned, read_body
from .existence import Alias
from .pages import cut_page, find_page_problems
from .parts import LATEST, NO_CONTENT, ControlCall, ControlParts, Operations, Result, answer, refuse_invalid

_KEY = "provisioned_concurrent_executions"


class ProvisionedConcurrency:
    """Serves the operations on provisioned concurrency.

    allocation_seconds: the time after a change in which nothing is allocated
    """

    def __init__(self, parts: ControlParts, *, allocation_seconds: float) -> None:
        self._parts = parts
        self._allocation_seconds = allocation_seconds

    def operations(self) -> Operations:
        return {
            ControlOperation.PUT_PROVISIONED: self._put,
            ControlOperation.GET_PROVISIONED: self._get,
            ControlOperation.LIST_PROVISIONED: self._list,
            ControlOperation.DELETE_PROVISIONED: self._delete,
        }

    async def _put(self, call: ControlCall) -> Result:
        body = read_body(call.body, ProvisionedBody)
        if isinstance(body, ControlRefusal):
            return body
        wanted, member = body.provisioned_concurrent_executions, "provisionedConcurrentExecutions"
        problems = [
            *find_name_problems(call.target),
            *check_given(member, wanted),
            *check_range(member, wanted, 1),
        ]
        qualifier = call.qualifier
        if problems or wanted is None or qualifier is None:
            return refuse_invalid(problems)
        if qualifier == LATEST:
            return ControlRefusal(errors.PROVISIONED_ON_LATEST)
        parts = self._parts
        found = await parts.find_qualified(call, qualifier)
        if isinstance(found, ControlRefusal):
            return found
        refusal = parts.find_set_elsewhere(call, {_KEY: wanted})
        if refusal is not None:
            return refusal
        pointed = [] if not is_version(qualifier) else await self._find_provisioned_versions(call)
        config = ProvisionedConfig(wanted, parts.now(), found.version, await self._list_aliases(call, found.version))

        def change(state: ControlState, function: FunctionControl) -> FunctionControl | ControlRefusal:
            in_force = parts.followed.under(state).function(call.account, call.name)
            others = in_force.provisioned_concurrent_executions
            if qualifier in in_force.provisioned:
                others -= in_force.provisioned[qualifier].requested
            refused = (
                check_version(qualifier, pointed)
                if is_version(qualifier)
                else check_alias(function, found.version, found.weights)
            ) or check_provisioned(parts.slots(call, state), call.name, wanted, others)
            return refused or with_provisioned(function, qualifier, config)

        return await parts.change(call, change) or answer(describe_provisioned(config, is_allocated=False), 202)

    async def _list_aliases(self, call: ControlCall, version: str | None) -> tuple[str, ...]:
        """Returns the other aliases of a version, whose calls have its provisioned concurrency as well."""
        if version is None:
            return ()
        found = await self._parts.existence.list_aliases(call.function, version, call.headers)
        return tuple(name for name in found if name != call.qualifier)

    async def _find_provisioned_versions(self, call: ControlCall) -> list[str | None]:
        """Returns the versions that the function's provisioned aliases point to now."""
        versions = []
        for qualifier, config in self._parts.control(call).provisioned.items():
            if not is_version(qualifier):
                alias = await self._parts.existence.find_alias(call.function, qualifier, call.headers)
                versions.append((alias.version if alias is not None else None) or config.version)
        return versions

    async def _get(self, call: ControlCall) -> Result:
        found = await self._find(call)
        return found if isinstance(found, ControlRefusal) else answer(self._describe(found))

    async def _find(self, call: ControlCall) -> ProvisionedConfig | ControlRefusal:
        """Returns the configuration of the call's qualifier."""
        checked = await self._check_qualifier(call)
        if isinstance(checked, ControlRefusal):
            return checked
        config = self._parts.provisioned(call).get(call.qualifier or "")
        return config or ControlRefusal(errors.NO_PROVISIONED)

    async def _check_qualifier(self, call: ControlCall) -> Alias | ControlRefusal:
        problems = find_name_problems(call.target)
        if problems or call.qualifier is None:
            return refuse_invalid(problems)
        if call.qualifier == LATEST:
            return ControlRefusal(errors.NOT_PUBLISHED)
        return await self._parts.find_qualified(call, call.qualifier)

    async def _delete(self, call: ControlCall) -> Result:
        checked = await self._check_qualifier(call)
        if isinstance(checked, ControlRefusal):
            return checked
        refusal = self._parts.find_set_elsewhere(call, {_KEY: True})
        if refusal is not None:
            return refusal
        qualifier = call.qualifier or ""
        if qualifier in self._parts.control(call).provisioned and qualifier not in self._parts.own(call).provisioned:
            return self._parts.refuse_followed(call, _KEY)
        return await self._parts.change(call, lambda _, now: with_provisioned(now, qualifier, None)) or NO_CONTENT

    async def _list(self, call: ControlCall) -> Result:
        problems = [*find_name_problems(call.target), *find_page_problems(call.target.query)]
        if problems:
            return refuse_invalid(problems)
        refusal = await self._parts.find_missing(call)
        if refusal is not None:
            return refusal
        configs = self._parts.provisioned(call)
        page = cut_page(sorted(configs), call.target.query)
        rows = [{"FunctionArn": self._parts.arn(call, name), **self._describe(configs[name])} for name in page.names]
        return answer({"ProvisionedConcurrencyConfigs": rows, **page.members})

    def _describe(self, config: ProvisionedConfig) -> dict[str, object]:
        is_allocated = self._parts.now() >= config.modified_at + self._allocation_seconds
        return describe_provisioned(config, is_allocated=is_allocated)
